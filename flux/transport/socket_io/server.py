"""The Socket.IO server's public face: python-socketio's AsyncServer on trio."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Literal, overload

import structlog
import trio

from flux.errors import LocalError
from flux.transport.engine_io import EngineServer, Outgoing
from flux.transport.http import Request
from flux.transport.socket_io.codec import DISCONNECT, EVENT, RESERVED, assemble, encode, encode_data
from flux.transport.socket_io.delivery import RELIABLE, Batch, Policy, broadcast, send
from flux.transport.socket_io.environ import unpack
from flux.transport.socket_io.namespace import Registered
from flux.transport.socket_io.router import HANDLER_ERRORS, Router
from flux.transport.socket_io.socket import Socket
from flux.transport.socket_io.types import (
    AckTimeoutError,
    ConnectionRefusedError,  # noqa: A004 - ours
    DisconnectReason,
    Handler,
    UnknownClientError,
)

log = structlog.get_logger("flux.socket_io")

Names = str | Iterable[str]
_RESERVED_HANDLERS = RESERVED - {"connect", "disconnect"}


class Server:
    """A Socket.IO server; the door that it is mounted in runs its background work.

    ::

        door = Door(mounts={server.path: server.engine}, app=app)

    ``emit`` and its like must be called from trio's thread. Where a sid is unknown, sending to it, leaving
    and disconnecting do nothing, for a client may go at any time; what needs an answer raises
    `UnknownClientError`.

    Args:
        path: where it is to be mounted.
        ping_interval: seconds from a pong to the next ping.
        ping_timeout: seconds that a client may take to answer a ping.
        max_payload: bytes of the largest message or POST body accepted.
        cors_origins: None: the same host only; ``"*"``: all; else the origins allowed.
        transports: those enabled.
        allow_upgrades: whether polling clients may move to WebSocket.
        upgrade_timeout: seconds that an upgrade may take.
        connect_timeout: seconds in which a client must join its first namespace.
        namespaces: those accepted besides the ones that have handlers; ``"*"`` accepts all.
        outbox_limit: bytes that may wait for a slow client before it is disconnected.
        allow_request: refuses a handshake (403) by returning False.

    Attributes:
        engine: the mount.

    Raises:
        LocalError: an unknown transport.
    """

    def __init__(
        self,
        *,
        path: str = "/socket.io",
        ping_interval: float = 25.0,
        ping_timeout: float = 20.0,
        max_payload: int = 1_000_000,
        cors_origins: str | Collection[str] | None = None,
        transports: Sequence[str] = ("polling", "websocket"),
        allow_upgrades: bool = True,
        upgrade_timeout: float = 10.0,
        connect_timeout: float = 45.0,
        namespaces: Collection[str] | Literal["*"] = ("/",),
        outbox_limit: int = 1 << 20,
        allow_request: Callable[[Request], bool] | None = None,
    ) -> None:
        self.path = path
        self._router = Router(namespaces, max_payload, connect_timeout)
        self.engine = EngineServer(
            self._router,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            max_payload=max_payload,
            cors_origins=cors_origins,
            transports=transports,
            allow_upgrades=allow_upgrades,
            upgrade_timeout=upgrade_timeout,
            outbox_limit=outbox_limit,
            allow_request=allow_request,
        )
        self._router.workload.nursery = self._nursery
        self._batch: Batch | None = None

    @overload
    def on(self, event: str, handler: None = None, namespace: str = "/") -> Callable[[Handler], Handler]: ...
    @overload
    def on(self, event: str, handler: Handler, namespace: str = "/") -> Handler: ...
    def on(self, event: str, handler: Handler | None = None, namespace: str = "/") -> Any:
        """Register a handler; without one, a decorator. The latest of an event counts.

        ``def`` handlers run at once, in arrival order, and must not block; ``async def`` handlers run as
        tasks, started in arrival order, and are cancelled when their client goes.

        * ``connect(sid, environ, auth)``: False or `ConnectionRefusedError` refuses; what it emits to the sid
          follows the acceptance. `auth` is the client's dict or None, and may be left out.
        * ``disconnect(sid, reason)``: one of `DisconnectReason`; session and rooms are still to be had, and
          it is not cancelled. The reason may be left out.
        * ``"*"``: ``handler(event, sid, *args)`` for events without a handler.
        * others: ``handler(sid, *args)``. If the client asked for an ack it gets the return value: None is no
          argument, a tuple several, all else one. After an exception there is no ack.

        Raises:
            LocalError: a reserved event name.
        """
        if event in _RESERVED_HANDLERS:
            raise LocalError(f"{event!r} is a reserved event name")
        if handler is None:
            return partial(self._register, event, namespace)
        return self._register(event, namespace, handler)

    def _register(self, event: str, namespace: str, handler: Handler) -> Handler:
        self._router.namespace(namespace).handlers[event] = Registered.of(handler)
        return handler

    def event(self, handler: Handler) -> Handler:
        """Register a handler in the default namespace under its own name (decorator)."""
        return self.on(handler.__name__, handler)

    def emit(
        self,
        event: str,
        data: Any = None,
        to: Names | None = None,
        room: Names | None = None,
        skip_sid: Names | None = None,
        namespace: str = "/",
        callback: Callable[..., Any] | None = None,
        volatile: bool = False,
        conflate: str | None = None,
    ) -> None:
        """Send an event. Never waits; encoded once for all. Per client the order of emits holds.

        Args:
            event: not a reserved name.
            data: the argument; a tuple is several, None none. `msgspec.Raw` anywhere in it is relayed
                untouched and must be valid UTF-8 JSON. Bytes travel as binary attachments.
            to: a sid or a room, or several; None is all of the namespace.
            room: as `to`; both together are the union.
            skip_sid: sids or rooms that are left out.
            namespace: where.
            callback: called with the arguments of each client's ack.
            volatile: dropped for a client that lags.
            conflate: for a client that lags only the latest event of this key is kept, and sent once it has
                caught up.

        Raises:
            LocalError: a reserved name, or data that cannot be sent. Nothing was sent.
        """
        if event in RESERVED:
            raise LocalError(f"{event!r} is a reserved event name")
        body, attachments = encode_data([event, *_arguments(data)])
        rooms = None if to is None and room is None else _names(to) + _names(room)
        space = self._router.namespace(namespace)
        skip = _names(skip_sid)
        sockets = space.select(rooms, skip)
        policy = RELIABLE
        if conflate is not None:
            policy = Policy(conflate=f"{namespace},{conflate}")
        elif volatile:
            policy = Policy(volatile=True)
        if callback is not None:
            for socket in list(sockets):
                number = socket.expect_ack(partial(self._called_back, socket, callback))
                self._send(socket, assemble(EVENT, namespace, body, attachments, number), policy)
            return
        packet = assemble(EVENT, namespace, body, attachments)
        if self._batch is not None:
            audience = (namespace, rooms, skip, space.generation)
            self._batch.add(sockets, audience, packet, policy)
        else:
            broadcast(sockets, packet, policy)

    def send(self, data: Any, **options: Any) -> None:
        """Emit ``message``; the options are those of `emit`."""
        self.emit("message", data, **options)

    async def call(
        self,
        event: str,
        data: Any = None,
        to: str = "",
        *,
        namespace: str = "/",
        timeout: float = 60.0,  # noqa: ASYNC109 - python-socketio's signature
    ) -> Any:
        """Send an event to one client and wait for its ack.

        Cancellation: the event was sent; a late ack is ignored.

        Args:
            event: as for `emit`.
            data: as for `emit`.
            to: a sid.
            namespace: where.
            timeout: seconds.

        Returns:
            The ack's argument; None for none, a tuple for several.

        Raises:
            UnknownClientError: no such client.
            AckTimeoutError: it did not answer in time, or left.
            LocalError: as `emit`.
        """
        if event in RESERVED:
            raise LocalError(f"{event!r} is a reserved event name")
        socket = self._socket(to, namespace)
        body, attachments = encode_data([event, *_arguments(data)])
        answered = trio.Event()
        answer: list[Any] | None = None

        def take(args: list[Any] | None) -> None:
            nonlocal answer
            answer = args
            answered.set()

        number = socket.expect_ack(take)
        try:
            self._send(socket, assemble(EVENT, namespace, body, attachments, number), RELIABLE)
            with trio.move_on_after(timeout):
                await answered.wait()
        finally:
            socket.forget_ack(number)
        if answer is None:
            raise AckTimeoutError(f"no ack for {event!r} from {to}")
        return answer[0] if len(answer) == 1 else tuple(answer) or None

    def enter_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Put a client into a room.

        Raises:
            UnknownClientError: no such client.
        """
        self._router.namespace(namespace).enter(self._socket(sid, namespace), room)

    def leave_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Take a client out of a room."""
        space = self._router.namespace(namespace)
        socket = space.sockets.get(sid)
        if socket is not None:
            space.leave(socket, room)

    def close_room(self, room: str, namespace: str = "/") -> None:
        """Take all clients out of a room."""
        self._router.namespace(namespace).close_room(room)

    def rooms(self, sid: str, namespace: str = "/") -> list[str]:
        """Return a client's rooms, its own sid first.

        Raises:
            UnknownClientError: no such client.
        """
        return [sid, *(self._socket(sid, namespace, leaving=True).rooms or ())]

    def members(self, room: str, namespace: str = "/") -> Collection[str]:
        """Return the sids in a room: a live view, sized and iterable; copy it before anything is awaited."""
        return self._router.namespace(namespace).members(room)

    def occupied_rooms(self, namespace: str = "/") -> Collection[str]:
        """Return the names of the rooms that have members: a live view."""
        return self._router.namespace(namespace).rooms()

    def connected(self, sid: str, namespace: str = "/") -> bool:
        """Whether that client is connected: not yet in its connect handler, not in its disconnect handler."""
        socket = self._router.namespace(namespace).sockets.get(sid)
        return socket is not None and socket.joined

    def get_session(self, sid: str, namespace: str = "/") -> dict[str, Any]:
        """Return the dict that is kept for a client; changes to it stay.

        Raises:
            UnknownClientError: no such client.
        """
        return self._socket(sid, namespace, leaving=True).session

    def save_session(self, sid: str, session: dict[str, Any], namespace: str = "/") -> None:
        """Replace the dict that is kept for a client.

        Raises:
            UnknownClientError: no such client.
        """
        self._socket(sid, namespace, leaving=True).session = session

    @contextmanager
    def session(self, sid: str, namespace: str = "/") -> Iterator[dict[str, Any]]:
        """Give a client's dict to a ``with`` block.

        Raises:
            UnknownClientError: no such client.
        """
        yield self.get_session(sid, namespace)

    def get_environ(self, sid: str, namespace: str = "/") -> dict[str, Any]:
        """Return the handshake request as a WSGI-style dict, a new one each time.

        Raises:
            UnknownClientError: no such client.
        """
        return unpack(self._socket(sid, namespace, leaving=True).engine.app.environ)

    def disconnect(self, sid: str, namespace: str = "/") -> None:
        """Disconnect a client from the namespace; its disconnect handler is called, or started if async."""
        socket = self._router.namespace(namespace).sockets.get(sid)
        if socket is None:
            return
        if socket.joined:
            socket.engine.send(encode(DISCONNECT, namespace))
            self._router.leave(socket, DisconnectReason.SERVER_DISCONNECT)
        else:  # its connect handler still runs
            self._router.refuse(socket, ConnectionRefusedError())

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Join the emits of a ``with`` block, which must not await: one write for each client, in order.

        Emits with a callback are not joined. Members are those at the time of each emit. A block in a block
        is part of it. After an exception what was emitted before it is sent still.
        """
        if self._batch is not None:
            yield
            return
        self._batch = batch = Batch()
        try:
            yield
        finally:
            self._batch = None
            batch.deliver()

    async def close(self, *, spread: float = 0.0) -> None:
        """Close every connection as ``server shutting down`` and wait for the handlers.

        Clients see ``transport close`` and reconnect by themselves. The door does this when it stops.
        Cancellation leaves handlers running, until the door ends.
        """
        await self.engine.close(spread=spread)

    def _nursery(self) -> trio.Nursery:
        if self.engine.nursery is None:
            raise LocalError("the server is not mounted in a running door")
        return self.engine.nursery

    def _socket(self, sid: str, namespace: str, *, leaving: bool = False) -> Socket:
        space = self._router.namespace(namespace)
        socket = space.sockets.get(sid)
        if socket is None and leaving:
            socket = space.leaving.get(sid)
        if socket is None:
            raise UnknownClientError(f"no client {sid!r} in namespace {namespace!r}")
        return socket

    def _send(self, socket: Socket, packet: Outgoing, policy: Policy) -> None:
        if self._batch is not None:
            self._batch.add((socket,), (socket.sid,), packet, policy)
        else:
            send(socket, packet, policy)

    def _called_back(self, socket: Socket, callback: Callable[..., Any], args: list[Any] | None) -> None:
        if args is None:
            return
        if not iscoroutinefunction(callback):
            callback(*args)  # the router logs what it raises
            return

        async def run() -> None:
            try:
                await callback(*args)
            except Exception:
                HANDLER_ERRORS.inc()
                log.exception("ack callback failed", sid=socket.sid)

        self._router.submit(socket, run)


def _arguments(data: Any) -> Sequence[Any]:
    if data is None:
        return ()
    return data if isinstance(data, tuple) else (data,)


def _names(names: Names | None) -> tuple[str, ...]:
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)
