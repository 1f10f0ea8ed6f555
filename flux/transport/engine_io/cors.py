"""Which origins may talk to the server, and what a browser is told about it (Fetch standard, CORS); pure."""

from collections.abc import Collection
from urllib.parse import urlsplit

from flux.transport.http import Headers, Request

_PORTS = {"http": 80, "https": 443}


class Origins:
    """The origins that are let in.

    Args:
        allowed: None: those whose host and port are the request's own Host (behind a proxy that ends TLS the
            scheme differs, so it is not compared); ``"*"``: all; else exactly these.
        credentials: whether a page of another origin may send its cookies along.
    """

    def __init__(self, allowed: str | Collection[str] | None, *, credentials: bool = True) -> None:
        self._credentials = credentials
        self._any = allowed == "*"
        self._same = allowed is None
        self._allowed = frozenset((allowed,) if isinstance(allowed, str) else allowed or ())

    def judge(self, request: Request) -> Headers | None:
        """Return the headers that let the page read the response; None: the request may not come in.

        One without an Origin comes from no page and may.
        """
        origin = request.header(b"origin")
        if origin is None:
            return ()
        if not self._any and not self._admits(origin, request):
            return None
        return (
            (b"access-control-allow-origin", origin),
            *(((b"access-control-allow-credentials", b"true"),) if self._credentials else ()),
            (b"vary", b"Origin"),
        )

    def _admits(self, origin: bytes, request: Request) -> bool:
        if sum(name == b"origin" for name, _ in request.headers) > 1:
            return False
        text = origin.decode("latin-1")
        if not self._same:
            return text in self._allowed
        return _same_host(text, (request.header(b"host") or b"").decode("latin-1"))

    def preflight(self, request: Request) -> Headers:
        """Return the headers that answer an OPTIONS request."""
        headers = self.judge(request)
        if not headers:
            return ()
        asked = request.header(b"access-control-request-headers") or b"content-type"
        return (
            *headers,
            (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
            (b"access-control-allow-headers", asked),
            (b"access-control-max-age", b"600"),
        )


def _same_host(origin: str, host: str) -> bool:
    try:
        left = urlsplit(origin)
        right = urlsplit(f"//{host}")
        default = _PORTS.get(left.scheme)
        return (
            default is not None
            and bool(left.hostname)
            and left.hostname == right.hostname
            and (left.port or default) == (right.port or default)
            and left.path == left.query == left.fragment == ""
            and left.username is None
        )
    except ValueError:
        return False
