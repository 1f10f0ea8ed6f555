"""What h11 lets pass and this door refuses: requests that two servers could read differently.

The source is RFC 9112, sections 2.2, 6.1 and 11.2 (request smuggling).
"""

import re

import h11

from flux.transport.http import RequestError

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BARE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_FOLDED = re.compile(rb"\n[ \t]")
_LENGTH = re.compile(rb"(?i)\ncontent-length[ \t]*:([^\r\n]*)")


def check_head(head: bytes, max_bytes: int) -> None:
    r"""Refuse an ambiguous head by its raw bytes, which h11 normalises away.

    Args:
        head: everything from the request line on; may run on behind the empty line.
        max_bytes: of the head; h11 bounds only an incomplete one.

    Raises:
        RequestError: 431: too long. 400: a control character, a line that ends in a bare CR or LF, a folded
            line, a repeated Content-Length (also an equal one, or a list).
    """
    end = head.find(b"\r\n\r\n")
    bare = head.find(b"\n\n")
    if end < 0 or 0 <= bare < end:
        raise RequestError(400, "lines must end in CRLF")
    if end > max_bytes:
        raise RequestError(431, "the head is too long")
    head = head[: end + 2]
    if _CONTROL.search(head):
        raise RequestError(400, "control character in the head")
    if _BARE_END.search(head):
        raise RequestError(400, "lines must end in CRLF")
    if _FOLDED.search(head):
        raise RequestError(400, "folded header line")
    lengths = _LENGTH.findall(head)
    if len(lengths) > 1 or (lengths and b"," in lengths[0]):
        raise RequestError(400, "repeated content-length")


def check_request(request: h11.Request) -> None:
    """Refuse a parsed request whose body has two lengths, or whose target is not a path.

    Raises:
        RequestError: 400; 405 for CONNECT; 505 for a version that is not HTTP/1.
    """
    names = [name for name, _ in request.headers]
    chunked = b"transfer-encoding" in names
    if chunked and b"content-length" in names:
        raise RequestError(400, "both content-length and transfer-encoding")
    if chunked and request.http_version != b"1.1":
        raise RequestError(400, "transfer-encoding in HTTP/1.0")
    if request.http_version not in (b"1.0", b"1.1"):
        raise RequestError(505, "unknown HTTP version")
    if request.method == b"CONNECT":
        raise RequestError(405, "no proxy here")
    if not request.target.startswith((b"/", b"http://", b"https://")) and request.target != b"*":
        raise RequestError(400, "bad request target")
