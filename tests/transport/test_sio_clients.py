"""Acks of many clients, views of them, and moving or disconnecting a whole audience."""

from typing import Any

import pytest
import trio
from transport_peers import Polling, Ws, open_ws, served, until
from trio.testing import MockClock

from flux.errors import LocalError
from flux.transport.socket_io import AckTimeoutError, Server, SocketView


def counted(**options: Any) -> tuple[Server, list[str]]:
    """Return a server, and the sids of its clients in order of joining."""
    server = Server(**options)
    sids: list[str] = []
    server.on("connect", lambda sid, _environ: sids.append(sid))
    return server, sids


async def test_call_all_gives_the_acks_by_sid() -> None:
    """One argument, several, none; the ids may differ; nobody is an empty answer."""
    server, sids = counted()
    async with served(server) as address:
        clients = [await open_ws(address) for _ in range(3)]
        assert await server.call_all("q", to="nobody") == {}
        server.emit("other", to=sids[2], callback=lambda *_args: None)
        assert await clients[2].receive() == '421["other"]'
        result: dict[str, Any] = {}
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                result.update(await server.call_all("q", {"b": b"\1"}, timeout=5))

            nursery.start_soon(call)
            for ws, number, answer in zip(clients, (1, 1, 2), ('["a"]', "[1,2]", "[]"), strict=True):
                assert await ws.receive() == f'451-{number}["q",{{"b":{{"_placeholder":true,"num":0}}}}]'
                assert await ws.receive() == b"\1"
                await ws.send(f"43{number}{answer}")
        assert result == dict(zip(sids, ("a", (1, 2), None), strict=True))


async def test_call_all_keeps_the_answers_that_came(loopback_clock: MockClock) -> None:
    """Who is silent, and who leaves, is named; late acks are ignored."""
    server, sids = counted()
    async with served(server) as address:
        good, silent, leaves = [await open_ws(address) for _ in range(3)]
        caught: list[AckTimeoutError] = []
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                began = trio.current_time()
                with pytest.raises(AckTimeoutError) as error:
                    await server.call_all("q", timeout=5)
                caught.append(error.value)
                assert trio.current_time() - began == pytest.approx(5, abs=0.5)

            nursery.start_soon(call)
            await silent.receive()
            await good.receive()
            await good.send('431["yes"]')
            await leaves.send("41")
        [error] = caught
        assert error.answers == {sids[0]: "yes"}
        assert set(error.missing) == {sids[1], sids[2]}
        await silent.send("431[1]")
        server.emit("still there")
        assert await silent.receive() == '42["still there"]'


async def test_call_all_does_not_wait_for_those_who_cannot_answer_any_more() -> None:
    """It ends when the last one leaves, long before its time-out."""
    server, sids = counted()
    async with served(server) as address:
        ws = await open_ws(address)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:

                async def call() -> None:
                    with pytest.raises(AckTimeoutError) as error:
                        await server.call_all("q", timeout=3600)
                    assert error.value.missing == (sids[0],)

                nursery.start_soon(call)
                await ws.receive()
                await ws.stream.aclose()


async def test_call_all_leaves_nothing_behind_when_it_is_cancelled() -> None:
    """The acks are forgotten."""
    server, _ = counted()
    async with served(server) as address:
        ws = await open_ws(address)
        with trio.move_on_after(0.05):
            await server.call_all("q")
        [socket] = server._router.namespace("/").sockets.values()
        assert not socket._acks
        await ws.receive()
        await ws.send("431[1]")
        server.emit("still there")
        assert await ws.receive() == '42["still there"]'
    with pytest.raises(LocalError):
        await server.call_all("connect")


async def test_callbacks_are_given_up_after_their_time_out(loopback_clock: MockClock) -> None:
    """Once for each client that did not answer, or left; a late ack is ignored."""
    server, sids = counted()
    got: list[Any] = []
    missed: list[str] = []
    async with served(server) as address:
        leaves, good, silent = [await open_ws(address) for _ in range(3)]
        server.emit("q", callback=got.append, timeout=5, on_timeout=missed.append)
        for ws in (good, silent, leaves):
            assert await ws.receive() == '421["q"]'
        await good.send("431[1]")
        await leaves.send("41")
        await until(lambda: missed)
        assert missed == [sids[0]]
        await trio.sleep(6)
        assert missed == [sids[0], sids[2]]
        await silent.send("431[2]", '42["x"]')
        await trio.sleep(0.1)
        assert got == [1]


async def test_views_are_frozen_copies() -> None:
    """Of an audience, in order of joining, with handshake, rooms and session."""
    server, sids = counted()
    async with served(server) as address:
        for _ in range(3):
            await open_ws(address)
        server.enter_room(sids[0], "red")
        server.enter_room(sids[2], "red")
        server.get_session(sids[2])["name"] = "x"
        views = server.fetch_sockets("red")
        assert [view.sid for view in views] == [sids[0], sids[2]]
        assert [view.sid for view in server.fetch_sockets()] == sids
        assert [view.sid for view in server.fetch_sockets(skip_sid="red")] == [sids[1]]
        [view] = server.fetch_sockets(sids[2])
        assert isinstance(view, SocketView)
        assert view.rooms == (sids[2], "red")
        assert view.handshake["HTTP_HOST"] == "localhost"
        view.session["name"] = "y"
        assert server.get_session(sids[2]) == {"name": "x"}
        with pytest.raises(AttributeError):
            view.sid = "other"  # type: ignore[misc]
        assert server.fetch_sockets("nobody") == []


