"""A client that is lost for a short time comes back as itself: rooms, session, what it missed, in order."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import trio
from transport_peers import Address, Polling, Ws, heard, open_ws, served

from flux.transport.socket_io import ConnectionRefusedError, Recovery, Server  # noqa: A004 - ours


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that other tasks bring about."""
    with trio.fail_after(2):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.005)


class Seen:
    """A server with recovery, and what its handlers saw."""

    def __init__(self, recovery: Recovery | None = None, **options: Any) -> None:
        self.server = Server(recovery=recovery or Recovery(), **options)
        self.connects: list[tuple[str, bool]] = []
        self.reasons: list[str] = []
        self.server.on("connect", self.connect)
        self.server.on("disconnect", lambda _sid, reason: self.reasons.append(reason))

    def connect(self, sid: str, environ: dict[str, Any]) -> None:
        """Greet; the first time, put into a room."""
        recovered = self.server.recovered(sid)
        self.connects.append((sid, recovered))
        if not recovered:
            self.server.enter_room(sid, "red")
            self.server.get_session(sid)["query"] = environ["QUERY_STRING"]
        self.server.emit("greeting", recovered, to=sid)

    async def lose(self, ws: Ws) -> None:
        """Cut a client off and wait until it is noticed."""
        before = len(self.reasons)
        await ws.stream.aclose()
        await until(lambda: len(self.reasons) > before)


async def join(
    address: Address, auth: dict[str, Any] | None = None, namespace: str = ""
) -> tuple[Ws, dict[str, str]]:
    """Open a WebSocket session; return it with the answer to CONNECT."""
    ws = await Ws.connect(address)
    await ws.receive()
    comma = "," if namespace else ""
    await ws.send(f"40{namespace}{comma}{json.dumps(auth) if auth else ''}")
    answer = str(await ws.receive())
    assert answer[:2] == "40", answer
    return ws, json.loads(answer[answer.index("{") :])


async def event(ws: Ws) -> tuple[list[Any], str]:
    """Receive an event: its data, and its offset."""
    *data, offset = await heard(ws)
    assert isinstance(offset, str)
    return data, offset


async def back(
    address: Address, hello: dict[str, str], offset: str | None = None
) -> tuple[Ws, dict[str, str]]:
    """Come back as the one who got that answer to CONNECT."""
    auth = {"pid": hello["pid"]} if offset is None else {"pid": hello["pid"], "offset": offset}
    return await join(address, auth)


async def test_a_lost_client_comes_back_as_itself() -> None:
    """What it missed comes behind CONNECT, and before what its handler says; then all goes on."""
    seen = Seen()
    server = seen.server
    async with served(server) as address:
        ws, hello = await join(address)
        sid = hello["sid"]
        assert (await event(ws))[0] == ["greeting", False]
        server.emit("n", 1, room="red")
        data, offset = await event(ws)
        assert data == ["n", 1]
        await seen.lose(ws)
        assert seen.reasons == ["transport close"]
        assert not server.connected(sid)
        server.emit("n", 2, room="red")
        server.emit("n", 3, room="blue")
        with server.batch():
            server.emit("n", (4, {"b": b"x"}), to=sid)
            server.emit("n", 5)
        server.emit("n", 6, volatile=True)
        server.emit("n", 7, conflate="k")
        server.emit("n", 8, callback=print)
        server.emit("n", 9, skip_sid=sid)
        again, answer = await back(address, hello, offset)
        assert answer == hello
        assert server.connected(sid)
        assert server.rooms(sid) == [sid, "red"]
        assert server.get_session(sid) == {"query": "EIO=4&transport=websocket"}
        assert seen.connects == [(sid, False), (sid, True)]
        assert (await event(again))[0] == ["n", 2]
        binary = str(await again.receive())
        assert (
            re.sub(r'"[^"]*"\]$', "OFFSET", binary) == '451-["n",4,{"b":{"_placeholder":true,"num":0}},OFFSET'
        )
        assert await again.receive() == b"x"
        assert (await event(again))[0] == ["n", 5]
        assert (await event(again))[0] == ["greeting", True]
        server.emit("n", 10, room="red")
        assert (await event(again))[0] == ["n", 10]


