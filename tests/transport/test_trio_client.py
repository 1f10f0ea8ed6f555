"""The Socket.IO client on trio against the server, over loopback."""

from typing import Any

import pytest
import trio
from transport_peers import served, until
from trio_client_peers import echoing, url

from flux.errors import LocalError
from flux.transport.engine_io import Outgoing
from flux.transport.http import Request
from flux.transport.socket_io import ConnectionRefusedError, Server  # noqa: A004 - ours
from flux.transport.socket_io.client import (
    AckTimeoutError,
    BufferFullError,
    Client,
    ConnectError,
    DisconnectedError,
    Reconnection,
    connect,
    running,
)


@pytest.fixture(params=["websocket", "polling", "polling+websocket"])
def transports(request: pytest.FixtureRequest) -> list[str]:
    """The ways to the server."""
    return str(request.param).split("+")


async def test_a_call_brings_back_text_json_and_bytes(transports: list[str]) -> None:
    """Both ways, several attachments, one argument or many or none."""
    server, _ = echoing()
    async with served(server) as address, connect(url(address), transports=transports) as client:
        assert await client.call("echo", "ä\u2028") == "ä\u2028"
        value = {"a": [1, 2.5, None, True], "b": b"\0\xff" * 50_000, "c": {"d": b""}}
        assert await client.call("echo", value) == value
        assert await client.call("echo", (1, b"x", "y")) == (1, b"x", "y")
        assert await client.call("echo") is None


async def test_the_end_of_the_block_sends_what_was_emitted_and_says_goodbye(transports: list[str]) -> None:
    """In order, binary among text, and the server sees a client disconnect."""
    server, reasons = echoing()
    seen: list[Any] = []
    server.on("n", lambda _sid, n: seen.append(n))
    async with served(server) as address:
        async with connect(url(address), transports=transports) as client:
            for n in range(500):
                client.emit("n", n if n % 2 else b"%d" % n)
        await until(lambda: reasons)
    assert seen == [n if n % 2 else b"%d" % n for n in range(500)]
    assert reasons == ["client disconnect"]
    assert await client.wait() == "client disconnect"


async def test_events_come_in_order_to_handlers_and_iterators(transports: list[str]) -> None:
    """A handler, a catch-all and an iterator see what is theirs; arguments that none takes are left out."""
    server, _ = echoing()
    async with served(server) as address:
        client = Client(url(address), transports=transports)
        short: list[Any] = []
        rest: list[Any] = []

        @client.on("reflected")
        def _(first: Any) -> None:
            short.append(first)

        client.on("*", lambda event, *args: rest.append((event, *args)))
        async with running(client):
            with client.events("reflected") as events:
                for n in range(100):
                    client.emit("reflect", (n, b"x"))
                assert [(await anext(events)).args for _ in range(100)] == [(n, b"x") for n in range(100)]
            server.emit("other", (1, 2), to=client.sid)
            await until(lambda: rest)
    assert short == list(range(100))
    assert rest == [("other", 1, 2)]


async def test_events_that_come_with_the_connection_wait_for_the_first_iterator() -> None:
    """What a connect handler emits is not lost before `events` is called."""
    server = Server()
    server.on("connect", lambda sid, _environ: server.emit("welcome", 1, to=sid))
    async with served(server) as address, connect(url(address)) as client:
        server.emit("second", 2, to=client.sid)
        await trio.sleep(0.05)
        events = client.events()
        assert [(await anext(events)).name for _ in range(2)] == ["welcome", "second"]


