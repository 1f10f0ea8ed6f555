"""Socket.IO packets as msgpack, as the JavaScript package socket.io-msgpack-parser writes them; pure.

A packet is one binary message, one msgpack map ``{type, nsp, data?, id?}``; bytes stand in the data as they
are, so there are no attachments. That package has three types more than JSON, by extensions of code 0: fixext
1 is ``undefined`` (read as None), fixext 8 a ``Date`` (a `datetime` in UTC, both ways), and the others an
``ArrayBuffer`` (read as bytes).
"""

import struct
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from attrs import define

from flux.errors import LocalError
from flux.transport.engine_io.codec import Outgoing, PacketError
from flux.transport.socket_io.codec import (
    ACK,
    CONNECT,
    DISCONNECT,
    EVENT,
    MAX_DEPTH,
    MAX_NAMESPACE,
    RESERVED,
    Packet,
)
from flux.transport.socket_io.msgpack_scan import DATE, EXTENSION, needs_rewrite, rewrite

MAX_ID: Final = 10**15 - 1
"""As many digits as a text packet's ack id may have."""

_PACKET_DEPTH: Final = MAX_DEPTH + 1  # the packet's own map is around the data
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@define
class _Map:
    type: int
    nsp: str
    data: Any = None
    id: int | None = None


def _read_extension(code: int, data: memoryview) -> Any:
    if code == EXTENSION:
        return bytes(data)
    raise PacketError("unknown msgpack extension")


def _read_rewritten(code: int, data: memoryview) -> Any:
    if code == DATE:
        try:
            return _EPOCH + struct.unpack(">q", data)[0] * _MILLISECOND
        except OverflowError:
            raise PacketError("date is out of range") from None
    return _read_extension(code, data)


_PLAIN: Final = msgspec.msgpack.Decoder(_Map, ext_hook=_read_extension)
_REWRITTEN: Final = msgspec.msgpack.Decoder(_Map, ext_hook=_read_rewritten)
_encode: Final = msgspec.msgpack.Encoder().encode


class Decoder:
    """Messages of one client in, packets out.

    Args:
        _max_bytes, attachments: as for the text parser; the bound of a message is enough here.
        depth: of nested arrays and maps.
    """

    __slots__ = ("_depth",)

    def __init__(self, _max_bytes: int, attachments: int = 0, depth: int = MAX_DEPTH) -> None:  # noqa: ARG002 - theirs
        self._depth = depth + 1  # the packet's own map is around the data

    def feed(self, message: str | bytes) -> Packet:
        """Take a message.

        Raises:
            PacketError: no packet, or one that a client must not send.
        """
        if isinstance(message, str):
            raise PacketError("text where a msgpack packet was due")
        return decode(message, self._depth)


def decode(data: bytes, depth: int = _PACKET_DEPTH) -> Packet:
    """Decode a packet.

    Raises:
        PacketError: no packet, or one that a client must not send.
    """
    decoder = _PLAIN
    if needs_rewrite(data, depth):
        data = rewrite(data, depth)
        decoder = _REWRITTEN
    try:
        packet = decoder.decode(data)
    except (msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError):
        raise PacketError("message is no msgpack packet") from None
    namespace = packet.nsp.partition("?")[0]
    if not namespace.startswith("/") or "," in namespace:
        raise PacketError("bad namespace")
    if len(namespace) > MAX_NAMESPACE:
        raise PacketError("namespace is too long")
    _check(packet)
    return Packet(packet.type, namespace, packet.data, packet.id)


def _check(packet: _Map) -> None:
    kind, data, number = packet.type, packet.data, packet.id
    if number is not None and not 0 <= number <= MAX_ID:
        raise PacketError("bad ack id")
    if kind == EVENT:
        if not isinstance(data, list) or not data or not isinstance(data[0], str) or data[0] in RESERVED:
            raise PacketError("bad event name")
    elif kind == ACK:
        if number is None or not isinstance(data, list):
            raise PacketError("bad packet")
    elif kind == CONNECT:
        if number is not None or not (data is None or isinstance(data, dict)):
            raise PacketError("bad packet")
    elif kind != DISCONNECT or number is not None or data is not None:
        raise PacketError("bad packet")


def encode_data(data: Any) -> tuple[bytes, tuple[bytes, ...]]:
    """Encode data; attachments there are none. `msgspec.Raw` in it is JSON, and is translated.

    Raises:
        LocalError: it cannot be sent, or is nested too deeply.
    """
    try:
        return _encode(_translate(data, MAX_DEPTH)), ()
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise LocalError(f"cannot be sent as msgpack: {error}") from error


def assemble(
    kind: int, namespace: str, body: bytes, attachments: tuple[bytes, ...] = (), number: int | None = None
) -> Outgoing:
    """Put an Engine.IO message together from encoded data; `attachments` must be empty."""
    if attachments:
        raise LocalError("a msgpack packet has no attachments")
    fields = [b"\xa4type%c\xa3nsp" % kind, _encode(namespace)]
    size = 2
    if body:
        fields += (b"\xa4data", body)
        size += 1
    if number is not None:
        fields += (b"\xa2id", _encode(number))
        size += 1
    return Outgoing(b"", (b"%c%b" % (0x80 + size, b"".join(fields)),))


def append(body: bytes, text: str | None) -> bytes:
    """Add one argument, null or a text, to the encoded arguments of an event."""
    first = body[0]
    if first < 0x9F:
        head, rest = b"%c" % (first + 1), body[1:]
    elif first == 0x9F:
        head, rest = b"\xdc\x00\x10", body[1:]
    elif first == 0xDC and body[1:3] != b"\xff\xff":
        head, rest = b"\xdc" + (int.from_bytes(body[1:3], "big") + 1).to_bytes(2, "big"), body[3:]
    else:
        raise LocalError("too many arguments")
    return head + rest + _encode(text)


def ends_in_text(_body: bytes, data: list[Any]) -> bool:
    """Whether the last argument of an event may be a text."""
    return not isinstance(data[-1], (dict, list, tuple, int, float, bytes, bytearray, memoryview, type(None)))


_SCALARS: Final = frozenset((str, int, float, bool, bytes, bytearray, type(None)))
_BUILTIN: Final = (bytes, bytearray, memoryview, datetime)


def _translate(value: Any, depth: int) -> Any:
    """Return data in the types that JavaScript's msgpack knows."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict or kind is list or kind is tuple:
        if depth == 0:
            raise LocalError("data is nested too deeply")
        if kind is dict:
            return {_key(key): _translate(item, depth - 1) for key, item in value.items()}
        return [_translate(item, depth - 1) for item in value]
    if isinstance(value, datetime) and value.tzinfo is not None:
        return msgspec.msgpack.Ext(EXTENSION, struct.pack(">q", (value - _EPOCH) // _MILLISECOND))
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    plain = msgspec.to_builtins(value, builtin_types=_BUILTIN, str_keys=True, enc_hook=_hook)
    return plain if type(plain) in _SCALARS else _translate(plain, depth)


def _key(key: Any) -> str:
    if type(key) is str:
        return key
    (name,) = msgspec.to_builtins({key: None}, str_keys=True)
    return str(name)


def _hook(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    raise TypeError(f"objects of type {type(value).__name__} cannot be sent")
