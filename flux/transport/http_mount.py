"""Where something is mounted in the door: what it is asked, what it may answer, within which bounds."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
from attrs import frozen

from flux.transport.http import Request, Response
from flux.transport.wire import Wire


@frozen
class Limits:
    """Bounds of the door.

    Args:
        head_bytes: of a request line with its headers; past it 431.
        body_bytes: of a body for the app (a mount has its own); past it 413.
        head_seconds, body_seconds: how long a started head or body may take.
        keep_alive_seconds: how long a connection may idle between two requests, or take to accept a response.
        linger_seconds: how long a closing connection is still read, so that the last response is not lost to
            a reset.
        stop_seconds: how long an ordered stop may take.
        spread_seconds: over how long an ordered stop spreads the disconnects of the mounts' clients.
        outbox_bytes: of a response that wait for a slow reader.
        connections: open at a time, WebSockets included; past it a new one gets 503 and is closed at
            accept. None is no bound.
        connections_per_address: the same for one client: an IPv4 address, or a /64 network of IPv6. Behind a
            trusted proxy the client's requests in progress and WebSockets count, and past it get 503.
    """

    head_bytes: int = 32 * 1024
    body_bytes: int = 1_000_000
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    keep_alive_seconds: float = 75.0
    linger_seconds: float = 2.0
    stop_seconds: float = 10.0
    spread_seconds: float = 0.0
    outbox_bytes: int = 1 << 20
    connections: int | None = 100_000
    connections_per_address: int | None = None


@frozen
class Takeover:
    """Instead of a response: the connection leaves HTTP.

    Args:
        run: owns the wire from then on, in the same task, and writes the 101 response itself; gets what the
            client sent after its request.
    """

    run: Callable[[Wire, bytes], Awaitable[None]]


class Mount(Protocol):
    """What takes all requests to one path, with and without a trailing slash.

    Attributes:
        max_body: bytes; past it `overflow` gives the answer and the connection closes.
    """

    max_body: int

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do the mount's background work until cancelled."""

    async def handle(self, request: Request, exchange: "Exchange") -> Response | Takeover | None:
        """Answer a request; None: `exchange.respond` will be called later, by anyone."""

    def overflow(self, request: Request) -> Response:
        """Answer a request whose body is too large (its `body` is empty)."""

    async def close(self, *, spread: float) -> None:
        """Tell all clients that the server goes, over `spread` seconds; wait for handlers to end."""


class Responder(Protocol):
    """What an exchange writes its response to."""

    def respond(self, response: Response) -> None:
        """Write a whole response."""


class Exchange:
    """One request that still waits for its response.

    Attributes:
        on_abort: called with the reason if the peer went before the response.
    """

    __slots__ = ("_connection", "_done", "answered", "on_abort")

    def __init__(self, connection: Responder) -> None:
        self._connection = connection
        self._done: trio.Event | None = None
        self.answered = False
        self.on_abort: Callable[[str], None] | None = None

    def respond(self, response: Response) -> None:
        """Write the response, once; a second call does nothing. Never waits."""
        if self.answered:
            return
        self.answered = True
        self._connection.respond(response)
        if self._done is not None:
            self._done.set()

    async def wait_answered(self) -> None:
        """Return once the response is written."""
        if not self.answered:
            self._done = trio.Event()
            await self._done.wait()

    def abort(self, reason: str) -> None:
        """Tell the responder that the peer is gone."""
        if not self.answered:
            self.answered = True
            if self.on_abort is not None:
                self.on_abort(reason)
