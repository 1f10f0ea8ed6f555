"""Peers for the transport's tests: a server on a loopback port, raw HTTP and raw WebSocket clients."""

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio

from flux.transport.door import Door
from flux.transport.http import App, Request, Response
from flux.transport.http_mount import Limits
from flux.transport.socket_io import Server

Address = tuple[str, int]
POLL = "/socket.io/?EIO=4&transport=polling"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3


_streams: list[trio.SocketStream] = []


def _close_streams() -> None:
    while _streams:
        _streams.pop().socket.close()


async def open_stream(address: Address) -> trio.SocketStream:
    """Connect; `served` closes what is still open at its end."""
    stream = await trio.open_tcp_stream(*address)
    _streams.append(stream)
    return stream


def hello(_request: Request) -> Response:
    """Answer any request the same."""
    return Response.text(200, "hello")


@asynccontextmanager
async def served(
    server: Server | None = None, app: App = hello, limits: Limits | None = None, *, leave: bool = True
) -> AsyncIterator[Address]:
    """Serve on a free loopback port; the block's end is an ordered stop.

    Args:
        server: what to mount.
        app: for the other paths.
        limits: of the door.
        leave: whether this module's clients go before the stop, which then need not wait for them.
    """
    mounts = {server.path: server.engine} if server is not None else {}
    door = Door(app=app, mounts=mounts, limits=limits or Limits(stop_seconds=2))
    await door.listen("127.0.0.1", 0)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(door.serve)
            yield door.addresses[0]
            if leave:
                _close_streams()
            nursery.cancel_scope.cancel()
    finally:
        _close_streams()


class Http:
    """One HTTP connection, by h11."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    async def connect(cls, address: Address) -> "Http":
        """Open a connection."""
        return cls(await open_stream(address))

    async def send(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Send a request."""
        fields = {"Host": "localhost", **(headers or {})}
        if body and "Transfer-Encoding" not in fields:
            fields["Content-Length"] = str(len(body))
        data = self._http.send(h11.Request(method=method, target=target, headers=list(fields.items())))
        if body:
            data += self._http.send(h11.Data(data=body))
        data += self._http.send(h11.EndOfMessage())
        await self.stream.send_all(data)

    async def receive(self) -> tuple[int, dict[str, str], bytes]:
        """Wait for the response: status, headers, body."""
        head: Any = None
        body = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self.stream.receive_some())
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                raise EOFError
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return head.status_code, {n.decode(): v.decode() for n, v in head.headers}, body

    async def ask(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request and wait for its response."""
        await self.send(method, target, headers, body)
        return await self.receive()


async def raw(address: Address, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes on a connection of their own, and return all that comes until the server closes it.

    Args:
        address: the server's.
        data: what is sent.
        end: whether our side ends behind it.
    """
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(data)
        if end:
            await stream.send_eof()
        received = b""
        try:
            while chunk := await stream.receive_some():
                received += chunk
        except trio.BrokenResourceError:
            received += b"<reset>"
        return received


class Polling:
    """An Engine.IO session by long-polling: every request on a connection of its own."""

    def __init__(self, address: Address, sid: str, hello: dict[str, Any], path: str) -> None:
        self.address = address
        self.sid = sid
        self.hello = hello
        self.target = f"{path}?EIO=4&transport=polling&sid={sid}"

    @classmethod
    async def open(cls, address: Address, path: str = "/socket.io/", **headers: str) -> "Polling":
        """Do the handshake."""
        http = await Http.connect(address)
        status, _, body = await http.ask("GET", f"{path}?EIO=4&transport=polling", headers)
        await http.stream.aclose()
        assert status == 200, body
        assert body[:1] == b"0"
        hello = json.loads(body[1:])
        return cls(address, hello["sid"], hello, path)

    async def get(self) -> bytes:
        """Poll: the payload; raises AssertionError where the status is not 200."""
        http = await Http.connect(self.address)
        async with http.stream:
            status, _, body = await http.ask("GET", self.target)
            assert status == 200, body
            return body

    async def post(self, body: bytes, **headers: str) -> tuple[int, bytes]:
        """Post a payload: status and answer."""
        http = await Http.connect(self.address)
        async with http.stream:
            status, _, answer = await http.ask("POST", self.target, headers, body)
            return status, answer


class Ws:
    """A raw WebSocket client: it sends whatever it is told to."""

    def __init__(self, stream: trio.SocketStream, head: str, buffer: bytes) -> None:
        self.stream = stream
        self.head = head
        self._buffer = buffer

    @classmethod
    async def connect(
        cls,
        address: Address,
        target: str = "/socket.io/?EIO=4&transport=websocket",
        headers: str = "",
        trailing: bytes = b"",
    ) -> "Ws":
        """Do the handshake; `trailing` follows it in the same segment. The status line is in `head`."""
        stream = await open_stream(address)
        await stream.send_all(
            f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
            + trailing
        )
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = await stream.receive_some()
            assert chunk, data
            data += chunk
        head, _, rest = data.partition(b"\r\n\r\n")
        return cls(stream, head.decode(), rest)

    @staticmethod
    def frame(payload: str | bytes, opcode: int | None = None, *, fin: bool = True) -> bytes:
        """Return a masked frame."""
        if opcode is None:
            opcode = 1 if isinstance(payload, str) else 2
        data = payload.encode() if isinstance(payload, str) else payload
        size = len(data)
        head = bytes([opcode | (0x80 if fin else 0)])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += bytes([0xFE]) + size.to_bytes(2, "big")
        else:
            head += bytes([0xFF]) + size.to_bytes(8, "big")
        mask = os.urandom(4)
        return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data))

    async def send(self, *payloads: str | bytes) -> None:
        """Send each as one frame, all in one segment."""
        await self.stream.send_all(b"".join(map(self.frame, payloads)))

    async def receive_frame(self) -> tuple[int, bytes]:
        """Wait for a frame: its opcode and payload; opcode -1 is the end of the connection."""
        while True:
            data = self._buffer
            if len(data) >= 2:
                size, start = data[1] & 127, 2
                if size == 126:
                    size, start = int.from_bytes(data[2:4], "big"), 4
                elif size == 127:
                    size, start = int.from_bytes(data[2:10], "big"), 10
                if len(data) >= start + size:
                    self._buffer = data[start + size :]
                    return data[0] & 15, data[start : start + size]
            try:
                chunk = await self.stream.receive_some()
            except trio.BrokenResourceError:
                chunk = b""
            if not chunk:
                return -1, b""
            self._buffer += chunk

    async def receive(self) -> str | bytes:
        """Wait for a message; a close frame or the end raises EOFError with the close code (or 0)."""
        opcode, payload = await self.receive_frame()
        if opcode == 1:
            return payload.decode()
        if opcode == 2:
            return payload
        raise EOFError(int.from_bytes(payload[:2], "big") if opcode == 8 else 0)

    async def closed(self) -> int:
        """Read to the end; return the close code, 0 if there was no close frame."""
        while True:
            try:
                await self.receive()
            except EOFError as end:
                return int(end.args[0])


