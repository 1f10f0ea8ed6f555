"""The session's state machine: heartbeat, upgrade, end."""

import pytest

from flux.transport.engine_io.codec import Packet, PacketError
from flux.transport.engine_io.session import Due, Ended, Session, State

PROBE = Packet(2, "probe")
UPGRADE = Packet(5)
PONG = Packet(3)


def session(transport: str = "polling") -> Session:
    """Return a session opened at 100, with the usual heartbeat."""
    return Session(25, 20, 100, transport)


def test_it_pings_after_the_interval_and_again_after_each_pong() -> None:
    """The next ping counts from the pong."""
    state = session()
    assert state.tick(124.9) is Due.NOTHING
    assert state.tick(125) is Due.PING
    state.receive(PONG, 130)
    assert state.tick(150) is Due.NOTHING
    assert state.tick(155) is Due.PING


def test_it_times_out_without_a_pong_and_never_early() -> None:
    """The time-out counts from the ping."""
    state = session()
    assert state.tick(125) is Due.PING
    assert state.tick(144.9) is Due.NOTHING
    assert state.tick(145) is Due.TIMEOUT


def test_unasked_pongs_do_not_move_the_heartbeat() -> None:
    """A flood of them changes nothing."""
    state = session()
    for _ in range(100):
        state.receive(PONG, 120)
    assert state.tick(125) is Due.PING


def test_messages_pass_and_a_close_packet_ends() -> None:
    """Text and bytes as they are."""
    state = session()
    assert state.receive(Packet(4, "text"), 101) == "text"
    assert state.receive(Packet(4, b"bytes"), 101) == b"bytes"
    assert state.receive(Packet(1), 101) is Ended.CLOSE


@pytest.mark.parametrize("kind", [0, 2, 5, 6])
def test_packets_that_are_not_for_a_server_are_errors(kind: int) -> None:
    """OPEN, PING, UPGRADE outside of an upgrade, NOOP."""
    with pytest.raises(PacketError):
        session().receive(Packet(kind), 101)


def test_an_upgrade_is_a_probe_and_an_upgrade_packet() -> None:
    """Then the session is on the WebSocket."""
    state = session()
    state.probe(PROBE)
    assert state.state is State.UPGRADING
    state.upgrade(UPGRADE)
    assert (state.state, state.transport) == (State.OPEN, "websocket")


@pytest.mark.parametrize("packet", [Packet(2, ""), Packet(4, "probe"), UPGRADE])
def test_a_wrong_first_packet_is_no_probe(packet: Packet) -> None:
    """The session stays as it was."""
    state = session()
    with pytest.raises(PacketError):
        state.probe(packet)
    assert state.state is State.OPEN


def test_upgrading_twice_is_an_error() -> None:
    """In the middle of one, and after it."""
    state = session()
    state.probe(PROBE)
    with pytest.raises(PacketError):
        state.probe(PROBE)
    state.upgrade(UPGRADE)
    with pytest.raises(PacketError):
        state.probe(PROBE)
    with pytest.raises(PacketError):
        state.upgrade(UPGRADE)


def test_an_abandoned_upgrade_can_be_tried_again() -> None:
    """Polling goes on meanwhile."""
    state = session()
    state.probe(PROBE)
    state.abandon_upgrade()
    with pytest.raises(PacketError):
        state.upgrade(UPGRADE)
    state.probe(PROBE)


def test_it_closes_once_and_then_asks_for_nothing() -> None:
    """No timer fires after the end."""
    state = session()
    assert state.close()
    assert not state.close()
    assert state.tick(1000) is Due.NOTHING
    state.abandon_upgrade()
    assert state.state is State.CLOSED
