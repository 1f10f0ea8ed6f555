"""What the door serves besides Socket.IO: the page, health, metrics."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from attrs import frozen
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from flux.metrics import REGISTRY
from flux.transport.conditional import names_tag
from flux.transport.http import Request, Response
from flux.web import StaticFile

JSON = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


@frozen
class Check:
    """One condition of readiness.

    Args:
        name: of what is checked: ``kafka``.
        ok: whether it holds.
        reason: why, where it does not hold; fit for people, and shown only then.
    """

    name: str
    ok: bool
    reason: str = ""


@frozen
class Site:
    """Answers every request that no mount of the door takes.

    Args:
        page: the built page's files by path.
        readiness: the conditions of readiness, asked for at each ``/readyz``.
    """

    page: Mapping[str, StaticFile]
    readiness: Callable[[], Sequence[Check]]

    def __call__(self, request: Request) -> Response:
        """Answer a request; never raises, never waits."""
        if request.method not in ("GET", "HEAD"):
            refusal = Response.text(405)
            return Response(refusal.status, refusal.body, (*refusal.headers, (b"allow", b"GET, HEAD")))
        match request.path:
            case "/livez":
                return Response(200, b'{"status":"alive"}\n', JSON)
            case "/readyz":
                return self._readyz()
            case "/metrics":
                return Response(
                    200, generate_latest(REGISTRY), ((b"content-type", CONTENT_TYPE_LATEST.encode()),)
                )
            case path:
                return self._file(path, request)

    def _readyz(self) -> Response:
        checks = self.readiness()
        ready = all(check.ok for check in checks)
        body = {
            "status": "ready" if ready else "not ready",
            "checks": {c.name: {"ok": c.ok} | ({} if c.ok else {"reason": c.reason}) for c in checks},
        }
        return Response(200 if ready else 503, msgspec.json.encode(body) + b"\n", JSON)

    def _file(self, path: str, request: Request) -> Response:
        file = self.page.get(path)
        if file is None:
            return Response.text(404, f"nothing at {path!r}; the page is at /")
        headers = tuple((name.encode(), value.encode()) for name, value in file.headers.items())
        etag = file.headers.get("etag", "").encode()
        if etag and names_tag(request, etag):
            return Response(304, b"", headers)
        return Response(file.status, file.body, headers)
