"""The pure parts of the Socket.IO client: pauses, packets, outbox, iterators, URLs."""

import math
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import LocalError
from flux.transport.engine_io.codec import Outgoing, PacketError
from flux.transport.engine_io.codec import Packet as EnginePacket
from flux.transport.socket_io.client.errors import BufferFullError, LaggedError
from flux.transport.socket_io.client.events import Event, Events
from flux.transport.socket_io.client.outbox import ANYONE, Entry, Outbox
from flux.transport.socket_io.client.packets import ServerPackets
from flux.transport.socket_io.client.reconnection import Reconnection
from flux.transport.socket_io.client.transport import Target, decode_hello
from flux.transport.socket_io.codec import CONNECT_ERROR


class Fixed(Random):
    """Draws the same number always."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        """Return it."""
        return self.value


class Peer:
    """A sender that is in its namespace or not."""

    def __init__(self, *, joined: bool = True) -> None:
        self.joined = joined


def test_pauses_are_those_of_the_javascript_client() -> None:
    """1 s, doubled, at most 5 s, half as much more or less, without end."""
    default = Reconnection()
    assert default.attempts == math.inf
    assert [default.pause(n, Fixed(0.5)) for n in range(5)] == [1, 2, 4, 5, 5]
    assert [default.pause(n, Fixed(0.0)) for n in range(5)] == [0.5, 1, 2, 4, 5]
    assert default.pause(0, Fixed(0.9999)) == pytest.approx(1.5, abs=0.001)


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True), st.floats(0, 1), st.floats(1, 10))
def test_a_pause_is_never_negative_nor_longer_than_the_bound(
    attempt: int, draw: float, randomization: float, factor: float
) -> None:
    """Whatever the settings and however many attempts."""
    reconnection = Reconnection(delay=1, delay_max=30, randomization=randomization, factor=factor)
    assert 0 <= reconnection.pause(attempt, Fixed(draw)) <= 30


@pytest.mark.parametrize("bad", [{"delay": -1}, {"randomization": 1.5}, {"factor": 0.5}, {"attempts": -1}])
def test_reconnection_settings_without_sense_are_refused(bad: dict[str, float]) -> None:
    """At the edge, not in the middle of a night."""
    with pytest.raises(ValueError, match="must be"):
        Reconnection(**bad)


def test_a_refusal_has_its_namespace_and_data() -> None:
    """CONNECT_ERROR, which a server's decoder refuses."""
    packet = ServerPackets(100).feed('4/a,{"message":"no","data":{"x":1}}')
    assert packet is not None
    assert (packet.kind, packet.namespace) == (CONNECT_ERROR, "/a")
    assert packet.data == {"message": "no", "data": {"x": 1}}


@pytest.mark.parametrize(
    "message", ["", "7", "0", '0{"sid":1}', "0[]", "4[]", '4"x"', "1{}", "2", "2{}", '51-["a"', "451", b"x"]
)
def test_what_is_no_packet_is_the_one_error(message: str | bytes) -> None:
    """Also a CONNECT without a sid."""
    with pytest.raises(PacketError):
        ServerPackets(100).feed(message)


@given(st.lists(st.one_of(st.text(), st.binary(), st.from_regex(r"[0-6](\d-)?(/a,)?\d?[\[{].*"))))
def test_whatever_a_server_sends_is_accepted_or_the_one_error(messages: list[str | bytes]) -> None:
    """Nothing else comes out of the decoder."""
    packets = ServerPackets(1000)
    try:
        for message in messages:
            packets.feed(message)
    except PacketError:
        pass


@pytest.mark.parametrize(
    "packet",
    [
        EnginePacket(4, "{}"),
        EnginePacket(0, ""),
        EnginePacket(0, "[]"),
        EnginePacket(0, '{"sid":"a","pingInterval":0,"pingTimeout":1}'),
        EnginePacket(0, '{"sid":"a","pingInterval":"x","pingTimeout":1}'),
        EnginePacket(0, '{"pingInterval":1,"pingTimeout":1}'),
    ],
)
def test_a_bad_open_packet_is_the_one_error(packet: EnginePacket) -> None:
    """Missing fields, wrong types, values without sense."""
    with pytest.raises(PacketError):
        decode_hello(packet)


def test_the_open_packet_says_how_long_silence_may_last() -> None:
    """The sum of pingInterval and pingTimeout, in seconds."""
    hello = decode_hello(EnginePacket(0, '{"sid":"a","pingInterval":25000,"pingTimeout":20000,"new":1}'))
    assert hello.patience == 45


@pytest.mark.parametrize(
    ("url", "path", "resource", "authority"),
    [
        ("http://h", "/socket.io", "/socket.io/?EIO=4&transport=websocket", "h"),
        ("https://h/?a=b%20c", "x/", "/x/?EIO=4&transport=websocket&a=b%20c", "h"),
        ("ws://[::1]:81", "/socket.io", "/socket.io/?EIO=4&transport=websocket", "[::1]:81"),
        ("wss://h:443", "/socket.io", "/socket.io/?EIO=4&transport=websocket", "h"),
    ],
)
def test_a_url_names_host_and_query(url: str, path: str, resource: str, authority: str) -> None:
    """The default port is left out of the Host header."""
    target = Target.parse(url, path, {})
    assert target.resource("websocket") == resource
    assert target.authority == authority


