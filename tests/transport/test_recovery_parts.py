"""The parts of connection state recovery that need no network: the log of packets, and the lost clients."""

from typing import Any

import pytest

from flux.transport.engine_io.codec import Outgoing, Packet
from flux.transport.engine_io.session import Due, Session
from flux.transport.socket_io.namespace import Namespace
from flux.transport.socket_io.packet_log import PacketLog
from flux.transport.socket_io.parser import JSON, MSGPACK
from flux.transport.socket_io.recovery import Away, Identity, Recoveries, Recovery
from flux.transport.socket_io.socket import Socket


def fill(log: PacketLog, *rooms: str | None, when: float = 0.0, skip: tuple[str, ...] = ()) -> None:
    """Append a packet for each room; None is all of the namespace."""
    for room in rooms:
        text = b"%d" % (log.head + 1)
        log.append(when, "/", None if room is None else (room,), skip, Outgoing(text))


def missed(log: PacketLog, position: int, joined: dict[str, int], limit: int = 1000) -> list[int] | None:
    """Return the positions of what a client missed."""
    packets = log.since(position, "/", joined, limit)
    return None if packets is None else [int(packet.text) for packet in packets]


def test_what_a_client_missed_is_what_went_to_it_in_order() -> None:
    """By namespace, room or sid, each packet once; not what skipped it."""
    log = PacketLog(100, 1000, 100)
    fill(log, None, "red", "blue", "a", "b")
    log.append(0, "/other", None, (), Outgoing(b"6"))
    log.append(0, "/", ("red", "a", "blue"), (), Outgoing(b"7"))
    fill(log, None, skip=("a",))
    fill(log, None, skip=("red",))
    fill(log, None, skip=("b", "blue"))
    assert missed(log, 0, {"a": 0, "red": 0}) == [1, 2, 4, 7, 10]
    assert missed(log, 2, {"a": 0, "red": 0}) == [4, 7, 10]
    assert missed(log, 0, {"b": 0}) == [1, 5, 8, 9]
    assert missed(log, 10, {"a": 0}) == []
    assert [packet.text for packet in log.since(0, "/other", {"z": 0}, 100) or ()] == [b"6"]


def test_a_room_counts_from_when_it_was_entered() -> None:
    """What was said in it before is none of the client's business."""
    log = PacketLog(100, 1000, 100)
    fill(log, "red", "red", None, "red")
    assert missed(log, 0, {"a": 0, "red": 2}) == [3, 4]
    fill(log, None, skip=("red",))
    assert missed(log, 3, {"a": 0, "red": 5}) == [5]


def test_the_log_is_bounded_and_knows_what_it_lacks() -> None:
    """In count, bytes and age; who needs what is gone gets nothing."""
    log = PacketLog(3, 1000, 100)
    fill(log, *["red"] * 5)
    assert len(log) == 3
    assert missed(log, 2, {"red": 0}) == [3, 4, 5]
    assert missed(log, 1, {"red": 0}) is None
    log = PacketLog(100, 10, 100)
    fill(log, *["red"] * 20)
    assert log.size <= 10
    assert len(log) == 5
    log.append(0, "/", None, (), Outgoing(b"2", (b"x" * 11,)))
    assert (len(log), log.size) == (0, 0)
    assert missed(log, 20, {"red": 0}) is None
    assert missed(log, 21, {"red": 0}) == []
    log = PacketLog(100, 1000, 100)
    fill(log, "red", when=0)
    fill(log, "red", when=50)
    fill(log, "red", when=101)
    assert len(log) == 2
    log.expire(200)
    assert len(log) == 1


def test_too_much_is_not_replayed() -> None:
    """It would overflow the client's outbox."""
    log = PacketLog(100, 1000, 100)
    fill(log, *["red"] * 5)
    assert missed(log, 0, {"red": 0}, limit=5) == [1, 2, 3, 4, 5]
    assert missed(log, 0, {"red": 0}, limit=4) is None


def test_the_log_knows_what_was_sent_by_a_time() -> None:
    """Also of packets that are dropped, as long as it is certain."""
    log = PacketLog(2, 1000, 100)
    assert log.sent_by(0) == 0
    for when in (1.0, 2.0, 3.0, 4.0):
        fill(log, "red", when=when)
    assert [log.sent_by(when) for when in (1.5, 2.0, 3.0, 3.5, 9.0)] == [0, 2, 3, 3, 4]


def test_a_pong_tells_how_long_a_session_was_heard() -> None:
    """Whether or not another ping is under way."""
    session = Session(25.0, 20.0, 100.0, "websocket")
    assert session.heard == 100
    assert session.tick(125.0) is Due.PING
    assert session.heard == 100
    session.receive(Packet(3), 127.0)
    assert session.heard == 127
    assert session.tick(152.0) is Due.PING
    assert session.heard == 127
    assert session.tick(172.0) is Due.TIMEOUT
    assert session.heard == 127


