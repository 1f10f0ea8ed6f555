"""The client's public face: python-socketio's AsyncClient on trio, structured."""

import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

import structlog
import trio
from prometheus_client import Counter

from flux.errors import LocalError
from flux.metrics import REGISTRY
from flux.transport.socket_io.client.conversation import Conversation
from flux.transport.socket_io.client.errors import ConnectError, DisconnectedError
from flux.transport.socket_io.client.link import CLOSE_SECONDS, Link
from flux.transport.socket_io.client.outbox import Outbox
from flux.transport.socket_io.client.packets import ServerPackets
from flux.transport.socket_io.client.polling import open_polling
from flux.transport.socket_io.client.reconnection import Reconnection
from flux.transport.socket_io.client.socket import ClientSocket
from flux.transport.socket_io.client.transport import Target, Transport
from flux.transport.socket_io.client.upgrade import Upgrading
from flux.transport.socket_io.client.websocket import OpenStream, open_tcp, open_websocket
from flux.transport.socket_io.codec import ACK, CONNECT, CONNECT_ERROR, DISCONNECT
from flux.transport.socket_io.types import DisconnectReason

log = structlog.get_logger("flux.socket_io.client")

CONNECTIONS = Counter(
    "flux_socketio_client_connections_total", "Connections opened by clients", registry=REGISTRY
)
FAILURES = Counter(
    "flux_socketio_client_failures_total", "Attempts to connect that failed", registry=REGISTRY
)

Auth = Mapping[str, Any] | Callable[[], Mapping[str, Any] | None] | None
_DEFAULT = Reconnection()


