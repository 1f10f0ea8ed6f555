"""The router: packets of clients to namespaces and handlers, and handlers' answers back.

It is the application of the Engine.IO server. ``def`` handlers run here, in the connection's reader, so they
must not block; they have the connection's context, but no task of their own, so they must not use what trio
binds to a task (`trio.Lock`, `trio.CapacityLimiter`). ``async def`` handlers become tasks (inline they would
keep `Server.call` from ever reading its ack).
"""

import secrets
from collections.abc import Iterable
from functools import partial
from typing import Any

import structlog
import trio
from prometheus_client import Counter, Gauge

from flux.errors import LocalError
from flux.metrics import REGISTRY
from flux.transport.engine_io import Client, PacketError
from flux.transport.http import Request
from flux.transport.socket_io.calls import Calls, Workload
from flux.transport.socket_io.codec import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, Packet
from flux.transport.socket_io.connection import Connection
from flux.transport.socket_io.delivery import DELIVERIES
from flux.transport.socket_io.environ import pack, unpack
from flux.transport.socket_io.handlers import Registered, Registry, Where
from flux.transport.socket_io.incoming import Incoming
from flux.transport.socket_io.limits import ClientLimits
from flux.transport.socket_io.namespace import Namespace
from flux.transport.socket_io.parser import JSON
from flux.transport.socket_io.recoverer import Recoverer
from flux.transport.socket_io.socket import Socket
from flux.transport.socket_io.throttle import Throttle
from flux.transport.socket_io.types import ConnectionRefusedError, DisconnectReason  # noqa: A004 - ours
from flux.transport.tally import Tally

log = structlog.get_logger("flux.socket_io")

SOCKETS = Gauge("flux_socketio_sockets", "Joined sockets of all namespaces", registry=REGISTRY)
CONNECTS = Counter("flux_socketio_connects_total", "Sockets let in", registry=REGISTRY)
REFUSED = Counter(
    "flux_socketio_refused_total", "CONNECT packets refused, by cause", ["cause"], registry=REGISTRY
)
DISCONNECTS = Counter(
    "flux_socketio_disconnects_total", "Sockets gone, by reason", ["reason"], registry=REGISTRY
)
THROTTLED = Counter(
    "flux_socketio_throttled_total", "Pauses of clients that sent too many packets", registry=REGISTRY
)
EVENTS = Tally("flux_socketio_events_total", "Events received")
PROTOCOL_ERRORS = Counter(
    "flux_socketio_protocol_errors_total", "Broken packets, by kind", ["kind"], registry=REGISTRY
)
HANDLER_ERRORS = Counter("flux_socketio_handler_errors_total", "Exceptions in handlers", registry=REGISTRY)

MIN_PAUSE_SECONDS = 0.001
"""A pause is not prolonged by less: rounding must not keep a timer busy."""
ATTACHMENT_FACTOR = 4
"""A packet's attachments may have this many times the largest message's bytes together."""


def _relieve(client: Client) -> None:
    # What came in the same read as the packet that began the pause is paid for, too.
    throttle: Throttle = client.app.throttle
    now = trio.current_time()
    seconds = throttle.pause(now)
    if seconds < MIN_PAUSE_SECONDS or client.closed:
        throttle.relieve()
    else:
        client.call_at(now + seconds, _relieve)


class _Gone(Exception):  # noqa: N818 - no error: the client left, or was refused, while it was let in
    pass