def recoveries(parser: Any = JSON, limit: int = 10_000, **settings: Any) -> Recoveries:
    """Return an empty set of lost clients."""
    return Recoveries(Recovery(**settings), parser, unnoticed=65, replay_limit=limit, epoch="E")


def lose(
    lost: Recoveries,
    sid: str,
    *rooms: str,
    identity: Identity | None = None,
    arrived: float | None = None,
    now: float = 0.0,
) -> Identity:
    """Lose a client that had entered those rooms."""
    identity = identity or lost.begin(sid, f"pid {sid}", 0.0)
    for room in rooms:
        identity.entered(room)
    lost.keep(Away(sid, "/", rooms, {"name": sid}, identity, arrived, now + lost.settings.max_duration))
    return identity


def send(
    lost: Recoveries, *data: Any, room: str | None = None, now: float = 0.0, replayed: bool = True
) -> Outgoing:
    """Assemble an event."""
    body, attachments = JSON.encode_data(["e", *data])
    rooms = None if room is None else (room,)
    return lost.packet("/", rooms, (), ["e", *data], body, attachments, replayed=replayed, now=now)


def texts(taken: tuple[Away, list[Outgoing]] | None) -> list[bytes] | None:
    """Return what a client missed."""
    return None if taken is None else [packet.text for packet in taken[1]]


def test_who_comes_back_is_the_same_and_gets_what_it_missed() -> None:
    """From its offset on; once."""
    lost = recoveries()
    first = lost.begin("a", "pid a", 0.0)
    sent = [send(lost, n) for n in range(4)]
    assert [packet.text for packet in sent[:2]] == [b'42["e",0,"E.1"]', b'42["e",1,"E.2"]']
    lose(lost, "a", "red", identity=first)
    later = send(lost, room="red")
    send(lost, room="blue")
    taken = lost.take("/", {"pid": "pid a", "offset": "E.2"}, 119.0)
    assert taken is not None
    away, packets = taken
    assert (away.sid, away.rooms, away.session, away.identity) == ("a", ("red",), {"name": "a"}, first)
    assert [packet.text for packet in packets] == [sent[2].text, sent[3].text, later.text]
    assert first.recovered
    assert lost.take("/", {"pid": "pid a", "offset": "E.2"}, 119.0) is None


def test_a_client_that_got_nothing_yet_misses_all_since_its_start() -> None:
    """It has no offset; nor does one help that another server gave, or that is older than the client."""
    for offset in (
        None,
        "",
        "E.1",
        "F.3",
        "E.99",
        "E.",
        "E.-1",
        "E.²",
        "E.1_0",
        "E." + "9" * 5000,
        7,
        ["E.2"],
    ):
        lost = recoveries()
        for n in range(2):
            send(lost, n)
        identity = lose(lost, "a")
        send(lost, 2)
        assert identity.start == 2
        auth = {"pid": "pid a"} if offset is None else {"pid": "pid a", "offset": offset}
        assert texts(lost.take("/", auth, 1.0)) == [b'42["e",2,"E.3"]'], offset


@pytest.mark.parametrize(
    "auth", [None, {}, {"offset": "E.1"}, {"pid": 1}, {"pid": None}, {"pid": "other"}, {"pid": ["pid a"]}]
)
def test_who_is_unknown_is_new(auth: Any) -> None:
    """And the lost one can still come back."""
    lost = recoveries()
    lose(lost, "a")
    assert lost.take("/", auth, 1.0) is None
    assert lost.take("/other", {"pid": "pid a"}, 1.0) is None
    assert lost.take("/", {"pid": "pid a"}, 1.0) is not None


def test_who_is_too_late_is_new() -> None:
    """Also where nobody has swept yet; sweeping tells when the next one is due."""
    lost = recoveries(max_duration=10.0)
    lose(lost, "a", now=0.0)
    lose(lost, "b", now=5.0)
    assert lost.take("/", {"pid": "pid a"}, 10.1) is None
    lose(lost, "a", now=6.0)
    assert lost.expire(15.5) == 16.0
    assert len(lost) == 1
    assert lost.expire(16.0) is None
    assert len(lost) == 0


def test_lost_clients_are_bounded() -> None:
    """The longest lost are forgotten."""
    lost = recoveries(max_sessions=2)
    for sid in "abc":
        lose(lost, sid)
    assert [lost.take("/", {"pid": f"pid {sid}"}, 1.0) is None for sid in "abc"] == [True, False, False]


