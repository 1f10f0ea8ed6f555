"""Namespaces as objects: the server's methods bound to one, and python-socketio's class-based kind."""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from flux.errors import LocalError
from flux.transport.socket_io.clients import Names, SocketView
from flux.transport.socket_io.handlers import Where
from flux.transport.socket_io.types import Handler

if TYPE_CHECKING:
    from flux.transport.socket_io.server import Server

H = TypeVar("H", bound=Handler)


class Bound:
    """The server's methods with this namespace as the default of their `namespace`.

    Args:
        server: whose.
        namespace: which. For a family or ``"*"`` the methods need ``namespace=``.
    """

    def __init__(self, server: "Server | None", namespace: Where) -> None:
        self.namespace: Where = namespace
        self.server: Server | None = server

    @property
    def _bound(self) -> "Server":
        if self.server is None:
            raise LocalError("the namespace is not registered with a server")
        return self.server

    def _name(self, namespace: str | None) -> str:
        name = namespace or self.namespace
        if not isinstance(name, str) or name == "*":
            raise LocalError("for a family of namespaces say which one: namespace=...")
        return name

    def emit(self, event: str, data: Any = None, *, namespace: str | None = None, **options: Any) -> None:
        """Send an event; see `Server.emit`."""
        self._bound.emit(event, data, namespace=self._name(namespace), **options)

    def send(self, data: Any, *, namespace: str | None = None, **options: Any) -> None:
        """Emit ``message``; see `Server.send`."""
        self._bound.send(data, namespace=self._name(namespace), **options)

    async def call(
        self, event: str, data: Any = None, *, namespace: str | None = None, **options: Any
    ) -> Any:
        """Send an event and wait for the ack; see `Server.call`."""
        return await self._bound.call(event, data, namespace=self._name(namespace), **options)

    async def call_all(
        self, event: str, data: Any = None, *, namespace: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """Send an event and wait for all acks; see `Server.call_all`."""
        return await self._bound.call_all(event, data, namespace=self._name(namespace), **options)

    def enter_room(self, sid: str, room: str, namespace: str | None = None) -> None:
        """Put a client into a room; see `Server.enter_room`."""
        self._bound.enter_room(sid, room, self._name(namespace))

    def leave_room(self, sid: str, room: str, namespace: str | None = None) -> None:
        """Take a client out of a room; see `Server.leave_room`."""
        self._bound.leave_room(sid, room, self._name(namespace))

    def close_room(self, room: str, namespace: str | None = None) -> None:
        """Take all clients out of a room; see `Server.close_room`."""
        self._bound.close_room(room, self._name(namespace))

    def rooms(self, sid: str, namespace: str | None = None) -> list[str]:
        """Return a client's rooms; see `Server.rooms`."""
        return self._bound.rooms(sid, self._name(namespace))

    def members(self, room: str, namespace: str | None = None) -> Collection[str]:
        """Return the sids in a room; see `Server.members`."""
        return self._bound.members(room, self._name(namespace))

    def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """Return the dict that is kept for a client; see `Server.get_session`."""
        return self._bound.get_session(sid, self._name(namespace))

    def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """Replace the dict that is kept for a client; see `Server.save_session`."""
        self._bound.save_session(sid, session, self._name(namespace))

    def session(self, sid: str, namespace: str | None = None) -> AbstractContextManager[dict[str, Any]]:
        """Give a client's dict to a ``with`` block; see `Server.session`."""
        return self._bound.session(sid, self._name(namespace))

    def disconnect(self, sid: str, namespace: str | None = None, *, close: bool = False) -> None:
        """Disconnect a client; see `Server.disconnect`."""
        self._bound.disconnect(sid, self._name(namespace), close=close)

    def fetch_sockets(
        self, to: Names | None = None, *, skip_sid: Names | None = None, namespace: str | None = None
    ) -> list[SocketView]:
        """Return views of clients; see `Server.fetch_sockets`."""
        return self._bound.fetch_sockets(to, skip_sid=skip_sid, namespace=self._name(namespace))

    def sockets_join(
        self,
        rooms: Names,
        to: Names | None = None,
        *,
        skip_sid: Names | None = None,
        namespace: str | None = None,
    ) -> None:
        """Put clients into rooms; see `Server.sockets_join`."""
        self._bound.sockets_join(rooms, to, skip_sid=skip_sid, namespace=self._name(namespace))

    def sockets_leave(
        self,
        rooms: Names,
        to: Names | None = None,
        *,
        skip_sid: Names | None = None,
        namespace: str | None = None,
    ) -> None:
        """Take clients out of rooms; see `Server.sockets_leave`."""
        self._bound.sockets_leave(rooms, to, skip_sid=skip_sid, namespace=self._name(namespace))

    def disconnect_sockets(
        self,
        to: Names | None = None,
        *,
        skip_sid: Names | None = None,
        namespace: str | None = None,
        close: bool = False,
    ) -> None:
        """Disconnect clients; see `Server.disconnect_sockets`."""
        name = self._name(namespace)
        self._bound.disconnect_sockets(to, skip_sid=skip_sid, namespace=name, close=close)


class Of(Bound):
    """A namespace or a family of them, as `Server.of` gives it: handlers are registered here, too."""

    def on(self, event: str, handler: Handler | None = None) -> Any:
        """Register a handler, or decorate one; see `Server.on`."""
        if handler is None:
            return self._bound.on(event, namespace=self.namespace)
        return self._bound.on(event, handler, self.namespace)

    def event(self, handler: H) -> H:
        """Register a handler under its own name (decorator)."""
        return self._bound.on(handler.__name__, handler, self.namespace)

    def use(self, middleware: H) -> H:
        """Register a middleware for CONNECT; see `Server.use`."""
        return self._bound.use(middleware, self.namespace)

    def use_event(self, middleware: H) -> H:
        """Register a middleware for events; see `Server.use_event`."""
        return self._bound.use_event(middleware, self.namespace)

    def on_any(self, listener: H) -> H:
        """Register a listener to clients' events; see `Server.on_any`."""
        return self._bound.on_any(listener, self.namespace)

    def on_any_outgoing(self, listener: H) -> H:
        """Register a listener to what is emitted; see `Server.on_any_outgoing`."""
        return self._bound.on_any_outgoing(listener, self.namespace)


class Namespace(Bound):
    """A class-based namespace: its methods ``on_<event>`` are the handlers.

    ::

        class Chat(Namespace):
            def on_connect(self, sid, environ): ...
            async def on_message(self, sid, data): ...

        server.register_namespace(Chat("/chat"))

    ``on_connect``, ``on_disconnecting`` and ``on_disconnect`` are those of `Server.on`. Methods are looked up
    once, when the namespace is registered, so no client can name another attribute. With a family, or
    ``"*"``, they get the namespace's name before the sid.

    Args:
        namespace: a name, a pattern, a predicate, or ``"*"``.
    """

    def __init__(self, namespace: Where = "/") -> None:
        super().__init__(None, namespace)

    def handlers(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Give the events and their methods."""
        for name in dir(self):
            if name.startswith("on_") and len(name) > len("on_"):
                method = getattr(self, name)
                if callable(method):
                    yield name[len("on_") :], method
