"""Whatever bytes arrive, the server lives, and a good client beside the bad one notices nothing."""

import random
import socket
import struct
from typing import Any

import pytest
import structlog.testing
import trio
from transport_peers import KEY, Address, Http, Polling, Ws, open_ws, raw, served
from trio.testing import MockClock

from flux.transport.socket_io import Server

DEEP = '42["echo",' + "[" * 20_000 + "]" * 20_000 + "]"
HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()


def echo_server() -> Server:
    """Return a server that echoes."""
    server = Server(max_payload=100_000)
    server.on("echo", lambda _sid, *args: args)
    return server


async def still_serves(address: Address, witness: Ws) -> None:
    """Check that an old client and a new one are served."""
    for ws in (witness, await open_ws(address)):
        await ws.send('421["echo","hi"]')
        with trio.fail_after(5):
            assert await ws.receive() == '431["hi"]'


@pytest.mark.parametrize(
    "message",
    [
        DEEP,
        '42["echo",' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "]",
        '42["echo",' + "9" * 5_000 + "]",
        '42["echo","\\ud800"]',
        '42["echo",NaN]',
        "42[1]",
        "4599999999-[]",
        '451-["echo",{"_placeholder":true,"num":5}]',
        "9",
        "",
        "b",
        b"\0",
        "42" + "[" * 90_000,
    ],
)
async def test_a_bad_message_closes_its_own_connection(message: str | bytes) -> None:
    """At once, over WebSocket as by POST; and no traceback in the log."""
    with structlog.testing.capture_logs() as logs:
        async with served(echo_server()) as address:
            witness = await open_ws(address)
            bad = await open_ws(address)
            await bad.send(message)
            if message == '451-["echo",{"_placeholder":true,"num":5}]':
                await bad.send(b"")
            with trio.fail_after(5):
                assert await bad.closed() == 1002
            if isinstance(message, str):
                poll = await Polling.open(address)
                await poll.post(b"40")
                body = message.encode() + (b"\x1eb" if message[:3] == "451" else b"")
                assert (await poll.post(body))[0] == 400
            await still_serves(address, witness)
    assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")]


async def test_pong_floods_and_many_packets_cost_no_tasks() -> None:
    """They are counted through in slices."""
    async with served(echo_server()) as address:
        witness = await open_ws(address)
        bad = await open_ws(address)
        await bad.send(*(["3"] * 20_000), '421["echo"]')
        assert await bad.receive() == "431[]"
        poll = await Polling.open(address)
        assert (await poll.post(b"40" + b"\x1e3" * 10_000))[0] == 200
        assert (await poll.post(b"\x1e".join([b"3"] * 40_000)))[0] == 400
        await still_serves(address, witness)


async def test_bytes_behind_the_handshake_are_the_first_frames() -> None:
    """Sent in one segment with it, even in pieces of a frame."""
    async with served(echo_server()) as address:
        first = Ws.frame("40")
        ws = await Ws.connect(address, trailing=first[:3])
        assert (await ws.receive())[:1] == "0"
        await ws.stream.send_all(first[3:])
        assert (await ws.receive())[:2] == "40"


async def test_bytes_behind_the_close_frame_are_ignored() -> None:
    """A known trio server dies of one."""
    async with served(echo_server()) as address:
        witness = await open_ws(address)
        ws = await open_ws(address)
        await ws.stream.send_all(Ws.frame(b"\x03\xe8", 8) + b"x" * 1000)
        assert await ws.closed() == 1000
        await still_serves(address, witness)


async def test_a_slow_sender_of_a_frame_times_out_by_its_heartbeat(loopback_clock: MockClock) -> None:
    """Single bytes are no pongs."""
    async with served(echo_server()) as address:
        ws = await open_ws(address)
        frame = Ws.frame('42["echo","' + "x" * 500 + '"]')
        began = trio.current_time()
        try:
            for number in range(len(frame)):
                await ws.stream.send_all(frame[number : number + 1])
                await trio.sleep(1)
        except trio.BrokenResourceError:
            pass
        assert trio.current_time() - began < 60


async def test_plain_garbage_on_the_port() -> None:
    """TLS, other protocols, noise: each gets an answer or the end."""
    noise = random.Random(1)
    async with served(echo_server()) as address:
        witness = await open_ws(address)
        for number in range(60):
            data = noise.randbytes(noise.randrange(1, 300)) + b"\r\n\r\n"
            if number % 3 == 1:
                data = HANDSHAKE + data
            if number % 3 == 2:
                cut = bytearray(HANDSHAKE)
                cut[noise.randrange(len(cut))] = noise.randrange(256)
                data = bytes(cut)
            with trio.move_on_after(0.2):
                await raw(address, data)
        await still_serves(address, witness)


async def test_mutated_sessions_end_by_a_defined_answer() -> None:
    """Frames of a good session with one byte changed."""
    noise = random.Random(2)
    good = b"".join(
        map(
            Ws.frame,
            [
                "40",
                '421["echo",{"a":[1,"\u00e9"]}]',
                '451-2["echo",{"_placeholder":true,"num":0}]',
                b"\1",
                "3",
                "41",
            ],
        )
    )
    with structlog.testing.capture_logs() as logs:
        async with served(echo_server()) as address:
            witness = await open_ws(address)
            for _ in range(150):
                data = bytearray(good)
                data[noise.randrange(len(data))] ^= 1 << noise.randrange(8)
                ws = await Ws.connect(address)
                await ws.receive()
                await ws.stream.send_all(bytes(data))
                await ws.stream.send_eof()
                with trio.fail_after(5):
                    assert await ws.closed() in (0, 1000, 1002, 1007, 1009)
                await ws.stream.aclose()
            await still_serves(address, witness)
    assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")]


async def test_a_peer_that_vanishes_in_the_middle_of_anything_leaves_nothing() -> None:
    """Half a head, half a body, half a frame, an open poll."""
    server = echo_server()
    async with served(server) as address:
        witness = await open_ws(address)
        for data in (b"GET /", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", HANDSHAKE[:-2]):
            stream = await trio.open_tcp_stream(*address)
            await stream.send_all(data)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
        poll = await Polling.open(address)
        http = await Http.connect(address)
        await http.send("GET", poll.target)
        await http.stream.aclose()
        ws = await open_ws(address)
        await ws.stream.send_all(Ws.frame("x" * 100)[:50])
        await ws.stream.aclose()
        with trio.fail_after(5):
            while len(server.engine.clients) > 1:  # noqa: ASYNC110 - nothing tells it
                await trio.sleep(0.01)
        await still_serves(address, witness)


async def test_a_failing_mount_is_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours ends the request, not the door."""
    server = echo_server()

    async def fail(*_args: Any) -> None:
        raise ValueError

    async with served(server) as address:
        monkeypatch.setattr(server.engine, "handle", fail)
        http = await Http.connect(address)
        assert (await http.ask("GET", "/socket.io/"))[0] == 500
        assert (await http.ask("GET", "/"))[0] == 200
