"""The router: packets of clients to namespaces and handlers, and handlers' answers back.

It is the application of the Engine.IO server. ``def`` handlers run here, in the connection's reader, so they
must not block; ``async def`` handlers become tasks (inline they would keep `Server.call` from ever reading
its ack).
"""

import secrets
from collections.abc import Collection
from functools import partial
from typing import Any, Literal

import structlog
import trio
from prometheus_client import Counter, Gauge

from flux.errors import LocalError
from flux.metrics import REGISTRY
from flux.transport.engine_io import Client, PacketError
from flux.transport.http import Request
from flux.transport.socket_io.calls import Calls, Workload
from flux.transport.socket_io.codec import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, Packet, encode
from flux.transport.socket_io.connection import Connection
from flux.transport.socket_io.delivery import DELIVERIES
from flux.transport.socket_io.environ import pack, unpack
from flux.transport.socket_io.namespace import Namespace, Registered
from flux.transport.socket_io.socket import Socket
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
EVENTS = Tally("flux_socketio_events_total", "Events received")
PROTOCOL_ERRORS = Counter(
    "flux_socketio_protocol_errors_total", "Broken packets, by kind", ["kind"], registry=REGISTRY
)
HANDLER_ERRORS = Counter("flux_socketio_handler_errors_total", "Exceptions in handlers", registry=REGISTRY)

ATTACHMENT_FACTOR = 4
"""A packet's attachments may have this many times the largest message's bytes together."""


