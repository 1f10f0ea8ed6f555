"""The Socket.IO client after a loss: when it comes back, and what it brings along. On the virtual clock."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
from transport_peers import Address, served, until
from trio.testing import MockClock
from trio_client_peers import echoing, url
from trio_websocket import wrap_server_stream

from flux.transport.socket_io import ConnectionRefusedError, Recovery, Server  # noqa: A004 - ours
from flux.transport.socket_io.client import (
    AckTimeoutError,
    Client,
    ConnectError,
    DisconnectedError,
    Reconnection,
    connect,
    running,
)


class Middle(Random):
    """No jitter."""

    def random(self) -> float:
        """Return the middle."""
        return 0.5


class Network:
    """Opens connections, unless it is down; can cut those that are open."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.up = True
        self.attempts: list[float] = []
        self._streams: list[trio.SocketStream] = []

    async def open(self, _host: str, _port: int) -> trio.abc.Stream:
        """Connect to the server."""
        self.attempts.append(trio.current_time())
        if not self.up:
            raise OSError("the network is down")
        stream = await trio.open_tcp_stream(*self.address)
        self._streams.append(stream)
        return stream

    def cut(self) -> None:
        """End all connections, as a peer's reset would, and be down."""
        self.up = False
        while self._streams:
            stream = self._streams.pop()
            trio.lowlevel.notify_closing(stream.socket)
            stream.socket.close()


@asynccontextmanager
async def networked(server: Server) -> AsyncIterator[tuple[Network, Callable[..., Client]]]:
    """Serve behind a network; the second value makes clients in it."""
    async with served(server) as address:
        network = Network(address)

        def make(**options: Any) -> Client:
            return Client(url(address), rng=Middle(), open_stream=network.open, **options)

        yield network, make


async def test_attempts_come_after_one_two_four_and_then_every_five_seconds(
    loopback_clock: MockClock,
) -> None:
    """Until the server is back; then the client is in its namespaces again, and told both."""
    server, _ = echoing()
    told: list[Any] = []
    async with networked(server) as (network, make):
        client = make()
        client.on("connect", lambda: told.append("connect"))
        client.on("disconnect", told.append)
        client.on("connect_error", lambda _data: told.append("error"))
        async with running(client):
            first = client.sid
            network.cut()
            lost = trio.current_time()
            network.attempts.clear()
            await trio.sleep(20)
            assert [round(t - lost) for t in network.attempts] == [1, 3, 7, 12, 17]
            assert not client.connected
            network.up = True
            await trio.sleep(5)
            assert client.connected
            assert client.sid != first
            assert await client.call("echo", 1) == 1
            # After a success the pauses begin anew.
            network.cut()
            lost = trio.current_time()
            network.attempts.clear()
            await trio.sleep(2)
            assert [round(t - lost) for t in network.attempts] == [1]
    assert told == ["connect", "transport close", *["error"] * 5, "connect", "transport close", "error"]


async def test_what_is_emitted_offline_is_sent_in_order_after_the_reconnection(
    loopback_clock: MockClock,
) -> None:
    """With a call among it, which waits for the connection, too."""
    server, _ = echoing()
    seen: list[Any] = []
    server.on("n", lambda _sid, n: seen.append(n))
    async with networked(server) as (network, make), trio.open_nursery() as nursery:
        client = make()
        async with running(client):
            network.cut()
            await until(lambda: not client.connected)
            for n in range(100):
                client.emit("n", n)
            client.emit("n", -1, volatile=True)
            answers: list[Any] = []

            async def call() -> None:
                answers.append(await client.call("echo", "late"))

            nursery.start_soon(call)
            await trio.sleep(5)
            assert seen == answers == []
            network.up = True
            await trio.sleep(10)
            assert answers == ["late"]
        assert seen == list(range(100))


