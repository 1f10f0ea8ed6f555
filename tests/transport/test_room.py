"""A broadcast goes to all of a room, whatever became of its members since the last one."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

from flux.transport.engine_io import Outgoing
from flux.transport.socket_io.delivery import RELIABLE, Policy, broadcast
from flux.transport.socket_io.room import Room
from flux.transport.socket_io.socket import Socket
from flux.transport.websocket_deflate import DeflatingWire
from flux.transport.wire import SLOW, Wire


class Session:
    """Stands for an Engine.IO client, by polling until it has a wire."""

    def __init__(self, wire: Wire | None = None) -> None:
        self.wire = wire
        self.polled: list[bytes] = []

    def send(self, packet: Outgoing) -> None:
        """As a client's."""
        if self.wire is not None:
            self.wire.write(packet.frames)
        else:
            self.polled.append(packet.payload)


class Ends:
    """Wires and their other ends."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._pairs: list[tuple[Wire, socket.socket]] = []

    def wire(self, kind: type[Wire] = Wire, limit: int = 1 << 20) -> Wire:
        """Make one."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        wire = kind(ours, start=self._nursery.start_soon, limit=limit)
        self._pairs.append((wire, theirs))
        return wire

    def heard(self, wire: Wire) -> bytes:
        """Return what has come out at its other end."""
        theirs = next(theirs for each, theirs in self._pairs if each is wire)
        try:
            return theirs.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Give all back."""
        for wire, theirs in self._pairs:
            wire.abort()
            theirs.close()


@pytest.fixture
def ends(nursery: trio.Nursery) -> Iterator[Ends]:
    """Wires that are closed behind the test."""
    made = Ends(nursery)
    yield made
    made.close()


def member(sid: str, session: Any) -> Socket:
    """Return a joined socket."""
    made = Socket(sid, "/", session)
    made.client = session
    return made


def tell(room: Room, text: bytes) -> bytes:
    """Broadcast a text; return its frame."""
    packet = Outgoing(text)
    broadcast(room, packet, RELIABLE)
    return packet.frames


async def test_who_comes_and_goes_is_told_from_then_until_then(ends: Ends) -> None:
    """The room keeps its members' wires only until the next change."""
    room = Room()
    first, second = ends.wire(), ends.wire()
    room.add(member("a", Session(first)))
    one = tell(room, b"1")
    room.add(latecomer := member("b", Session(second)))
    two = tell(room, b"2")
    room.remove(latecomer)
    three = tell(room, b"3")
    assert ends.heard(first) == one + two + three
    assert ends.heard(second) == two
    assert len(room) == 1
    assert latecomer not in room


async def test_who_moves_from_polling_to_a_websocket_gets_each_event_once(ends: Ends) -> None:
    """The room did not change meanwhile."""
    room = Room()
    session = Session()
    room.add(member("a", session))
    tell(room, b"1")
    session.wire = wire = ends.wire()
    frames = tell(room, b"2") + tell(room, b"3")
    assert session.polled == [b"1"]
    assert ends.heard(wire) == frames
    assert room.apart() == ([wire], [])


async def test_a_wire_that_compresses_is_not_gone_past(ends: Ends) -> None:
    """Its client gets compressed frames from a broadcast, too."""
    room = Room()
    wire = ends.wire(DeflatingWire)
    room.add(member("a", Session(wire)))
    plain = tell(room, b"x" * 5000)
    assert 0 < len(ends.heard(wire)) < len(plain) // 10


async def test_one_who_lags_or_has_gone_hinders_nobody(ends: Ends) -> None:
    """The lagging one's data waits in order, up to its bound; what is written behind an end vanishes."""
    room = Room()
    slow, gone, well = ends.wire(limit=3_000_000), ends.wire(), ends.wire()
    for number, wire in enumerate((slow, gone, well)):
        room.add(member(str(number), Session(wire)))
    gone.abort()
    frames = b""
    while slow.writable:
        frames += tell(room, b"x" * 50_000)
        assert ends.heard(well)
    queued = slow.queued
    frame = tell(room, b"behind")
    assert slow.queued == queued + len(frame)
    assert ends.heard(well) == frame
    while slow.failure is None:
        frame = tell(room, b"x" * 50_000)
        assert ends.heard(well) == frame
    assert slow.failure == SLOW
    tell(room, b"on")
    assert ends.heard(well)


async def test_who_lags_gets_what_the_policy_says(ends: Ends) -> None:
    """Who keeps up gets all; who lags gets the rest, without volatile and outdated packets."""
    room = Room()
    slow, well = ends.wire(), ends.wire()
    room.add(member("a", Session(slow)))
    room.add(member("b", Session(well)))
    before = 0
    while slow.queued == 0:
        slow.write(b"x" * 50_000)
        before += 50_000
    packets = [Outgoing(b"%d" % number) for number in range(4)]
    policies = (Policy(volatile=True), Policy(conflate="key"), Policy(conflate="key"), RELIABLE)
    for packet, policy in zip(packets, policies, strict=True):
        broadcast(room, packet, policy)
    frames = [packet.frames for packet in packets]
    assert ends.heard(well) == b"".join(frames)
    heard = b""
    while len(heard) < before + len(frames[2] + frames[3]):
        heard += ends.heard(slow)
        await trio.testing.wait_all_tasks_blocked()
    assert heard[before:] == frames[3] + frames[2]