class Router:
    """Namespaces and what their clients send.

    Args:
        namespaces: accepted besides those that something is registered for; ``"*"`` accepts all.
        max_payload: bytes of the largest message.
        connect_timeout: seconds in which a client must join a namespace.
        limits: of one client.
    """

    def __init__(
        self, namespaces: Iterable[Where], max_payload: int, connect_timeout: float, limits: ClientLimits
    ) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self.workload = Workload(limits.concurrent_handlers, limits.waiting_events)
        self.workload.fault = _cleanup_failed
        self._limits = limits
        self.parser = JSON
        self.recoverer: Recoverer | None = None
        self.registry = Registry(namespaces)
        self._incoming = Incoming(
            partial(self._event, checked=True), self._present, self.submit, self._failed
        )
        self._max_bytes = max_payload * ATTACHMENT_FACTOR
        self._connect_timeout = connect_timeout

    # Called by the Engine.IO server.

    def opened(self, client: Client, request: Request) -> None:
        """Meet a new client: it has `connect_timeout` seconds to join a namespace."""
        limits = self._limits
        now = trio.current_time()
        client.app = Connection(
            self._max_bytes,
            pack(request),
            partial(self.parser.decoder, attachments=limits.attachments, depth=limits.depth),
            limits.namespaces,
            Throttle(limits.events_per_second, limits.event_burst, now),
        )
        client.call_at(now + self._connect_timeout, self._check_joined)

    def message(self, client: Client, data: str | bytes) -> trio.Event | None:
        """Take a message; an event in return stops the reading: handlers, or the throttle, must catch up."""
        connection: Connection = client.app
        try:
            packet = connection.receive(data)
        except PacketError:
            PROTOCOL_ERRORS.labels("packet").inc()
            raise
        throttle = connection.throttle
        throttle.tokens -= 1
        pause = self._pause(client, throttle) if throttle.tokens < 0 else None
        if packet is None:
            return pause
        if packet.kind == CONNECT:
            self._connect(client, connection, packet)
            return pause
        socket = connection.sockets[packet.namespace]
        if socket is None:
            return pause
        if packet.kind == DISCONNECT:
            self.leave(socket, DisconnectReason.CLIENT_DISCONNECT)
            return pause
        if packet.kind == ACK:
            try:
                socket.acknowledge(packet.id or 0, packet.data)
            except Exception:
                HANDLER_ERRORS.inc()
                log.exception("ack callback failed", sid=socket.sid)
            return pause
        EVENTS.value += 1
        pressure = self._event(socket, packet)
        return pause if pressure is None else pressure

    def _pause(self, client: Client, throttle: Throttle) -> trio.Event | None:
        now = trio.current_time()
        seconds = throttle.pause(now)
        if seconds and throttle.relief is None:
            THROTTLED.inc()
            throttle.relief = trio.Event()
            client.call_at(now + seconds, _relieve)
        return throttle.relief

    def closed(self, client: Client, reason: str) -> None:
        """Learn that a client is gone."""
        connection: Connection = client.app
        connection.throttle.relieve()
        for socket in list(connection.sockets.values()):
            if socket is not None:
                self.leave(socket, reason)

    async def drained(self) -> None:
        """Wait until no handler runs."""
        await self.workload.drained()

    # Called by the server, too.

    def namespace(self, name: str) -> Namespace:
        """Return a namespace; one that nobody has joined and nothing was registered for is not kept."""
        namespace = self.namespaces.get(name)
        if namespace is None:
            namespace = Namespace(name, self.registry.table(name, None))
            if self.registry.static(name):
                self.namespaces[name] = namespace
        return namespace

    def registered(self) -> None:
        """Take note that something was registered."""
        for namespace in self.namespaces.values():
            namespace.table = self.registry.table(namespace.name, namespace.family)

    def leave(self, socket: Socket, reason: str) -> None:
        """Take a socket out of its namespace; its disconnect handler still finds its session and rooms."""
        connection: Connection = socket.engine.app
        connection.leave(socket)
        namespace = self.namespaces.get(socket.namespace)
        if namespace is None or namespace.leaving.get(socket.sid) is socket:
            return
        if namespace.table.disconnecting is not None and socket.joined and self._present(socket):
            namespace.leaving[socket.sid] = socket
            self._tell(namespace.table.disconnecting, "disconnecting", socket, reason)
            self._left(namespace, socket)
        if not namespace.remove(socket):
            return
        if self.recoverer is not None:
            self.recoverer.left(socket, reason)
        # In an ordered stop the handlers may end; the deadline is the door's.
        socket.end(cancel=reason != DisconnectReason.SERVER_SHUTTING_DOWN)
        if not socket.joined:
            self._tidy(namespace)
            return
        SOCKETS.dec()
        DISCONNECTS.labels(reason).inc()
        handler = namespace.table.disconnect
        if handler is None:
            self._tidy(namespace)
            return
        namespace.leaving[socket.sid] = socket
        if handler.is_async:
            self.workload.start(partial(self._leave_later, namespace, socket, handler, reason))
            return
        self._tell(handler, "disconnect", socket, reason)
        self._left(namespace, socket)
        self._tidy(namespace)

    def _left(self, namespace: Namespace, socket: Socket) -> None:
        if namespace.leaving.get(socket.sid) is socket:  # a recovered one may have its sid
            del namespace.leaving[socket.sid]

    def _tell(self, handler: Registered, event: str, socket: Socket, reason: str) -> None:
        try:
            handler.call(*handler.fitting(socket.sid, reason))
        except Exception as error:  # noqa: BLE001 - a handler's fault ends nothing else
            self._failed(event, socket, error)

    async def _leave_later(
        self, namespace: Namespace, socket: Socket, handler: Registered, reason: str
    ) -> None:
        try:
            await handler.call(*handler.fitting(socket.sid, reason))
        except Exception as error:  # noqa: BLE001 - a handler's fault ends nothing else
            self._failed("disconnect", socket, error)
        finally:
            self._left(namespace, socket)
            self._tidy(namespace)

    def submit(self, socket: Socket, call: Any) -> None:
        """Run a coroutine function as a task of the socket, after those submitted before."""
        if socket.calls is None:
            socket.calls = Calls(self.workload)
        socket.calls.submit(call)

    # CONNECT

    def _connect(self, client: Client, connection: Connection, packet: Packet) -> None:
        name = packet.namespace
        if self.recoverer is not None:
            self.recoverer.take_over(client, name, packet.data)
        namespace = self._enter(name, packet.data)
        if namespace is None:
            REFUSED.labels("namespace").inc()
            client.send(self.parser.encode(CONNECT_ERROR, name, {"message": "Invalid namespace"}))
            return
        if self.recoverer is not None:
            socket = self.recoverer.admit(namespace, client, packet.data)
        else:
            socket = Socket(secrets.token_urlsafe(15), name, client)
            namespace.add(socket)
        connection.enter(socket)
        steps = namespace.table.entrance
        if self.recoverer is not None and self.recoverer.spared(socket):
            steps = namespace.table.welcome
        if any(step.is_async for step in steps):
            environ = unpack(connection.environ)
            self.submit(socket, partial(self._connect_later, socket, steps, environ, packet.data))
            return
        try:
            if steps:
                environ = unpack(connection.environ)
                for step in steps:
                    self._decide(socket, step.call(*step.fitting(socket.sid, environ, packet.data)))
            self._accept(socket)
        except _Gone:
            pass
        except Exception as error:  # noqa: BLE001 - `refuse` logs it
            self.refuse(socket, error)

    def _enter(self, name: str, auth: Any) -> Namespace | None:
        """Return the namespace that a client asks for, or None where there is none for it."""
        registry = self.registry
        if registry.static(name):
            return self.namespace(name)
        try:
            family = registry.family(name, auth)
        except Exception:
            HANDLER_ERRORS.inc()
            log.exception("namespace predicate failed", namespace=name)
            return None
        if family is None and not registry.admits_all():
            return None
        namespace = self.namespaces.get(name)
        if namespace is None:
            namespace = self.namespaces[name] = Namespace(name, registry.table(name, family), family)
        return namespace

    async def _connect_later(
        self, socket: Socket, steps: tuple[Registered, ...], environ: dict[str, Any], auth: Any
    ) -> None:
        try:
            for step in steps:
                answer = step.call(*step.fitting(socket.sid, environ, auth))
                self._decide(socket, await answer if step.is_async else answer)
            self._accept(socket)
        except _Gone:
            pass
        except Exception as error:  # noqa: BLE001 - `refuse` logs it
            self.refuse(socket, error)

    def _decide(self, socket: Socket, answer: Any) -> None:
        if answer is False:
            raise ConnectionRefusedError
        if not self._present(socket):
            raise _Gone

    def refuse(self, socket: Socket, error: Exception) -> None:
        """Turn a pending socket away; an error that is no refusal is the handler's fault, and logged."""
        if isinstance(error, ConnectionRefusedError):
            REFUSED.labels("handler").inc()
            refusal = {"message": error.message}
            if error.data is not None:
                refusal["data"] = error.data
        else:
            self._failed("connect", socket, error)
            refusal = {"message": "Internal server error"}
        namespace = self.namespaces.get(socket.namespace)
        if namespace is None or not namespace.remove(socket):
            return
        if self.recoverer is not None:
            self.recoverer.left(socket, "")
        connection: Connection = socket.engine.app
        connection.refuse(socket)
        try:
            packet = self.parser.encode(CONNECT_ERROR, socket.namespace, refusal)
        except LocalError as unsendable:
            self._failed("connect", socket, unsendable)
            packet = self.parser.encode(CONNECT_ERROR, socket.namespace, {"message": refusal["message"]})
        socket.engine.send(packet)
        socket.end(cancel=True)
        self._tidy(namespace)

    def _accept(self, socket: Socket) -> None:
        namespace = self.namespaces.get(socket.namespace)
        if namespace is None or namespace.sockets.get(socket.sid) is not socket:
            return  # it left, or its handler disconnected it
        CONNECTS.inc()
        SOCKETS.inc()
        hello = {"sid": socket.sid} if self.recoverer is None else self.recoverer.hello(socket)
        socket.join(self.parser.encode(CONNECT, socket.namespace, hello))

    def _check_joined(self, client: Client) -> None:
        connection: Connection = client.app
        if not client.closed and not any(s is None or s.joined for s in connection.sockets.values()):
            log.info("client joined no namespace in time", sid=client.sid)
            client.close(DisconnectReason.SERVER_DISCONNECT)

    # EVENT

    def _event(self, socket: Socket, packet: Packet, *, checked: bool = False) -> trio.Event | None:
        table = self.namespaces[socket.namespace].table
        if table.hooked and not checked:
            return self._incoming.take(socket, packet, table)
        args: list[Any] = packet.data
        name = args[0]
        handler = table.events.get(name)
        if handler is not None:
            args[0] = socket.sid
        else:
            handler = table.rest
            if handler is None:
                return None
            args.insert(1, socket.sid)
        if not handler.least <= len(args) <= handler.most:
            PROTOCOL_ERRORS.labels("arguments").inc()
            log.info("event has a wrong number of arguments", event_name=name[:100], sid=socket.sid)
            return None
        if handler.is_async:
            self.submit(socket, partial(self._handle_later, socket, handler, name, args, packet.id))
            return socket.calls.pressure() if socket.calls is not None else None
        try:
            result = handler.call(*args)
            if packet.id is not None:
                self._acknowledge(socket, packet.id, result)
        except Exception as error:  # noqa: BLE001 - a handler's fault ends nothing else
            self._failed(name, socket, error)
        return None

    async def _handle_later(
        self, socket: Socket, handler: Registered, name: str, args: list[Any], number: int | None
    ) -> None:
        try:
            result = await handler.call(*args)
            if number is not None:
                self._acknowledge(socket, number, result)
        except Exception as error:  # noqa: BLE001 - a handler's fault ends nothing else
            self._failed(name, socket, error)

    def _acknowledge(self, socket: Socket, number: int, result: Any) -> None:
        if result is None:
            args: list[Any] = []
        else:
            args = list(result) if isinstance(result, tuple) else [result]
        DELIVERIES.value += 1
        socket.client.send(self.parser.encode(ACK, socket.namespace, args, number))

    def _present(self, socket: Socket) -> bool:
        namespace = self.namespaces.get(socket.namespace)
        return namespace is not None and namespace.sockets.get(socket.sid) is socket

    def _failed(self, event: str, socket: Socket, error: Exception) -> None:
        HANDLER_ERRORS.inc()
        log.error(
            "handler failed",
            event_name=event[:100],
            namespace=socket.namespace,
            sid=socket.sid,
            exc_info=error,
        )

    def _tidy(self, namespace: Namespace) -> None:
        # With "*" clients name the namespaces, so empty ones must not stay.
        if not (namespace.sockets or namespace.leaving or self.registry.static(namespace.name)):
            self.namespaces.pop(namespace.name, None)


def _cleanup_failed(error: Exception) -> None:
    HANDLER_ERRORS.inc()
    log.error("handler failed", reason="while it was cancelled", exc_info=error)