def test_who_missed_too_much_is_new() -> None:
    """What was dropped, or is too large to be sent at once."""
    lost = recoveries(max_packets=2)
    lose(lost, "a")
    lose(lost, "b")
    for n in range(2):
        send(lost, n)
    assert len(texts(lost.take("/", {"pid": "pid a"}, 1.0)) or ()) == 2
    send(lost, 2)
    assert lost.take("/", {"pid": "pid b"}, 1.0) is None
    lost = recoveries(limit=100)
    lose(lost, "a")
    send(lost, "x" * 100)
    assert lost.take("/", {"pid": "pid a"}, 1.0) is None


def test_an_old_offset_does_no_harm_if_a_pong_tells_more() -> None:
    """Only others got events since; without the pong it is not certain."""
    for arrived, found in ((None, None), (3.0, None), (5.0, [b'42["e",6,"E.8"]', b'42["e",7,"E.9"]'])):
        lost = recoveries(max_packets=3)
        identity = lost.begin("a", "pid a", 0.0)
        send(lost, "hello")
        for n in range(8):
            send(lost, n, room="others" if n < 6 else None, now=float(n))
        lose(lost, "a", identity=identity, arrived=arrived)
        assert texts(lost.take("/", {"pid": "pid a", "offset": "E.1"}, 10.0)) == found


def test_a_replay_that_is_lost_is_replayed_again() -> None:
    """The offset of who got nothing meanwhile is the same as before."""
    lost = recoveries()
    identity = lose(lost, "a")
    for n in range(3):
        send(lost, n)
    auth = {"pid": "pid a", "offset": "E.1"}
    assert len(texts(lost.take("/", auth, 1.0)) or ()) == 2
    lose(lost, "a", identity=identity)
    send(lost, 3)
    assert len(texts(lost.take("/", auth, 2.0)) or ()) == 3


def test_a_room_that_was_left_and_entered_again_counts_from_then() -> None:
    """Entering it twice changes nothing."""
    lost = recoveries()
    identity = lost.begin("a", "pid a", 0.0)
    identity.entered("red")
    send(lost, 1, room="red")
    identity.entered("red")
    assert identity.joined["red"] == 0
    identity.left("red")
    send(lost, 2, room="red")
    lose(lost, "a", "red", identity=identity)
    send(lost, 3, room="red")
    assert texts(lost.take("/", {"pid": "pid a"}, 1.0)) == [b'42["e",3,"E.3"]']


def test_who_was_sent_away_does_not_come_back() -> None:
    """By a `disconnect` while it was lost."""
    lost = recoveries()
    lose(lost, "a")
    lost.forget("a", "/other")
    lost.forget("b", "/")
    assert len(lost) == 1
    lost.forget("a", "/")
    assert lost.take("/", {"pid": "pid a"}, 1.0) is None


def test_what_is_not_replayed_does_not_look_like_an_offset() -> None:
    """The client takes any last text for one."""
    lost = recoveries()
    assert send(lost, replayed=False).text == b'42["e",null]'
    assert send(lost, 1, "x", replayed=False).text == b'42["e",1,"x",null]'
    assert send(lost, "x", 1, replayed=False).text == b'42["e","x",1]'
    assert lost.log.head == 0


def test_a_stale_socket_does_not_take_its_successor_out() -> None:
    """They have one sid; a handler of the old one may end late."""
    nobody: Any = None
    space = Namespace("/")
    old, new = Socket("a", "/", nobody), Socket("a", "/", nobody)
    space.add(old)
    assert space.remove(old)
    space.add(new)
    space.enter(new, "red")
    assert not space.remove(old)
    assert space.sockets == {"a": new}
    assert list(space.members("red")) == ["a"]


def test_binary_and_msgpack_packets_are_kept_whole() -> None:
    """Their attachments count for the bound."""
    lost = recoveries()
    lose(lost, "a")
    packet = send(lost, b"\x00\x01")
    assert packet.text == b'451-["e",{"_placeholder":true,"num":0},"E.1"]'
    taken = lost.take("/", {"pid": "pid a"}, 1.0)
    assert taken is not None
    assert [(kept.text, kept.attachments) for kept in taken[1]] == [(packet.text, (b"\x00\x01",))]
    assert lost.log.size == len(packet.text) + 2
    lost = recoveries(MSGPACK)
    body, attachments = MSGPACK.encode_data(["e", b"x"])
    packet = lost.packet("/", None, (), ["e", b"x"], body, attachments, replayed=True, now=0.0)
    assert MSGPACK.decoder(0).feed(packet.attachments[0]) == MSGPACK.decoder(0).feed(
        MSGPACK.encode(2, "/", ["e", b"x", "E.1"]).attachments[0]
    )


@pytest.mark.parametrize("name", ["max_duration", "max_packets", "max_bytes", "max_sessions"])
def test_bounds_must_be_positive(name: str) -> None:
    """Whoever wants none leaves recovery off."""
    with pytest.raises(ValueError, match=name):
        Recovery(**{name: 0})
