"""Two linked ends in memory: what one sends the other gets, and whatever bytes come have a defined answer."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import socketio.packet
import structlog.testing
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linked_ends import Link, PollEnd, WsEnd, linked

from flux.transport.socket_io import Server

EVENT, ACK, CONNECT, DISCONNECT = 2, 3, 0, 1
CODES = {None, 0, 1000, 1002, 1007, 1008, 1009}
"""No close frame or one without a code; the peer's own; the answers to broken or too large messages."""

fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def chat() -> Server:
    """Return a server with an echo and rooms."""
    server = Server(max_payload=2000)
    server.on("echo", lambda _sid, *args: args)

    @server.on("join")
    def join(sid: str, room: str) -> None:
        server.enter_room(sid, room)

    @server.on("leave")
    def leave(sid: str, room: str) -> None:
        server.leave_room(sid, room)

    @server.on("say")
    def say(sid: str, room: str | None, data: Any) -> None:
        server.emit("said", data, room=room)

    return server


def encoded(kind: int, data: Any, number: int | None = None) -> list[str | bytes]:
    """Return a packet's messages, as python-socketio encodes it."""
    out = socketio.packet.Packet(kind, data, id=number).encode()
    return out if isinstance(out, list) else [out]


async def tell(end: WsEnd | PollEnd, *messages: str | bytes) -> None:
    """Send messages over whichever transport."""
    if isinstance(end, PollEnd):
        await end.send(*messages)
    else:
        for message in messages:
            end.send(message)


async def settle(link: Link, *ends: WsEnd | PollEnd) -> None:
    """Let both sides come to rest."""
    await link.settle()
    for end in ends:
        if isinstance(end, PollEnd):
            await end.receive()


def run(main: Callable[[Link], Awaitable[None]]) -> list[Any]:
    """Run a conversation with a server of its own; gives what was logged as an error."""

    async def with_link() -> None:
        async with linked(chat()) as link:
            await main(link)

    with structlog.testing.capture_logs() as logs:
        trio.run(with_link)
    return [entry for entry in logs if entry["log_level"] in ("error", "critical")]


async def alive(link: Link) -> None:
    """Check that a new client is served."""
    end = await link.websocket()
    for message in ("0", '27["echo",1]'):
        end.send(message)
        await link.settle()
    assert end.reader.take()[-1] == (ACK, "/", 7, [1])
    end.end()
    await link.settle()


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
who = st.integers(0, 2)
rooms = st.sampled_from(["red", "blue"])
actions = st.one_of(
    st.tuples(who, st.just("echo"), values, st.none() | st.integers(0, 99)),
    st.tuples(who, st.just("join"), rooms),
    st.tuples(who, st.just("leave"), rooms),
    st.tuples(who, st.just("say"), st.none() | rooms, values),
    st.tuples(who, st.just("rejoin")),
    st.tuples(who, st.just("upgrade")),
)


class Expectation:
    """What each client must hear, by what each has sent."""

    def __init__(self, clients: int) -> None:
        self.heard: list[list[Any]] = [[(CONNECT, "/", None)] for _ in range(clients)]
        self._rooms: list[set[str]] = [set() for _ in range(clients)]

    def take(self, who: int, action: str, args: list[Any], ack: int | None) -> None:
        """Take note of what a client does."""
        match action:
            case "rejoin":
                self._rooms[who].clear()
                self.heard[who].append((CONNECT, "/", None))
            case "echo" if ack is not None:
                self.heard[who].append((ACK, "/", ack, args))
            case "join":
                self._rooms[who].add(args[0])
            case "leave":
                self._rooms[who].discard(args[0])
            case "say":
                room, data = args
                event = ["said"] if data is None else ["said", data]
                for heard, rooms in zip(self.heard, self._rooms, strict=True):
                    if room is None or room in rooms:
                        heard.append((EVENT, "/", None, event))


def taken(end: WsEnd | PollEnd) -> list[Any]:
    """Return what a client has heard; of a CONNECT not the id."""
    whole = {EVENT: EVENT, ACK: ACK, socketio.packet.BINARY_EVENT: EVENT, socketio.packet.BINARY_ACK: ACK}
    return [
        (whole[kind], namespace, ack, data) if kind in whole else (kind, namespace, ack)
        for kind, namespace, ack, data in end.reader.take()
    ]