async def test_a_client_that_got_nothing_before_its_loss_is_recovered() -> None:
    """It has no offset to tell."""
    server = Server(recovery=Recovery())
    reasons: list[str] = []
    server.on("disconnect", lambda _sid, reason: reasons.append(reason))
    async with served(server) as address:
        server.emit("n", 0)
        ws, hello = await join(address)
        await ws.stream.aclose()
        await until(lambda: reasons)
        server.emit("n", 1)
        server.emit("n", 2, to=hello["sid"])
        again, answer = await back(address, hello)
        assert answer == hello
        assert [(await event(again))[0] for _ in range(2)] == [["n", 1], ["n", 2]]


async def test_what_was_on_its_way_when_the_connection_broke_is_replayed() -> None:
    """The server had sent it; the client has not got it."""
    seen = Seen()
    async with served(seen.server) as address:
        ws, hello = await join(address)
        _, offset = await event(ws)
        for n in range(3):
            seen.server.emit("n", n, room="red")
        await seen.lose(ws)
        again, _ = await back(address, hello, offset)
        assert [(await event(again))[0] for _ in range(4)] == [
            ["n", 0],
            ["n", 1],
            ["n", 2],
            ["greeting", True],
        ]


async def test_a_client_that_is_back_before_its_loss_is_noticed_takes_over() -> None:
    """The old connection is closed; all other clients of it go on."""
    seen = Seen()
    async with served(seen.server) as address:
        other = await open_ws(address)
        old, hello = await join(address)
        _, offset = await event(old)
        seen.server.emit("n", 1, room="red")
        ws, answer = await back(address, hello, offset)
        assert answer == hello
        assert seen.reasons == ["transport close"]
        assert await old.closed() == 1000
        assert [(await event(ws))[0] for _ in range(2)] == [["n", 1], ["greeting", True]]
        seen.server.emit("n", 2)
        assert (await event(ws))[0] == ["n", 2]
        assert [(await heard(other))[1] for _ in range(3)] == [False, 1, 2]


async def test_a_polling_client_is_recovered_too() -> None:
    """By its own ping time-out; its packets come in one payload."""
    server = Server(recovery=Recovery(), ping_interval=0.05, ping_timeout=0.05)
    reasons: list[str] = []
    server.on("disconnect", lambda _sid, reason: reasons.append(reason))
    async with served(server) as address:
        poll = await Polling.open(address)
        await poll.post(b"40")
        hello = json.loads((await poll.get()).split(b"\x1e")[0][2:])
        await until(lambda: reasons)
        assert reasons == ["ping timeout"]
        server.emit("n", 1)
        server.emit("n", 2)
        poll = await Polling.open(address)
        await poll.post(b"40" + json.dumps({"pid": hello["pid"]}).encode())
        answer, first, second = (await poll.get()).split(b"\x1e")[:3]
        assert json.loads(answer[2:]) == hello
        assert [json.loads(packet[2:])[:2] for packet in (first, second)] == [["n", 1], ["n", 2]]


@pytest.mark.parametrize("end", ["client", "server", "close", "broken", "shutdown"])
async def test_only_a_lost_connection_is_recovered(end: str) -> None:
    """Not one that a side ended, or broke the protocol of."""
    seen = Seen()
    server = seen.server
    async with served(server) as address:
        ws, hello = await join(address)
        if end == "client":
            await ws.send("41")
        elif end == "broken":
            await ws.send("42")
        elif end == "shutdown":
            server.engine.clients[next(iter(server.engine.clients))].close("server shutting down")
        else:
            server.disconnect(hello["sid"], close=end == "close")
        await until(lambda: seen.reasons)
        again, answer = await back(address, hello)
        assert answer["sid"] != hello["sid"]
        assert answer["pid"] != hello["pid"]
        assert (await event(again))[0] == ["greeting", False]
        assert seen.connects[1][1] is False


async def test_who_is_sent_away_while_it_is_lost_stays_away() -> None:
    """It comes back as a new client."""
    seen = Seen()
    async with served(seen.server) as address:
        ws, hello = await join(address)
        await seen.lose(ws)
        seen.server.disconnect(hello["sid"])
        _, answer = await back(address, hello)
        assert answer["sid"] != hello["sid"]