async def test_the_server_gets_acks_from_plain_and_async_handlers_and_from_iterators() -> None:
    """With binary; an exception gives no ack."""
    server = Server()
    async with served(server) as address:
        client = Client(url(address))

        async def slow(*args: Any) -> Any:
            await trio.lowlevel.checkpoint()
            return args

        def broken() -> None:
            raise ValueError

        client.on("plain", lambda *args: args)
        client.on("slow", slow)
        client.on("broken", broken)
        async with running(client):
            sid = client.sid or ""
            assert await server.call("plain", (1, b"x"), to=sid) == (1, b"x")
            assert await server.call("slow", ({"a": b"y"},), to=sid) == {"a": b"y"}
            with pytest.raises(AckTimeoutError):
                await server.call("broken", to=sid, timeout=0.1)
            async with trio.open_nursery() as nursery:
                events = client.events("asked")

                async def answer() -> None:
                    event = await anext(events)
                    assert event.wants_ack
                    event.acknowledge("yes", 2)

                nursery.start_soon(answer)
                assert await server.call("asked", to=sid) == ("yes", 2)


async def test_an_async_handler_may_call_the_server() -> None:
    """The reader goes on meanwhile."""
    server, _ = echoing()
    async with served(server) as address:
        client = Client(url(address))
        answers: list[Any] = []

        @client.event
        async def go(n: int) -> None:
            answers.append(await client.call("echo", n))

        async with running(client):
            server.emit("go", 7, to=client.sid)
            await until(lambda: answers)
    assert answers == [7]


async def test_a_callback_gets_the_ack() -> None:
    """Plain or async."""
    server, _ = echoing()
    got: list[Any] = []

    async def later(*args: Any) -> None:
        await trio.lowlevel.checkpoint()
        got.append(args)

    async with served(server) as address, connect(url(address)) as client:
        client.emit("echo", (1, 2), callback=lambda *args: got.append(args))
        client.emit("echo", (3, 4), callback=later)
        await until(lambda: len(got) == 2)
    assert got == [(1, 2), (3, 4)]


async def test_a_call_without_an_answer_times_out_and_its_late_ack_is_ignored() -> None:
    """Then the connection is as good as before."""
    server, _ = echoing()

    async def lazy(_sid: str) -> int:
        await trio.sleep(0.1)
        return 1

    server.on("lazy", lazy)
    async with served(server) as address, connect(url(address)) as client:
        with pytest.raises(AckTimeoutError):
            await client.call("lazy", timeout=0.02)
        await trio.sleep(0.15)
        assert await client.call("echo", 2) == 2


async def test_namespaces_share_a_connection_and_nothing_else() -> None:
    """Auth, sids, handlers and disconnects are each one's own; more may be joined later."""
    server = Server(namespaces=("/", "/a", "/b"))
    auths: dict[str, Any] = {}
    for name in ("/", "/a", "/b"):
        server.on("connect", lambda _sid, _env, auth, n=name: auths.update({n: auth}), name)
        server.on("who", lambda _sid, n=name: n, name)
    async with served(server) as address:
        async with connect(url(address), namespaces=["/", "/a"], auth=lambda: {"t": 1}) as client:
            assert client.get_sid("/a") not in (None, client.sid)
            assert await client.call("who") == "/"
            assert await client.call("who", namespace="/a") == "/a"
            with pytest.raises(LocalError):
                client.emit("who", namespace="/b")
            await client.join("/b")
            assert await client.call("who", namespace="/b") == "/b"
            client.disconnect("/a")
            with pytest.raises(DisconnectedError):
                client.emit("who", namespace="/a")
            assert client.get_sid("/a") is None
            await client.join("/a")
            assert await client.call("who", namespace="/a") == "/a"
            client.disconnect("/")
            assert client.sid is None
            assert await client.call("who", namespace="/b") == "/b"
        assert auths == {"/": {"t": 1}, "/a": {"t": 1}, "/b": {"t": 1}}


