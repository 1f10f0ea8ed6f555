"""One session's state machine: packets and the time in, what to do out; no I/O.

::

    OPEN --probe--> UPGRADING --upgrade packet--> OPEN (on the new transport)
      |                 |
      +----- close -----+--> CLOSED

Heartbeat (Engine.IO protocol, "Heartbeat"): the server pings `interval` seconds after the last pong (at
first: after the opening) and waits `timeout` seconds for a pong.
"""

from enum import Enum, auto

from attrs import define, field
from engineio.packet import CLOSE, MESSAGE, PING, PONG, UPGRADE

from flux.transport.engine_io.codec import Packet, PacketError


class State(Enum):
    """Where a session stands."""

    OPEN = auto()
    UPGRADING = auto()
    CLOSED = auto()


class Due(Enum):
    """What the clock asks for."""

    NOTHING = auto()
    PING = auto()
    TIMEOUT = auto()


class Ended(Enum):
    """The peer's own close packet."""

    CLOSE = auto()


@define
class Session:
    """A session's state.

    Args:
        interval, timeout: of the heartbeat, seconds.
        opened: when, on the clock that later calls use.

    Attributes:
        deadline: when `tick` wants to be called next.
        transport: the name of the current one.
    """

    interval: float
    timeout: float
    opened: float
    transport: str
    state: State = State.OPEN
    deadline: float = field(init=False)
    _awaits_pong: bool = False

    def __attrs_post_init__(self) -> None:
        self.deadline = self.opened + self.interval

    def receive(self, packet: Packet, now: float) -> str | bytes | Ended | None:
        """Take a packet that came by the current transport.

        Returns:
            A message's data; `Ended` for a close packet; None where nothing is to be done.

        Raises:
            PacketError: a client must not send it now.
        """
        kind = packet.kind
        if kind == MESSAGE:
            return packet.data
        if kind == PONG:
            # A pong that nobody asked for is harmless and must not move the heartbeat.
            if self._awaits_pong:
                self._awaits_pong = False
                self.deadline = now + self.interval
            return None
        if kind == CLOSE:
            return Ended.CLOSE
        raise PacketError(f"packet type {kind} is not for a server")

    def tick(self, now: float) -> Due:
        """Say what the clock asks for, and move `deadline`; early calls ask for nothing."""
        if self.state is State.CLOSED or now < self.deadline:
            return Due.NOTHING
        if self._awaits_pong:
            return Due.TIMEOUT
        self._awaits_pong = True
        self.deadline = now + self.timeout
        return Due.PING

    @property
    def heard(self) -> float:
        """When the last pong came; before the first one, when the session was opened."""
        return self.deadline - self.interval - (self.timeout if self._awaits_pong else 0.0)

    def probe(self, packet: Packet) -> None:
        """Take the first packet on a new WebSocket.

        Raises:
            PacketError: it is no probe, or an upgrade is under way already.
        """
        if packet.kind != PING or packet.data != "probe":
            raise PacketError("no probe")
        if self.state is not State.OPEN or self.transport != "polling":
            raise PacketError("no upgrade now")
        self.state = State.UPGRADING

    def upgrade(self, packet: Packet) -> None:
        """Take the packet behind the probe; from here on the session is on the WebSocket.

        Raises:
            PacketError: it is no upgrade packet, or the session is not upgrading any more.
        """
        if packet.kind != UPGRADE or self.state is not State.UPGRADING:
            raise PacketError("no upgrade packet")
        self.state = State.OPEN
        self.transport = "websocket"

    def abandon_upgrade(self) -> None:
        """Go on by polling: the probe failed or took too long."""
        if self.state is State.UPGRADING:
            self.state = State.OPEN

    def close(self) -> bool:
        """End the session; False if it had ended before."""
        if self.state is State.CLOSED:
            return False
        self.state = State.CLOSED
        return True
