"""Compression of HTTP responses by gzip (RFC 9110, 8.4 and 12.5.3); pure."""

import re
import zlib
from functools import lru_cache

from attrs import evolve

from flux.transport.http import Request, Response

FAST, SMALL = 1, 6
"""zlib levels: of what is made for one client, and of what is kept and sent again."""
KEPT = 64
KEPT_BYTES = 1 << 20
"""Static bodies up to this size are compressed once, and at most so many are kept."""

_TEXT = re.compile(
    rb"(?i)\s*(?:text/(?!event-stream)|image/svg\+xml|application/"
    rb"(?:json|javascript|xml|manifest\+json|openmetrics-text|[a-z.-]+\+(?:json|xml))(?:\s*;|\s*$))"
)
_CODING = re.compile(r"\s*([A-Za-z0-9*-]+)\s*(?:;\s*q\s*=\s*([0-9.]{1,5})\s*)?")


def accepts_gzip(request: Request) -> bool:
    """Whether the client takes gzip: named with a weight over 0, or meant by ``*`` and not named."""
    text = ",".join([v.decode("latin-1") for name, v in request.headers if name == b"accept-encoding"])
    weights: dict[str, float] = {}
    for part in text.split(",", 32)[:32]:
        coding = _CODING.fullmatch(part)
        if coding is not None:
            weights.setdefault(coding[1].lower(), _weight(coding[2]))
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _weight(text: str | None) -> float:
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        return 0.0


def compress(response: Response, threshold: int, *, accepted: bool) -> Response:
    """Return the response to send: compressed where that may be, and marked as depending on the request.

    Args:
        response: one with text in it; others come back as they are, so do encoded and untransformable ones.
        threshold: bytes of the smallest body that is compressed.
        accepted: whether the client takes gzip.
    """
    if len(response.body) < threshold or response.status in (204, 206, 304):
        return response
    fields = {name.lower(): value for name, value in response.headers}
    if (
        b"content-encoding" in fields
        or b"no-transform" in fields.get(b"cache-control", b"").lower()
        or not _TEXT.match(fields.get(b"content-type", b""))
    ):
        return response
    tag = fields.get(b"etag")
    headers = (*response.headers, (b"vary", b"Accept-Encoding"))
    if not accepted:
        return evolve(response, headers=headers)
    body = _kept(response.body) if tag and len(response.body) <= KEPT_BYTES else _gzip(response.body, FAST)
    if len(body) >= len(response.body):
        return evolve(response, headers=headers)
    if tag:
        # One tag for two encodings of the same content must be weak (RFC 9110, 8.8.3).
        weak = tag if tag.startswith(b"W/") else b"W/" + tag
        headers = tuple((n, weak if n.lower() == b"etag" else value) for n, value in headers)
    return evolve(response, body=body, headers=(*headers, (b"content-encoding", b"gzip")))


@lru_cache(maxsize=KEPT)
def _kept(body: bytes) -> bytes:
    return _gzip(body, SMALL)


def _gzip(body: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()
