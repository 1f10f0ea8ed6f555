"""WebSocket on the server (RFC 6455): the handshake, frames out, whole messages in.

The sans-I/O part of ``websockets`` parses all but the common frame. What it leaves open is done here:
reassembly of messages with a bound on the number of fragments, UTF-8 of text (close code 1007), and server
frames, which are unmasked and without state, so that one frame serves every member of a broadcast.
"""

import binascii
import hashlib
import logging
import math
import re
import struct
from collections.abc import Iterator, Sequence

from prometheus_client import Counter
from websockets.datastructures import Headers
from websockets.extensions import Extension
from websockets.frames import CONT, PING, PONG, TEXT, CloseCode, Frame, Opcode
from websockets.http11 import Request as HandshakeRequest
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.server import ServerProtocol
from websockets.typing import BytesLike

from flux.errors import RemoteError
from flux.metrics import REGISTRY
from flux.transport.http import Request, Response
from flux.transport.wire import Wire

try:
    from websockets.speedups import apply_mask
except ImportError:  # built without a C compiler
    from websockets.utils import apply_mask

FAILURES = Counter(
    "flux_websocket_failures_total", "Connections failed, by close code", ["code"], registry=REGISTRY
)

MAX_FRAGMENTS = 1024
"""Frames of one message; a browser sends one, a proxy may split a message into a few dozen."""

_OPCODES = frozenset((0, 1, 2, 8, 9, 10))
_SILENT = logging.getLogger("flux.websocket.frames")
_SILENT.setLevel(
    logging.CRITICAL + 1
)  # a log line per closed connection says nothing that the server's own does not


class HandshakeError(RemoteError):
    """The request is no valid WebSocket handshake.

    Args:
        response: the answer to it.
    """

    def __init__(self, response: Response) -> None:
        super().__init__("bad websocket handshake")
        self.response = response


def frame_text(payload: bytes) -> bytes:
    """Return an unmasked, final text frame; the payload must be UTF-8."""
    return _head(0x81, len(payload)) + payload


def frame_binary(payload: bytes) -> bytes:
    """Return an unmasked, final binary frame."""
    return _head(0x82, len(payload)) + payload


def frame_close(code: int) -> bytes:
    """Return a close frame without a text."""
    return b"\x88\x02" + struct.pack("!H", code)


def _head(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


def is_upgrade(request: Request) -> bool:
    """Whether a request asks for a WebSocket."""
    value = request.header(b"upgrade")
    return value is not None and value.lower() == b"websocket"


_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEAD = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)


def _accept_common(request: Request) -> bytes | None:
    """Accept a handshake as browsers send it (RFC 6455, 4.2.1); None: let the library judge."""
    fields = dict(request.headers)
    key = fields.get(b"sec-websocket-key", b"")
    if (
        request.method == "GET"
        and request.http_version == "1.1"
        and len(fields) == len(request.headers)
        and fields.get(b"upgrade", b"").lower() == b"websocket"
        and fields.get(b"connection", b"").lower() in (b"upgrade", b"keep-alive, upgrade")
        and fields.get(b"sec-websocket-version") == b"13"
        and b"sec-websocket-protocol" not in fields
        and _KEY.fullmatch(key)
    ):
        digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
        return _HEAD % binascii.b2a_base64(digest, newline=False)
    return None


def accept(request: Request) -> bytes:
    """Check a handshake and return the head of the 101 response.

    Raises:
        HandshakeError: with the response to send instead.
    """
    common = _accept_common(request)
    if common is not None:
        return common
    headers = Headers()
    for name, value in request.headers:
        headers[name.decode("ascii")] = value.decode("latin-1")
    protocol = ServerProtocol(logger=_SILENT)
    answer = protocol.accept(HandshakeRequest(request.target, headers))
    if answer.status_code != 101 or request.http_version != "1.1" or request.method != "GET":
        status = max(answer.status_code, 400)
        extra = tuple(
            (name.encode(), value.encode())
            for name, value in answer.headers.raw_items()
            if name.lower() in ("upgrade", "sec-websocket-version")
        )
        raise HandshakeError(Response(status, b"bad websocket handshake\n", extra))
    return _HEAD % answer.headers["Sec-WebSocket-Accept"].encode()


def borders(data: bytes, start: int) -> tuple[int, float] | None:
    """Find the borders of a client's frame (RFC 6455, 5.2).

    Args:
        data: may end anywhere.
        start: of the frame.

    Returns:
        Where its payload begins, and its bytes, `math.inf` for what no client may send; None if the head is
        not complete.
    """
    known = len(data) - start
    if known < 2:
        return None
    second = data[start + 1]
    if second < 0x80 or data[start] & 15 not in _OPCODES:
        return start, math.inf
    size = second & 0x7F
    head = start + 6
    if size == 126:
        if known < 4:
            return None
        size = int.from_bytes(data[start + 2 : start + 4], "big")
        head = start + 8
    elif size == 127:
        if known < 10:
            return None
        size = int.from_bytes(data[start + 2 : start + 10], "big")
        head = start + 14
    return head, size


