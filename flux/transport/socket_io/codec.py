"""Socket.IO v5 packets: text with binary attachments to packets and back; pure.

Format: type digit, number of attachments and ``-``, namespace and ``,``, ack id, JSON (Socket.IO protocol,
    "Packet
encoding"). Bytes inside the data travel as attachments; ``{"_placeholder": true, "num": n}`` holds their
place.
"""

import re
from typing import Any

import msgspec
from attrs import define
from socketio.packet import ACK, BINARY_ACK, BINARY_EVENT, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT

from flux.errors import LocalError
from flux.transport.engine_io.codec import Outgoing, PacketError

__all__ = [
    "ACK",
    "CONNECT",
    "CONNECT_ERROR",
    "DISCONNECT",
    "EVENT",
    "RESERVED",
    "Decoder",
    "Packet",
    "encode",
]

MAX_ATTACHMENTS = 10
MAX_DEPTH = 100
"""Nested arrays and objects; real payloads have about ten levels, recursive code stands a few hundred."""
MAX_NAMESPACE = 256
RESERVED = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)

_WHOLE = {BINARY_EVENT: EVENT, BINARY_ACK: ACK}
_HEAD = re.compile(r"([0-6])(?:([0-9]{1,3})-)?(?:(/[^,]*)(?:,|\Z))?([0-9]{1,15})?")
# Possessive, and a string without an end is one too: else half a megabyte of them would take an hour.
_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_ARRAY = msgspec.json.Decoder(list[Any])
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_encode_json = msgspec.json.Encoder().encode


@define
class Packet:
    """A whole packet from a client.

    Args:
        kind: CONNECT, DISCONNECT, EVENT or ACK; binary ones are reassembled.
        namespace: ``/`` or a name with a leading slash.
        data: CONNECT: a dict or None; EVENT: the name and its arguments; ACK: the arguments.
        id: of the ack asked for, or answered.
    """

    kind: int
    namespace: str = "/"
    data: Any = None
    id: int | None = None


class Decoder:
    """Messages of one client in, whole packets out.

    Args:
        max_bytes: of all attachments of one packet together.
        attachments: of one packet.
        depth: of nested arrays and objects.
    """

    __slots__ = (
        "_attachments",
        "_depth",
        "_expected",
        "_max_attachments",
        "_max_bytes",
        "_pending",
        "_size",
    )

    def __init__(self, max_bytes: int, attachments: int = MAX_ATTACHMENTS, depth: int = MAX_DEPTH) -> None:
        self._max_bytes = max_bytes
        self._max_attachments = attachments
        self._depth = depth
        self._pending: Packet | None = None
        self._attachments: list[bytes] = []
        self._expected = 0
        self._size = 0

    def feed(self, message: str | bytes) -> Packet | None:
        """Take a message.

        Returns:
            The packet that it completes, or None while attachments are missing.

        Raises:
            PacketError: no packet, one that a client must not send, or over a bound.
        """
        if isinstance(message, bytes):
            return self._attach(message)
        if self._pending is not None:
            raise PacketError("text where an attachment was due")
        if message[:2] == "2[":  # nearly all packets: spares the expression
            return Packet(EVENT, "/", _event(message[1:], self._depth))
        packet, attachments = decode(message, self._max_attachments, self._depth)
        if attachments:
            self._pending = packet
            self._expected = attachments
            return None
        return packet

    def _attach(self, data: bytes) -> Packet | None:
        packet = self._pending
        if packet is None:
            raise PacketError("attachment without a packet")
        self._size += len(data)
        if self._size > self._max_bytes:
            raise PacketError("attachments are too large")
        self._attachments.append(data)
        if len(self._attachments) < self._expected:
            return None
        attachments, self._attachments = self._attachments, []
        self._pending = None
        self._size = 0
        return Packet(packet.kind, packet.namespace, _fill(packet.data, attachments), packet.id)


def decode(text: str, max_attachments: int = MAX_ATTACHMENTS, depth: int = MAX_DEPTH) -> tuple[Packet, int]:
    """Decode a text message.

    Returns:
        The packet, and how many attachments follow; with attachments its kind is that of the whole packet
        already, and its data has placeholders.

    Raises:
        PacketError: see `Decoder.feed`.
    """
    match = _HEAD.match(text)
    if match is None:
        raise PacketError("unknown packet type")
    kind = int(match[1])
    attachments = _attachments(kind, match[2], max_attachments)
    kind = _WHOLE.get(kind, kind)
    namespace = (match[3] or "/").partition("?")[0]
    if len(namespace) > MAX_NAMESPACE:
        raise PacketError("namespace is too long")
    number = None if match[4] is None else int(match[4])
    return Packet(kind, namespace, _data(kind, number, text[match.end() :], depth), number), attachments


def _attachments(kind: int, digits: str | None, bound: int) -> int:
    if kind not in (BINARY_EVENT, BINARY_ACK):
        if digits is not None:
            raise PacketError("attachments on a text packet")
        return 0
    if digits is None:
        raise PacketError("number of attachments is missing")
    if int(digits) > bound:
        raise PacketError("too many attachments")
    return int(digits)