async def test_audiences_join_and_leave_rooms() -> None:
    """Several rooms at once, also rooms of who is in a room."""
    server, sids = counted()
    async with served(server) as address:
        for _ in range(3):
            await open_ws(address)
        server.sockets_join("red", [sids[0], sids[1]])
        server.sockets_join(["blue", "green"], "red", skip_sid=sids[1])
        assert server.rooms(sids[0]) == [sids[0], "red", "blue", "green"]
        assert server.rooms(sids[1]) == [sids[1], "red"]
        server.sockets_leave(["red", "green"])
        assert server.rooms(sids[0]) == [sids[0], "blue"]
        assert set(server.occupied_rooms()) == {"blue"}


async def test_an_audience_is_disconnected() -> None:
    """The others stay."""
    server, sids = counted()
    gone: list[tuple[str, str]] = []
    server.on("disconnect", lambda sid, reason: gone.append((sid, reason)))
    async with served(server) as address:
        one, two = await open_ws(address), await open_ws(address)
        server.enter_room(sids[0], "red")
        server.disconnect_sockets("red")
        assert await one.receive() == "41"
        assert gone == [(sids[0], "server disconnect")]
        server.emit("n")
        assert await two.receive() == '42["n"]'


@pytest.mark.parametrize("transport", ["websocket", "polling", "between two polls"])
async def test_disconnect_can_close_the_connection(transport: str) -> None:
    """All its namespaces are left, each with its handler, and told; also one that is not yet let in."""
    server, sids = counted(namespaces=("/", "/b"))
    gone: list[str] = []
    server.on("disconnect", lambda _sid, reason: gone.append(reason))
    server.on("disconnect", lambda _sid, reason: gone.append("/b " + reason), namespace="/b")

    @server.on("connect", namespace="/slow")
    async def slow(sid: str, environ: dict[str, Any]) -> None:
        await trio.sleep_forever()

    async with served(server) as address:
        if transport == "websocket":
            ws = await open_ws(address)
            assert server.transport(sids[0]) == "websocket"
            await ws.send("40/b,", "40/slow,")
            assert str(await ws.receive()).startswith("40/b,")
            server.disconnect(sids[0], close=True)
            farewells = {str(await ws.receive()) for _ in range(3)}
            assert farewells == {"41", "41/b,", '44/slow,{"message":"Connection rejected by server"}'}
            assert await ws.closed() == 1000
        else:
            poll = await Polling.open(address)
            await poll.post(b"40\x1e40/b,")
            await poll.get()
            assert server.transport(sids[0]) == "polling"
            if transport == "polling":
                heard: list[bytes] = []

                async def get() -> None:
                    heard.append(await poll.get())

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(get)
                    await trio.sleep(0.05)
                    server.disconnect(sids[0], close=True)
                    status, _ = await poll.post(b'42["n"]')
                    assert status == 400
            else:
                server.disconnect(sids[0], close=True)
                heard = [await poll.get()]
                await until(lambda: not server.engine.clients)
            assert heard == [b"41\x1e41/b,"]
        assert sorted(gone) == ["/b server disconnect", "server disconnect"]
        server.disconnect(sids[0], close=True)


async def test_disconnecting_still_sees_the_rooms_and_their_members() -> None:
    """Before `disconnect`, once; what it sends to the rooms reaches the others; a fault ends nothing."""
    server, sids = counted()
    order: list[Any] = []

    @server.on("disconnecting")
    def disconnecting(sid: str, reason: str) -> None:
        order.append(("disconnecting", reason, server.rooms(sid)[1:], sid in server.members("red")))
        server.emit("leaves", room="red", skip_sid=sid)
        server.disconnect(sid)
        raise ValueError

    @server.on("disconnect")
    def disconnect(sid: str, reason: str) -> None:
        order.append(("disconnect", reason, server.rooms(sid)[1:], sid in server.members("red")))

    async with served(server) as address:
        one, two = await open_ws(address), await open_ws(address)
        server.sockets_join("red")
        await one.send("41")
        assert await two.receive() == '42["leaves"]'
        assert order == [
            ("disconnecting", "client disconnect", ["red"], True),
            ("disconnect", "client disconnect", ["red"], False),
        ]
        server.disconnect(sids[1])
        assert await two.receive() == "41"
        assert [entry[:2] for entry in order[2:]] == [
            ("disconnecting", "server disconnect"),
            ("disconnect", "server disconnect"),
        ]


async def test_a_client_that_was_never_let_in_does_not_disconnect() -> None:
    """Neither handler hears of it."""
    server = Server()
    heard: list[str] = []
    server.on("connect", lambda _sid, _environ: False)
    server.on("disconnecting", heard.append)
    server.on("disconnect", heard.append)
    async with served(server) as address:
        ws = await Ws.connect(address)
        await ws.receive()
        await ws.send("40")
        assert str(await ws.receive()).startswith("44")
        await ws.stream.aclose()
        await until(lambda: not server.engine.clients)
    assert heard == []
