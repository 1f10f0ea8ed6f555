"""The recoverer: makes sockets that can come back, and finds them again; `recovery` on trio's clock."""

import secrets
from collections.abc import Callable
from typing import Any

import structlog
import trio

from flux.transport.engine_io import Client, Outgoing
from flux.transport.socket_io.namespace import Namespace
from flux.transport.socket_io.parser import Parser
from flux.transport.socket_io.recovery import RECOVERABLE, Away, Recoveries, Recovery, pid_of
from flux.transport.socket_io.socket import Socket
from flux.transport.socket_io.types import DisconnectReason

log = structlog.get_logger("flux.socket_io")


class Recoverer:
    """Lets clients in, as new ones or as those they were.

    Args:
        settings: the user's.
        parser: the server's.
        ping_interval, ping_timeout: of the heartbeat, seconds.
        outbox_limit: bytes that may wait for a client.
        call_at: has something called at a time of trio's clock.
    """

    def __init__(
        self,
        settings: Recovery,
        parser: Parser,
        *,
        ping_interval: float,
        ping_timeout: float,
        outbox_limit: int,
        call_at: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self.settings = settings
        # Twice the time-out: so much older than its pong a ping may be, and more.
        self._doubt = 2 * ping_timeout
        self._lost = Recoveries(
            settings,
            parser,
            unnoticed=ping_interval + ping_timeout + self._doubt,
            replay_limit=outbox_limit // 2,
            epoch=secrets.token_urlsafe(6),
        )
        self._here: dict[str, Socket] = {}
        self._call_at = call_at
        self._armed = False

    def take_over(self, client: Client, namespace: str, auth: Any) -> None:
        """Close the connection that a client has left without our noticing, so that it can be recovered."""
        pid = pid_of(auth)
        socket = self._here.get(pid) if pid is not None else None
        if socket is not None and socket.namespace == namespace and socket.engine is not client:
            socket.engine.close(DisconnectReason.TRANSPORT_CLOSE)

    def admit(self, namespace: Namespace, client: Client, auth: Any) -> Socket:
        """Return the pending socket of a client that wants to join: a new one, or the one that it was.

        The latter has its sid, rooms and session, and holds what it missed.
        """
        now = trio.current_time()
        taken = self._lost.take(namespace.name, auth, now)
        if taken is None:
            if pid_of(auth) is not None:
                log.info("state not recovered", namespace=namespace.name)
            socket = Socket(secrets.token_urlsafe(15), namespace.name, client)
            socket.identity = self._lost.begin(socket.sid, secrets.token_urlsafe(15), now)
            namespace.add(socket)
        else:
            away, missed = taken
            socket = Socket(away.sid, namespace.name, client)
            socket.identity = away.identity
            socket.session = away.session
            namespace.add(socket)
            for room in away.rooms:
                namespace.enter(socket, room)
            for packet in missed:
                socket.client.send(packet)
        self._here[socket.identity.pid] = socket
        return socket

    def spared(self, socket: Socket) -> bool:
        """Whether the middlewares are not asked about a socket: they were before it was lost."""
        return self.settings.skip_middlewares and socket.recovered

    def hello(self, socket: Socket) -> dict[str, str]:
        """Return the answer to CONNECT."""
        if socket.identity is None:
            return {"sid": socket.sid}
        socket.identity.since = trio.current_time()
        return {"sid": socket.sid, "pid": socket.identity.pid}

    def left(self, socket: Socket, reason: str) -> None:
        """Take note that a socket has left its namespace, or was refused (reason: empty)."""
        identity = socket.identity
        if identity is None or self._here.get(identity.pid) is not socket:
            return
        del self._here[identity.pid]
        if reason not in RECOVERABLE or not (socket.joined or identity.recovered):
            return
        now = trio.current_time()
        arrived = socket.engine.session.heard - self._doubt
        self._lost.keep(
            Away(
                socket.sid,
                socket.namespace,
                tuple(socket.rooms or ()),
                socket.session,
                identity,
                arrived if socket.joined and arrived >= identity.since else None,
                now + self.settings.max_duration,
            )
        )
        if not self._armed:
            self._armed = True
            self._call_at(now + self.settings.max_duration, self._expire)

    def forget(self, sid: str, namespace: str) -> None:
        """Do not let a lost client come back as itself."""
        self._lost.forget(sid, namespace)

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
    ) -> Outgoing:
        """Assemble an event without an ack; see `Recoveries.packet`."""
        return self._lost.packet(
            namespace, rooms, skip, data, body, attachments, replayed=replayed, now=trio.current_time()
        )

    def _expire(self) -> None:
        when = self._lost.expire(trio.current_time())
        self._armed = when is not None
        if when is not None:
            self._call_at(when, self._expire)
