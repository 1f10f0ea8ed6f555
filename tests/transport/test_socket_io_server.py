"""The Socket.IO server over real sockets: events, acks, sessions, and every way to leave."""

import socket
import struct
from typing import Any

import pytest
import trio
from transport_peers import Polling, Ws, open_ws, served, until
from trio.testing import MockClock

from flux.transport.socket_io import (
    AckTimeoutError,
    ConnectionRefusedError,  # noqa: A004 - ours
    Server,
    UnknownClientError,
)


async def test_events_reach_their_handlers_and_answers_come_back() -> None:
    """``def`` and ``async def``, with and without an ack, and the catch-all for the rest."""
    server = Server()
    server.on("none", lambda _sid: None)
    server.on("one", lambda _sid, a: a)
    server.on("two", lambda _sid, a, b=2: (a, b))
    server.on("binary", lambda _sid: b"\1")

    @server.event
    async def later(sid: str, value: int) -> int:
        await trio.lowlevel.checkpoint()
        return value + 1

    @server.on("*")
    def anything(event: str, sid: str, *args: Any) -> list[Any]:
        return [event, *args]

    async with served(server) as address:
        ws = await open_ws(address)
        for sent, answer in [
            ('421["none"]', "431[]"),
            ('422["one",{"a":1}]', '432[{"a":1}]'),
            ('423["two",1]', "433[1,2]"),
            ('424["later",1]', "434[2]"),
            ('425["other",1]', '435[["other",1]]'),
        ]:
            await ws.send(sent)
            assert await ws.receive() == answer
        await ws.send('427["binary"]')
        assert await ws.receive() == '461-7[{"_placeholder":true,"num":0}]'
        assert await ws.receive() == b"\1"


async def test_a_handlers_exception_ends_nothing() -> None:
    """No ack, no disconnect; nor do wrong arguments or an answer that is no JSON."""
    server = Server()

    @server.on("bad")
    def bad(sid: str) -> None:
        raise ValueError

    @server.on("bad later")
    async def bad_later(sid: str) -> None:
        raise ExceptionGroup("several", [ValueError()])

    server.on("no json", lambda _sid: object())
    server.on("no arguments", lambda _sid: None)
    server.on("ping me", lambda _sid: True)
    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send(
            '421["bad"]', '422["bad later"]', '423["no json"]', '424["no arguments",1]', '425["ping me"]'
        )
        assert await ws.receive() == "435[true]"


async def test_async_handlers_start_in_order_and_end_with_their_client() -> None:
    """Cancelled, with their clean-up done, when it goes."""
    server = Server()
    order: list[int] = []
    ended: list[int] = []

    @server.on("wait")
    async def wait(sid: str, number: int) -> None:
        order.append(number)
        try:
            await trio.sleep_forever()
        finally:
            ended.append(number)

    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send(*(f'42["wait",{n}]' for n in range(20)))
        await until(lambda: len(order) == 20)
        assert order == list(range(20))
        await ws.stream.aclose()
        await until(lambda: len(ended) == 20)


