"""HTTP messages as the door's users see them: a request that came whole, the response to it."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from attrs import frozen

from flux.errors import RemoteError

MAX_FIELDS = 100
"""Of a query."""

Headers = tuple[tuple[bytes, bytes], ...]
"""Names (lower case on requests) with their raw values, in order; a name may come twice."""


@frozen(slots=False)  # with slots a frozen object takes twice as long to make
class Request:
    """A whole request.

    Args:
        method: upper case.
        target: as sent: path and query, still percent-encoded.
        headers: names in lower case.
        body: bounded by the door's limits.
        peer: the client's address and port; ``("", 0)`` where it has none. Behind a trusted proxy they are
            what the proxy says.
        http_version: ``1.1`` or ``1.0``.
        scheme: ``http``, or ``https`` where a trusted proxy says so.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    peer: tuple[str, int] = ("", 0)
    http_version: str = "1.1"
    scheme: str = "http"

    @property
    def path(self) -> str:
        """The path, percent-decoded; bytes that are not UTF-8 become U+FFFD."""
        return unquote(self.raw_path)

    @property
    def raw_path(self) -> str:
        """The path as sent."""
        return self.target.partition("?")[0]

    @property
    def query_string(self) -> str:
        """What follows the first question mark, as sent; empty if there is none."""
        return self.target.partition("?")[2]

    @property
    def query(self) -> dict[str, str]:
        """The query's fields, read anew each time; of a name that comes twice the first counts.

        Raises:
            RequestError: more than 100 fields.
        """
        text = self.query_string
        if "%" not in text and "+" not in text and text.isascii() and text.count("&") < MAX_FIELDS:
            # What Engine.IO's clients send, at a third of the library's time.
            parts = [part.partition("=") for part in reversed(text.split("&")) if part]
            return {name: value for name, _, value in parts}
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError:
            raise RequestError(400, "too many query fields") from None
        return dict(reversed(pairs))

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header (lower-case name), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@frozen(slots=False)  # as requests
class Response:
    """A whole response; the door adds the date, the length and what keep-alive needs.

    Args:
        status: 200 to 599.
        body: sent as it is; left out for HEAD, 204 and 304.
        headers: without content-length and connection.
    """

    status: int = 200
    body: bytes = b""
    headers: Headers = ()

    @classmethod
    def text(cls, status: int, text: str = "") -> "Response":
        """Return a plain-text response; by default its body is the status's phrase."""
        body = (text or HTTPStatus(status).phrase) + "\n"
        return cls(status, body.encode(), ((b"content-type", b"text/plain; charset=utf-8"),))


class RequestError(RemoteError):
    """The request breaks HTTP or a bound of the door; an app may raise it too.

    Args:
        status: what the peer is answered.
        reason: one line for the peer and the log.
        response: the answer in full, where one line is not enough.
    """

    def __init__(self, status: int, reason: str, response: Response | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.response = response or Response.text(status, reason)


App = Callable[[Request], Response | Awaitable[Response]]
"""Answers every path that no mount takes; ``def`` must not block."""
