"""Compression of WebSocket messages (permessage-deflate, RFC 7692) that still lets one frame serve all.

Neither side keeps a window from message to message, so a compressed frame depends on its payload alone: it
is made once for all members of a broadcast, as plain frames are, and an idle connection keeps no zlib state.
Small frames stay as they are, which the extension allows per message.
"""

import zlib
from collections.abc import Iterator
from functools import lru_cache

from attrs import frozen
from websockets.exceptions import InvalidHeader, NegotiationError, PayloadTooBig
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.headers import build_extension, parse_extension

from flux.transport.http import Request
from flux.transport.websocket import frame_text
from flux.transport.wire import Wire

NAME = "permessage-deflate"
MAX_OFFERS = 16
WINDOW_BITS = 15
"""Of what the server sends; an offer that asks for less is declined, for the frames are shared."""
THRESHOLD = 1024
"""Bytes of a payload from which it is compressed, as in the reference server."""
LEVEL = 1
"""As `zlib` counts: JSON gets 10 % larger than at level 6, at a third of the time."""
KEPT = 8
"""Writes whose compressed form is kept: one broadcast writes the same bytes to each member."""

_TAIL = b"\x00\x00\xff\xff"
_FACTORY = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)


@frozen
class Deflate:
    """A negotiated compression.

    Args:
        header: the value of the response's ``Sec-WebSocket-Extensions``.
        extension: decodes what comes.
    """

    header: bytes
    extension: Extension

    def write_through(self, wire: Wire) -> None:
        """Have the wire compress from now on what is written to it."""
        wire.__class__ = DeflatingWire


def negotiate(request: Request) -> Deflate | None:
    """Return the compression that a handshake offers and this server can do; None: it does without."""
    offers = ",".join([v.decode("latin-1") for n, v in request.headers if n == b"sec-websocket-extensions"])
    if not offers:
        return None
    try:
        parsed = parse_extension(offers)[:MAX_OFFERS]
    except InvalidHeader:
        return None
    for name, wanted in parsed:
        if name != NAME:
            continue
        try:
            params, extension = _FACTORY.process_request_params(wanted, [])
        except NegotiationError:
            continue
        if extension.local_max_window_bits == WINDOW_BITS:
            header = build_extension([(_FACTORY.name, params)]).encode("ascii")
            return Deflate(header, _Inflate.of(extension))
    return None


class _Inflate(PerMessageDeflate):
    """The decoder, with a bound that also holds where nothing of it is left."""

    @classmethod
    def of(cls, other: PerMessageDeflate) -> "_Inflate":
        return cls(
            other.remote_no_context_takeover,
            other.local_no_context_takeover,
            other.remote_max_window_bits,
            other.local_max_window_bits,
            other.compress_settings,
        )

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        # To zlib a bound of 0 is none, and a fragmented message may have used up its bound to the byte.
        decoded = super().decode(frame, max_size=max_size if max_size is None else max(max_size, 1))
        if max_size is not None and len(decoded.data) > max_size:
            raise PayloadTooBig(len(decoded.data), max_size)
        return decoded


class DeflatingWire(Wire):
    """A wire to a client that takes compressed frames.

    It is given whole server frames, as any WebSocket's wire is, and replaces those that compression makes
    smaller.
    """

    __slots__ = ()

    def write(self, data: bytes) -> None:
        """As `Wire.write`."""
        super().write(_deflated(data) if len(data) >= THRESHOLD else data)

    def write_latest(self, key: str, data: bytes) -> None:
        """As `Wire.write_latest`."""
        if self.writable:
            self.write(data)
        else:
            super().write_latest(key, _deflated(data) if len(data) >= THRESHOLD else data)


@lru_cache(maxsize=KEPT)
def _deflated(data: bytes) -> bytes:
    return b"".join([_deflated_frame(*frame) for frame in _frames(data)])


def _frames(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Cut server frames (RFC 6455, 5.2: unmasked) apart: each with the length of its head."""
    position = 0
    while position < len(data):
        size, head = data[position + 1], 2
        if size == 126:
            size, head = int.from_bytes(data[position + 2 : position + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(data[position + 2 : position + 10], "big"), 10
        yield data[position : position + head + size], head
        position += head + size


def _deflated_frame(frame: bytes, head: int) -> bytes:
    opcode = frame[0] & 0x0F
    if opcode not in (1, 2) or len(frame) - head < THRESHOLD:
        return frame
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS)
    payload = packer.compress(memoryview(frame)[head:]) + packer.flush(zlib.Z_SYNC_FLUSH)
    payload = payload.removesuffix(_TAIL)
    if len(payload) >= len(frame) - head:
        return frame
    return bytes((0xC0 | opcode,)) + frame_text(payload)[1:]  # final, RSV1: compressed