async def test_a_call_whose_event_was_sent_fails_with_the_connection(loopback_clock: MockClock) -> None:
    """At once, for the ack cannot come any more; it is not sent twice."""
    server = Server()
    calls: list[str] = []

    async def never(sid: str) -> None:
        calls.append(sid)
        await trio.sleep_forever()

    server.on("never", never)
    async with networked(server) as (network, make):
        client = make()
        async with running(client):

            async def cut() -> None:
                await until(lambda: calls)
                network.cut()
                network.up = True

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut)
                with pytest.raises(DisconnectedError):
                    await client.call("never")
            await trio.sleep(5)
            assert client.connected
    assert len(calls) == 1


async def test_a_timed_out_call_is_not_sent_later(loopback_clock: MockClock) -> None:
    """Its event is taken out of the buffer."""
    server, _ = echoing()
    seen: list[Any] = []
    server.on("n", lambda _sid, n: seen.append(n))
    async with networked(server) as (network, make):
        client = make()
        async with running(client):
            network.cut()
            await until(lambda: not client.connected)
            with pytest.raises(AckTimeoutError):
                await client.call("n", 1, timeout=2)
            client.emit("n", 2)
            network.up = True
            await trio.sleep(10)
    assert seen == [2]


async def test_a_silent_server_is_left_after_interval_and_timeout(loopback_clock: MockClock) -> None:
    """Never earlier; pings keep a quiet connection for as long as they come."""
    server, _ = echoing(ping_interval=5, ping_timeout=3)
    async with networked(server) as (_network, make):
        client = make(reconnection=None)
        told: list[Any] = []
        client.on("disconnect", lambda reason: told.append((reason, trio.current_time())))
        async with running(client):
            await trio.sleep(60)
            assert client.connected
            assert told == []
        told.clear()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    frames = [b'0{"sid":"x","pingInterval":5000,"pingTimeout":3000,"upgrades":[]}', b'40{"sid":"y"}']

    async def silent(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            ws = await request.accept()
            for frame in frames:
                await ws.send_message(frame.decode())
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, silent, listeners)
        client = Client(url(listeners[0].socket.getsockname()), reconnection=None)
        client.on("disconnect", lambda reason: told.append((reason, trio.current_time())))
        async with running(client):
            joined = trio.current_time()
            assert await client.wait() == "ping timeout"
        nursery.cancel_scope.cancel()
    assert [(reason, round(t - joined, 1)) for reason, t in told] == [("ping timeout", 8.0)]


async def test_without_reconnection_or_after_the_last_attempt_the_client_ends(
    loopback_clock: MockClock,
) -> None:
    """`wait` gives the reason of the loss, or of the last failure."""
    server, _ = echoing()
    async with networked(server) as (network, make):
        client = make(reconnection=None)
        async with running(client):
            network.cut()
            assert await client.wait() == "transport close"
        network.up = True
        client = make(reconnection=Reconnection(attempts=3))
        async with running(client):
            network.cut()
            network.attempts.clear()
            await client.wait()
            assert len(network.attempts) == 3
            with pytest.raises(DisconnectedError):
                client.emit("echo")


async def test_the_first_connection_is_tried_once_or_with_retry_again(loopback_clock: MockClock) -> None:
    """As python-socketio's `connect` does."""
    server, _ = echoing()
    async with networked(server) as (network, make):
        network.up = False
        with pytest.raises(ConnectError, match="the network is down"):
            await make().run()
        assert len(network.attempts) == 1

        async def repair() -> None:
            await trio.sleep(10)
            network.up = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(repair)
            client = make(retry=True)
            async with running(client):
                assert client.connected
        network.up = False
        with pytest.raises(ConnectError):
            await make(retry=True, reconnection=Reconnection(attempts=2)).run()


async def test_a_disconnect_while_it_waits_to_reconnect_ends_the_client_at_once(
    loopback_clock: MockClock,
) -> None:
    """It does not sit out the pause."""
    server, _ = echoing()
    async with networked(server) as (network, make):
        client = make(reconnection=Reconnection(delay=100, delay_max=100))
        async with running(client):
            network.cut()
            await until(lambda: not client.connected)
            before = trio.current_time()
            client.disconnect()
            assert await client.wait() == "client disconnect"
            assert trio.current_time() - before < 2