async def test_who_comes_too_late_is_new_and_nothing_is_kept_of_it() -> None:
    """The timers sweep."""
    seen = Seen(Recovery(max_duration=0.05))
    async with served(seen.server) as address:
        ws, hello = await join(address)
        await seen.lose(ws)
        kept = seen.server._recoverer._lost  # type: ignore[union-attr]
        assert len(kept) == 1
        await until(lambda: not len(kept))
        again, answer = await back(address, hello)
        assert answer["sid"] != hello["sid"]
        await seen.lose(again)
        assert len(kept) == 1
        await until(lambda: not len(kept))


async def test_who_missed_too_much_is_new_at_once() -> None:
    """The buffer has overflowed; its place in the rooms is its handler's business again."""
    seen = Seen(Recovery(max_packets=3))
    async with served(seen.server) as address:
        ws, hello = await join(address)
        _, offset = await event(ws)
        await seen.lose(ws)
        for n in range(4):
            seen.server.emit("n", n)
        again, answer = await back(address, hello, offset)
        assert answer["sid"] != hello["sid"]
        assert (await event(again))[0] == ["greeting", False]


async def test_a_client_for_which_nothing_came_is_recovered_however_much_came_for_others() -> None:
    """Its offset is not in the buffer any more, but its pongs tell that it missed nothing of that."""
    seen = Seen(Recovery(max_packets=3), ping_interval=0.03, ping_timeout=0.03)
    async with served(seen.server) as address:
        ws, hello = await join(address)
        _, offset = await event(ws)
        other = await open_ws(address)
        sid = next(sid for sid, _ in seen.connects if sid != hello["sid"])
        del other
        for n in range(10):
            seen.server.emit("n", n, to=sid)
        with trio.move_on_after(0.3):
            while await ws.receive() == "2":
                await ws.send("3")
        await seen.lose(ws)
        seen.server.emit("n", 11, room="red")
        again, answer = await back(address, hello, offset)
        assert answer == hello
        assert (await event(again))[0] == ["n", 11]


async def test_pids_are_of_one_namespace_and_cannot_be_guessed() -> None:
    """Nor does a pid work twice."""
    seen = Seen(namespaces=["/", "/other"])
    async with served(seen.server) as address:
        ws, hello = await join(address)
        await seen.lose(ws)
        for auth in ({"pid": hello["sid"]}, {"pid": ""}, {"pid": hello["pid"].swapcase()}):
            assert (await join(address, auth))[1]["sid"] != hello["sid"]
        assert (await join(address, {"pid": hello["pid"]}, "/other"))[1]["sid"] != hello["sid"]
        first, answer = await back(address, hello)
        assert answer == hello
        await first.send("41")
        await until(lambda: len(seen.reasons) == 2)
        assert (await back(address, hello))[1]["sid"] != hello["sid"]


async def test_a_recovered_client_can_be_refused_and_lost_while_it_is_decided() -> None:
    """Lost once more it is still recoverable; refused it is gone."""
    server = Server(recovery=Recovery())
    gate = trio.Event()
    begun: list[str] = []
    reasons: list[str] = []

    @server.on("connect")
    async def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any] | None) -> None:
        if not server.recovered(sid):
            return
        begun.append(sid)
        if len(begun) == 1:
            await gate.wait()
        elif len(begun) == 3:
            raise ConnectionRefusedError("not any more")

    @server.on("disconnect")
    def disconnect(sid: str, reason: str) -> None:
        reasons.append(reason)

    async with served(server) as address:
        ws, hello = await join(address)
        await ws.stream.aclose()
        await until(lambda: reasons)
        server.emit("n", 1)
        pending = await Ws.connect(address)
        await pending.send("40" + json.dumps({"pid": hello["pid"]}))
        await until(lambda: begun)
        server.emit("n", 2)
        await pending.stream.aclose()
        await until(lambda: not server._router.namespaces["/"].sockets)
        server.emit("n", 3)
        ws, answer = await back(address, hello)
        assert answer == hello
        assert [(await event(ws))[0] for _ in range(3)] == [["n", 1], ["n", 2], ["n", 3]]
        await ws.stream.aclose()
        await until(lambda: len(reasons) == 2)
        for _ in range(2):
            ws = await Ws.connect(address)
            await ws.receive()
            await ws.send("40" + json.dumps({"pid": hello["pid"]}))
            answer = str(await ws.receive())
            if len(begun) == 3 and answer[:2] == "44":
                continue
            assert json.loads(answer[2:])["sid"] != hello["sid"]
        assert begun == [hello["sid"]] * 3
        assert reasons == ["transport close"] * 2