def _data(kind: int, number: int | None, body: str, depth: int) -> Any:
    if kind == EVENT:
        return _event(body, depth)
    if kind == ACK and number is not None:
        return _array(body, depth)
    if kind == CONNECT and number is None:
        return _object(body, depth) if body else None
    if kind == DISCONNECT and number is None and not body:
        return None
    raise PacketError("bad packet")


def _event(body: str, depth: int) -> list[Any]:
    data = _array(body, depth)
    if not data or not isinstance(data[0], str) or data[0] in RESERVED:
        raise PacketError("bad event name")
    return data


def _array(body: str, depth: int) -> list[Any]:
    _check_depth(body, depth)
    try:
        return _ARRAY.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise PacketError("data is no JSON array") from None


def _object(body: str, depth: int) -> dict[str, Any]:
    _check_depth(body, depth)
    try:
        return _OBJECT.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise PacketError("data is no JSON object") from None


def _check_depth(text: str, bound: int) -> None:
    if text.count("[") + text.count("{") <= bound:
        return
    depth = 0
    for match in _BRACKETS.finditer(text):
        first = match[0][0]
        if first in "[{":
            depth += 1
            if depth > bound:
                raise PacketError("data is nested too deeply")
        elif first in "]}":
            depth -= 1


def _fill(value: Any, attachments: list[bytes]) -> Any:
    """Put attachments in the place of their placeholders."""
    if isinstance(value, list):
        return [_fill(item, attachments) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("_placeholder") is not True:
        return {key: _fill(item, attachments) for key, item in value.items()}
    number = value.get("num")
    if type(number) is not int or not 0 <= number < len(attachments):
        raise PacketError("placeholder without an attachment")
    return attachments[number]


def encode(kind: int, namespace: str = "/", data: Any = None, number: int | None = None) -> Outgoing:
    """Encode a packet.

    Args:
        kind: CONNECT, DISCONNECT, CONNECT_ERROR, EVENT or ACK.
        namespace: ``/`` or a name with a leading slash.
        data: what goes into JSON; None is left out. `msgspec.Raw` inside it is relayed untouched.
        number: the ack's id.

    Raises:
        LocalError: the data is no JSON (with bytes), nested too deeply, or has too many attachments.
    """
    body, attachments = encode_data(data) if data is not None else (b"", ())
    return assemble(kind, namespace, body, attachments, number)


def assemble(
    kind: int, namespace: str, body: bytes, attachments: tuple[bytes, ...] = (), number: int | None = None
) -> Outgoing:
    """Put an Engine.IO message together from encoded data; see `encode` and `encode_data`."""
    if attachments:
        kind = BINARY_EVENT if kind == EVENT else BINARY_ACK
        head = b"4%d%d-" % (kind, len(attachments))
    else:
        head = b"4%d" % kind
    if namespace != "/":
        head += namespace.encode() + b","
    if number is not None:
        head += b"%d" % number
    return Outgoing(head + body, attachments)


def encode_data(data: Any) -> tuple[bytes, tuple[bytes, ...]]:
    """Encode data as JSON, and take the bytes out of it.

    Raises:
        LocalError: see `encode`.
    """
    attachments: list[bytes] = []
    if _has_binary(data, MAX_DEPTH):
        data = _take_binary(data, attachments)
        if len(attachments) > MAX_ATTACHMENTS:
            raise LocalError(f"more than {MAX_ATTACHMENTS} binary attachments in one packet")
    try:
        return _encode_json(data), tuple(attachments)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise LocalError(f"cannot be sent as JSON: {error}") from error


def append(body: bytes, text: str | None) -> bytes:
    """Add one argument, a plain ASCII text or null, to the encoded arguments of an event."""
    return body[:-1] + (b",null]" if text is None else b',"%b"]' % text.encode())


def ends_in_text(body: bytes, _data: list[Any]) -> bool:
    """Whether the last argument of an event, or its name if there is none, is a text."""
    return body[:-1].rstrip().endswith(b'"')


_PLAIN = frozenset((str, int, float, bool, type(None), msgspec.Raw))
_BINARY = (bytes, bytearray, memoryview)


def _has_binary(value: Any, depth: int) -> bool:
    if isinstance(value, _BINARY):
        return True
    if isinstance(value, dict):
        items: Any = value.values()
    elif isinstance(value, (list, tuple)):
        items = value
    else:
        return False
    if depth == 0:
        raise LocalError("data is nested too deeply")
    found = False
    for item in items:
        if type(item) not in _PLAIN and _has_binary(item, depth - 1):
            found = True
    return found


def _take_binary(value: Any, attachments: list[bytes]) -> Any:
    if isinstance(value, _BINARY):
        attachments.append(bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, dict):
        return {key: _take_binary(item, attachments) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_binary(item, attachments) for item in value]
    return value
