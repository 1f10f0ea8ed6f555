"""Registering handlers, middlewares and listeners: python-socketio's `on`, and what Node's has more."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

from flux.errors import LocalError
from flux.transport.socket_io.class_namespace import Namespace, Of
from flux.transport.socket_io.handlers import Matcher, Registered, Where
from flux.transport.socket_io.router import Router
from flux.transport.socket_io.types import Handler

H = TypeVar("H", bound=Handler)


class Registration:
    """The part of the server that handlers are registered with.

    Where a namespace is asked for it may be a name, a pattern that matches whole names, a predicate
    ``f(name, auth)``, or ``"*"``. A pattern or predicate lets namespaces come into being as clients ask for
    them; ``"*"`` lets none in, but stands behind the handlers of all. What is registered for one of the three
    gets the namespace's name before the sid: ``handler(namespace, sid, *args)``.
    """

    _router: Router

    @overload
    def on(self, event: str, handler: None = None, namespace: Where = "/") -> Callable[[H], H]: ...
    @overload
    def on(self, event: str, handler: H, namespace: Where = "/") -> H: ...
    def on(self, event: str, handler: Handler | None = None, namespace: Where = "/") -> Any:
        """Register a handler; without one, a decorator. The latest of an event counts.

        ``def`` handlers run at once, in arrival order, and must not block; ``async def`` handlers run as
        tasks, started in arrival order, and are cancelled when their client goes.

        * ``connect(sid, environ, auth)``: False or `ConnectionRefusedError` refuses; what it emits to the sid
          follows the acceptance. `auth` is the client's dict or None, and may be left out.
        * ``disconnecting(sid, reason)``: plain ``def`` only; the client is still in its rooms.
        * ``disconnect(sid, reason)``: one of `DisconnectReason`; session and rooms are still to be had, and
          it is not cancelled. The reason may be left out.
        * ``"*"``: ``handler(event, sid, *args)`` for events without a handler;
          ``handler(event, namespace, sid, *args)`` where the namespace is no plain name.
        * others: ``handler(sid, *args)``. If the client asked for an ack it gets the return value: None is no
          argument, a tuple several, all else one. After an exception there is no ack.

        Raises:
            LocalError: a reserved event name, or an async ``disconnecting`` handler.
        """
        if handler is None:
            return partial(self._add_handler, event, namespace)
        return self._add_handler(event, namespace, handler)

    def _add_handler(self, event: str, namespace: Where, handler: H) -> H:
        self._router.registry.layer(namespace).add_handler(event, handler)
        self._router.registered()
        return handler

    def event(self, handler: H) -> H:
        """Register a handler in the default namespace under its own name (decorator)."""
        name: str = getattr(handler, "__name__", "")
        if not name:
            raise LocalError("a handler without a name needs `on`")
        return self._add_handler(name, "/", handler)

    @overload
    def use(self, middleware: None = None, namespace: Where = "/") -> Callable[[H], H]: ...
    @overload
    def use(self, middleware: H, namespace: Where = "/") -> H: ...
    def use(self, middleware: Handler | None = None, namespace: Where = "/") -> Any:
        """Register a middleware for CONNECT; without one, a decorator.

        ``middleware(sid, environ, auth)``, plain or async; `auth` may be left out. They run one after the
        other, those of ``"*"`` and of patterns first, the connect handler last. `ConnectionRefusedError`, or
        False, turns the client away, and those behind are not asked; the client gets the error's message and
        data. Another exception is logged, and the client told no more than "Internal server error".

        Cancellation: an async one is cancelled when its client goes.
        """
        return self._add("middlewares", middleware, namespace)

    @overload
    def use_event(self, middleware: None = None, namespace: Where = "/") -> Callable[[H], H]: ...
    @overload
    def use_event(self, middleware: H, namespace: Where = "/") -> H: ...
    def use_event(self, middleware: Handler | None = None, namespace: Where = "/") -> Any:
        """Register a middleware for events; without one, a decorator.

        ``middleware(event, sid, args)``, plain or async, before each event of a client; it may change the
        list `args`. An exception stops the event: no handler, and, as in the reference server, no ack. A
        `RemoteError` (or `ConnectionRefusedError`) is the client's fault and only noted, any other is logged
        as a handler's. With an async one an event may overtake another.

        Cancellation: an async one is cancelled when its client goes.
        """
        return self._add("checks", middleware, namespace)

    @overload
    def on_any(self, listener: None = None, namespace: Where = "/") -> Callable[[H], H]: ...
    @overload
    def on_any(self, listener: H, namespace: Where = "/") -> H: ...
    def on_any(self, listener: Handler | None = None, namespace: Where = "/") -> Any:
        """Register a listener to all events of clients, handled or not; without one, a decorator.

        ``listener(event, sid, *args)``, plain or async; it runs before middlewares and handlers and gives no
        ack. An async one runs as a task of the client and is cancelled when that goes.
        """
        return self._add("incoming", listener, namespace)

    @overload
    def on_any_outgoing(self, listener: None = None, namespace: Where = "/") -> Callable[[H], H]: ...
    @overload
    def on_any_outgoing(self, listener: H, namespace: Where = "/") -> H: ...
    def on_any_outgoing(self, listener: Handler | None = None, namespace: Where = "/") -> Any:
        """Register a listener to all events that are emitted; without one, a decorator.

        ``listener(event, sids, *args)``, a plain function, called once for each emit, before it is sent;
        `sids` is a tuple. Acks are no events. An exception is logged, and the event sent.

        Raises:
            LocalError: an async function: an emit cannot wait.
        """
        return self._add("outgoing", listener, namespace)

    def _add(self, kind: str, function: Handler | None, namespace: Where) -> Any:
        if function is None:
            return partial(self._add, kind, namespace=namespace)
        registered = Registered.of(function)
        if kind == "outgoing" and registered.is_async:
            raise LocalError("a listener to what is emitted must be a plain function")
        getattr(self._router.registry.layer(namespace), kind).append(registered)
        self._router.registered()
        return function

    def off_any(self, listener: Handler, namespace: Where = "/") -> None:
        """Take back a listener of `on_any` or `on_any_outgoing`; if it is none, nothing happens."""
        layer = self._router.registry.layer(namespace)
        layer.incoming[:] = [entry for entry in layer.incoming if entry.call != listener]
        layer.outgoing[:] = [entry for entry in layer.outgoing if entry.call != listener]
        self._router.registered()

    def register_namespace(self, namespace: Namespace) -> None:
        """Register the ``on_...`` methods of a class-based namespace.

        Raises:
            LocalError: a method for a reserved event name.
        """
        namespace.server = self  # type: ignore[assignment]  # a Registration is only ever a Server
        for event, handler in namespace.handlers():
            self._add_handler(event, namespace.namespace, handler)
        self._router.registry.layer(namespace.namespace)

    def of(self, namespace: str | Matcher) -> Of:
        """Return a namespace, or a family of them, with the server's methods bound to it.

        Args:
            namespace: a name; a pattern that matches whole names; or a predicate ``f(name, auth)``, asked
                for each client that names a namespace which nothing is registered for by name. The first
                family that fits counts. A family's namespace is gone with its last client.
        """
        self._router.registry.layer(namespace)
        return Of(self, namespace)  # type: ignore[arg-type]  # a Registration is only ever a Server