async def test_a_namespace_that_is_refused_later_is_not_asked_for_again(loopback_clock: MockClock) -> None:
    """The others come back; the handler learns why."""
    server = Server(namespaces=("/",))
    open_door = True

    def check(_sid: str, _environ: Any) -> None:
        if not open_door:
            raise ConnectionRefusedError("expired", 1)

    server.on("connect", check, "/private")
    async with networked(server) as (network, make):
        client = make(namespaces=["/", "/private"])
        told: list[Any] = []
        client.on("connect_error", told.append, "/private")
        async with running(client):
            open_door = False
            network.cut()
            network.up = True
            await trio.sleep(5)
            assert client.sid is not None
            assert client.get_sid("/private") is None
            with pytest.raises(DisconnectedError):
                client.emit("x", namespace="/private")
    assert told == [{"message": "expired", "data": 1}]


async def test_a_server_that_restarts_gets_its_clients_back() -> None:
    """Its shutdown is a transport close, after which they come again."""
    first, _ = echoing()
    second, _ = echoing()
    fast = Reconnection(delay=0.02, delay_max=0.05)
    where: list[Address] = []

    async def opener(_host: str, _port: int) -> trio.abc.Stream:
        return await trio.open_tcp_stream(*where[-1])

    async with trio.open_nursery() as nursery:

        async def before(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
            with trio.CancelScope() as scope:
                async with served(first) as address:
                    where.append(address)
                    task_status.started(scope)
                    await trio.sleep_forever()

        scope = await nursery.start(before)
        async with connect("http://x", reconnection=fast, open_stream=opener) as client:
            lost: list[str] = []
            client.on("disconnect", lost.append)
            assert await client.call("echo", 1) == 1
            scope.cancel()
            await until(lambda: lost)
            assert lost == ["transport close"]
            async with served(second) as address:
                where.append(address)
                assert await client.call("echo", 2) == 2
                client.disconnect()
                await client.wait()


async def test_a_handshake_that_never_ends_times_out(loopback_clock: MockClock) -> None:
    """Nothing is left of the attempt."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = Client(url(listeners[0].socket.getsockname()), timeout=3)
    start = trio.current_time()
    with pytest.raises(ConnectError, match="no connection in 3 s"):
        await client.run()
    assert 3 <= trio.current_time() - start < 5
    await listeners[0].aclose()


async def test_a_namespace_that_is_not_answered_times_out(loopback_clock: MockClock) -> None:
    """A connect handler that hangs does not hang the client."""
    server = Server()

    async def hang(_sid: str, _environ: Any) -> None:
        await trio.sleep_forever()

    server.on("connect", hang)
    async with networked(server) as (_network, make):
        with pytest.raises(ConnectError, match="not answered in 3 s"):
            await make(timeout=3).run()


async def test_a_recovered_client_keeps_its_sid_and_gets_what_it_missed(loopback_clock: MockClock) -> None:
    """The server's connection state recovery, also before the first event."""
    server = Server(recovery=Recovery())
    async with networked(server) as (network, make):
        client = make()
        got: list[Any] = []
        client.on("n", got.append)
        async with running(client):
            sid = client.sid
            for n in range(0, 9, 3):
                network.cut()
                await until(lambda: not client.connected)
                server.emit("n", n)
                server.emit("n", n + 1)
                network.up = True
                await trio.sleep(10)
                assert client.recovered()
                assert client.sid == sid
                server.emit("n", n + 2)
            await until(lambda: len(got) == 9)
    assert got == list(range(9))


async def test_a_client_that_cannot_be_recovered_is_a_new_one(loopback_clock: MockClock) -> None:
    """After too long an absence."""
    server = Server(recovery=Recovery(max_duration=10))
    async with networked(server) as (network, make):
        client = make()
        async with running(client):
            sid = client.sid
            network.cut()
            await trio.sleep(30)
            network.up = True
            await trio.sleep(10)
            assert client.connected
            assert not client.recovered()
            assert client.sid != sid
