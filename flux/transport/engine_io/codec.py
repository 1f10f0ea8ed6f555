"""Engine.IO v4 packets and payloads: text and bytes to packets and back; pure.

A packet is a type digit and text, or bytes alone (a binary message). Over WebSocket each is one frame; in a
long-polling payload they are joined by 0x1e and bytes become ``b`` with base64 (Engine.IO protocol, "Packet
encoding").
"""

import binascii
from collections.abc import Iterator

from attrs import define, field
from engineio.packet import CLOSE, MESSAGE, NOOP, OPEN, PING, PONG

from flux.errors import RemoteError
from flux.transport.websocket import frame_binary, frame_text

SEPARATOR = b"\x1e"
MAX_PACKETS = 16_384
"""Packets of one POST; a client that saved up events while it was away may send thousands."""


class PacketError(RemoteError):
    """The peer sent no packet, or one that is not allowed now; its session closes as ``parse error``."""


@define
class Packet:
    """A packet from the client.

    Args:
        kind: 0 to 6, python-engineio's constants.
        data: the text behind the type digit; bytes for a binary message.
    """

    kind: int
    data: str | bytes = ""


@define(eq=False)
class Outgoing:
    """A packet to the clients, encoded once, whatever each is connected by.

    Args:
        text: a whole text packet, UTF-8, its type digit first; empty if there are only binary messages.
        attachments: binary messages that follow it.
    """

    text: bytes
    attachments: tuple[bytes, ...] = ()
    _frames: bytes | None = field(default=None, init=False)
    _payload: bytes | None = field(default=None, init=False)

    @property
    def frames(self) -> bytes:
        """WebSocket frames."""
        if self._frames is None:
            self._frames = frame_text(self.text) if self.text else b""
            if self.attachments:
                self._frames += b"".join(map(frame_binary, self.attachments))
        return self._frames

    @property
    def payload(self) -> bytes:
        """A part of a long-polling payload."""
        if not self.attachments:
            return self.text
        if self._payload is None:
            encoded = [b"b" + binascii.b2a_base64(data, newline=False) for data in self.attachments]
            self._payload = SEPARATOR.join((self.text, *encoded) if self.text else encoded)
        return self._payload


PING_PACKET = Outgoing(b"%d" % PING)
PROBE_REPLY = Outgoing(b"%dprobe" % PONG)
NOOP_PACKET = Outgoing(b"%d" % NOOP)
CLOSE_PACKET = Outgoing(b"%d" % CLOSE)
OPEN_PREFIX = b"%d" % OPEN
_KINDS = frozenset("0123456")


def decode_text(text: str) -> Packet:
    """Decode a text frame.

    Raises:
        PacketError: empty, or of an unknown type.
    """
    if text[:1] not in _KINDS:
        raise PacketError("unknown packet type" if text else "empty packet")
    return Packet(ord(text[0]) - 48, text[1:])


def decode_payload(body: bytes, max_packets: int = MAX_PACKETS) -> Iterator[Packet]:
    """Decode the body of a POST, packet by packet.

    Raises:
        PacketError: not UTF-8, empty, too many packets, an empty or unknown packet, bad base64. What came
            before the bad packet has been yielded.
    """
    try:
        parts = body.decode().split("\x1e", max_packets)
    except UnicodeDecodeError:
        raise PacketError("payload is not UTF-8") from None
    if len(parts) > max_packets:
        raise PacketError("too many packets")
    for part in parts:
        if part[:1] == "b":
            try:
                yield Packet(MESSAGE, binascii.a2b_base64(part[1:].encode(), strict_mode=True))
            except ValueError:
                raise PacketError("bad base64") from None
        else:
            yield decode_text(part)
