"""Headers that an application adds: to the handshake's response, or to every one."""

import re
from collections.abc import Callable, Mapping

import structlog
from prometheus_client import Counter

from flux.errors import LocalError
from flux.metrics import REGISTRY
from flux.transport.http import Headers, Request

log = structlog.get_logger("flux.engine_io")

FAILURES = Counter(
    "flux_engineio_header_hook_failures_total",
    "Header hooks that raised or gave no headers",
    registry=REGISTRY,
)

HeaderHook = Callable[[Request], Mapping[str, str]]
"""Gives names and values for one response. Plain, must not block."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset(
    (
        "connection",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "upgrade",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
    )
)


def ask(hook: HeaderHook, request: Request) -> Headers:
    """Return a hook's headers; none, with a log line, if it fails: a response is owed all the same."""
    try:
        return tuple(_checked(name, value) for name, value in hook(request).items())
    except Exception:
        FAILURES.inc()
        log.exception("header hook failed", path=request.raw_path)
        return ()


def render(headers: Headers) -> bytes:
    """Return header lines for a head that is written by hand."""
    return b"".join([name + b": " + value + b"\r\n" for name, value in headers])


def _checked(name: str, value: str) -> tuple[bytes, bytes]:
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in _OURS:
        raise LocalError(f"not a header that may be added: {name!r}")
    return name.lower().encode("ascii"), value.strip().encode("latin-1")