async def test_a_burst_of_events_is_worked_off() -> None:
    """More than may run or wait at a time; the reader waits, nothing is lost."""
    server = Server()

    @server.on("n")
    async def n(sid: str, number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number

    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send(*(f'42{n}["n",{n}]' for n in range(3000)))
        answers = {await ws.receive() for _ in range(3000)}
        assert answers == {f"43{number}[{number}]" for number in range(3000)}


async def test_call_gives_the_clients_ack(loopback_clock: MockClock) -> None:
    """One argument as it is, several as a tuple, none as None; silence is an error after the time-out."""
    server = Server()
    answers: list[Any] = []

    @server.on("go")
    async def go(sid: str) -> None:
        answers.extend([await server.call("question", (1, 2), to=sid, timeout=5) for _ in range(4)])
        try:
            await server.call("question", to=sid, timeout=5)
        except AckTimeoutError:
            answers.append("timeout")

    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send('42["go"]')
        for number, answer in [(1, '["a"]'), (2, "[1,2]"), (3, "[]")]:
            assert await ws.receive() == f'42{number}["question",1,2]'
            await ws.send(f"43{number}{answer}")
        assert await ws.receive() == '424["question",1,2]'
        await ws.send('461-4[{"_placeholder":true,"num":0}]', b"\1")
        assert await ws.receive() == '425["question"]'
        await trio.sleep(6)
        await ws.send("435[]", "435[]", "4399[]")
        await until(lambda: len(answers) == 5)
        assert answers == ["a", (1, 2), None, b"\1", "timeout"]


async def test_call_ends_with_its_client(nursery: trio.Nursery) -> None:
    """It does not wait for the time-out; and there must be a client."""
    server = Server()
    sids: list[str] = []
    server.on("connect", lambda sid, _environ: sids.append(sid))
    async with served(server) as address:
        ws = await open_ws(address)
        failed = trio.Event()

        async def call() -> None:
            with pytest.raises(AckTimeoutError):
                await server.call("question", to=sids[0])
            failed.set()

        nursery.start_soon(call)
        assert str(await ws.receive()).startswith('421["question"]')
        await ws.stream.aclose()
        with trio.fail_after(5):
            await failed.wait()
        with pytest.raises(UnknownClientError):
            await server.call("question", to=sids[0])


async def test_callbacks_get_each_clients_ack() -> None:
    """``def`` and ``async def``; one that fails ends nothing."""
    server = Server()
    got: list[Any] = []

    async def later(*args: Any) -> None:
        got.append(("later", args))

    def bad(*args: Any) -> None:
        raise ValueError

    async with served(server) as address:
        clients = [await open_ws(address) for _ in range(2)]
        server.emit("a", callback=lambda *args: got.append(args))
        server.emit("b", callback=later)
        server.emit("c", callback=bad)
        for ws in clients:
            assert [await ws.receive() for _ in range(3)] == ['421["a"]', '422["b"]', '423["c"]']
            await ws.send("431[1]", "432[]", "433[]")
        await until(lambda: len(got) == 4)
        assert sorted(map(str, got)) == ["('later', ())", "('later', ())", "(1,)", "(1,)"]


async def test_what_the_connect_handler_emits_follows_the_acceptance() -> None:
    """Also where it takes its time, and whatever the transport."""
    server = Server()

    @server.on("connect")
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
        with server.batch():
            server.emit("hello", auth, to=sid)
            server.emit("again", b"\1", to=sid)
        server.enter_room(sid, "red")
        assert not server.connected(sid)
        await trio.sleep(0.02)
        server.emit("room", environ["HTTP_HOST"], room="red")

    async with served(server) as address:
        ws = await Ws.connect(address)
        await ws.receive()
        await ws.send('40{"token":1}')
        assert str(await ws.receive()).startswith("40{")
        assert await ws.receive() == '42["hello",{"token":1}]'
        assert await ws.receive() == '451-["again",{"_placeholder":true,"num":0}]'
        assert await ws.receive() == b"\1"
        assert await ws.receive() == '42["room","localhost"]'
        poll = await Polling.open(address)
        await poll.post(b"40")
        payload = await poll.get()
        if b"room" not in payload:
            payload += b"\x1e" + await poll.get()
        kinds = [part[:6] for part in payload.split(b"\x1e")]
        assert kinds == [b'40{"si', b'42["he', b'451-["', b"bAQ==", b'42["ro']


async def test_a_connect_handler_may_refuse() -> None:
    """By False or an error with data; its own fault is hidden from the client; all can try again."""
    server = Server()
    gone: list[str] = []
    server.on("disconnect", gone.append, namespace="/a")

    @server.on("connect", namespace="/a")
    def connect(sid: str, environ: dict[str, Any], auth: Any) -> Any:
        server.emit("never seen", to=sid, namespace="/a")
        server.enter_room(sid, "red", namespace="/a")
        match (auth or {}).get("do"):
            case "refuse":
                return False
            case "explain":
                raise ConnectionRefusedError("no", {"code": 1})
            case "fail":
                raise ValueError("secret")
            case "disconnect":
                server.disconnect(sid, namespace="/a")
        return None

    async with served(server) as address:
        ws = await Ws.connect(address)
        await ws.receive()
        for do, answer in [
            ("refuse", '{"message":"Connection rejected by server"}'),
            ("explain", '{"message":"no","data":{"code":1}}'),
            ("fail", '{"message":"Internal server error"}'),
            ("disconnect", '{"message":"Connection rejected by server"}'),
        ]:
            await ws.send(f'40/a,{{"do":"{do}"}}')
            assert await ws.receive() == f"44/a,{answer}"
        assert not server.members("red", namespace="/a")
        await ws.send("40/a,", "40/b,")
        assert str(await ws.receive()).startswith("40/a,{")
        assert str(await ws.receive()).startswith('42/a,["never')
        assert await ws.receive() == '44/b,{"message":"Invalid namespace"}'
        assert gone == []


async def test_namespaces_can_be_accepted_without_handlers() -> None:
    """All of them, and none stays behind its last client."""
    server = Server(namespaces="*")
    async with served(server) as address:
        ws = await open_ws(address, "/any")
        server.emit("n", 1, namespace="/any")
        assert await ws.receive() == '42/any,["n",1]'
        await ws.send("41/any,")
        await ws.send("40/other,")
        assert str(await ws.receive()).startswith("40/other,")
        assert set(server._router.namespaces) == {"/other"}


async def test_sessions_belong_to_a_client_and_are_there_in_the_disconnect_handler() -> None:
    """With its rooms; afterwards the sid is unknown."""
    server = Server()
    seen: list[Any] = []

    @server.on("connect")
    def connect(sid: str, environ: dict[str, Any]) -> None:
        with server.session(sid) as session:
            session["name"] = "x"
        server.enter_room(sid, "red")

    @server.on("disconnect")
    async def disconnect(sid: str, reason: str) -> None:
        await trio.sleep(0.01)
        seen.append((sid, reason, server.get_session(sid), server.rooms(sid)[1:], server.connected(sid)))
        assert server.get_environ(sid)["REMOTE_ADDR"] == "127.0.0.1"

    async with served(server) as address:
        ws = await open_ws(address)
        [sid] = server.members("red")
        server.save_session(sid, {**server.get_session(sid), "more": 1})
        await ws.send("41")
        await until(lambda: seen)
        assert seen == [(sid, "client disconnect", {"name": "x", "more": 1}, ["red"], False)]
        await trio.sleep(0.02)
        for ask in (server.get_session, server.rooms, server.get_environ):
            with pytest.raises(UnknownClientError):
                ask(sid)
        with pytest.raises(UnknownClientError):
            server.enter_room(sid, "red")
        server.leave_room(sid, "red")
        server.disconnect(sid)
        server.emit("n", to=sid)


async def test_every_way_to_leave_has_its_reason(loopback_clock: MockClock) -> None:
    """As python-socketio names them, and three more."""
    server = Server(outbox_limit=10_000)
    reasons: list[str] = []
    sids: list[str] = []
    server.on("connect", lambda sid, _environ: sids.append(sid))
    server.on("disconnect", lambda _sid, reason: reasons.append(reason))
    async with served(server) as address:

        async def gone(reason: str) -> None:
            await until(lambda: reasons)
            assert reasons.pop() == reason
            assert reasons == []

        ws = await open_ws(address)
        await ws.send("41")
        await gone("client disconnect")

        ws = await open_ws(address)
        server.disconnect(sids[-1])
        assert await ws.receive() == "41"
        await ws.send('42["ignored"]')
        await gone("server disconnect")

        ws = await open_ws(address)
        await ws.stream.aclose()
        await gone("transport close")

        ws = await open_ws(address)
        await ws.stream.send_all(ws.frame(b"\x03\xe8", 8))
        assert await ws.closed() == 1000
        await gone("transport close")

        ws = await open_ws(address)
        ws.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ws.stream.socket.close()
        await gone("transport error")

        ws = await open_ws(address)
        await ws.send("4nonsense")
        assert await ws.closed() == 1002
        await gone("parse error")

        ws = await open_ws(address)
        await ws.stream.send_all(ws.frame(b"\xff", 1))
        assert await ws.closed() == 1007
        await gone("parse error")

        ws = await open_ws(address)
        for _ in range(1000):
            server.emit("n", "x" * 10_000, to=sids[-1])
        await gone("slow client")

        ws = await open_ws(address)
        await trio.sleep(50)
        await gone("ping timeout")

        poll = await Polling.open(address)
        await poll.post(b"40")
        for _ in range(3):
            server.emit("n", "x" * 9_000, to=sids[-1])
        await gone("slow client")


async def test_a_client_that_joins_nothing_is_closed(loopback_clock: MockClock) -> None:
    """After the connect time-out; one that joined stays."""
    server = Server(connect_timeout=5)
    async with served(server) as address:
        joined = await open_ws(address)
        idle = await Ws.connect(address)
        await idle.receive()
        began = trio.current_time()
        await idle.closed()
        assert trio.current_time() - began == pytest.approx(5, abs=1)
        server.emit("n")
        assert await joined.receive() == '42["n"]'


async def test_an_ordered_stop_lets_handlers_finish() -> None:
    """Event and disconnect handlers; clients are told before."""
    server = Server()
    done: list[str] = []

    @server.on("work")
    async def work(sid: str) -> None:
        await trio.sleep(0.1)
        done.append("work")

    @server.on("disconnect")
    async def disconnect(sid: str, reason: str) -> None:
        await trio.sleep(0.2)
        done.append(reason)

    async with served(server, leave=False) as address:
        ws = await open_ws(address)
        await ws.send('42["work"]')
        await trio.sleep(0.02)
    assert done == ["work", "server shutting down"]