async def test_a_refusal_has_the_servers_message_and_data() -> None:
    """As an exception at the start, as an event later."""
    server = Server(namespaces=("/", "/closed"))

    def refuse(_sid: str, _environ: Any) -> None:
        raise ConnectionRefusedError("not you", {"code": 7})

    server.on("connect", refuse, "/closed")
    async with served(server) as address:
        with pytest.raises(ConnectError) as error:
            async with connect(url(address), namespaces=["/", "/closed"]):
                pytest.fail("let in")
        assert (error.value.message, error.value.data) == ("not you", {"code": 7})
        assert error.value.namespace == "/closed"
        with pytest.raises(ConnectError, match="Invalid namespace"):
            async with connect(url(address), namespaces="/unknown"):
                pytest.fail("let in")
        async with connect(url(address)) as client:
            told: list[Any] = []
            client.on("connect_error", told.append, "/closed")
            with pytest.raises(ConnectError, match="not you"):
                await client.join("/closed")
            assert told == [{"message": "not you", "data": {"code": 7}}]
            assert client.connected


async def test_a_refused_handshake_says_what_the_server_said() -> None:
    """The Engine.IO error's message, and the status."""

    def allow(request: Request) -> bool:
        return request.query.get("token") == "good" and ("x-key", "k") in [
            (n.decode(), v.decode()) for n, v in request.headers
        ]

    server = Server(allow_request=allow)
    async with served(server) as address:
        with pytest.raises(ConnectError, match=r"HTTP 403"):
            async with connect(url(address)):
                pytest.fail("let in")
        async with connect(url(address, "?token=good"), headers={"X-Key": "k"}) as client:
            assert client.connected


async def test_a_server_that_is_not_there_or_is_no_server_is_a_connect_error() -> None:
    """At once, not by a time-out, and not in a group."""
    with trio.fail_after(5):
        with pytest.raises(ConnectError, match="cannot connect"):
            async with connect("http://127.0.0.1:1"):
                pytest.fail("connected")
        async with served(None) as address:
            with pytest.raises(ConnectError, match="refused the handshake"):
                async with connect(url(address)):
                    pytest.fail("connected")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 x\r\n\r\n", b"\0\xff", b"HTTP/1.1 500 x\r\n\r\n"])
