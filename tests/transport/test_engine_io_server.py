"""Engine.IO sessions: upgrades, heartbeats, ends."""

import pytest
import trio
from transport_peers import POLL, Http, Ws, ask, joined, served, upgraded, watched
from trio.testing import MockClock


async def test_an_upgrade_keeps_order_and_loses_nothing() -> None:
    """What is emitted in the window arrives, first by the poll, then by the WebSocket."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        waiting = await Http.connect(address)
        await waiting.send("GET", poll.target)
        ws = await Ws.connect(address, f"/socket.io/?EIO=4&transport=websocket&sid={poll.sid}")
        await ws.send("2probe")
        assert await ws.receive() == "3probe"
        assert (await waiting.receive())[2] == b"6"
        server.emit("n", 1)
        await waiting.send("GET", poll.target)
        assert (await waiting.receive())[2] == b'42["n",1]'
        await waiting.send("GET", poll.target)
        assert (await waiting.receive())[2] == b"6"
        server.emit("n", 2)
        server.emit("n", b"3")
        await ws.send("5")
        assert await ws.receive() == '42["n",2]'
        assert await ws.receive() == '451-["n",{"_placeholder":true,"num":0}]'
        assert await ws.receive() == b"3"
        await ws.send('42["echo",4]')
        assert await ws.receive() == '42["echo",4]'
        assert (await ask(address, "GET", poll.target))[0] == 400
        again = await Ws.connect(address, f"/socket.io/?EIO=4&transport=websocket&sid={poll.sid}")
        assert again.head.startswith("HTTP/1.1 400 ")
        assert reasons == []
        await waiting.stream.aclose()


async def test_a_second_probe_is_refused() -> None:
    """The first goes on."""
    async with served(watched()[0]) as address:
        poll = await joined(address)
        target = f"/socket.io/?EIO=4&transport=websocket&sid={poll.sid}"
        first = await Ws.connect(address, target)
        assert (await Ws.connect(address, target)).head.startswith("HTTP/1.1 400 ")
        await first.send("2probe")
        assert await first.receive() == "3probe"


@pytest.mark.parametrize("words", [["2"], ["5"], ["4hello"], [b"\1"], ["2probe", "2probe"], ["2probe", "4x"]])
async def test_a_bad_probe_ends_the_probe_alone(words: list[str | bytes]) -> None:
    """The session goes on by polling, and may upgrade later."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        ws = await Ws.connect(address, f"/socket.io/?EIO=4&transport=websocket&sid={poll.sid}")
        await ws.send(*words)
        assert await ws.closed() == 1002
        server.emit("n", 1)
        assert await poll.get() == b'42["n",1]'
        ws = await upgraded(address, poll)
        await ws.send('42["echo"]')
        assert await ws.receive() == '42["echo"]'
        assert reasons == []


async def test_an_upgrade_that_takes_too_long_ends_the_probe_alone(loopback_clock: MockClock) -> None:
    """And its timer does nothing to an upgrade that succeeded."""
    server, reasons = watched(upgrade_timeout=5)
    async with served(server) as address:
        poll = await joined(address)
        ws = await Ws.connect(address, f"/socket.io/?EIO=4&transport=websocket&sid={poll.sid}")
        began = trio.current_time()
        assert await ws.closed() == 0
        assert trio.current_time() - began == pytest.approx(5, abs=1)
        ws = await upgraded(address, poll)
        await trio.sleep(7)
        await ws.send('42["echo"]')
        assert await ws.receive() == '42["echo"]'
        assert reasons == []


async def test_closing_an_upgrading_session_ends_the_probe() -> None:
    """Nothing of it stays."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        ws = await Ws.connect(address, f"/socket.io/?EIO=4&transport=websocket&sid={poll.sid}")
        await ws.send("2probe")
        assert await ws.receive() == "3probe"
        await poll.post(b"1")
        assert await ws.closed() == 1000
        assert reasons == ["transport close"]


async def test_silent_clients_time_out_over_both_transports(loopback_clock: MockClock) -> None:
    """Also where no poll is outstanding; not before interval and time-out are over."""
    server, reasons = watched()
    async with served(server) as address:
        began = trio.current_time()
        await joined(address)
        ws = await Ws.connect(address)
        await ws.receive()
        await ws.send("40")
        await ws.receive()
        assert await ws.receive() == "2"
        assert trio.current_time() - began == pytest.approx(25, abs=1)
        assert reasons == []
        await ws.closed()
        await trio.sleep(1)
        assert trio.current_time() - began == pytest.approx(46, abs=2)
        assert reasons == ["ping timeout", "ping timeout"]


async def test_clients_that_answer_stay(loopback_clock: MockClock) -> None:
    """For as long as they like."""
    server, reasons = watched(ping_timeout=60)
    async with served(server) as address:
        poll = await joined(address)
        ws = await Ws.connect(address)
        await ws.receive()
        await ws.send("40")
        await ws.receive()
        for _ in range(5):
            assert await poll.get() == b"2"
            assert await poll.post(b"3") == (200, b"ok")
            assert await ws.receive() == "2"
            await ws.send("3")
        assert reasons == []
        assert trio.current_time() > 120


async def test_stopping_tells_every_client() -> None:
    """The WebSocket gets 1001, the poll a close packet, both handlers the reason."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        waiting = await Http.connect(address)
        await waiting.send("GET", poll.target)
        ws = await Ws.connect(address)
        await ws.receive()
        await ws.send("40")
        await ws.receive()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.close)
            assert await ws.closed() == 1001
            assert (await waiting.receive())[2] == b"1"
        await ws.stream.aclose()
        await waiting.stream.aclose()
    assert reasons == ["server shutting down"] * 2
    assert trio.current_time() - began < 1.5


async def test_stopping_does_not_wait_for_silent_clients(loopback_clock: MockClock) -> None:
    """One that never answers the close frame is cut soon."""
    server, _ = watched()
    async with served(server, leave=False) as address:
        ws = await Ws.connect(address)
        await ws.receive()
        began = trio.current_time()
    assert trio.current_time() - began < 2
    await ws.stream.aclose()


async def test_a_stopping_server_takes_no_new_sessions() -> None:
    """Connections that are open already cannot start one either."""
    server, _ = watched()
    async with served(server) as address:
        http = await Http.connect(address)
        assert (await http.ask("GET", "/"))[0] == 200
        await server.close()
        assert (await http.ask("GET", POLL))[0] == 503
        assert (await Ws.connect(address)).head.startswith("HTTP/1.1 503 ")
