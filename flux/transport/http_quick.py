"""The common request and its response without a state machine; pure.

Browsers and proxies send nearly all requests whole, in one piece and in one shape. Such a one is read here by
two expressions, which take a strict part of what h11 and `flux.transport.http_guard` take and gives the same
request; anything else is h11's.
"""

import re
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

import h11
from attrs import define, frozen

from flux.transport.http import Headers, Response

_LINE = re.compile(rb"(GET|POST) (/[!-~]*+) HTTP/1\.1\r\n")
_BLOCK = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[ -~]*+\r\n)++")
_FIELD = re.compile(rb"([^:]+):([^\r]*)\r\n")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"(?:[!-~\x80-\xff]+(?:[ \t]+[!-~\x80-\xff]+)*)?")
_OURS = frozenset((b"content-length", b"transfer-encoding", b"connection", b"date"))
_KEPT_ALIVE = frozenset((b"keep-alive", b"upgrade", b"keep-alive, upgrade", b"upgrade, keep-alive"))


KEPT, KEPT_BYTES = 1024, 2048
"""A client sends the same header lines with each poll: so many, up to so many bytes, are kept as read."""
_ONCE = b"\r\nSec-WebSocket-Key:"


@frozen
class _Fields:
    headers: Headers
    length: int | None


@define(eq=False)  # made with each request, so not frozen
class Quick:
    """A whole request.

    Args:
        method, target, headers: as in `flux.transport.http.Request`.
        body: where it begins in the data.
        end: where the request ends; what follows is the next one, or a WebSocket's.
    """

    method: str
    target: str
    headers: Headers
    body: int
    end: int


def read(data: bytes, max_head: int) -> Quick | None:
    """Read the request that the data begins with.

    Args:
        data: from the beginning of a request on.
        max_head: bytes of its head.

    Returns:
        The request; None if it is not whole, or of another shape, or maybe broken.
    """
    first = data.find(b"\r\n") + 2
    start = data.find(b"\r\n\r\n") + 4
    line = _LINE.fullmatch(data, 0, first)
    if line is None or not first < start <= max_head:
        return None
    block = data[first : start - 2]
    fields = _fields(block) if len(block) > KEPT_BYTES or _ONCE in block else _kept(block)
    if fields is None or (fields.length is None) is (line[1] == b"POST"):
        return None
    end = start + (fields.length or 0)
    if end > len(data):
        return None
    return Quick(line[1].decode(), line[2].decode(), fields.headers, start, end)


def _fields(block: bytes) -> _Fields | None:
    """Read header lines; None for what a common request does not have."""
    if not _BLOCK.fullmatch(block):
        return None
    headers = tuple([(name.lower(), value.strip(b" ")) for name, value in _FIELD.findall(block)])
    fields = dict(headers)
    length = fields.get(b"content-length")
    if (
        len(fields) != len(headers)
        or b"host" not in fields
        or b"transfer-encoding" in fields
        or b"expect" in fields
        or fields.get(b"connection", b"keep-alive").lower() not in _KEPT_ALIVE
        or (length is not None and (not length.isdigit() or len(length) > 9))
    ):
        return None
    return _Fields(headers, None if length is None else int(length))


_kept = lru_cache(maxsize=KEPT)(_fields)


def head(response: Response, now: bytes, *, length: bool, close: bool) -> bytes:
    """Return the head of a response.

    Args:
        response: what is answered.
        now: the date as HTTP writes it.
        length: whether it tells the body's.
        close: whether the connection ends behind it.

    Raises:
        h11.LocalProtocolError: a header that cannot be sent.
    """
    return b"".join(
        (
            b"HTTP/1.1 %d %b\r\ndate: %b\r\n" % (response.status, phrase(response.status), now),
            _lines(response.headers),
            b"content-length: %d\r\n" % len(response.body) if length else b"",
            b"connection: close\r\n\r\n" if close else b"\r\n",
        )
    )


@lru_cache(maxsize=256)
def _lines(headers: Headers) -> bytes:
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in _OURS:
            raise h11.LocalProtocolError(f"header {name!r} cannot be sent")
    return b"".join([b"%b: %b\r\n" % header for header in headers])


@lru_cache(maxsize=2)
def date(second: int) -> bytes:
    """Return a time in seconds as HTTP writes it (RFC 9110, 5.6.7)."""
    return formatdate(second, usegmt=True).encode()


@lru_cache
def phrase(status: int) -> bytes:
    """Return a status's phrase; empty for one without."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
