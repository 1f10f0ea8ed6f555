"""What the door serves besides Socket.IO: the page, health, metrics."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from attrs import frozen
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from flux.domains.sources.board import Row
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
        sources: how the real sources of this process are, asked for at each ``/readyz?verbose``. One that
            is down is no reason to be unready: what is there is served, and no replica would do better.
    """

    page: Mapping[str, StaticFile]
    readiness: Callable[[], Sequence[Check]]
    sources: Callable[[], Sequence[Row]] = tuple

    def __call__(self, request: Request) -> Response:
        """Answer a request; never waits.

        Raises:
            RequestError: the query has too many fields.
        """
        if request.method not in ("GET", "HEAD"):
            refusal = Response.text(405)
            return Response(refusal.status, refusal.body, (*refusal.headers, (b"allow", b"GET, HEAD")))
        match request.path:
            case "/livez":
                return Response(200, b'{"status":"alive"}\n', JSON)
            case "/readyz":
                return self._readyz(verbose="verbose" in request.query)
            case "/metrics":
                return Response(
                    200, generate_latest(REGISTRY), ((b"content-type", CONTENT_TYPE_LATEST.encode()),)
                )
            case path:
                return self._file(path, request)

    def _readyz(self, *, verbose: bool) -> Response:
        checks = self.readiness()
        ready = all(check.ok for check in checks)
        body: dict[str, Any] = {
            "status": "ready" if ready else "not ready",
            "checks": {c.name: {"ok": c.ok} | ({} if c.ok else {"reason": c.reason}) for c in checks},
        }
        if verbose:
            body["sources"] = [_shown(row) for row in self.sources()]
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


def _shown(row: Row) -> dict[str, str]:
    """Return a source as JSON has it, field by field: what a row may come to hold is not shown unasked."""
    fields = {
        "name": row.name,
        "domain": row.domain,
        "state": row.state.value,
        "breaker": row.breaker.value,
        "since": row.since,
        "reason": row.reason,
        "lastAnswer": row.last_answer,
    }
    return {name: value for name, value in fields.items() if value}