async def test_a_peer_that_breaks_off_the_handshake_is_a_connect_error(answer: bytes) -> None:
    """Whatever it answers before it closes."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = listeners[0].socket.getsockname()

    async def peer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            if answer:
                await stream.send_all(answer)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, peer, listeners)
            with pytest.raises(ConnectError):
                async with connect(url(address)):
                    pytest.fail("connected")
            nursery.cancel_scope.cancel()


async def test_an_exception_in_the_block_comes_out_as_it_is() -> None:
    """Not in an exception group, and the connection is closed."""
    server, reasons = echoing()
    async with served(server) as address:
        with pytest.raises(ZeroDivisionError):
            async with connect(url(address)):
                raise ZeroDivisionError
        await until(lambda: reasons)
    assert reasons == ["transport close"]


async def test_cancellation_closes_the_connection_in_order_and_leaves_nothing(
    transports: list[str],
) -> None:
    """The server sees a close, iterators and calls end with the scope."""
    server, reasons = echoing()
    before = trio.lowlevel.current_statistics().tasks_living
    async with served(server) as address:
        start = trio.current_time()
        with trio.move_on_after(0.1) as scope:
            async with connect(url(address), transports=transports) as client:
                async for _ in client.events():
                    pytest.fail("there is no event")
        assert scope.cancelled_caught
        assert trio.current_time() - start < 0.9  # the closing handshake was not sat out
        await until(lambda: reasons)
        with pytest.raises(DisconnectedError):
            client.emit("echo")
    assert reasons == ["transport close"]
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_handlers_are_cancelled_with_the_client_but_the_disconnect_handler_is_not() -> None:
    """It may take a moment, not more than its second."""
    server, _ = echoing()
    seen: list[str] = []
    async with served(server) as address:
        client = Client(url(address))

        @client.event
        async def work() -> None:
            try:
                await trio.sleep_forever()
            finally:
                seen.append("cancelled")

        @client.event
        async def disconnect(reason: str) -> None:
            await trio.sleep(0.05)
            seen.append(reason)

        async with running(client):
            server.emit("work", to=client.sid)
            await trio.sleep(0.05)
    assert seen == ["cancelled", "client disconnect"]


async def test_a_client_that_the_server_disconnects_ends() -> None:
    """It does not come back, iterators end, and emits are refused (the JS client's rule)."""
    server, _ = echoing()
    async with served(server) as address, connect(url(address)) as client:
        told: list[str] = []
        client.on("disconnect", told.append)
        events = client.events()
        server.disconnect(client.sid or "")
        assert await client.wait() == "server disconnect"
        assert [event async for event in events] == []
        assert told == ["server disconnect"]
        with pytest.raises(DisconnectedError):
            client.emit("echo")
        with pytest.raises(DisconnectedError):
            await client.call("echo")


async def test_a_handlers_exception_ends_nothing_else() -> None:
    """Plain, async, connect, callback."""
    server, _ = echoing()

    def fail(*_args: Any) -> None:
        raise ValueError

    async def fail_later(*_args: Any) -> None:
        raise ValueError

    async with served(server) as address:
        client = Client(url(address))
        client.on("connect", fail)
        client.on("a", fail)
        client.on("b", fail_later)
        async with running(client):
            server.emit("a", to=client.sid)
            server.emit("b", to=client.sid)
            client.emit("echo", callback=fail)
            assert await client.call("echo", 1) == 1


async def test_the_outbox_is_bounded_and_says_so() -> None:
    """`drained` makes room."""
    server, _ = echoing()
    async with served(server) as address, connect(url(address), max_buffered=10) as client:
        for _ in range(10):
            client.emit("echo")
        with pytest.raises(BufferFullError):
            client.emit("echo")
        await client.drained()
        client.emit("echo")
        assert await client.call("echo", 1) == 1


async def test_a_disconnect_before_the_connection_is_a_connect_error() -> None:
    """The block is not entered, and nothing is left."""
    server = Server()

    async def hang(_sid: str, _environ: Any) -> None:
        await trio.sleep_forever()

    server.on("connect", hang)
    async with served(server) as address, trio.open_nursery() as nursery:
        client = Client(url(address))

        async def give_up() -> None:
            await trio.sleep(0.05)
            client.disconnect()

        nursery.start_soon(give_up)
        with pytest.raises(ConnectError, match="disconnected before"):
            async with running(client):
                pytest.fail("connected")


async def test_misuse_is_told_at_once() -> None:
    """Reserved names, unknown transports, no namespace, a second run."""
    client = Client("http://127.0.0.1:1")
    for name in ("connect", "disconnecting", "newListener"):
        with pytest.raises(LocalError):
            client.emit(name)
    with pytest.raises(LocalError):
        client.on("newListener", print)
    for options in (
        {"transports": ["pigeon"]},
        {"transports": []},
        {"namespaces": []},
        {"namespaces": ["chat"]},
    ):
        with pytest.raises(LocalError):
            Client("http://127.0.0.1:1", **options)  # type: ignore[arg-type] # that is the point
    with pytest.raises(ConnectError):
        await client.run()
    with pytest.raises(LocalError):
        await client.run()


async def test_a_broken_packet_from_the_server_ends_the_connection_as_a_parse_error() -> None:
    """At once; the client would come back."""
    server = Server()
    async with served(server) as address:
        client = Client(url(address), reconnection=None)
        told: list[str] = []
        client.on("disconnect", told.append)
        async with running(client):
            engine = server._router.namespace("/").sockets[client.sid or ""].client
            engine.send(Outgoing(b"42[1]"))
            assert await client.wait() == "parse error"
    assert told == ["parse error"]


async def test_volatile_events_are_dropped_without_a_connection() -> None:
    """Regular ones wait for it."""
    server = Server()
    seen: list[Any] = []
    server.on("n", lambda _sid, n: seen.append(n))
    async with served(server) as address:
        client = Client(url(address), reconnection=Reconnection())
        client.emit("n", 1, volatile=True)
        client.emit("n", 2)
        async with running(client):
            await client.drained()
            client.emit("n", 3, volatile=True)
            client.emit("n", 4)
        await until(lambda: len(seen) == 3)
    assert seen == [2, 3, 4]
