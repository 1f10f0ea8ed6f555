"""Connection state recovery: a client that was lost comes back as the same, and gets what it missed.

As the JavaScript client speaks it: the answer to CONNECT carries a private id ``pid`` beside the sid; each
event that can be replayed carries its offset as one more argument; who comes back says ``{pid, offset}`` in
CONNECT. Replayed are events to the client's namespace, to its sid, and to its rooms since it entered them;
not those with an ack, nor volatile and conflated ones, nor acks.

What differs from Node's server:

* A client that has not got any event yet has no offset; its own start is known here.
* An offset that is too old because only others got events since does no harm: a pong tells that everything
  before its ping has arrived.
* A client that is back before its loss was noticed takes over from its old connection, which is closed.
* The client takes any last argument that is a text for an offset; an event that is not replayed gets null as
  one more argument where that would be so.
* The answer to an event too old, too many, or too large in sum is a new session at once.
"""

from typing import Any, Final

from attrs import define, field, frozen
from attrs.validators import gt
from prometheus_client import Counter

from flux.metrics import REGISTRY
from flux.transport.engine_io.codec import Outgoing
from flux.transport.socket_io.codec import EVENT
from flux.transport.socket_io.packet_log import PacketLog
from flux.transport.socket_io.parser import Parser
from flux.transport.socket_io.types import DisconnectReason

RECOVERIES = Counter(
    "flux_socketio_recoveries_total",
    "Clients that asked for their former session: recovered, unknown or too late, overflow: missed too much",
    ["outcome"],
    registry=REGISTRY,
)

RECOVERABLE: Final = frozenset(
    (DisconnectReason.TRANSPORT_CLOSE, DisconnectReason.TRANSPORT_ERROR, DisconnectReason.PING_TIMEOUT)
)


@frozen
class Recovery:
    """Settings of connection state recovery, ``Server(recovery=Recovery())``.

    Args:
        max_duration: seconds that a client may be away, counted from when its loss was noticed.
        max_packets: how many events are kept, for all clients together.
        max_bytes: of these events.
        max_sessions: how many lost clients are remembered; the longest lost are forgotten first.
        skip_middlewares: whether middlewares are spared for a client that is recovered. The connect handler
            is called in any case: `Server.recovered` tells it.
    """

    max_duration: float = field(default=120.0, validator=gt(0))
    max_packets: int = field(default=10_000, validator=gt(0))
    max_bytes: int = field(default=16 << 20, validator=gt(0))
    max_sessions: int = field(default=10_000, validator=gt(0))
    skip_middlewares: bool = True


@define(eq=False)
class Identity:
    """What makes a socket recoverable.

    Args:
        pid: known to its client alone.
        start: the position of the log that everything for it comes behind.
        since: when it was let in, seconds.
        joined: the position at which it entered each of its rooms, its sid one of them.
        log: where those positions are.
        recovered: whether it was recovered.
    """

    pid: str
    start: int
    since: float
    joined: dict[str, int]
    log: PacketLog
    recovered: bool = False

    def entered(self, room: str) -> None:
        """Note that its client has entered a room; again is nothing new."""
        self.joined.setdefault(room, self.log.head)

    def left(self, room: str) -> None:
        """Note that its client has left a room."""
        self.joined.pop(room, None)


@frozen
class Away:
    """A client that is lost and may come back.

    Args:
        sid, namespace, rooms, session, identity: its socket's.
        arrived: what was sent until then has arrived, seconds; None if that is not known.
        expires: until when it may come back, seconds.
    """

    sid: str
    namespace: str
    rooms: tuple[str, ...]
    session: dict[str, Any]
    identity: Identity
    arrived: float | None
    expires: float


class Recoveries:
    """The lost clients of a server, and the log of what they miss; time and randomness are arguments.

    Args:
        settings: the user's.
        parser: the server's.
        unnoticed: seconds that a loss may go unnoticed.
        replay_limit: bytes that one client may be sent at once.
        epoch: a text that no other server's offsets begin with.
    """

    def __init__(
        self, settings: Recovery, parser: Parser, unnoticed: float, replay_limit: int, epoch: str
    ) -> None:
        self.settings = settings
        self.log = PacketLog(settings.max_packets, settings.max_bytes, settings.max_duration + unnoticed)
        self._parser = parser
        self._limit = replay_limit
        self._prefix = f"{epoch}."
        self._away: dict[str, Away] = {}

    def __len__(self) -> int:
        return len(self._away)

    def packet(
        self,
        namespace: str,
        rooms: tuple[str, ...] | None,
        skip: tuple[str, ...],
        data: list[Any],
        body: bytes,
        attachments: tuple[bytes, ...],
        *,
        replayed: bool,
        now: float,
    ) -> Outgoing:
        """Assemble an event without an ack; with `replayed` it gets an offset and is kept."""
        parser = self._parser
        if not replayed:
            if parser.ends_in_text(body, data):
                body = parser.append(body, None)
            return parser.assemble(EVENT, namespace, body, attachments)
        body = parser.append(body, self._prefix + str(self.log.head + 1))
        packet = parser.assemble(EVENT, namespace, body, attachments)
        self.log.append(now, namespace, rooms, skip, packet)
        return packet

    def begin(self, sid: str, pid: str, now: float) -> Identity:
        """Make a new client recoverable."""
        head = self.log.head
        return Identity(pid, head, now, {sid: head}, self.log)

    def keep(self, away: Away) -> None:
        """Remember a client that was lost."""
        self._away.pop(away.identity.pid, None)
        self._away[away.identity.pid] = away
        if len(self._away) > self.settings.max_sessions:
            del self._away[next(iter(self._away))]

    def take(self, namespace: str, auth: Any, now: float) -> tuple[Away, list[Outgoing]] | None:
        """Give back the client that a CONNECT payload names, and what it missed.

        Returns:
            None if there is no such client, or what it missed is not to be had any more.
        """
        pid = pid_of(auth)
        if pid is None:
            return None
        away = self._away.get(pid)
        if away is None or away.namespace != namespace or away.expires < now:
            RECOVERIES.labels("unknown").inc()
            return None
        del self._away[pid]
        log = self.log
        position = max(away.identity.start, self._position(auth.get("offset")))
        if not log.reaches(position) and away.arrived is not None:
            position = max(position, log.sent_by(away.arrived))
        missed = log.since(position, namespace, away.identity.joined, self._limit)
        if missed is None:
            RECOVERIES.labels("overflow").inc()
            return None
        RECOVERIES.labels("recovered").inc()
        # No more than what it has got moves the start: what follows may be lost, and asked for, again.
        away.identity.start = position
        away.identity.since = now
        away.identity.recovered = True
        return away, missed

    def forget(self, sid: str, namespace: str) -> None:
        """Do not let a lost client come back as itself."""
        for pid, away in self._away.items():
            if away.sid == sid and away.namespace == namespace:
                del self._away[pid]
                return

    def expire(self, now: float) -> float | None:
        """Forget who is too late; return when the next one will be."""
        self.log.expire(now)
        for pid, away in list(self._away.items()):
            if away.expires > now:
                return away.expires
            del self._away[pid]
        return None

    def _position(self, offset: Any) -> int:
        """Return an offset's position; 0 for none, and for one of another server."""
        if not isinstance(offset, str) or not offset.startswith(self._prefix):
            return 0
        digits = offset[len(self._prefix) :]
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
            return 0
        position = int(digits)
        return position if position <= self.log.head else 0


def pid_of(auth: Any) -> str | None:
    """Return the private id in a CONNECT payload."""
    pid = auth.get("pid") if isinstance(auth, dict) else None
    return pid if isinstance(pid, str) else None
