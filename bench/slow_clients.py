"""Readers that stop reading among many good ones: python -m bench.slow_clients [clients] [deaf ones].

Every half second all clients get a small event, and those that will go deaf a large one. First all read; then
the deaf ones stop, until the server has cut each of them; then the others go on. The latency of the good ones
(from `emit` to their `recv`) and the server's memory are given for each of the three phases.
"""

import select
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench.idle_stop import HANDSHAKE, JOIN

PHASE_SECONDS = 10.0
OUTBOX = 131_072
"""Bytes: with 1,000 deaf clients the outboxes may take 128 MiB."""
SEND_BUFFER = 65_536

SERVE = f"""
import socket
import sys
import time
import structlog
import trio
from flux.transport.door import Door
from flux.transport.socket_io import Server

reasons = {{}}

async def main():
    server = Server(outbox_limit={OUTBOX})

    @server.on("deaf")
    def deaf(sid):
        server.enter_room(sid, "deaf")

    @server.on("disconnect")
    def gone(sid, reason):
        reasons[reason] = reasons.get(reason, 0) + 1

    door = Door(mounts={{server.path: server.engine}})
    await door.listen("127.0.0.1", 0)
    for listener in door._listeners:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, {SEND_BUFFER})
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        print(door.addresses[0][1], flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        while True:
            await trio.sleep(0.25)
            server.emit("bulk", "x" * 20_000, room="deaf")
            await trio.sleep(0.25)
            server.emit("at", f"{{time.monotonic_ns():020}}" + "x" * 150)
            queued = sum(c.wire.queued for c in server.engine.clients.values() if c.wire is not None)
            print(queued, reasons.get("slow client", 0), sum(reasons.values()), flush=True)

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
trio.run(main)
"""


class Crowd:
    """The clients: all sockets in one epoll.

    Args:
        port: the server's.
        count: of all clients.
        deaf: how many of them will stop reading.
    """

    def __init__(self, port: int, count: int, deaf: int) -> None:
        self._events = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._deaf: set[int] = set()
        self.latencies: list[float] = []
        for number in range(count):
            sock = socket.socket()
            sock.connect(("127.0.0.1", port))
            sock.sendall(HANDSHAKE + JOIN)
            answer = b""
            while b"40{" not in answer:
                answer += sock.recv(4096)
            if number < deaf:
                self._deaf.add(sock.fileno())
                sock.sendall(b'\x81\x8a\0\0\0\x0042["deaf"]')
            sock.setblocking(False)
            self._sockets[sock.fileno()] = sock
            self._events.register(sock, select.EPOLLIN)

    def go_deaf(self) -> None:
        """Stop reading; the windows shut soon."""
        for number in self._deaf:
            self._events.unregister(number)
            self._sockets[number].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def read(self, seconds: float) -> None:
        """Read for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for number, _ in self._events.poll(left):
                try:
                    data = self._sockets[number].recv(65536)
                except OSError:
                    data = b""
                if not data:
                    self._events.unregister(number)
                    continue
                start = data.find(b'42["at","')
                if start >= 0 and len(data) >= start + 29 and number not in self._deaf:
                    self.latencies.append(time.monotonic_ns() / 1e9 - int(data[start + 9 : start + 29]) / 1e9)
                if b"\x89" in data[:1] or data[:3] == b"\x81\x012":
                    self._sockets[number].send(b"\x81\x81\0\0\0\x003")


def resident(pid: int) -> float:
    """Return a process' resident memory in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


def report(phase: str, crowd: Crowd, pid: int, state: str) -> None:
    """Print a phase's figures, and begin the next."""
    values = sorted(crowd.latencies)
    crowd.latencies = []
    p50, p99 = (values[int(len(values) * share)] * 1000 for share in (0.5, 0.99))
    queued, slow, gone = map(int, state.split())
    sys.stdout.write(
        f"{phase:12} p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  server {resident(pid):6.0f} MiB  "
        f"outboxes {queued / 2**20:5.1f} MiB  cut as slow {slow}  gone in all {gone}\n"
    )
    sys.stdout.flush()


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    deaf = int(sys.argv[2]) if len(sys.argv) > 2 else count // 10
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    ) as server:
        assert server.stdin is not None  # noqa: S101 - for the type checker: these are pipes
        assert server.stdout is not None  # noqa: S101 - as above
        try:
            crowd = Crowd(int(server.stdout.readline()), count, deaf)
            server.stdin.write(b"go\n")
            crowd.read(2)
            crowd.latencies = []

            def state() -> str:
                return server.stdout.read(65536).split(b"\n")[-2].decode()  # type: ignore[union-attr]

            state()
            crowd.read(PHASE_SECONDS)
            report("all read", crowd, server.pid, state())
            crowd.go_deaf()
            most = 0
            for _ in range(60):
                crowd.read(1)
                now = state()
                most = max(most, int(now.split()[0]))
                if int(now.split()[2]) >= deaf:
                    break
            report("deaf ones", crowd, server.pid, now)
            sys.stdout.write(
                f"{'':12} most in outboxes {most / 2**20:.1f} MiB of {deaf * OUTBOX / 2**20:.0f}\n"
            )
            crowd.read(PHASE_SECONDS)
            report("they are cut", crowd, server.pid, state())
        finally:
            server.kill()


if __name__ == "__main__":
    main()
