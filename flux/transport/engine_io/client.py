"""One client as the server sees it: its session and the transport that it is on now.

Sending never waits and never calls back: whatever goes wrong is found by the reader, or by the timers' task,
which then close the client. So a broadcast is not interrupted by the end of one of its members.
"""

from collections.abc import Callable
from typing import Any, Protocol

import trio
from prometheus_client import Counter

from flux.metrics import REGISTRY
from flux.transport.engine_io.codec import (
    CLOSE_PACKET,
    NOOP_PACKET,
    PING_PACKET,
    PROBE_REPLY,
    Outgoing,
    Packet,
)
from flux.transport.engine_io.polling import Polling
from flux.transport.engine_io.session import Due, Session, State
from flux.transport.timers import Timers
from flux.transport.websocket import frame_close
from flux.transport.wire import SLOW, Wire

OVERFLOWS = Counter(
    "flux_polling_overflows_total",
    "Sessions closed because too much waited for their poll",
    registry=REGISTRY,
)

CLOSE_SECONDS = 1.0
"""How long a WebSocket client may take to answer our close frame."""

TRANSPORT_CLOSE = "transport close"
TRANSPORT_ERROR = "transport error"
PING_TIMEOUT = "ping timeout"
PARSE_ERROR = "parse error"
SHUTTING_DOWN = "server shutting down"

_CLOSE_CODES = {PARSE_ERROR: 1002, SHUTTING_DOWN: 1001, SLOW: 1013}


class Owner(Protocol):
    """What a client needs of its server."""

    timers: Timers

    def forget(self, client: "Client", reason: str) -> None:
        """Take note that the client is closed."""


class Client:
    """A connected client.

    Args:
        sid: the session's id.
        owner: the server.
        session: the state.
        limit: bytes that may wait for it.

    Attributes:
        app: whatever the application keeps of it.
        wire: set exactly while the session is on a WebSocket; a broadcast writes there itself.
        probe: the WebSocket that an upgrade is under way on.
        site: what the bound of sessions per address counts it by; empty where there is none.
    """

    __slots__ = (
        "__weakref__",
        "_owner",
        "app",
        "limit",
        "polling",
        "probe",
        "session",
        "sid",
        "site",
        "wire",
    )

    def __init__(self, sid: str, owner: Owner, session: Session, limit: int) -> None:
        self.sid = sid
        self.site = ""
        self._owner = owner
        self.limit = limit
        self.session = session
        self.app: Any = None
        self.wire: Wire | None = None
        self.probe: Wire | None = None
        self.polling: Polling | None = Polling(limit) if session.transport == "polling" else None

    @property
    def closed(self) -> bool:
        """Whether the session has ended."""
        return self.session.state is State.CLOSED

    @property
    def writable(self) -> bool:
        """Whether a packet would go out at once."""
        if self.wire is not None:
            return self.wire.writable
        return self.polling is not None and self.polling.writable

    def send(self, packet: Outgoing) -> None:
        """Send a packet, or queue it; past the bound of what may wait the client will be closed."""
        if self.wire is not None:
            self.wire.write(packet.frames)
        elif self.polling is not None:
            self.polling.write(packet)
            if self.polling.overflowed:
                self._overflow()

    def send_latest(self, key: str, packet: Outgoing) -> None:
        """Send a packet; while the client lags only the latest of each key is kept."""
        if self.wire is not None:
            self.wire.write_latest(key, packet.frames)
        elif self.polling is not None:
            self.polling.write_latest(key, packet)
            if self.polling.overflowed:
                self._overflow()

    def call_at(self, when: float, callback: Callable[["Client"], None]) -> None:
        """Have something called with the client at a time of trio's clock, unless it is gone by then."""
        self._owner.timers.call_weakly_at(when, self, callback)

    def start_heartbeat(self) -> None:
        """Begin to ping."""
        self.call_at(self.session.deadline, Client._tick)

    def _tick(self) -> None:
        session = self.session
        due = session.tick(trio.current_time())
        if due is Due.TIMEOUT:
            self.close(PING_TIMEOUT)
        if session.state is State.CLOSED:
            return
        when = session.deadline
        if due is Due.PING:
            if self.polling is not None:
                self.polling.ping_waits = True
            self.send(PING_PACKET)
            # A pong moves the deadline to one interval from then, which may come before the time-out's.
            when = min(when, trio.current_time() + session.interval)
        self.call_at(when, Client._tick)

    def overflow(self) -> None:
        """Close the client as a slow one, soon: the caller may be in the middle of a broadcast."""
        self._owner.timers.call_at(trio.current_time(), lambda: self.close(SLOW))

    def _overflow(self) -> None:
        if self.polling is not None:
            OVERFLOWS.inc()
            self.polling = None
            self.overflow()

    def answer_probe(self, packet: Packet, wire: Wire) -> None:
        """Take the probe on a new WebSocket: answer it, and free the poll so that the client can pause.

        Raises:
            PacketError: it is no probe, or comes at the wrong time.
        """
        self.session.probe(packet)
        wire.write(PROBE_REPLY.frames)
        if self.polling is not None:
            self.polling.release()

    def switch(self, packet: Packet, wire: Wire) -> None:
        """Take the upgrade packet: what waits, and all that follows, goes by the WebSocket.

        Raises:
            PacketError: it is no upgrade packet, or comes at the wrong time.
        """
        self.session.upgrade(packet)
        self.probe = None
        polling, self.polling = self.polling, None
        self.wire = wire
        if polling is not None:
            waiting = polling.take()
            polling.release()
            if waiting:
                wire.write(b"".join([packet.frames for packet in waiting]))

    def close(self, reason: str, farewell: Outgoing = CLOSE_PACKET) -> None:
        """End the session and its transport; a second call does nothing.

        Args:
            reason: for the application.
            farewell: what a waiting poll is answered with.
        """
        if not self.session.close():
            return
        code = _CLOSE_CODES.get(reason, 1000)
        for wire in (self.wire, self.probe):
            if wire is not None:
                wire.write(frame_close(code))
                wire.finish()
                self._owner.timers.call_at(trio.current_time() + CLOSE_SECONDS, wire.abort)
        self.wire = self.probe = None
        if self.polling is not None:
            self.polling.release(farewell)
            self.polling = None
        self._owner.forget(self, reason)

    def leave(self) -> None:
        """Close at the client's own wish, by a close packet."""
        self.close(TRANSPORT_CLOSE, NOOP_PACKET)
