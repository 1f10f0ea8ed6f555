"""The Socket.IO server's public face: python-socketio's AsyncServer on trio."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Unpack

import structlog
import trio

from flux.errors import LocalError
from flux.transport.engine_io import EngineOptions, EngineServer, Outgoing
from flux.transport.http import Request
from flux.transport.socket_io.acks import Gathering, ask, give_up_at, value_of
from flux.transport.socket_io.clients import Clients, Names, names_of
from flux.transport.socket_io.codec import EVENT, RESERVED
from flux.transport.socket_io.delivery import DELIVERIES, RELIABLE, Batch, Policy, broadcast, send
from flux.transport.socket_io.handlers import Where
from flux.transport.socket_io.limits import ClientLimits
from flux.transport.socket_io.outgoing import tell
from flux.transport.socket_io.parser import ParserName, parser_of
from flux.transport.socket_io.recoverer import Recoverer
from flux.transport.socket_io.recovery import Recovery
from flux.transport.socket_io.registration import Registration
from flux.transport.socket_io.router import HANDLER_ERRORS, Router
from flux.transport.socket_io.socket import Socket
from flux.transport.socket_io.types import AckTimeoutError

log = structlog.get_logger("flux.socket_io")


class Server(Registration, Clients):
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
        namespaces: those accepted besides the ones that something is registered for: names, patterns,
            predicates (see `of`); ``"*"`` accepts all.
        outbox_limit: bytes that may wait for a slow client before it is disconnected.
        limits: what one client may ask for; None: the defaults.
        allow_request: refuses a handshake (403) by returning False.
        parser: ``json``, or ``msgpack`` for clients that are set to the package socket.io-msgpack-parser.
        recovery: lets clients that were lost for a short time come back as themselves; None: off.
        engine: settings that are Engine.IO's alone, as `EngineServer` has them: ``cookie``,
            ``initial_headers``, ``headers``, ``permessage_deflate``, ``max_sessions`` and so on.

    Attributes:
        engine: the mount.

    Raises:
        LocalError: an unknown transport or parser.
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
        namespaces: str | Collection[Where] = ("/",),
        outbox_limit: int = 1 << 20,
        limits: ClientLimits | None = None,
        allow_request: Callable[[Request], bool] | None = None,
        parser: ParserName = "json",
        recovery: Recovery | None = None,
        **engine: Unpack[EngineOptions],
    ) -> None:
        self.path = path
        accepted = (namespaces,) if isinstance(namespaces, str) else namespaces
        self._router = Router(accepted, max_payload, connect_timeout, limits or ClientLimits())
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
            **engine,
        )
        self._router.workload.nursery = self._nursery
        self._router.parser = self._parser = parser_of(parser)
        self._recoverer: Recoverer | None = None
        if recovery is not None:
            self._router.recoverer = self._recoverer = Recoverer(
                recovery,
                self._parser,
                ping_interval=ping_interval,
                ping_timeout=ping_timeout,
                outbox_limit=outbox_limit,
                call_at=self.engine.timers.call_at,
            )
        self._batch: Batch | None = None

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
        timeout: float | None = None,
        on_timeout: Callable[[str], object] | None = None,
    ) -> None:
        """Send an event. Never waits; encoded once for all. Per client the order of emits holds.

        Args:
            event: not a reserved name.
            data: the argument; a tuple is several, None none. `msgspec.Raw` anywhere in it is relayed
                untouched and must be valid UTF-8 JSON. Bytes travel as binary attachments.
            to: a sid or a room, or several; None is all of the namespace.
            room: as `to`; both together are the union.
            skip_sid: sids or rooms that are left out (Node's ``except``, too).
            namespace: where.
            callback: called with the arguments of each client's ack.
            timeout: seconds that an ack may take; a later one is ignored. None: as long as the client stays.
            on_timeout: a plain function, called with the sid of each client that did not answer in time, or
                left before it did.
            volatile: dropped for a client that lags.
            conflate: for a client that lags only the latest event of this key is kept, and sent once it has
                caught up.

        Raises:
            LocalError: a reserved name, or data that cannot be sent. Nothing was sent.
        """
        if event in RESERVED:
            raise LocalError(f"{event!r} is a reserved event name")
        arguments = [event, *_arguments(data)]
        body, attachments = self._parser.encode_data(arguments)
        plain = callback is None and conflate is None and not (room or skip_sid or volatile)
        if plain and type(to) is str and self._answer(to, namespace, body, attachments):
            return
        rooms = None if to is None and room is None else names_of(to) + names_of(room)
        space = self._router.namespace(namespace)
        skip = names_of(skip_sid)
        sockets = space.select(rooms, skip)
        if space.table.outgoing:
            tell(space, event, sockets, _arguments(data))
        policy = RELIABLE
        if conflate is not None:
            policy = Policy(conflate=f"{namespace},{conflate}")
        elif volatile:
            policy = Policy(volatile=True)
        if callback is not None:
            on_ack = partial(self._called_back, callback, on_timeout)
            pack = partial(self._parser.assemble, EVENT, namespace, body, attachments)
            asked = ask(sockets, on_ack, pack, partial(self._send, policy=policy))
            if timeout is not None:
                give_up_at(self.engine.timers, trio.current_time() + timeout, asked, on_ack)
            return
        if self._recoverer is None:
            packet = self._parser.assemble(EVENT, namespace, body, attachments)
        else:
            packet = self._recoverer.packet(
                namespace, rooms, skip, arguments, body, attachments, replayed=policy is RELIABLE
            )
        if self._batch is not None:
            audience = (namespace, rooms, skip, space.generation)
            self._batch.add(sockets, audience, packet, policy)
        else:
            broadcast(sockets, packet, policy)

    def _answer(self, sid: str, namespace: str, body: bytes, attachments: tuple[bytes, ...]) -> bool:
        """Send to one client without a detour by rooms, batches and recovery; False: not for this."""
        space = self._router.namespace(namespace)
        socket = space.sockets.get(sid)
        if socket is None or space.table.outgoing or self._batch is not None or self._recoverer is not None:
            return False
        DELIVERIES.value += 1
        socket.client.send(self._parser.assemble(EVENT, namespace, body, attachments))
        return True

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
        body, attachments = self._parser.encode_data([event, *_arguments(data)])
        space = self._router.namespace(namespace)
        if space.table.outgoing:
            tell(space, event, (socket,), _arguments(data))
        answered = trio.Event()
        answer: list[Any] | None = None

        def take(args: list[Any] | None) -> None:
            nonlocal answer
            answer = args
            answered.set()

        number = socket.expect_ack(take)
        try:
            self._send(socket, self._parser.assemble(EVENT, namespace, body, attachments, number), RELIABLE)
            with trio.move_on_after(timeout):
                await answered.wait()
        finally:
            socket.forget_ack(number)
        if answer is None:
            raise AckTimeoutError(f"no ack for {event!r} from {to}", missing=(to,))
        return value_of(answer)

    async def call_all(
        self,
        event: str,
        data: Any = None,
        to: Names | None = None,
        *,
        skip_sid: Names | None = None,
        namespace: str = "/",
        timeout: float = 60.0,  # noqa: ASYNC109 - as `call`
    ) -> dict[str, Any]:
        """Send an event to many clients and wait until each has acknowledged it.

        Cancellation: the event was sent; late acks are ignored.

        Args:
            event: as for `emit`.
            data: as for `emit`.
            to: as for `emit`.
            skip_sid: as for `emit`.
            namespace: where.
            timeout: seconds for all together.

        Returns:
            The acks by sid, each as `call` returns it; empty if there was nobody.

        Raises:
            AckTimeoutError: some did not answer in time, or left; its `answers` are those that came, its
                `missing` the sids of the others. Raised as soon as no answer can come any more.
            LocalError: as `emit`.
        """
        if event in RESERVED:
            raise LocalError(f"{event!r} is a reserved event name")
        space = self._router.namespace(namespace)
        sockets = list(space.select(None if to is None else names_of(to), names_of(skip_sid)))
        body, attachments = self._parser.encode_data([event, *_arguments(data)])
        if space.table.outgoing:
            tell(space, event, sockets, _arguments(data))
        gathering = Gathering(socket.sid for socket in sockets)
        pack = partial(self._parser.assemble, EVENT, namespace, body, attachments)
        asked = ask(sockets, gathering.take, pack, partial(self._send, policy=RELIABLE))
        try:
            with trio.move_on_after(timeout):
                await gathering.done.wait()
        finally:
            for socket, number in asked:
                socket.forget_ack(number)
        return gathering.result(event)

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

    def _send(self, socket: Socket, packet: Outgoing, policy: Policy) -> None:
        if self._batch is not None:
            self._batch.add((socket,), (socket.sid,), packet, policy)
        else:
            send(socket, packet, policy)

    def _called_back(
        self,
        callback: Callable[..., Any],
        on_timeout: Callable[[str], object] | None,
        socket: Socket,
        args: list[Any] | None,
    ) -> None:
        if args is None:
            if on_timeout is not None:
                try:
                    on_timeout(socket.sid)
                except Exception:
                    HANDLER_ERRORS.inc()
                    log.exception("ack time-out handler failed", sid=socket.sid)
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
