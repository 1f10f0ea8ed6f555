"""Clients that do not read: the others notice nothing, each is cut with its reason, and memory is bounded."""

import select
import socket
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
from transport_peers import Address, Polling, Ws, heard, open_ws, until

from flux.transport.door import Door
from flux.transport.socket_io import Server
from flux.transport.socket_io.types import DisconnectReason

LIMIT = 100_000
"""Bytes of an outbox in these tests."""
SEND_BUFFER = 16_384
"""Bytes of the kernel's buffers: small, so that few events fill them."""


@asynccontextmanager
async def narrow_door(server: Server) -> AsyncIterator[Address]:
    """Serve with small send buffers, which accepted sockets take over from their listener."""
    door = Door(mounts={server.path: server.engine})
    await door.listen("127.0.0.1", 0)
    for listener in door._listeners:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        yield door.addresses[0]
        await door.close()


def counted(**options: Any) -> tuple[Server, Counter[str]]:
    """Return a server and the tally of its clients' disconnect reasons."""
    server = Server(outbox_limit=LIMIT, **options)
    reasons: Counter[str] = Counter()
    server.on("disconnect", lambda _sid, reason: reasons.update([reason]))
    return server, reasons


async def crowd(address: Address, size: int, make: Callable[[Address], Any] = open_ws) -> list[Ws]:
    """Open that many clients, a few at a time."""
    clients: list[Ws] = []

    async def some(count: int) -> None:
        for _ in range(count):
            clients.append(await make(address))  # noqa: PERF401 - each is kept although a later one fails

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(some, size // 10)
    return clients


async def deaf(address: Address) -> Ws:
    """Join, and never read again: the window of so small a buffer is soon shut."""
    ws = await open_ws(address)
    ws.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return ws


async def round_trip(server: Server, good: list[Ws], number: int) -> float:
    """Emit one event and have every good client read it: seconds until the last one has it."""
    began = time.perf_counter()
    server.emit("n", (number, "x" * 2000))
    for ws in good:
        assert (await heard(ws))[1] == number
    return time.perf_counter() - began


def queued(server: Server) -> int:
    """Return the bytes in all outboxes."""
    return sum(client.wire.queued for client in server.engine.clients.values() if client.wire is not None)


async def test_deaf_clients_cost_the_others_nothing_and_are_cut() -> None:
    """50 of 500: latency as before within noise, at most their bound of memory each, all cut as slow."""
    server, reasons = counted()
    async with narrow_door(server) as address:
        good = await crowd(address, 450)
        for number in range(5):
            await round_trip(server, good, number)
        alone = [await round_trip(server, good, number) for number in range(20)]
        await crowd(address, 50, deaf)
        beside: list[float] = []
        most = 0
        with trio.fail_after(60):
            for number in range(200):
                beside.append(await round_trip(server, good, number))
                most = max(most, queued(server))
                if reasons.total() == 50:
                    break
        assert reasons == {DisconnectReason.SLOW_CLIENT: 50}
        assert most <= 50 * LIMIT
        assert len(server.engine.clients) == 450
        assert queued(server) == 0
        # Twice is far outside of what 50 more members cost, and inside of what a busy machine may add.
        assert statistics.median(beside) < 2 * statistics.median(alone) + 0.01


async def test_a_cut_client_is_reset_so_that_the_kernel_keeps_nothing_for_it() -> None:
    """An orderly end would let a peer hold the kernel's send buffer for as long as its window stays shut."""
    server, reasons = counted()
    async with narrow_door(server) as address:
        ws = await deaf(address)
        for _ in range(200):
            server.emit("n", "x" * 5000)
        await until(lambda: reasons)
        events = select.poll()
        events.register(ws.stream.socket.fileno(), select.POLLIN)
        await until(lambda: any(event & select.POLLERR for _, event in events.poll(0)))
        error = ws.stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert error == socket.errno.ECONNRESET  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", [{"volatile": True}, {"conflate": "price"}])
async def test_what_may_be_dropped_never_cuts_a_client(how: dict[str, Any]) -> None:
    """Volatile events go, conflated ones keep the latest; the outbox stays as it is."""
    server, reasons = counted()
    async with narrow_door(server) as address:
        ws = await deaf(address)
        while queued(server) == 0:
            server.emit("n", "x" * 5000)
        before = queued(server)
        for number in range(2000):
            server.emit("m", (number, "y" * 1000), **how)
            if number % 500 == 0:
                await trio.sleep(0.01)
        assert queued(server) <= before + 1100
        assert not reasons
        server.emit("end")
        ws.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000_000)
        seen = []
        with trio.fail_after(20):
            while (event := await heard(ws))[0] != "end":
                seen.append(event[0])
            if "conflate" in how:
                assert (await heard(ws))[:2] == ["m", 1999]
        assert set(seen) == {"n"}


async def test_sixty_megabytes_for_a_client_that_never_reads_are_never_held() -> None:
    """Node kept 100 MB of them, python-socketio 50 MB, and neither disconnected; over both transports."""
    server, reasons = counted()
    async with narrow_door(server) as address:
        await deaf(address)
        poll = await Polling.open(address)
        await poll.post(b"40")
        await poll.get()
        most = 0
        for _ in range(60):
            server.emit("n", "x" * 1_000_000)
            most = max(most, queued(server))
            await trio.lowlevel.checkpoint()
        await until(lambda: reasons.total() == 2)
        assert reasons == {DisconnectReason.SLOW_CLIENT: 2}
        assert most <= 1_000_100  # one message of any size is taken while nothing waits
        assert queued(server) == 0


async def test_deaf_clients_that_overflow_nothing_time_out_all_the_same() -> None:
    """Their pongs do not come, for they do not read the pings; what was queued for them goes with them."""
    server, reasons = counted(ping_interval=0.2, ping_timeout=0.2)
    async with narrow_door(server) as address:
        await crowd(address, 10, deaf)
        await until(lambda: reasons.total() == 10)
        assert reasons == {DisconnectReason.PING_TIMEOUT: 10}
        await until(lambda: not server.engine.clients)
