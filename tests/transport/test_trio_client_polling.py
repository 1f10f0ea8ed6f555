"""The Socket.IO client over long-polling, and its move from there to WebSocket."""

from typing import Any

import httpx
import pytest
import trio
import trio.testing
from transport_peers import Address, served, until
from trio_client_peers import echoing, url

from flux.transport.socket_io import Server
from flux.transport.socket_io.client import Client, ConnectError, Reconnection, connect, running
from flux.transport.socket_io.client import polling as polling_module
from flux.transport.socket_io.client import upgrade as upgrade_module

BOTH = ["polling", "websocket"]


async def test_it_polls_if_polling_is_all_that_is_enabled_on_either_side() -> None:
    """A server that offers no upgrade is not asked for one."""
    for options, transports in (({}, ["polling"]), ({"transports": ["polling"]}, BOTH)):
        server, _ = echoing(**options)
        async with served(server) as address, connect(url(address), transports=transports) as client:
            for n in range(20):
                assert await client.call("echo", (n, b"x" * n)) == (n, b"x" * n)
            assert client.transport == "polling"


async def test_it_moves_to_websocket_and_nothing_is_lost_or_overtaken() -> None:
    """Events flow in both directions all the while."""
    server, reasons = echoing()
    seen: list[int] = []
    server.on("n", lambda _sid, n: seen.append(n))
    async with served(server) as address:
        async with connect(url(address), transports=BOTH) as client:
            got = client.events("n")
            sid = client.sid or ""
            used = set()
            sent = 0
            while client.transport == "polling" or sent < 500:
                for _ in range(5):
                    client.emit("n", sent)
                    server.emit("n", sent, to=sid)
                    sent += 1
                used.add(client.transport)
                await trio.sleep(0.001)
            assert client.transport == "websocket"
            assert used == {"polling", "websocket"}
            assert [(await anext(got)).args[0] for _ in range(sent)] == list(range(sent))
            await until(lambda: len(seen) == sent)
            assert client.sid == sid
        assert seen == list(range(sent))
        await until(lambda: reasons)
    assert reasons == ["client disconnect"]


async def test_it_stays_with_polling_if_the_websocket_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, or silent until the time-out; the session goes on."""
    server, _ = echoing()
    opened = []

    async def refused(_host: str, _port: int) -> trio.abc.Stream:
        opened.append("refused")
        raise OSError("no")

    async def silent(_host: str, _port: int) -> trio.abc.Stream:
        opened.append("silent")
        return trio.testing.memory_stream_pair()[0]

    monkeypatch.setattr(upgrade_module, "PROBE_SECONDS", 0.05)
    async with served(server) as address:
        for opener in (refused, silent):
            async with connect(url(address), transports=BOTH, open_stream=opener) as client:
                await until(lambda: opened)
                await trio.sleep(0.1)
                assert await client.call("echo", 1) == 1
                assert client.transport == "polling"
    assert opened == ["refused", "silent"]


async def test_an_end_in_the_middle_of_the_upgrade_leaves_nothing_open() -> None:
    """Whenever it comes; a socket left open would be a ResourceWarning, which is an error here."""
    server, reasons = echoing()
    before = trio.lowlevel.current_statistics().tasks_living
    async with served(server) as address:
        for delay in range(12):
            async with connect(url(address), transports=BOTH) as client:
                client.emit("echo", 1)
                await trio.sleep(delay * 0.001)
        for delay in range(12):
            with trio.move_on_after(0.02 + delay * 0.001):
                async with connect(url(address), transports=BOTH):
                    await trio.sleep_forever()
        await until(lambda: server.engine.nursery is None or len(reasons) >= 12)
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_polling_client_comes_back_after_its_session_was_closed() -> None:
    """The server's close packet is a transport close."""
    server, _ = echoing()
    async with served(server) as address:
        client = Client(url(address), transports=["polling"], reconnection=Reconnection(delay=0.02))
        told: list[Any] = []
        client.on("connect", lambda: told.append("connect"))
        client.on("disconnect", told.append)
        async with running(client):
            await trio.sleep(0.05)  # by now it polls
            await server.close()
            await until(lambda: len(told) > 1)
            assert told[:2] == ["connect", "transport close"]


async def test_a_session_that_the_server_forgot_is_a_transport_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll is refused with 400."""
    server, _ = echoing()
    async with served(server) as address:
        client = Client(url(address), transports=["polling"], reconnection=None)
        async with running(client):
            polling = client._transport
            assert isinstance(polling, polling_module.Polling)
            polling._url = polling._url.replace("sid=", "sid=x")
            server.emit("wake", to=client.sid)
            assert await client.wait() == "transport error"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"", "does not speak"),
        (200, b"\xff", "does not speak"),
        (200, b"4hello", "does not speak"),
        (200, b"0{}", "does not speak"),
        (200, b"0" + b"x" * 2000, "does not speak"),
        (403, b'{"code":4,"message":"Forbidden"}', "Forbidden .HTTP 403"),
        (502, b"<html>", "no reason given .HTTP 502"),
    ],
)
async def test_what_is_no_handshake_is_a_connect_error(status: int, body: bytes, message: str) -> None:
    """Whatever the body is; its size is bounded."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address: Address = listeners[0].socket.getsockname()

    async def peer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            head = f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            await stream.send_all(head.encode() + body)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, peer, listeners)
        with pytest.raises(ConnectError, match=message), trio.fail_after(5):
            async with connect(url(address), transports=["polling"], max_message=1000):
                pytest.fail("connected")
        nursery.cancel_scope.cancel()


async def test_no_server_is_a_connect_error_over_polling() -> None:
    """At once."""
    with pytest.raises(ConnectError, match="cannot connect"), trio.fail_after(5):
        async with connect("http://127.0.0.1:1", transports=["polling"]):
            pytest.fail("connected")


async def test_a_post_is_as_large_as_the_server_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many events go together, and are split by the server's maxPayload."""
    server = Server(max_payload=1000)
    seen: list[int] = []
    server.on("n", lambda _sid, n, _text: seen.append(n))
    sizes: list[int] = []
    send = httpx.AsyncClient.send

    async def spy(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        if request.method == "POST":
            sizes.append(int(request.headers["content-length"]))
        return await send(self, request, **options)

    monkeypatch.setattr(httpx.AsyncClient, "send", spy)
    async with served(server) as address, connect(url(address), transports=["polling"]) as client:
        for n in range(50):
            client.emit("n", (n, "x" * 90))
        await until(lambda: len(seen) == 50)
    assert seen == list(range(50))
    assert 500 < max(sizes) <= 1000
    assert len(sizes) < 15
