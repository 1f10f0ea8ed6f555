"""What one client may ask for: packets per second, handlers at a time, attachments, depth, namespaces."""

import math
import re
from typing import Any

import pytest
import trio
from transport_peers import Polling, Ws, open_ws, served, until
from trio.testing import MockClock

from flux.transport.socket_io import ClientLimits, Server
from flux.transport.socket_io.connection import Connection
from flux.transport.socket_io.socket import Socket
from flux.transport.socket_io.throttle import MAX_DEBT_SECONDS, Throttle

NOBODY: Any = None


def test_tokens_fill_up_to_the_burst_and_debts_are_bounded() -> None:
    """The pause is what the debt takes; after it the client may go on at its rate."""
    throttle = Throttle(10.0, 5, 100.0)
    throttle.tokens -= 6
    assert throttle.pause(100.0) == pytest.approx(0.1)
    assert throttle.pause(100.05) == pytest.approx(0.05)
    assert throttle.pause(100.2) == 0.0
    assert throttle.tokens == pytest.approx(1.0)
    assert throttle.pause(200.0) == 0.0
    assert throttle.tokens == 5
    throttle.tokens -= 100_000
    assert throttle.pause(200.0) == MAX_DEBT_SECONDS
    endless = Throttle(math.inf, 1, 0.0)
    endless.tokens -= 10**9
    assert endless.tokens == math.inf


@pytest.mark.parametrize("kind", ["events", "connects", "acks", "ignored"])
async def test_who_sends_too_much_is_read_at_the_rate(loopback_clock: MockClock, kind: str) -> None:
    """What came in one read is worked off; then it waits. Nothing is lost; another client is served."""
    server = Server(namespaces=("/", "/b"), limits=ClientLimits(events_per_second=10, event_burst=5))
    seen: list[Any] = []
    ended: list[float] = []
    server.on("n", lambda _sid, number: seen.append(number))
    server.on("connect", lambda sid, _environ: seen.append(sid), namespace="/b")
    server.on("last", lambda _sid: ended.append(trio.current_time()))
    server.on("echo", lambda _sid: True)
    packets = {
        "events": [f'42["n",{number}]' for number in range(24)],
        "connects": ["40/b,", "41/b,"] * 12,
        "acks": ["435[]"] * 24,
        "ignored": ["40/b,", "41/b,", *['42/b,["n",1]'] * 22],
    }[kind]
    async with served(server) as address:
        ws, other = await open_ws(address), await open_ws(address)
        began = trio.current_time()
        await ws.send(*packets)
        await trio.sleep(0.1)
        await ws.send('42["last"]')
        await other.send('421["echo"]')
        assert await other.receive() == "431[true]"
        assert trio.current_time() - began < 1
        assert ended == []
        await trio.sleep(3)
        assert 1.5 < ended[0] - began < 3
        assert len(seen) == {"events": 24, "connects": 12, "acks": 0, "ignored": 1}[kind]


async def test_a_throttled_client_by_polling_waits_for_its_post(loopback_clock: MockClock) -> None:
    """The answer comes when the packets are worked off; nothing is lost."""
    server = Server(limits=ClientLimits(events_per_second=10, event_burst=5))
    seen: list[int] = []
    server.on("n", lambda _sid, number: seen.append(number))
    async with served(server) as address:
        poll = await Polling.open(address)
        began = trio.current_time()
        await poll.post(b"\x1e".join([b"40", *(b'42["n",%d]' % n for n in range(24))]))
        assert seen == list(range(24))
        assert 1.5 < trio.current_time() - began < 3.5


async def test_a_throttled_client_does_not_hold_up_the_end() -> None:
    """Its reader is let go when it is closed."""
    server = Server(limits=ClientLimits(events_per_second=0.1, event_burst=1))
    server.on("n", lambda _sid: None)
    with trio.fail_after(3):
        async with served(server, leave=False) as address:
            ws = await open_ws(address)
            await ws.send('42["n"]')
            await trio.sleep(0.05)
            [client] = server.engine.clients.values()
            assert client.app.throttle.relief is not None
            server.disconnect(next(iter(server._router.namespace("/").sockets)), close=True)
            assert await ws.receive() == "41"
            await ws.closed()
            await until(lambda: not server.engine.clients)


async def test_concurrent_handlers_are_a_setting() -> None:
    """Per socket; the next starts when one ends."""
    server = Server(limits=ClientLimits(concurrent_handlers=2))
    release = trio.Event()
    running: list[int] = []

    @server.on("n")
    async def n(sid: str, number: int) -> None:
        running.append(number)
        await release.wait()

    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send(*(f'42["n",{number}]' for number in range(5)))
        await until(lambda: len(running) == 2)
        await trio.sleep(0.05)
        assert running == [0, 1]
        release.set()
        await until(lambda: running == [0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("limits", "fits", "breaks"),
    [
        (ClientLimits(depth=3), '42["echo",[[]]]', '42["echo",[[[]]]]'),
        (ClientLimits(depth=200), '42["echo",' + "[" * 99 + "]" * 100, '42["echo",' + "[" * 200 + "]" * 201),
        (ClientLimits(attachments=0), '42["echo",1]', '451-["echo",{"_placeholder":true,"num":0}]'),
    ],
    ids=["shallow", "deep", "attachments"],
)
async def test_depth_and_attachments_are_settings(limits: ClientLimits, fits: str, breaks: str) -> None:
    """Within the bound all is well; past it the connection ends at once."""
    server = Server(limits=limits)
    heard: list[Any] = []
    server.on("echo", lambda _sid, value: heard.append(value))
    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send(fits)
        await until(lambda: heard)
        await ws.send(breaks)
        assert await ws.closed() == 1002
        assert len(heard) == 1


def test_limits_out_of_range_are_refused() -> None:
    """A mistake in the settings is seen at the start."""
    for wrong in (
        {"events_per_second": 0},
        {"event_burst": 0},
        {"concurrent_handlers": 0},
        {"depth": 501},
        {"attachments": 1000},
    ):
        with pytest.raises(ValueError, match="must be"):
            ClientLimits(**wrong)


async def test_a_client_may_visit_more_namespaces_than_it_may_be_in_at_a_time() -> None:
    """Those that it has left make room; past the bound the connection ends."""
    server = Server(namespaces=[re.compile(r"/\d+")], limits=ClientLimits(namespaces=2))
    async with served(server) as address:
        ws = await Ws.connect(address)
        await ws.receive()
        for number in range(5):
            await ws.send(f"40/{number},")
            assert str(await ws.receive()).startswith(f"40/{number},")
            await ws.send(f"41/{number},")
        await ws.send("40/7,", "40/8,")
        assert str(await ws.receive()).startswith("40/7,")
        assert str(await ws.receive()).startswith("40/8,")
        await ws.send("40/9,")
        assert await ws.closed() == 1002


def test_a_namespace_that_was_left_is_forgotten_only_for_room() -> None:
    """Packets that cross a DISCONNECT are ignored as long as it is remembered."""
    connection = Connection(100, b"", max_namespaces=2)
    for name in ("/a", "/b"):
        socket = Socket(name, name, NOBODY)
        connection.enter(socket)
        connection.leave(socket)
    assert connection.receive('2/a,["x"]') is None
    assert connection.receive("0/c,") is not None
    assert connection.receive('2/b,["x"]') is None
