"""The Socket.IO client and a server that sends whatever it likes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from transport_peers import until
from trio_client_peers import url
from trio_websocket import ConnectionClosed, wrap_server_stream

from flux.transport.socket_io.client import Client, ConnectError, connect, running

OPEN = '0{"sid":"x","pingInterval":25000,"pingTimeout":20000,"upgrades":[],"maxPayload":1000}'


@asynccontextmanager
async def scripted(*messages: str | bytes, log: list[Any] | None = None) -> AsyncIterator[str]:
    """Serve one script to each who connects; what they send goes to the log. Yields the URL."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def peer(stream: trio.SocketStream) -> None:
        async with stream, trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            ws = await request.accept()
            try:
                for message in messages:
                    await ws.send_message(message)
                while True:
                    received = await ws.get_message()
                    if log is not None:
                        log.append(received)
            except ConnectionClosed:
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, peer, listeners)
        with trio.fail_after(5):
            yield url(listeners[0].socket.getsockname())
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "message",
    [
        "",
        "9",
        OPEN,
        "3",
        "5",
        "4",
        "49",
        "42",
        "42{}",
        "42[]",
        "42[1]",
        '42["connect"]',
        "42" + "[" * 100_000,
        '42["a",' + "9" * 5000 + "e9999]" + "x",
        '42["a",NaN]',
        '42["a","\\ud800"]x',
        "43[]",
        "430{}",
        "40",
        "40{}",
        "44[]",
        "451-",
        '451-["a",{"_placeholder":true,"num":0}',
        '4511-["a"]',
        b"stray",
    ],
)
async def test_a_broken_packet_is_a_parse_error_at_once(message: str | bytes) -> None:
    """Whatever it is; the program lives."""
    async with scripted(OPEN, '40{"sid":"s"}', message) as address:
        client = Client(address, reconnection=None)
        async with running(client):
            assert await client.wait() == "parse error"


@pytest.mark.parametrize(
    "message",
    [
        "6",
        "2",
        '42/other,["a"]',
        "43999[]",
        '40{"sid":"t"}',
        '40/other,{"sid":"t"}',
        '44/other,{"message":"x"}',
        "41/other,",
        '42["*"]',
        '42["unknown",1,2,3]',
        '420["unknown"]',
    ],
)
async def test_what_nobody_asked_for_changes_nothing(message: str) -> None:
    """The client goes on as it was."""
    log: list[Any] = []
    async with scripted(OPEN, '40{"sid":"s"}', message, '42["after"]', log=log) as address:
        seen: list[str] = []
        client = Client(address)
        client.on("after", lambda: seen.append("after"))
        async with running(client):
            await until(lambda: seen)
            assert client.sid == "s"
            client.emit("still", 1)
            await until(lambda: '42["still",1]' in log)


async def test_a_message_over_the_bound_ends_the_connection() -> None:
    """It is not held in memory."""
    async with scripted(OPEN, '40{"sid":"s"}', '42["a","' + "x" * 5000 + '"]') as address:
        client = Client(address, max_message=1000, reconnection=None)
        async with running(client):
            assert await client.wait() == "transport error"


async def test_attachments_are_bounded_together() -> None:
    """Ten that each are allowed are too much."""
    placeholders = ",".join(f'{{"_placeholder":true,"num":{n}}}' for n in range(10))
    messages = (f'4510-["a",{placeholders}]', *[b"x" * 900] * 10)
    async with scripted(OPEN, '40{"sid":"s"}', *messages) as address:
        client = Client(address, max_message=1000, reconnection=None)
        async with running(client):
            assert await client.wait() == "parse error"


@pytest.mark.parametrize("first", ["", "1", "2", "4", "0", "0{}", '0{"sid":1}', b"0", "44{}"])
async def test_a_server_that_does_not_open_is_a_connect_error(first: str | bytes) -> None:
    """At once."""
    async with scripted(first) as address:
        with pytest.raises(ConnectError, match="does not speak"):
            async with connect(address):
                pytest.fail("connected")


async def test_pings_are_answered_even_by_the_thousand() -> None:
    """One pong each, and events go on in between."""
    log: list[Any] = []
    async with scripted(OPEN, '40{"sid":"s"}', *["2"] * 2000, log=log) as address, connect(address):
        await until(lambda: log.count("3") == 2000)
