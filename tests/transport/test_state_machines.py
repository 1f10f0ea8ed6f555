"""The state machines keep their promises through any history: accepted, or the one protocol error."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flux.transport.engine_io import PacketError
from flux.transport.engine_io.codec import Packet
from flux.transport.engine_io.session import Due, Ended, Session, State

INTERVAL, TIMEOUT = 25, 20

packets = st.builds(Packet, st.integers(-1, 9), st.sampled_from(["", "probe", "x", b"\1"]))
steps = st.one_of(
    st.tuples(st.sampled_from(["receive", "probe", "upgrade"]), packets),
    st.tuples(st.sampled_from(["receive"]), st.just(Packet(3))),
    st.tuples(st.just("probe"), st.just(Packet(2, "probe"))),
    st.tuples(st.just("upgrade"), st.just(Packet(5))),
    st.tuples(st.just("wait"), st.integers(0, 50)),
    st.tuples(st.just("tick"), st.none()),
    st.tuples(st.sampled_from(["abandon", "close"]), st.none()),
)


class Witness:
    """A session, and what must hold of it."""

    def __init__(self) -> None:
        self.session = Session(INTERVAL, TIMEOUT, 0, "polling")
        self.now = 0
        self.pinged: int | None = None
        self.upgrades = 0

    def step(self, name: str, what: Any) -> None:
        """Take a step; a protocol error must leave the state as it was."""
        session = self.session
        before = (session.state, session.transport, session.deadline)
        try:
            getattr(self, f"_{name}")(what)
        except PacketError:
            assert (session.state, session.transport, session.deadline) == before
        if before[0] is State.CLOSED:
            assert session.state is State.CLOSED
        assert session.transport == ("websocket" if self.upgrades else "polling")

    def _receive(self, packet: Packet) -> None:
        answer = self.session.receive(packet, self.now)
        if packet.kind == 4:
            assert answer == packet.data
        elif packet.kind == 1:
            assert answer is Ended.CLOSE
        else:
            assert packet.kind == 3
            assert answer is None
            self.pinged = None

    def _probe(self, packet: Packet) -> None:
        self.session.probe(packet)
        assert (packet.kind, packet.data) == (2, "probe")
        assert self.upgrades == 0

    def _upgrade(self, packet: Packet) -> None:
        self.session.upgrade(packet)
        assert packet.kind == 5
        self.upgrades += 1
        assert self.upgrades == 1

    def _wait(self, seconds: int) -> None:
        self.now += seconds

    def _tick(self, _: None) -> None:
        due = self.session.tick(self.now)
        if due is Due.PING:
            assert self.pinged is None
            self.pinged = self.now
        elif due is Due.TIMEOUT:
            assert self.pinged is not None
            assert self.now >= self.pinged + TIMEOUT
            self.session.close()
        elif self.pinged is not None and self.session.state is not State.CLOSED:
            assert self.now < self.pinged + TIMEOUT

    def _abandon(self, _: None) -> None:
        self.session.abandon_upgrade()

    def _close(self, _: None) -> None:
        was_open = self.session.state is not State.CLOSED
        assert self.session.close() is was_open


@given(st.lists(steps, max_size=40))
def test_a_session_keeps_its_promises_through_any_history(history: list[tuple[str, Any]]) -> None:
    """No ping before its time or twice, no time-out early or late, one upgrade at most, closed for good."""
    witness = Witness()
    for name, what in history:
        witness.step(name, what)
