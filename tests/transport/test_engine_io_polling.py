"""Long-polling: one GET and one POST at a time, answered at once or when there is something to say."""

import json

import pytest
import trio
from transport_peers import Http, Ws, ask, joined, served, until, watched


async def test_a_poll_waits_for_something_to_send() -> None:
    """Whoever emits answers it."""
    server, _ = watched()
    async with served(server) as address:
        poll = await joined(address)
        got: list[bytes] = []

        async def get() -> None:
            got.append(await poll.get())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            await trio.sleep(0.05)
            assert got == []
            server.emit("news", 1)
        assert got == [b'42["news",1]']
        server.emit("news", 2)
        server.emit("news", b"\1")
        assert await poll.get() == b'42["news",2]\x1e451-["news",{"_placeholder":true,"num":0}]\x1ebAQ=='


async def test_polls_work_on_one_kept_alive_connection() -> None:
    """Also where one is answered while its connection waits."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        http = await Http.connect(address)
        for number in range(5):
            await http.send("GET", poll.target)
            if number % 2:
                await trio.sleep(0.01)
            server.emit("n", number)
            assert (await http.receive())[2] == b'42["n",%d]' % number
        for number in range(5):
            answer = await http.ask("POST", poll.target, body=b'42["echo",%d]' % number)
            assert answer[2] == b"ok"
        assert len((await http.ask("GET", poll.target))[2].split(b"\x1e")) == 5
        await http.stream.aclose()
        assert reasons == []


async def test_connection_close_does_not_close_the_session() -> None:
    """The connection ends behind the response, the session goes on."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        http = await Http.connect(address)
        await http.send("GET", poll.target, {"Connection": "close"})
        await trio.sleep(0.02)
        server.emit("n", 1)
        status, headers, _ = await http.receive()
        assert (status, headers["connection"]) == (200, "close")
        assert await http.stream.receive_some() == b""
        await http.stream.aclose()
        server.emit("n", 2)
        assert await poll.get() == b'42["n",2]'
        assert reasons == []


async def test_a_second_poll_closes_the_session() -> None:
    """Both are answered at once."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        first = await Http.connect(address)
        await first.send("GET", poll.target)
        await trio.sleep(0.02)
        assert (await ask(address, "GET", poll.target))[0] == 400
        assert (await first.receive())[2] == b"1"
        assert reasons == ["transport error"]
        assert (await ask(address, "GET", poll.target))[0] == 400
        await first.stream.aclose()


async def test_a_second_post_closes_the_session() -> None:
    """While the first is still worked on."""
    server, reasons = watched()

    async def slow(sid: str) -> None:
        await trio.sleep(0.2)

    server.on("slow", slow)
    async with served(server) as address:
        poll = await joined(address)
        body = b"\x1e".join([b'42["slow"]'] * 2000)
        first = await Http.connect(address)
        await first.send("POST", poll.target, body=body)
        await trio.sleep(0.1)
        assert (await poll.post(b"3"))[0] == 400
        assert reasons == ["transport error"]
        await first.stream.aclose()


async def test_an_aborted_poll_is_noticed_at_once() -> None:
    """Not by the ping time-out."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        http = await Http.connect(address)
        await http.send("GET", poll.target)
        await trio.sleep(0.02)
        await http.stream.aclose()
        await until(lambda: reasons)
        assert reasons == ["transport close"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"9",
        b"0",
        b"2",
        b"4x",
        b"4\xff",
        b"bQQ==",
        b"40",
        b'42["a"]\x1e',
        b'42["a",',
        b"43[]",
        b"44{}",
    ],
)
async def test_a_bad_post_closes_the_session_at_once(body: bytes) -> None:
    """With 400, and the waiting poll is freed."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        waiting = await Http.connect(address)
        await waiting.send("GET", poll.target)
        await trio.sleep(0.01)
        status, answer = await poll.post(body)
        assert status == 400
        assert json.loads(answer)["code"] == 3
        assert (await waiting.receive())[2] == b"1"
        assert reasons == ["parse error"]
        await waiting.stream.aclose()


async def test_a_binary_post_is_refused() -> None:
    """Payloads are text in this protocol version."""
    async with served(watched()[0]) as address:
        poll = await joined(address)
        assert (await poll.post(b"4a", **{"Content-Type": "application/octet-stream"}))[0] == 400


async def test_a_post_over_the_bound_closes_the_session() -> None:
    """413, announced or chunked."""
    server, reasons = watched(max_payload=100)
    async with served(server) as address:
        poll = await joined(address)
        assert (await poll.post(b"4" * 101))[0] == 413
        poll = await joined(address)
        assert (await poll.post(b"4" * 101, **{"Transfer-Encoding": "chunked"}))[0] == 413
        assert reasons == ["transport error", "transport error"]


async def test_a_close_packet_closes_at_once_over_both_transports() -> None:
    """The waiting poll is freed with a noop."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        waiting = await Http.connect(address)
        await waiting.send("GET", poll.target)
        await trio.sleep(0.01)
        assert await poll.post(b"1") == (200, b"ok")
        assert (await waiting.receive())[2] == b"6"
        await waiting.stream.aclose()
        ws = await Ws.connect(address)
        await ws.receive()
        await ws.send("40", "1")
        assert await ws.closed() == 1000
        assert reasons == ["transport close", "transport close"]
