"""Conditional requests: whether the client has a response already (RFC 9110, 13.1.2); pure."""

import re

from flux.transport.http import Request

_TAG = re.compile(rb'[ \t,]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?=,|$)')


def names_tag(request: Request, etag: bytes) -> bool:
    """Whether ``If-None-Match`` names the entity tag, alone, in a list, or by ``*``.

    Tags are compared weakly: ``W/"a"`` is ``"a"``, for a proxy that compresses makes them weak.

    Args:
        request: may have the header more than once.
        etag: the response's, quotes included.
    """
    text = b",".join([value for name, value in request.headers if name == b"if-none-match"])
    if text.strip() == b"*":
        return True
    wanted = etag.removeprefix(b"W/")
    position = 0
    while (found := _TAG.match(text, position)) is not None:
        if found[1].removeprefix(b"W/") == wanted:
            return True
        position = found.end()
    return False
