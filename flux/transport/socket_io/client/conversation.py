"""What a client's user says and hears: handlers, events, acks, in its namespaces."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, overload

import trio

from flux.errors import LocalError
from flux.transport.socket_io.client.dispatch import Dispatch
from flux.transport.socket_io.client.errors import DisconnectedError
from flux.transport.socket_io.client.events import Events
from flux.transport.socket_io.client.outbox import Outbox
from flux.transport.socket_io.client.socket import ClientSocket
from flux.transport.socket_io.codec import RESERVED
from flux.transport.socket_io.handlers import Registered
from flux.transport.socket_io.types import AckTimeoutError, Handler

_LIFECYCLE = frozenset(("connect", "connect_error", "disconnect"))


class Conversation:
    """The part of a client that goes on over losses of the connection.

    Args:
        namespaces: to join.
        outbox: what is to be sent.

    Raises:
        LocalError: no namespace, or a bad name.
    """

    def __init__(self, namespaces: str | Sequence[str], outbox: Outbox) -> None:
        self._outbox = outbox
        self._dispatch = Dispatch()
        self._handlers: dict[str, dict[str, Registered]] = {}
        self._sockets: dict[str, ClientSocket] = {}
        for name in (namespaces,) if isinstance(namespaces, str) else namespaces:
            self._add(name)
        if not self._sockets:
            raise LocalError("a client needs a namespace")
        self._ended = trio.Event()

    # Handlers

    @overload
    def on(self, event: str, handler: None = None, namespace: str = "/") -> Callable[[Handler], Handler]: ...
    @overload
    def on(self, event: str, handler: Handler, namespace: str = "/") -> Handler: ...
    def on(self, event: str, handler: Handler | None = None, namespace: str = "/") -> Any:
        """Register a handler; without one, a decorator. The latest of an event counts.

        ``def`` handlers run at once and must not block; ``async def`` handlers run as tasks, started in
        arrival order, that live over reconnections and are cancelled when the client ends.

        * ``connect()``: after each joining. ``connect_error(data)``: a dict with ``message`` and, if the
          server sent it, ``data``. ``disconnect(reason)``: one of `DisconnectReason`; not cancelled, but it
          has no more than a second when the client ends. Arguments may be left out.
        * ``"*"``: ``handler(event, *args)`` for events without a handler.
        * others: ``handler(*args)``; arguments that it does not take are left out. If the server asked for
          an ack it gets the return value: None is no argument, a tuple several, all else one.

        Raises:
            LocalError: a reserved event name.
        """
        if event in RESERVED and event not in _LIFECYCLE:
            raise LocalError(f"{event!r} is a reserved event name")
        if handler is None:
            return partial(self._register, event, namespace)
        return self._register(event, namespace, handler)

    def _register(self, event: str, namespace: str, handler: Handler) -> Handler:
        self._handlers.setdefault(namespace, {})[event] = Registered.of(handler)
        return handler

    def event(self, handler: Handler) -> Handler:
        """Register a handler in the default namespace under its own name (decorator)."""
        return self.on(handler.__name__, handler)

    def events(self, *names: str, namespace: str | None = None, limit: int = 10_000) -> Events:
        """Return an async iterator over events, also over those that have a handler.

        It begins with this call. The first one ever made also gets the events (the latest 100) that came
        before and that no handler took.

        Args:
            names: the events wanted; none is all.
            namespace: None is all.
            limit: events that may wait; an iterator beyond it ends with `LaggedError`.
        """
        events = self._dispatch.iterate(names, namespace, limit)
        if self._ended.is_set():
            events.close()
        return events

    # Sending

    def emit(
        self,
        event: str,
        data: Any = None,
        namespace: str = "/",
        callback: Callable[..., Any] | None = None,
        *,
        volatile: bool = False,
    ) -> None:
        """Send an event. Never waits; per namespace the order holds.

        Args:
            event: not a reserved name.
            data: the argument; a tuple is several, None none. Bytes travel as binary attachments.
            namespace: where.
            callback: called with the arguments of the ack; never, if that does not come.
            volatile: dropped when it cannot be sent at once.

        Raises:
            LocalError: a reserved name, a namespace that was not asked for, or data that cannot be sent.
            BufferFullError: too much waits.
            DisconnectedError: the client has ended, or left the namespace.
        """
        socket = self._usable(event, namespace)
        if volatile and not (socket.joined and self._outbox.idle):
            return
        take = partial(self._dispatch.call_back, socket, callback) if callback is not None else None
        socket.send_event([event, *_arguments(data)], take)

    def send(self, data: Any, namespace: str = "/", callback: Callable[..., Any] | None = None) -> None:
        """Emit ``message``."""
        self.emit("message", data, namespace, callback)

    async def call(
        self,
        event: str,
        data: Any = None,
        namespace: str = "/",
        timeout: float = 60.0,  # noqa: ASYNC109 - python-socketio's signature
    ) -> Any:
        """Send an event and wait for its ack.

        Cancellation and time-out: an event that still waits is not sent; a late ack is ignored.

        Args:
            event: as for `emit`.
            data: as for `emit`.
            namespace: where.
            timeout: seconds, the wait for a connection included.

        Returns:
            The ack's argument; None for none, a tuple for several.

        Raises:
            AckTimeoutError: the server did not answer in time.
            DisconnectedError: the connection was lost after the event was sent, or as for `emit`.
            LocalError: as for `emit`.
            BufferFullError: as for `emit`.
        """
        socket = self._usable(event, namespace)
        answered = trio.Event()
        answer: list[Any] | None = None

        def take(args: list[Any] | None) -> None:
            nonlocal answer
            answer = args
            answered.set()

        number = socket.send_event([event, *_arguments(data)], take)
        try:
            with trio.move_on_after(timeout):
                await answered.wait()
        finally:
            if number is not None:
                socket.forget_ack(number)
        if not answered.is_set():
            raise AckTimeoutError(f"no ack for {event!r} from the server")
        if answer is None:
            raise DisconnectedError(f"the connection was lost before the ack for {event!r}")
        return answer[0] if len(answer) == 1 else tuple(answer) or None

    async def drained(self) -> None:
        """Wait until nothing waits to be sent; without a connection that may take as long as that does.

        Raises:
            DisconnectedError: the client has ended.
        """
        await self._outbox.drained()
        if self._ended.is_set():
            raise DisconnectedError("the client has ended")

    # State

    @property
    def connected(self) -> bool:
        """Whether some namespace is joined."""
        return any(socket.connected for socket in self._sockets.values())

    @property
    def sid(self) -> str | None:
        """The sid in the default namespace; see `get_sid`."""
        return self.get_sid()

    def get_sid(self, namespace: str = "/") -> str | None:
        """Return the sid in a namespace while it is joined, else None."""
        socket = self._sockets.get(namespace)
        return socket.sid if socket is not None and socket.connected else None

    def recovered(self, namespace: str = "/") -> bool:
        """Whether the latest joining restored sid, rooms and missed events."""
        socket = self._sockets.get(namespace)
        return socket is not None and socket.recovered

    # Inside

    def _add(self, namespace: str) -> ClientSocket:
        if not namespace.startswith("/") or "," in namespace:
            raise LocalError(f"a namespace begins with a slash and has no comma, unlike {namespace!r}")
        socket = self._sockets[namespace] = ClientSocket(namespace, self._outbox)
        socket.handlers = self._handlers.setdefault(namespace, {})
        return socket

    def _usable(self, event: str, namespace: str) -> ClientSocket:
        if event in RESERVED:
            raise LocalError(f"{event!r} is a reserved event name")
        socket = self._sockets.get(namespace)
        if socket is None:
            raise LocalError(f"namespace {namespace!r} was not asked for")
        if self._ended.is_set():
            raise DisconnectedError("the client has ended")
        if socket.left:
            raise DisconnectedError(f"not connected to namespace {namespace!r}")
        return socket


def _arguments(data: Any) -> Collection[Any]:
    if data is None:
        return ()
    return data if isinstance(data, tuple) else (data,)