async def moved_to_websocket(link: Link, end: PollEnd) -> WsEnd:
    """Upgrade a session while its poll waits."""
    probe = await link.websocket(end.sid)
    probe.opening = {}
    probe.send_bytes(probe.frame("2probe"))
    await link.settle()
    end.receive_noop()
    probe.send_bytes(probe.frame("5"))
    probe.reader = end.reader
    return probe


@fuzz
@given(st.lists(actions, max_size=15))
def test_any_conversation_is_heard_as_the_protocol_says(script: list[Any]) -> None:
    """Over WebSocket, by polling and across an upgrade: acks, rooms, order; nothing lost, nothing twice."""

    async def converse(link: Link) -> None:
        ends: list[WsEnd | PollEnd] = [await link.websocket(), await link.polling(), await link.polling()]
        expected = Expectation(len(ends))
        for end in ends:
            await tell(end, "0")
        await settle(link, *ends)
        for number, action, *args in script:
            end = ends[number]
            ack = args.pop() if action == "echo" else None
            expected.take(number, action, args, ack)
            if action == "upgrade":
                if isinstance(end, PollEnd):
                    ends[number] = await moved_to_websocket(link, end)
            elif action == "rejoin":
                await tell(end, "1", "0")
            else:
                await tell(end, *encoded(EVENT, [action, *args], ack))
            await settle(link, *ends)
        assert [taken(end) for end in ends] == expected.heard

    assert run(converse) == []


good = st.sampled_from(
    [
        *("40", "41", "40/other,", '40{"a":1}', "3", "1", "2", "2probe", "5", "6", b"\1"),
        *('421["echo",1]', '42["join","red"]', '42["say","red",1]', '42["say",null,[[]]]'),
        '451-2["echo",{"_placeholder":true,"num":0}]',
    ]
)
noise = st.binary(max_size=40)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Frames that are nearly right: types, lengths, masks, fragments and payloads of all sorts."""
    message = draw(good | st.text(max_size=20) | noise)
    payload = message.encode() if isinstance(message, str) else message
    opcode = draw(st.sampled_from([1 if isinstance(message, str) else 2, 1, 2, 0, 8, 9, 10, 3, 15]))
    first = opcode | draw(st.sampled_from([0x80, 0x80, 0x80, 0, 0xC0, 0xF0]))
    length = draw(st.sampled_from([len(payload)] * 5 + [len(payload) + 1, 126, 127]))
    masked = draw(st.sampled_from([0x80, 0x80, 0x80, 0x80, 0]))
    return bytes([first, masked | min(length, 127)]) + (b"\0\0\0\0" if masked else b"") + payload


joining = b"\x81\x82\0\0\0\x0040"


@fuzz
@given(st.lists(frames() | noise, max_size=8), st.booleans(), st.integers(1, 50))
def test_any_bytes_on_a_websocket_have_a_defined_end(parts: list[bytes], joined: bool, cut: int) -> None:
    """Frames that the other make reads, a known close code, and the next client is served."""

    async def attack(link: Link) -> None:
        end = await link.websocket()
        data = (joining if joined else b"") + b"".join(parts)
        for start in range(0, len(data), cut):
            end.send_bytes(data[start : start + cut])
            if start % 3 == 0:
                await link.settle()
        end.end()
        await link.settle()
        assert end.over
        assert end.close_code in CODES
        assert end.opening is not None
        await alive(link)
        assert not link.server.engine.clients

    assert run(attack) == []


methods = st.sampled_from(["GET", "POST", "OPTIONS", "PUT", "HEAD"])
bodies = st.lists(good | st.text(max_size=10), min_size=1, max_size=6).map(
    lambda parts: "\x1e".join(part if isinstance(part, str) else "bAQ==" for part in parts).encode()
)


@fuzz
@given(
    st.lists(
        st.tuples(st.sampled_from(["GET", "POST", "OPTIONS", "PUT", "HEAD"]), bodies | noise), max_size=8
    )
)
def test_any_requests_of_a_polling_client_have_a_defined_answer(requests: list[tuple[str, bytes]]) -> None:
    """A status, and with 400 one of the protocol's codes, at once; only a poll may wait."""

    async def attack(link: Link) -> None:
        end = await link.polling()
        await end.send("0")
        for method, body in requests:
            answer = await end.ask(method, body if method != "GET" else b"")
            if answer.response is None:
                assert method in ("GET", "HEAD", "PUT")
                continue
            status = answer.response.status
            assert status in (200, 204, 400, 405, 413)
            if status == 400:
                assert json.loads(answer.response.body)["code"] in range(6)
        await alive(link)

    assert run(attack) == []