class Messages:
    """Bytes of one connection in, whole messages out; control frames are answered on the wire.

    A data frame that is whole, whatever most clients ever send, is read here. Any other frame is handed to
    the parser of ``websockets``, frame by frame (`borders` finds the borders), so that its strictness and
    its answers hold.

    Args:
        wire: where pongs and close frames go.
        max_size: bytes of the largest message.
        max_fragments: frames of one message; past them 1008.
        extensions: negotiated ones, which decode frames.

    Attributes:
        ended: no message will come any more; our side is closed.
        failed: it ended because the peer broke the protocol.
    """

    __slots__ = (
        "_due",
        "_fragments",
        "_max_fragments",
        "_max_size",
        "_parser",
        "_plain",
        "_rest",
        "_text",
        "_wire",
        "ended",
        "failed",
    )

    def __init__(
        self,
        wire: Wire,
        max_size: int,
        max_fragments: int = MAX_FRAGMENTS,
        extensions: Sequence[Extension] | None = None,
    ) -> None:
        self._wire = wire
        self._max_size = max_size
        self._max_fragments = max_fragments
        self._parser: Protocol | None = None
        self._fragments: list[bytes] | None = None
        self._text = False
        self._rest = b""
        self._due: float = 0
        self._plain = not extensions
        self.ended = False
        self.failed = False
        if extensions:
            self._protocol().extensions = list(extensions)
            self._due = math.inf

    def single(self, data: bytes) -> str | None:
        """Return the message if `data` is one short text frame and no more, as nearly all reads are.

        None: nothing was taken, `feed` it.
        """
        size = len(data) - 6
        if (
            self._plain
            and 0 <= size < 126
            and data[0] == 0x81
            and data[1] == size | 0x80
            and size <= self._max_size
        ):
            try:
                return str(apply_mask(data[6:], data[2:6]), "utf-8")
            except UnicodeDecodeError:
                pass
        return None

    def feed(self, data: bytes) -> Iterator[str | bytes]:
        """Yield the messages that `data` completes; none after a close frame or an error (`ended`)."""
        self._plain = False
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position = 0
        while position < len(data) and not self.ended:
            if self._due:
                piece = data[position : position + int(min(self._due, len(data)))]
                self._due -= len(piece)
                position += len(piece)
                yield from self._parse(piece)
                continue
            frame = borders(data, position)
            if frame is None:
                self._rest = data[position:]
                return
            head, size = frame
            if (
                data[position] in (0x81, 0x82)
                and self._fragments is None
                and head + size <= len(data)
                and size <= self._max_size
            ):
                text = data[position] == 0x81
                payload = apply_mask(data[head : head + int(size)], data[head - 4 : head])
                position = head + int(size)
                message = self._decoded(payload) if text else payload
                if message is not None:
                    yield message
            else:
                self._due = head + size - position
        self._plain = not (self._due or self.ended or self._fragments is not None)

    def _parse(self, data: bytes) -> Iterator[str | bytes]:
        protocol = self._protocol()
        protocol.receive_data(data)
        for frame in protocol.events_received():
            if self.ended:
                return
            message = self._message(frame)  # type: ignore[arg-type] # an open connection yields frames only
            if message is not None:
                yield message
        if protocol.writes:
            self._write(protocol)

    def _protocol(self) -> Protocol:
        if self._parser is None:
            self._parser = Protocol(SERVER, state=OPEN, max_size=self._max_size, logger=_SILENT)
        return self._parser

    def fail(self, code: int) -> None:
        """Fail the connection (RFC 6455, 7.1.7): send the close code, and half-close."""
        self._plain = False
        if not self.ended:
            protocol = self._protocol()
            protocol.fail(CloseCode(code))
            self._write(protocol)

    def _message(self, frame: Frame) -> str | bytes | None:
        opcode = frame.opcode
        if opcode is PING or opcode is PONG or opcode is Opcode.CLOSE:
            return None
        data = frame.data
        if not frame.fin:
            if self._fragments is None:
                self._fragments = []
                self._text = opcode is TEXT
            self._fragments.append(bytes(data))
            if len(self._fragments) > self._max_fragments:
                self.fail(1008)
            return None
        text = opcode is TEXT
        if opcode is CONT:
            text = self._text
            data = b"".join([*(self._fragments or ()), data])
            self._fragments = None
        return self._decoded(data) if text else bytes(data)

    def _decoded(self, data: BytesLike) -> str | None:
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError:
            self.fail(1007)
            return None

    def _write(self, protocol: Protocol) -> None:
        for data in protocol.data_to_send():
            if data:
                self._wire.write(data)
            else:  # the parser's sign for the end of our side
                self.ended = True
                self._wire.finish()
                sent = protocol.close_sent
                if protocol.close_rcvd is None and sent is not None:
                    self.failed = True
                    FAILURES.labels(sent.code).inc()