@pytest.mark.parametrize("url", ["", "h:80", "ftp://h", "http://", "http://h:x", "http://h/chat"])
def test_a_url_that_cannot_be_meant_is_refused(url: str) -> None:
    """No host, another scheme, or a path, which would silently not be a namespace."""
    with pytest.raises(LocalError):
        Target.parse(url, "/socket.io", {})


@pytest.mark.parametrize("header", [("a b", "c"), ("a", "b\r\nc"), ("a", "\u20ac"), ("", "x"), ("a", "\0")])
def test_a_header_that_cannot_be_sent_is_refused(header: tuple[str, str]) -> None:
    """Before anything is opened."""
    with pytest.raises(LocalError, match="cannot be sent"):
        Target.parse("http://h", "/socket.io", dict([header]))


async def test_the_outbox_holds_back_who_is_not_joined_and_keeps_each_ones_order() -> None:
    """A namespace that is joined does not wait for another."""
    outbox = Outbox(10, 1000)
    late, ready = Peer(joined=False), Peer()
    for sender, text in ((late, b"1"), (ready, b"2"), (late, b"3"), (ready, b"4")):
        outbox.put(Entry(sender, Outgoing(text)))
    assert [p.text for p in await outbox.take(0)] == [b"2"]
    assert [p.text for p in await outbox.take(100)] == [b"4"]
    late.joined = True
    assert [p.text for p in await outbox.take(100)] == [b"1", b"3"]
    assert len(outbox) == 0


async def test_the_outbox_is_bounded_by_count_and_by_bytes() -> None:
    """What was taken makes room again."""
    outbox = Outbox(2, 100)
    outbox.put(Entry(ANYONE, Outgoing(b"a")))
    with pytest.raises(BufferFullError):
        outbox.put(Entry(ANYONE, Outgoing(b"b", (b"x" * 100,))))
    outbox.put(Entry(ANYONE, Outgoing(b"c")))
    with pytest.raises(BufferFullError):
        outbox.put(Entry(ANYONE, Outgoing(b"d")))
    assert [p.text for p in await outbox.take(1000)] == [b"a", b"c"]
    outbox.put(Entry(ANYONE, Outgoing(b"e", (b"x" * 99,))))


async def test_a_lost_connection_takes_only_what_was_meant_for_it() -> None:
    """Pongs and acks go, events stay."""
    outbox = Outbox(10, 1000)
    outbox.put_urgent(Outgoing(b"3"))
    outbox.put(Entry(ANYONE, Outgoing(b"ack"), transient=True))
    outbox.put(Entry(ANYONE, Outgoing(b"event")))
    outbox.connection_lost()
    assert [p.text for p in await outbox.take(1000)] == [b"event"]


async def test_what_is_urgent_goes_first() -> None:
    """A pong does not wait for megabytes."""
    outbox = Outbox(10, 1000)
    outbox.put(Entry(ANYONE, Outgoing(b"event")))
    outbox.put_urgent(Outgoing(b"3"))
    assert [p.text for p in await outbox.take(0)] == [b"3"]


async def test_drained_waits_for_the_packet_that_is_under_way() -> None:
    """Taken is not sent yet."""
    outbox = Outbox(10, 1000)
    outbox.put(Entry(ANYONE, Outgoing(b"event")))
    await outbox.take(0)
    with trio.move_on_after(0) as early:
        await outbox.drained()
    assert early.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.take, 0)
        await outbox.drained()
        nursery.cancel_scope.cancel()


async def test_an_iterator_that_lags_tells_it_after_the_events_it_has() -> None:
    """Events are never missing in silence."""
    closed: list[Events] = []
    events = Events((), None, 2, closed.append)
    for n in range(4):
        events.put(Event("e", (n,)))
        if closed:
            break
    assert closed == [events]
    assert [(await anext(events)).args for _ in range(2)] == [(0,), (1,)]
    with pytest.raises(LaggedError):
        await anext(events)


async def test_an_iterator_takes_the_names_and_the_namespace_that_it_was_made_for() -> None:
    """No names are all names."""
    events = Events(("a", "b"), "/x", 10, lambda _: None)
    assert events.wants(Event("a", (), "/x"))
    assert not events.wants(Event("c", (), "/x"))
    assert not events.wants(Event("a", (), "/"))
    assert Events((), None, 10, lambda _: None).wants(Event("c", ()))


async def test_a_closed_iterator_gives_what_it_has_and_ends() -> None:
    """The loop ends by itself."""
    with Events((), None, 10, lambda _: None) as events:
        events.put(Event("a", (1,)))
    assert [event.args async for event in events] == [(1,)]