class Client(Conversation):
    """A Socket.IO client; `run` connects it and holds all its tasks. `connect` does both in one block.

    ``emit`` and its like never wait: what is emitted while there is no connection, or faster than it takes
    it, waits in a bounded buffer and is sent in order, also on a later connection. Methods must be called
    from trio's thread, in which handlers run.

    Args:
        url: ``http``, ``https``, ``ws`` or ``wss``, a host, and a query if need be; no path.
        namespaces: to join.
        auth: the CONNECT payload, or what returns it, called for each namespace and connection.
        headers: sent with the handshake.
        path: where the server is mounted.
        transports: ``websocket``, ``polling``, or ``polling`` first and then the upgrade.
        ssl_context: for ``https``; None is the system's default.
        timeout: seconds for the opening of a connection, and again for the joining.
        reconnection: the pauses between attempts; None: a lost connection is the end.
        retry: whether the first connection is tried again, too.
        max_message: bytes of the largest message taken in.
        max_buffered: packets that may wait to be sent.
        max_buffered_bytes: bytes that may wait to be sent.
        rng: for the jitter.
        open_stream: how TCP connections are opened (WebSocket only).

    Attributes:
        closing: set once the end was asked for.

    Raises:
        LocalError: a bad URL or header, no or unknown transports, no namespace.
    """

    def __init__(
        self,
        url: str,
        *,
        namespaces: str | Sequence[str] = ("/",),
        auth: Auth = None,
        headers: Mapping[str, str] | None = None,
        path: str = "/socket.io",
        transports: Sequence[str] = ("websocket",),
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 20.0,
        reconnection: Reconnection | None = _DEFAULT,
        retry: bool = False,
        max_message: int = 10_000_000,
        max_buffered: int = 10_000,
        max_buffered_bytes: int = 10_000_000,
        rng: Random | None = None,
        open_stream: OpenStream = open_tcp,
    ) -> None:
        super().__init__(namespaces, Outbox(max_buffered, max_buffered_bytes))
        if list(transports) not in _TRANSPORTS:
            raise LocalError(f"transports must be one of {_TRANSPORTS}, not {list(transports)!r}")
        self.closing = trio.Event()
        self._target = Target.parse(url, path, dict(headers or {}))
        self._auth = auth
        self._transports = list(transports)
        self._ssl = ssl_context
        self._timeout = timeout
        self._reconnection = reconnection
        self._retry = retry
        self._max_message = max_message
        self._rng = rng or Random()
        self._open_stream = open_stream
        self._decoder = ServerPackets(max_message)
        self._transport: Transport | None = None
        self._scope = trio.CancelScope()
        self._task_status: trio.TaskStatus[None] | None = None
        self._running = False
        self._started = False
        self._failure: ConnectError | None = None
        self._attempt = 0
        self._reason: str | None = None

    # Connection

    @property
    def transport(self) -> str | None:
        """The name of the present transport, or None."""
        return self._transport.name if self._transport is not None else None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, and stay connected, until `disconnect` or the last namespace is gone; once only.

        Started (`trio.Nursery.start`) when all namespaces are joined. Lost connections are opened again as
        `reconnection` says. A namespace that the server refuses later on, or disconnects, is not asked for
        again; nor is the connection when there is none left.

        Cancellation: the transport is closed in order, within about a second; what waits is not sent, and
        handlers are cancelled. For a farewell, call `disconnect`.

        Raises:
            ConnectError: the first connection failed (without `retry`) or a namespace was refused.
            LocalError: it ran before.
        """
        if self._running:
            raise LocalError("a client runs once only")
        self._running = True
        self._task_status = task_status
        failure: Exception | None = None
        async with trio.open_nursery() as handlers:
            self._dispatch.workload.nursery = lambda: handlers
            try:
                with self._scope:
                    await self._stay_connected()
                if not self._started:
                    failure = ConnectError("the client was disconnected before it was connected")
            except Exception as error:  # noqa: BLE001 - raised below, outside the nursery that would wrap it
                failure = error
            finally:
                self._end()
                with trio.move_on_after(CLOSE_SECONDS, shield=True):
                    await self._dispatch.end()
                handlers.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def wait(self) -> str:
        """Wait until the client has ended; return the reason, one of `DisconnectReason`."""
        await self._ended.wait()
        return self._reason or DisconnectReason.CLIENT_DISCONNECT

    async def join(self, namespace: str) -> None:
        """Join one more namespace, or one that was left or refused. Joined already, it returns at once.

        Cancellation: it is still asked for.

        Raises:
            ConnectError: the server refused.
            DisconnectedError: the client has ended.
        """
        if self._ended.is_set() or self.closing.is_set():
            raise DisconnectedError("the client has ended")
        new = namespace not in self._sockets
        socket = self._add(namespace) if new else self._sockets[namespace]
        if new or socket.left:
            socket.left = False
            socket.answered = trio.Event()
            if self._transport is not None:
                self._ask(socket)
        await socket.answered.wait()
        if socket.refusal is not None:
            raise socket.refusal
        if not socket.joined:
            raise DisconnectedError("the client has ended")

    def disconnect(self, namespace: str | None = None) -> None:
        """Leave a namespace, or all: then the client ends. Never waits; see `wait`.

        What was emitted before it is still sent, if that takes less than a second.
        """
        leaving = self._sockets.values() if namespace is None else [self._sockets[namespace]]
        for socket in leaving:
            if socket.left:
                continue
            was_joined = socket.joined
            socket.leave()
            if was_joined:
                self._dispatch.notify(socket, "disconnect", DisconnectReason.CLIENT_DISCONNECT)
        if any(not socket.left for socket in self._sockets.values()) or self._ended.is_set():
            return
        self.closing.set()
        if self._transport is None:
            self._scope.cancel()
        else:
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + CLOSE_SECONDS)

    # Called by the link

    def opened(self, transport: Transport) -> None:
        """Ask for the namespaces."""
        CONNECTIONS.inc()
        self._transport = transport
        self._attempt = 0
        self._decoder = ServerPackets(self._max_message)
        for socket in self._sockets.values():
            if not socket.left:
                self._ask(socket)

    def message(self, data: str | bytes) -> trio.Event | None:
        """Take a message; an event in return stops the reading until handlers have caught up."""
        packet = self._decoder.feed(data)
        if packet is None:
            return None
        socket = self._sockets.get(packet.namespace)
        if socket is None or (socket.left and packet.kind != ACK):
            return None
        if packet.kind == CONNECT:
            if not socket.joined:
                socket.join(packet.data)
                self._dispatch.notify(socket, "connect")
                self._check_settled()
        elif packet.kind == CONNECT_ERROR:
            refusal = socket.refuse(packet.data)
            if not self._started:
                self._failure = refusal
            self._dispatch.notify(socket, "connect_error", packet.data)
        elif not socket.joined:
            return None
        elif packet.kind == DISCONNECT:
            socket.end()
            self._dispatch.notify(socket, "disconnect", DisconnectReason.SERVER_DISCONNECT)
        elif packet.kind == ACK:
            socket.take_ack(packet.id or 0, packet.data)
        else:
            return self._dispatch.event(socket, packet)
        return None

    def settled(self) -> bool:
        """Whether every namespace has been answered."""
        return all(socket.joined or socket.left for socket in self._sockets.values())

    def active(self) -> bool:
        """Whether there is something to be connected for, or still to be sent."""
        if self._failure is not None:
            return False
        return self.closing.is_set() or any(not socket.left for socket in self._sockets.values())

    # Inside

    def _ask(self, socket: ClientSocket) -> None:
        auth = self._auth() if callable(self._auth) else self._auth
        socket.ask(None if auth is None else dict(auth))

    def _check_settled(self) -> None:
        if not self._started and self.settled() and self._task_status is not None:
            self._started = True
            self._task_status.started()

    async def _stay_connected(self) -> None:
        while True:
            error: ConnectError | None = None
            self._reason = DisconnectReason.CLIENT_DISCONNECT  # what it is after a cancellation
            link = Link(self, self._outbox, self._timeout)
            try:
                self._reason = await link.run(self._open)
            except ConnectError as failed:
                error = failed
                self._reason = DisconnectReason.TRANSPORT_ERROR
            finally:
                self._lost(self._reason)
            if self._failure is not None:
                raise self._failure
            if error is not None:
                self._failed(error)
            if not self.active() or self.closing.is_set():
                return
            if not self._started and not self._retry:
                raise error or ConnectError(f"the connection ended while joining: {self._reason}")
            reconnection = self._reconnection
            if reconnection is None or self._attempt >= reconnection.attempts:
                if not self._started:
                    raise error or ConnectError(f"the connection ended while joining: {self._reason}")
                log.info(
                    "connection given up reconnecting", server=self._target.authority, attempts=self._attempt
                )
                return
            pause = reconnection.pause(self._attempt, self._rng)
            self._attempt += 1
            await trio.sleep(pause)

    async def _open(self, carrier: trio.Nursery) -> Transport:
        dial = partial(open_websocket, carrier, self._target, self._ssl, self._max_message, self._open_stream)
        if self._transports == ["websocket"]:
            return await dial()
        polling = await open_polling(self._target, self._ssl, self._max_message)
        if "websocket" not in self._transports or "websocket" not in polling.hello.upgrades:
            return polling
        upgrading = Upgrading(polling, partial(dial, polling.hello.sid))
        carrier.start_soon(upgrading.upgrade)
        return upgrading

    def _failed(self, error: ConnectError) -> None:
        FAILURES.inc()
        log.info("cannot connect", server=self._target.authority, reason=str(error))
        for socket in self._sockets.values():
            if not socket.left:
                self._dispatch.notify(socket, "connect_error", {"message": error.message})

    def _lost(self, reason: str) -> None:
        self._transport = None
        for socket in self._sockets.values():
            was_connected = socket.connected
            socket.lose()
            if was_connected:
                self._dispatch.notify(socket, "disconnect", reason)
        self._outbox.connection_lost()

    def _end(self) -> None:
        if self.closing.is_set():
            self._reason = DisconnectReason.CLIENT_DISCONNECT
        for socket in self._sockets.values():
            socket.end()
            socket.answered.set()
        self._outbox.wake()
        self._ended.set()


_TRANSPORTS = (["websocket"], ["polling"], ["polling", "websocket"])
