"""From SIGTERM to the end of a server with many idle clients: python -m bench.idle_stop [clients]."""

import resource
import select
import signal
import socket
import subprocess
import sys
import time

SERVE = """
import signal
import sys
import structlog
import trio
from flux.transport.door import Door
from flux.transport.socket_io import Server

async def main():
    server = Server()
    door = Door(mounts={server.path: server.engine})
    await door.listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            print(door.addresses[0][1], flush=True)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
trio.run(main)
"""
HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
JOIN = b"\x81\x82\0\0\0\x0040"  # a masked text frame, all zeros its key
GOODBYE = b"\x88\x82\0\0\0\0\x03\xe9"


def connect(port: int) -> socket.socket:
    """Open a session and join the default namespace."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(HANDSHAKE + JOIN)
    answer = b""
    while b"40{" not in answer:
        answer += sock.recv(4096)
    return sock


def main() -> None:
    """Print the seconds."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 1000), hard))
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:  # noqa: S603 - our own
        assert server.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        port = int(server.stdout.readline())
        clients = {}
        events = select.epoll()
        for _ in range(count):
            sock = connect(port)
            clients[sock.fileno()] = sock
            events.register(sock, select.EPOLLIN)
        time.sleep(1)
        began = time.perf_counter()
        server.send_signal(signal.SIGTERM)
        while clients:
            for number, _ in events.poll(5):
                sock = clients.pop(number)
                if sock.recv(100)[:1] == b"\x88":
                    sock.send(GOODBYE)
                sock.close()
        told = time.perf_counter() - began
        server.wait(30)
        took = time.perf_counter() - began
    sys.stdout.write(f"{count} idle clients: all told after {told:.2f} s, process gone after {took:.2f} s\n")


if __name__ == "__main__":
    main()
