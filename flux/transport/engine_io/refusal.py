"""Why a request is refused, as the reference server says it: a JSON body with a code."""

from enum import Enum

import msgspec
import structlog
from prometheus_client import Counter

from flux.metrics import REGISTRY
from flux.transport.engine_io.polling import NO_STORE
from flux.transport.http import Headers, Request, Response

log = structlog.get_logger("flux.engine_io")

REFUSALS = Counter("flux_engineio_refusals_total", "Requests refused, by code", ["code"], registry=REGISTRY)
TURNED_AWAY = Counter(
    "flux_engineio_sessions_rejected_total", "Handshakes refused, by the bound", ["bound"], registry=REGISTRY
)


class Refusal(Enum):
    """Why a request is refused: the reference server's codes and texts."""

    UNKNOWN_TRANSPORT = (0, "Transport unknown")
    UNKNOWN_SID = (1, "Session ID unknown")
    BAD_METHOD = (2, "Bad handshake method")
    BAD_REQUEST = (3, "Bad request")
    FORBIDDEN = (4, "Forbidden")
    BAD_VERSION = (5, "Unsupported protocol version")


def refuse(refusal: Refusal, request: Request, headers: Headers) -> Response:
    """Count a refusal and return the answer: 403 for `Refusal.FORBIDDEN`, else 400."""
    code, message = refusal.value
    REFUSALS.labels(code).inc()
    log.debug("request refused", code=code, message=message, peer=request.peer[0])
    body = msgspec.json.encode({"code": code, "message": message})
    status = 403 if refusal is Refusal.FORBIDDEN else 400
    return Response(status, body, ((b"content-type", b"application/json"), NO_STORE, *headers))


def turn_away(bound: str, request: Request, headers: Headers) -> Response:
    """Count a handshake beyond a bound (``total`` or ``address``) and return the answer, 503."""
    TURNED_AWAY.labels(bound).inc()
    log.info("session refused", reason="too many sessions", bound=bound, peer=request.peer[0])
    plain = Response.text(503, "too many sessions")
    return Response(503, plain.body, (*plain.headers, NO_STORE, (b"retry-after", b"5"), *headers))
