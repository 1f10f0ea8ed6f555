"""Lessons of trio: cleanup after cancellation, errors in groups, clocks that jump."""

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import trio
from transport_peers import Http, Polling, Ws, heard, open_ws, served, until, watched
from trio.testing import MockClock

import flux.transport
from flux.transport.socket_io import Server


async def test_shielded_cleanup_of_a_handler_is_finished_though_its_client_has_gone() -> None:
    """An ``await`` in ``finally`` is skipped unless it is shielded; a deadline bounds it."""
    server = Server()
    done: list[str] = []

    @server.on("work")
    async def work(sid: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            try:
                await trio.lowlevel.checkpoint()
                done.append("unshielded")
            finally:
                with trio.move_on_after(5, shield=True):
                    await trio.sleep(0.02)
                    done.append("shielded")

    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send('42["work"]')
        await trio.sleep(0.02)
        await ws.stream.aclose()
        await until(lambda: done)
    assert done == ["shielded"]


async def bad_nursery() -> None:
    """Wait in a nursery whose one child fails in its cleanup while the others are cancelled in good order."""

    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the cleanup")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails)
        nursery.start_soon(trio.sleep_forever)


@pytest.mark.parametrize("event", ["connect", "work", "disconnect"])
async def test_an_error_beside_cancelled_in_one_group_ends_only_its_handler(event: str) -> None:
    """Such a group is no `Exception`; what it holds is logged, and the server goes on."""
    server = Server()
    began: list[str] = []

    async def handler(sid: str, *args: Any) -> None:
        began.append(sid)
        await bad_nursery()

    server.on(event, handler)
    with structlog.testing.capture_logs() as logs:
        async with served(server) as address:
            ws = await Ws.connect(address)
            await ws.receive()
            await ws.send("40")
            if event != "connect":
                await ws.receive()
                await ws.send('42["work"]')
            if event != "disconnect":
                await until(lambda: began)
            await ws.stream.aclose()
            await until(lambda: not server.engine.clients)
            await until(lambda: began)
            http = await Http.connect(address)
            assert (await http.ask("GET", "/"))[0] == 200
        errors = [entry for entry in logs if entry["log_level"] == "error"]
    assert [type(entry["exc_info"]) for entry in errors] == [ExceptionGroup]


async def test_a_group_of_errors_from_a_handlers_nursery_is_one_logged_fault() -> None:
    """One child's error arrives as an `ExceptionGroup`; the client stays."""
    server = Server()

    @server.on("work")
    async def work(sid: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise ValueError

    server.on("echo", lambda _sid, *args: args)
    with structlog.testing.capture_logs() as logs:
        async with served(server) as address:
            ws = await open_ws(address)
            await ws.send('421["work"]', '422["echo"]')
            assert await ws.receive() == "432[]"
            await until(lambda: [entry for entry in logs if entry["event"] == "handler failed"])


async def test_what_is_emitted_while_a_connect_handler_waits_is_bounded() -> None:
    """A handler that hangs must not become an outbox without a bound: the client is cut as any slow one."""
    server, reasons = watched(outbox_limit=100_000)

    @server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await trio.sleep_forever()

    async with served(server) as address:
        ws = await Ws.connect(address)
        await ws.receive()
        await ws.send("40")
        await until(lambda: server._router.namespace("/").sockets)
        [socket] = server._router.namespace("/").sockets.values()
        for number in range(1000):
            server.emit("price", number, conflate="BTC")
        held: Any = socket.client
        for _ in range(100):
            server.emit("n", "x" * 10_000)
            assert sum(len(packet.text) for packet in held.packets) <= 110_000
        with trio.fail_after(5):
            await ws.closed()
        await until(lambda: not server.engine.clients)
        assert reasons == []  # it never was in


async def test_prices_emitted_while_a_connect_handler_waits_are_conflated() -> None:
    """The latest of each key follows the acceptance, behind the regular events."""
    server = Server()
    go = trio.Event()

    @server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await go.wait()

    async with served(server) as address:
        ws = await Ws.connect(address)
        await ws.receive()
        await ws.send("40")
        await until(lambda: server._router.namespace("/").sockets)
        for number in range(100):
            server.emit("price", number, conflate="BTC")
        server.emit("n", 1)
        go.set()
        assert str(await ws.receive()).startswith("40{")
        assert [await heard(ws), await heard(ws)] == [["n", 1], ["price", 99]]


async def test_a_clock_that_jumps_ahead_costs_no_client_that_answers(loopback_clock: MockClock) -> None:
    """After an hour's jump (a suspended machine) the next ping is asked for; only then may one time out."""
    server, reasons = watched()
    async with served(server) as address:
        ws = await open_ws(address)
        poll = await Polling.open(address)
        await poll.post(b"40")
        await poll.get()
        loopback_clock.jump(3600)
        assert await ws.receive() == "2"
        await ws.send("3")
        assert await poll.get() == b"2"
        assert (await poll.post(b"3"))[0] == 200
        await ws.send('42["echo",1]')
        assert await heard(ws) == ["echo", 1]
        assert reasons == []


@pytest.mark.parametrize("now", [0.0, 1.0, 2.0**32, 2.0**33])
async def test_the_wall_clock_may_say_anything(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Only the Date header comes from it, never a deadline."""
    server, reasons = watched()
    async with served(server) as address:
        ws = await open_ws(address)
        monkeypatch.setattr(time, "time", lambda: now)
        http = await Http.connect(address)
        status, headers, _ = await http.ask("GET", "/")
        assert status == 200
        assert headers["date"].endswith(" GMT")
        await ws.send('42["echo",1]')
        assert await heard(ws) == ["echo", 1]
        assert reasons == []


async def test_the_server_has_no_threads() -> None:
    """So none can be abandoned, ignore a deadline, or starve the pool."""
    server, _ = watched()
    before = threading.active_count()
    async with served(server) as address:
        ws = await open_ws(address)
        poll = await Polling.open(address)
        await poll.post(b"40")
        await ws.send('42["echo",1]')
        assert await heard(ws) == ["echo", 1]
        assert threading.active_count() <= max(before, 2)  # the name of the host is looked up in one
    transport = Path(flux.transport.__file__).parent
    for file in transport.rglob("*.py"):
        if "kafka" not in file.parts:
            assert not re.search(r"to_thread|import threading", file.read_text(encoding="utf-8")), file
