"""WebSocket on the server (RFC 6455): the handshake, frames out, whole messages in.

The frame parser is the sans-I/O part of ``websockets``. What it leaves open is done here: reassembly of
messages with a bound on the number of fragments, UTF-8 of text (close code 1007), and server frames, which
are unmasked and without state, so that one frame serves every member of a broadcast.
"""

import logging
import struct
from collections.abc import Iterator, Sequence

from prometheus_client import Counter
from websockets.datastructures import Headers
from websockets.extensions import Extension
from websockets.frames import CONT, PING, PONG, TEXT, CloseCode, Frame, Opcode
from websockets.http11 import Request as HandshakeRequest
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.server import ServerProtocol

from flux.errors import RemoteError
from flux.metrics import REGISTRY
from flux.transport.http import Request, Response
from flux.transport.wire import Wire

FAILURES = Counter(
    "flux_websocket_failures_total", "Connections failed, by close code", ["code"], registry=REGISTRY
)

MAX_FRAGMENTS = 1024
"""Frames of one message; a browser sends one, a proxy may split a message into a few dozen."""

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


def accept(request: Request) -> bytes:
    """Check a handshake and return the head of the 101 response.

    Raises:
        HandshakeError: with the response to send instead.
    """
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
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + answer.headers["Sec-WebSocket-Accept"].encode() + b"\r\n\r\n"
    )


class Messages:
    """Bytes of one connection in, whole messages out; control frames are answered on the wire.

    Args:
        wire: where pongs and close frames go.
        max_size: bytes of the largest message.
        max_fragments: frames of one message; past them 1008.
        extensions: negotiated ones, which decode frames.

    Attributes:
        ended: no message will come any more; our side is closed.
        failed: it ended because the peer broke the protocol.
    """

    __slots__ = ("_fragments", "_max_fragments", "_protocol", "_text", "_wire", "ended", "failed")

    def __init__(
        self,
        wire: Wire,
        max_size: int,
        max_fragments: int = MAX_FRAGMENTS,
        extensions: Sequence[Extension] | None = None,
    ) -> None:
        self._wire = wire
        self._max_fragments = max_fragments
        self._protocol = Protocol(SERVER, state=OPEN, max_size=max_size, logger=_SILENT)
        if extensions:
            self._protocol.extensions = list(extensions)
        self._fragments: list[bytes] | None = None
        self._text = False
        self.ended = False
        self.failed = False

    def feed(self, data: bytes) -> Iterator[str | bytes]:
        """Yield the messages that `data` completes; none after a close frame or an error (`ended`)."""
        protocol = self._protocol
        protocol.receive_data(data)
        for frame in protocol.events_received():
            if self.ended:
                return
            message = self._message(frame)  # type: ignore[arg-type] # an open connection yields frames only
            if message is not None:
                yield message
        if protocol.writes:
            self._write()

    def fail(self, code: int) -> None:
        """Fail the connection (RFC 6455, 7.1.7): send the close code, and half-close."""
        if not self.ended:
            self._protocol.fail(CloseCode(code))
            self._write()

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
        if not text:
            return bytes(data)
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError:
            self.fail(1007)
            return None

    def _write(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._wire.write(data)
            else:  # the parser's sign for the end of our side
                self.ended = True
                self._wire.finish()
                sent = self._protocol.close_sent
                if self._protocol.close_rcvd is None and sent is not None:
                    self.failed = True
                    FAILURES.labels(sent.code).inc()