async def test_a_client_may_be_back_before_its_disconnect_handler_has_ended() -> None:
    """And be lost again meanwhile; each loss has its handler."""
    server = Server(recovery=Recovery())
    gate = trio.Event()
    begun: list[Any] = []
    ended: list[Any] = []

    @server.on("disconnect")
    async def disconnect(sid: str, reason: str) -> None:
        begun.append(server.get_session(sid))
        await gate.wait()
        ended.append(sid)

    async with served(server) as address:
        ws, hello = await join(address)
        server.get_session(hello["sid"])["name"] = "a"
        for n in range(1, 3):
            await ws.stream.aclose()
            await until(lambda n=n: len(begun) == n)  # type: ignore[misc]
            ws, answer = await back(address, hello)
            assert answer == hello
            assert server.connected(hello["sid"])
        gate.set()
        await until(lambda: len(ended) == 2)
        assert begun == [{"name": "a"}] * 2
        assert server.get_session(hello["sid"]) == {"name": "a"}
        server.emit("n", 1, to=hello["sid"])
        assert (await event(ws))[0] == ["n", 1]


@pytest.mark.parametrize("skip", [True, False])
async def test_middlewares_are_spared_unless_told_otherwise(skip: bool) -> None:
    """They have let it in before; the connect handler is called."""
    seen = Seen(Recovery(skip_middlewares=skip))
    asked: list[str] = []
    seen.server.use(lambda sid, _environ, _auth: asked.append(sid))
    async with served(seen.server) as address:
        ws, hello = await join(address)
        await seen.lose(ws)
        await back(address, hello)
        assert len(asked) == (1 if skip else 2)
        assert len(seen.connects) == 2


async def test_a_namespace_that_exists_by_its_clients_alone_is_recovered() -> None:
    """It was gone while nobody was in it."""
    server = Server(namespaces=[re.compile(r"/room-\d+")], recovery=Recovery())
    async with served(server) as address:
        ws, hello = await join(address, None, "/room-7")
        sid = hello["sid"]
        await ws.stream.aclose()
        await until(lambda: not server.connected(sid, "/room-7"))
        server.emit("n", 1, namespace="/room-7")
        for _ in range(2):  # the second takes over from the first
            ws, answer = await join(address, {"pid": hello["pid"]}, "/room-7")
            assert answer == hello
            assert str(await ws.receive()).startswith('42/room-7,["n",1,')
        assert server.connected(sid, "/room-7")


async def test_events_that_are_not_replayed_leave_the_clients_offset_alone() -> None:
    """A last argument that is a text would be taken for it; an ack's event has none at all."""
    server = Server(recovery=Recovery())
    async with served(server) as address:
        ws, _ = await join(address)
        server.emit("v", "text", volatile=True)
        server.emit("c", ("x", "text"), conflate="k")
        server.emit("v", 1, volatile=True)
        server.emit("a", "text", callback=print)
        assert [str(await ws.receive()) for _ in range(4)] == [
            '42["v","text",null]', '42["c","x","text",null]', '42["v",1]', '421["a","text"]',
        ]  # fmt: skip


async def test_without_recovery_nothing_is_different() -> None:
    """No pid, no offsets, and nobody is known again."""
    server = Server()
    async with served(server) as address:
        ws, hello = await join(address, {"pid": "x", "offset": "y"})
        assert list(hello) == ["sid"]
        assert not server.recovered(hello["sid"])
        server.emit("n", "x")
        assert await ws.receive() == '42["n","x"]'


async def test_lost_clients_share_one_copy_of_what_they_missed() -> None:
    """Each of them is a small record."""
    seen = Seen()
    async with served(seen.server) as address:
        clients = [await join(address) for _ in range(50)]
        for ws, _ in clients:
            await seen.lose(ws)
        kept = seen.server._recoverer._lost  # type: ignore[union-attr]
        before = kept.log.size
        seen.server.emit("n", "x" * 10_000)
        assert len(kept) == 50
        assert kept.log.size - before < 11_000
        for _, hello in clients:
            ws, answer = await back(address, hello)
            assert answer == hello
            *_, missed = [(await event(ws))[0] for _ in range(2)]
            assert missed == ["n", "x" * 10_000]