async def open_ws(address: Address, namespace: str = "", auth: str = "") -> Ws:
    """Open a WebSocket session and join a namespace."""
    ws = await Ws.connect(address)
    assert (await ws.receive())[:1] == "0"
    comma = "," if namespace else ""
    await ws.send(f"40{namespace}{comma}{auth}")
    answer = await ws.receive()
    assert str(answer).startswith(f"40{namespace}{comma}{{"), answer
    return ws


async def ask(
    address: Address, method: str, target: str, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send one request on a connection of its own."""
    http = await Http.connect(address)
    async with http.stream:
        return await http.ask(method, target, {k.replace("_", "-"): v for k, v in headers.items()})


def watched(**options: Any) -> tuple[Server, list[str]]:
    """Return a server and the list of its clients' disconnect reasons."""
    server = Server(**options)
    reasons: list[str] = []
    server.on("disconnect", lambda _sid, reason: reasons.append(reason))
    server.on("echo", lambda sid, *args: server.emit("echo", args, to=sid))
    return server, reasons


async def joined(address: Address) -> Polling:
    """Open a polling session in the default namespace."""
    poll = await Polling.open(address)
    assert await poll.post(b"40") == (200, b"ok")
    assert (await poll.get()).startswith(b"40{")
    return poll


async def upgraded(address: Address, poll: Polling) -> Ws:
    """Upgrade a session that has no poll outstanding."""
    ws = await Ws.connect(address, f"/socket.io/?EIO=4&transport=websocket&sid={poll.sid}")
    await ws.send("2probe")
    assert await ws.receive() == "3probe"
    await ws.send("5")
    return ws


async def until(condition: Any) -> None:
    """Wait for something that needs loopback traffic."""
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - it turns true on the other side of a socket
            await trio.sleep(0.01)


async def heard(ws: Ws) -> list[Any]:
    """Receive an event: its name and arguments."""
    message = str(await ws.receive())
    assert message.startswith("42"), message
    return list(json.loads(message[2:]))


async def port_of(process: trio.Process) -> int:
    """Wait for the line with which a server process tells its port; log lines may come before it."""
    assert process.stdout is not None
    output = b""
    while True:
        found = re.search(rb"^(\d+)\n", output, re.MULTILINE)
        if found is not None:
            return int(found[1])
        chunk = await process.stdout.receive_some()
        assert chunk, output
        output += chunk
