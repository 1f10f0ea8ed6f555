"""The limit of a pure Python server: frames built once, then one `socket.send` per client in a plain loop.

A minimal WebSocket + Engine.IO 4 + Socket.IO 5 server without pings. With a BATCH in ``go`` that many events
are joined to one send. Takes a port.
"""

import base64
import hashlib
import json
import select
import selectors
import socket
import sys
import time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HELLO = b'0{"sid":"e%017d","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)


def frame(text: bytes) -> bytes:
    """Return an unmasked text frame."""
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    return b"\x81\x7e" + size.to_bytes(2, "big") + text


def put(sock: socket.socket, data: bytes) -> None:
    """Send all, waiting where the buffer is full: the slow way, seldom taken."""
    view = memoryview(data)
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            poll.poll(1000)


class Limit:
    """The server: all state of all clients.

    Args:
        port: of 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.room: dict = {}
        self.rests: dict = {}
        self.upgraded: set = set()
        self.sent = self.count = 0
        self.batch = 1
        self.rate = self.start = 0.0
        self.pad = ""

    def text(self, sock: socket.socket, text: bytes) -> None:
        """Take a message."""
        if text[:2] == b"40":
            put(sock, frame(b'40{"sid":"s%017d"}' % sock.fileno()))
        elif text.startswith(b'42["echo"'):
            put(sock, frame(text))
        elif text.startswith(b'42["join"'):
            self.room[sock] = sock.send
        elif text.startswith(b'42["go"'):
            _, self.count, size, self.rate, *batch = json.loads(text[2:])
            self.batch = batch[0] if batch else 1
            self.pad, self.sent, self.start = "x" * size, 0, time.monotonic()

    def readable(self, sock: socket.socket) -> None:
        """Read what is there; in it the handshake, or frames."""
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(sock)
            self.room.pop(sock, None)
            self.rests.pop(sock, None)
            self.upgraded.discard(sock)
            sock.close()
            return
        data = self.rests.pop(sock, b"") + data
        if sock not in self.upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self.rests[sock] = head
                return
            self.upgrade(sock, head)
        self.frames(sock, data)

    def frames(self, sock: socket.socket, data: bytes) -> None:
        """Take whole frames, and keep the rest."""
        while len(data) >= 6:
            size, start = data[1] & 127, 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            if len(data) < start + 4 + size:
                break
            mask, body = data[start : start + 4], data[start + 4 : start + 4 + size]
            key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
            body = (int.from_bytes(body, "little") ^ key).to_bytes(size, "little")
            opcode, data = data[0] & 15, data[start + 4 + size :]
            if opcode == 1:
                self.text(sock, body)
        if data:
            self.rests[sock] = data

    def upgrade(self, sock: socket.socket, head: bytes) -> None:
        """Answer the handshake, and open the session."""
        (key,) = (
            line.split(b":", 1)[1].strip()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())  # noqa: S324 - RFC 6455 wants SHA-1
        put(sock, ACCEPT + accept + b"\r\n\r\n" + frame(HELLO % sock.fileno()))
        self.upgraded.add(sock)

    def fan_out(self) -> None:
        """Send the next batch to the room."""
        last = min(self.sent + self.batch, self.count)
        frames = []
        for i in range(self.sent, last):
            event = ["tick", {"ts": time.time_ns() // 1000, "i": i, "pad": self.pad}]
            frames.append(frame(b"42" + json.dumps(event, separators=(",", ":")).encode()))
        self.sent = last
        data = b"".join(frames)
        size = len(data)
        for sock, send in self.room.items():
            try:
                sent = send(data)
            except BlockingIOError:
                sent = 0
            if sent != size:
                put(sock, data[sent:])

    def wait(self) -> float | None:
        """Return the seconds until the next batch is due; None if there is none."""
        if self.sent >= self.count:
            return None
        if not self.rate:
            return 0
        return max(0.0, self.start + self.sent / self.batch / self.rate - time.monotonic())

    def run(self) -> None:
        """Serve until killed."""
        while True:
            for key, _ in self.selector.select(self.wait()):
                if key.fileobj is not self.listener:
                    self.readable(key.fileobj)
                    continue
                while True:
                    try:
                        sock, _ = self.listener.accept()
                    except BlockingIOError:
                        break
                    sock.setblocking(False)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.selector.register(sock, selectors.EVENT_READ)
            while self.wait() == 0:
                self.fan_out()
                if not self.rate:
                    break


if __name__ == "__main__":
    Limit(int(sys.argv[1])).run()
