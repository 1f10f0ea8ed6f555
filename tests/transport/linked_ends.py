"""Two linked ends in memory: the server's mount on one, a client of another make's codecs on the other.

No port is opened: a WebSocket is the mount's own `Takeover` over a socket pair, a poll is a call of
`EngineServer.handle`. The client's end frames and unframes with ``websockets`` and reads packets with
python-engineio and python-socketio, so that both ends cannot share one mistake.
"""

import itertools
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import engineio.packet
import engineio.payload
import socketio.packet
import trio
import trio.testing
from transport_peers import KEY
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from flux.transport.http import Request, RequestError, Response
from flux.transport.http_mount import Exchange, Takeover
from flux.transport.socket_io import Server
from flux.transport.wire import Wire

engineio.payload.Payload.max_decode_packets = 100_000
_HEADERS = (
    (b"host", b"localhost"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", KEY.encode()),
    (b"sec-websocket-version", b"13"),
)
_QUERY = "/socket.io/?EIO=4&transport="


class BrokenEndError(AssertionError):
    """The server's end sent what the other make's codec does not take."""


class Reader:
    """Engine.IO messages in, Socket.IO packets out, by python-socketio."""

    def __init__(self) -> None:
        self.packets: list[socketio.packet.Packet] = []
        self.control: list[int] = []
        self._partial: Any = None

    def engine_packet(self, packet: engineio.packet.Packet) -> None:
        """Take a packet: messages are decoded further, the others' types noted."""
        if packet.packet_type != engineio.packet.MESSAGE:
            self.control.append(packet.packet_type)
        elif self._partial is not None:
            if not packet.binary:
                raise BrokenEndError("text where an attachment was due")
            if self._partial.add_attachment(packet.data):
                self.packets.append(self._partial)
                self._partial = None
        else:
            # python-engineio decodes messages that are JSON by themselves, such as the text "0".
            text = packet.data if isinstance(packet.data, str) else json.dumps(packet.data)
            decoded = socketio.packet.Packet(encoded_packet=text)
            if decoded.attachment_count:
                self._partial = decoded
            else:
                self.packets.append(decoded)

    def take(self) -> list[tuple[int, str, int | None, Any]]:
        """Hand over what came: type, namespace, ack id, data."""
        packets, self.packets = self.packets, []
        return [(p.packet_type, p.namespace or "/", p.id, p.data) for p in packets]


class WsEnd:
    """The client's end of a WebSocket session."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._protocol = Protocol(CLIENT, state=OPEN)
        self._head = b""
        self.reader = Reader()
        self.opening: dict[str, Any] | None = None
        self.close_code: int | None = None
        self.over = False

    def send_bytes(self, data: bytes) -> None:
        """Send raw bytes; a server that has closed takes none."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.over = True

    @staticmethod
    def frame(packet: str | bytes) -> bytes:
        """Return a masked frame."""
        opcode = Opcode.TEXT if isinstance(packet, str) else Opcode.BINARY
        data = packet.encode() if isinstance(packet, str) else packet
        return Frame(opcode, data).serialize(mask=True)

    def send(self, message: str | bytes) -> None:
        """Send one message."""
        self.send_bytes(self.frame("4" + message if isinstance(message, str) else message))

    def end(self) -> None:
        """Say that no more bytes will come."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.over = True

    def receive(self) -> None:
        """Take all that has come."""
        while not self.over:
            try:
                data = self._socket.recv(1 << 20)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            if not data:
                self.over = True
            self._take(data)

    def _take(self, data: bytes) -> None:
        if self._head is not None and b"\r\n\r\n" not in self._head:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                raise BrokenEndError(head)
            self._head = head + found
        self._protocol.receive_data(data)
        if self._protocol.parser_exc is not None and data:
            raise BrokenEndError(self._protocol.parser_exc)
        for frame in self._protocol.events_received():
            if frame.opcode is Opcode.CLOSE:  # type: ignore[union-attr]
                self.close_code = int.from_bytes(frame.data[:2], "big")  # type: ignore[union-attr]
            elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:  # type: ignore[union-attr]
                text = frame.opcode is Opcode.TEXT  # type: ignore[union-attr]
                self._message(str(frame.data, "utf-8") if text else bytes(frame.data))  # type: ignore[union-attr]

    def _message(self, message: str | bytes) -> None:
        packet = engineio.packet.Packet(encoded_packet=message)
        if self.opening is None:
            if packet.packet_type != engineio.packet.OPEN:
                raise BrokenEndError(message)
            self.opening = packet.data
        else:
            self.reader.engine_packet(packet)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


class _Answer:
    """Keeps the response to a poll."""

    def __init__(self) -> None:
        self.response: Response | None = None

    def respond(self, response: Response) -> None:
        """Take the response."""
        self.response = response


class PollEnd:
    """The client's end of a polling session."""

    def __init__(self, link: "Link", sid: str) -> None:
        self._link = link
        self.sid = sid
        self.reader = Reader()
        self._poll: _Answer | None = None

    async def ask(
        self, method: str, body: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> _Answer:
        """Send a request; its answer may come later."""
        target = f"{_QUERY}polling&sid={self.sid}"
        return await self._link.ask(Request(method, target, ((b"host", b"localhost"), *headers), body))

    async def send(self, *messages: str | bytes) -> None:
        """Post messages."""
        packets = [engineio.packet.Packet(engineio.packet.MESSAGE, message) for message in messages]
        answer = await self.ask("POST", engineio.payload.Payload(packets).encode().encode())
        assert answer.response is not None
        assert (answer.response.status, answer.response.body) == (200, b"ok")

    def receive_noop(self) -> None:
        """Take the answer that frees the poll for an upgrade."""
        assert self._poll is not None
        assert self._poll.response is not None
        assert self._poll.response.body == b"6"
        self._poll = None

    async def receive(self) -> None:
        """Poll until an answer lets wait."""
        while True:
            answer = self._poll or await self.ask("GET")
            self._poll = answer
            if answer.response is None:
                return
            self._poll = None
            assert answer.response.status == 200
            payload = engineio.payload.Payload(encoded_payload=answer.response.body.decode())
            for packet in payload.packets:
                self.reader.engine_packet(packet)


class Link:
    """A running mount and its clients' ends.

    Args:
        server: whose mount it is.
        nursery: runs the connections.
    """

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self.server = server
        self._nursery = nursery
        self._ends: list[WsEnd] = []
        self._peers = itertools.count(1)

    async def ask(self, request: Request) -> _Answer:
        """Have the mount answer a request; without a response the answer must wait."""
        answer = _Answer()
        if len(request.body) > self.server.engine.max_body:
            answer.response = self.server.engine.overflow(request)
            return answer
        try:
            response = await self.server.engine.handle(request, Exchange(answer))
        except RequestError as error:
            response = error.response
        assert not isinstance(response, Takeover)
        answer.response = answer.response or response
        return answer

    async def websocket(self, sid: str = "") -> WsEnd:
        """Open a WebSocket: a session of its own, or a probe for one."""
        extra = f"&sid={sid}" if sid else ""
        request = Request("GET", f"{_QUERY}websocket{extra}", _HEADERS)
        takeover = await self.server.engine.handle(request, Exchange(_Answer()))
        assert isinstance(takeover, Takeover)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        wire = Wire(ours, start=self._nursery.start_soon)
        self._nursery.start_soon(self._run, takeover, wire)
        end = WsEnd(theirs)
        self._ends.append(end)
        return end

    async def _run(self, takeover: Takeover, wire: Wire) -> None:
        try:
            await takeover.run(wire, b"")
        finally:
            wire.abort()

    async def polling(self) -> PollEnd:
        """Open a polling session."""
        answer = await self.ask(Request("GET", f"{_QUERY}polling", ((b"host", b"localhost"),)))
        assert answer.response is not None
        packet = engineio.packet.Packet(encoded_packet=answer.response.body.decode())
        return PollEnd(self, packet.data["sid"])

    async def settle(self) -> None:
        """Let everything run until nothing moves any more; then the ends have received all there is."""
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            for end in self._ends:
                end.receive()

    def close(self) -> None:
        """Give all sockets back."""
        for end in self._ends:
            end.close()


@asynccontextmanager
async def linked(server: Server) -> AsyncIterator[Link]:
    """Run a server's mount without a door; the end leaves nothing running."""
    async with trio.open_nursery() as nursery:
        await nursery.start(server.engine.run)
        async with trio.open_nursery() as connections:
            link = Link(server, connections)
            try:
                yield link
            finally:
                link.close()
                connections.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
