"""An ordered stop with many idle clients: all are told, it takes under a second, and nothing is left."""

import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
from own_time import own_time
from transport_peers import Polling, open_ws, port_of, until

from flux.transport.door import Door
from flux.transport.engine_io import Client
from flux.transport.socket_io import Server
from flux.transport.socket_io.socket import Socket
from flux.transport.wire import Wire

CLIENTS = int(os.environ.get("FLUX_TEST_IDLE_CLIENTS", "1000"))
"""Idle clients; the figure for 5,000 stands in docs/survival.md."""

SERVE = """
import signal
import trio
from flux.transport.door import Door
from flux.transport.socket_io import Server

async def main():
    server = Server()
    door = Door(mounts={server.path: server.engine})
    await door.listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        print(door.addresses[0][1], flush=True)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break

trio.run(main)
"""


@pytest.fixture
def files() -> None:
    """Allow as many open files as the clients and their servers' ends need."""
    wanted = 2 * CLIENTS + 500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{wanted} open files are not allowed here")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptors() -> int:
    """Return how many files the process has open."""
    return len(list(Path("/dev/fd").iterdir()))


def living(*kinds: type) -> Counter[str]:
    """Return how many objects of these types there are."""
    gc.collect()
    return Counter(type(thing).__name__ for thing in gc.get_objects() if type(thing) in kinds)


async def idle_clients(address: tuple[str, int]) -> list[socket.socket]:
    """Open the clients, one in ten by polling; give the sockets of the others."""
    clients: list[socket.socket] = []

    async def some() -> None:
        for number in range(CLIENTS // 10):
            if number % 10 == 0:
                poll = await Polling.open(address)
                assert (await poll.post(b"40"))[0] == 200
                continue
            ws = await open_ws(address)
            clients.append(ws.stream.socket)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(some)
    return clients


async def say_goodbye(clients: list[Any]) -> Counter[bytes]:
    """Do as browsers do: echo the close frame and close. Gives the frames that came."""
    frames: Counter[bytes] = Counter()

    async def one(sock: Any) -> None:
        frames[await sock.recv(100)] += 1
        await sock.send(b"\x88\x82\0\0\0\0\x03\xe9")
        sock.close()

    async with trio.open_nursery() as nursery:
        for sock in clients:
            nursery.start_soon(one, sock)
    return frames


async def test_a_stop_with_many_idle_clients_takes_under_a_second_and_leaves_nothing(files: None) -> None:
    """No task, no timer, no socket, no object of any of them, though the server itself is kept."""
    server = Server()
    reasons: Counter[str] = Counter()
    server.on("disconnect", lambda _sid, reason: reasons.update([reason]))
    kinds = (Client, Socket, Wire)
    tasks, open_files, before = trio.lowlevel.current_statistics().tasks_living, descriptors(), living(*kinds)
    door = Door(mounts={server.path: server.engine})
    await door.listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        clients = await idle_clients(door.addresses[0])
        await until(lambda: len(server.engine.clients) == CLIENTS)
        began = own_time()
        nursery.start_soon(door.close)
        frames = await say_goodbye(clients)
    took = own_time() - began
    assert frames == {b"\x88\x02\x03\xe9": CLIENTS * 9 // 10}  # 1001: going away
    assert reasons == {"server shutting down": CLIENTS}
    assert took < max(1.0, CLIENTS / 1000)  # the clients' own work in this process included
    del clients
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert not server.engine.clients
    assert descriptors() <= open_files
    assert living(*kinds) == before


async def test_clients_that_are_gone_leave_nothing_while_the_server_runs(files: None) -> None:
    """Memory follows the clients that there are, not those that there were within a time-out."""
    server = Server()
    before = living(Client, Socket)
    door = Door(mounts={server.path: server.engine})
    await door.listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        for _ in range(50):
            ws = await open_ws(door.addresses[0])
            await ws.stream.aclose()
            poll = await Polling.open(door.addresses[0])
            assert (await poll.post(b"40\x1e1"))[0] == 200
        await until(lambda: not server.engine.clients)
        await trio.sleep(0.05)
        assert living(Client, Socket) == before
        await door.close()


async def test_sigterm_ends_a_process_with_idle_clients_at_once() -> None:
    """Nothing that runs on keeps it; a server that needs many seconds for this is broken."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    try:
        port = await port_of(process)
        clients = [(await open_ws(("127.0.0.1", port))).stream.socket for _ in range(20)]
        poll = await Polling.open(("127.0.0.1", port))
        assert poll.sid
        began = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        assert (await say_goodbye(clients)).total() == 20
        with trio.fail_after(5):
            assert await process.wait() == 0
        assert time.perf_counter() - began < 2
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