class Router:
    """Namespaces and what their clients send.

    Args:
        namespaces: accepted besides those that have handlers; ``"*"`` accepts all.
        max_payload: bytes of the largest message.
        connect_timeout: seconds in which a client must join a namespace.
    """

    def __init__(
        self, namespaces: Collection[str] | Literal["*"], max_payload: int, connect_timeout: float
    ) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self.workload = Workload()
        self._any = namespaces == "*"
        self._accepted = frozenset(namespaces)
        self._max_bytes = max_payload * ATTACHMENT_FACTOR
        self._connect_timeout = connect_timeout

    # Called by the Engine.IO server.

    def opened(self, client: Client, request: Request) -> None:
        """Meet a new client: it has `connect_timeout` seconds to join a namespace."""
        client.app = Connection(self._max_bytes, pack(request))
        client.call_at(trio.current_time() + self._connect_timeout, partial(self._check_joined, client))

    def message(self, client: Client, data: str | bytes) -> trio.Event | None:
        """Take a message; an event in return stops the reading until handlers have caught up."""
        connection: Connection = client.app
        try:
            packet = connection.receive(data)
        except PacketError:
            PROTOCOL_ERRORS.labels("packet").inc()
            raise
        if packet is None:
            return None
        if packet.kind == CONNECT:
            self._connect(client, connection, packet)
            return None
        socket = connection.sockets[packet.namespace]
        if socket is None:
            return None
        if packet.kind == DISCONNECT:
            self.leave(socket, DisconnectReason.CLIENT_DISCONNECT)
            return None
        if packet.kind == ACK:
            try:
                socket.acknowledge(packet.id or 0, packet.data)
            except Exception:
                HANDLER_ERRORS.inc()
                log.exception("ack callback failed", sid=socket.sid)
            return None
        return self._event(socket, packet)

    def closed(self, client: Client, reason: str) -> None:
        """Learn that a client is gone."""
        connection: Connection = client.app
        for socket in list(connection.sockets.values()):
            if socket is not None:
                self.leave(socket, reason)

    async def drained(self) -> None:
        """Wait until no handler runs."""
        await self.workload.drained()

    # Called by the server, too.

    def namespace(self, name: str) -> Namespace:
        """Return a namespace, made on first use."""
        namespace = self.namespaces.get(name)
        if namespace is None:
            namespace = self.namespaces[name] = Namespace(name)
        return namespace

    def leave(self, socket: Socket, reason: str) -> None:
        """Take a socket out of its namespace; its disconnect handler still finds its session and rooms."""
        connection: Connection = socket.engine.app
        connection.leave(socket)
        namespace = self.namespaces.get(socket.namespace)
        if namespace is None or not namespace.remove(socket):
            return
        # In an ordered stop the handlers may end; the deadline is the door's.
        socket.end(cancel=reason != DisconnectReason.SERVER_SHUTTING_DOWN)
        if not socket.joined:
            return
        SOCKETS.dec()
        DISCONNECTS.labels(reason).inc()
        handler = namespace.handlers.get("disconnect")
        if handler is None:
            self._tidy(namespace)
            return
        namespace.leaving[socket.sid] = socket
        args = handler.fitting(socket.sid, reason)
        if handler.is_async:
            self.workload.start(partial(self._leave_later, namespace, socket, handler, args))
            return
        try:
            handler.call(*args)
        except Exception as error:  # noqa: BLE001 - a handler\'s fault ends nothing else
            self._failed("disconnect", socket, error)
        finally:
            del namespace.leaving[socket.sid]
            self._tidy(namespace)

    async def _leave_later(
        self, namespace: Namespace, socket: Socket, handler: Registered, args: tuple[Any, ...]
    ) -> None:
        try:
            await handler.call(*args)
        except Exception as error:  # noqa: BLE001 - a handler\'s fault ends nothing else
            self._failed("disconnect", socket, error)
        finally:
            del namespace.leaving[socket.sid]
            self._tidy(namespace)

    def submit(self, socket: Socket, call: Any) -> None:
        """Run a coroutine function as a task of the socket, after those submitted before."""
        if socket.calls is None:
            socket.calls = Calls(self.workload)
        socket.calls.submit(call)

    # CONNECT

    def _connect(self, client: Client, connection: Connection, packet: Packet) -> None:
        name = packet.namespace
        known = self.namespaces.get(name)
        if not (self._any or name in self._accepted or (known is not None and known.handlers)):
            REFUSED.labels("namespace").inc()
            client.send(encode(CONNECT_ERROR, name, {"message": "Invalid namespace"}))
            return
        namespace = self.namespace(name)
        socket = Socket(secrets.token_urlsafe(15), name, client)
        connection.enter(socket)
        namespace.add(socket)
        handler = namespace.handlers.get("connect")
        if handler is None:
            self._accept(socket)
            return
        args = handler.fitting(socket.sid, unpack(connection.environ), packet.data)
        if handler.is_async:
            self.submit(socket, partial(self._connect_later, socket, handler, args))
            return
        try:
            self._decide(socket, handler.call(*args))
        except Exception as error:  # noqa: BLE001 - `refuse` logs it
            self.refuse(socket, error)

    async def _connect_later(self, socket: Socket, handler: Registered, args: tuple[Any, ...]) -> None:
        try:
            self._decide(socket, await handler.call(*args))
        except Exception as error:  # noqa: BLE001 - `refuse` logs it
            self.refuse(socket, error)

    def _decide(self, socket: Socket, answer: Any) -> None:
        if answer is False:
            raise ConnectionRefusedError
        self._accept(socket)

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
        connection: Connection = socket.engine.app
        connection.refuse(socket)
        try:
            packet = encode(CONNECT_ERROR, socket.namespace, refusal)
        except LocalError as unsendable:
            self._failed("connect", socket, unsendable)
            packet = encode(CONNECT_ERROR, socket.namespace, {"message": refusal["message"]})
        socket.engine.send(packet)
        socket.end(cancel=True)
        self._tidy(namespace)

    def _accept(self, socket: Socket) -> None:
        namespace = self.namespaces.get(socket.namespace)
        if namespace is None or socket.sid not in namespace.sockets:
            return  # it left, or its handler disconnected it
        CONNECTS.inc()
        SOCKETS.inc()
        socket.join(encode(CONNECT, socket.namespace, {"sid": socket.sid}))

    def _check_joined(self, client: Client) -> None:
        connection: Connection = client.app
        if not client.closed and not any(s is None or s.joined for s in connection.sockets.values()):
            log.info("client joined no namespace in time", sid=client.sid)
            client.close(DisconnectReason.SERVER_DISCONNECT)

    # EVENT

    def _event(self, socket: Socket, packet: Packet) -> trio.Event | None:
        EVENTS.value += 1
        args: list[Any] = packet.data
        name = args[0]
        handlers = self.namespaces[socket.namespace].handlers
        handler = handlers.get(name)
        if handler is not None:
            args[0] = socket.sid
        else:
            handler = handlers.get("*")
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
        except Exception as error:  # noqa: BLE001 - a handler\'s fault ends nothing else
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
        socket.client.send(encode(ACK, socket.namespace, args, number))

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
        if not (namespace.sockets or namespace.leaving or namespace.handlers):
            self.namespaces.pop(namespace.name, None)
