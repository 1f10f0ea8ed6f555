"""Handlers: what was registered for namespaces, and the table of what counts in one of them.

A namespace's table is made of layers: what was registered for its name, then what was registered for the
pattern or predicate that let it in, then what was registered for ``"*"``. For each event the first layer with
a handler, or with a catch-all, counts (python-socketio's order); middlewares and listeners of all layers do,
the outermost first.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from attrs import define, field, frozen

from flux.errors import LocalError
from flux.transport.socket_io.codec import RESERVED
from flux.transport.socket_io.types import Handler

ANY = "*"
"""As an event: every event without a handler. As a namespace: every namespace, behind its own handlers."""

Matcher = re.Pattern[str] | Callable[[str, Any], bool]
"""Tells by its name (a pattern: the whole name), or by name and auth payload, whether a namespace exists."""

Where = str | Matcher
"""A namespace, ``"*"``, or a family of namespaces."""

_LIFECYCLE = ("connect", "disconnecting", "disconnect")


@frozen
class Registered:
    """A handler with what its signature says.

    Args:
        call: the handler.
        is_async: whether calling it gives an awaitable.
        least, most: how many positional arguments it takes.
    """

    call: Handler
    is_async: bool
    least: int
    most: float

    @classmethod
    def of(cls, handler: Handler) -> "Registered":
        """Look at a handler."""
        is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - an object whose __call__ is async
        )
        try:
            parameters = inspect.signature(handler).parameters.values()
        except (TypeError, ValueError):  # some callables of C tell nothing
            return cls(handler, is_async, 0, float("inf"))
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        least = sum(p.default is p.empty for p in positional)
        variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        return cls(handler, is_async, least, float("inf") if variadic else len(positional))

    def fitting(self, *args: Any) -> tuple[Any, ...]:
        """Return as many of the arguments as the handler takes (connect and disconnect have short forms)."""
        return args if self.most >= len(args) else args[: int(self.most)]

    def bound(self, namespace: str, *, behind_event: bool = False) -> "Registered":
        """Return the handler with the namespace as its first argument, or its second behind the event."""
        inner = self.call
        call: Handler = partial(inner, namespace)
        if behind_event:

            def call(event: str, *args: Any) -> Any:
                return inner(event, namespace, *args)

        return Registered(call, self.is_async, max(0, self.least - 1), self.most - 1)


@define
class Layer:
    """What was registered for one name, pattern or predicate.

    Attributes:
        handlers: by event; ``connect``, ``disconnecting``, ``disconnect`` and ``"*"`` among them.
        middlewares: asked at CONNECT, in order.
        checks: asked for each event, in order.
        incoming, outgoing: listeners.
    """

    handlers: dict[str, Registered] = field(factory=dict)
    middlewares: list[Registered] = field(factory=list)
    checks: list[Registered] = field(factory=list)
    incoming: list[Registered] = field(factory=list)
    outgoing: list[Registered] = field(factory=list)

    def add_handler(self, event: str, handler: Handler) -> None:
        """Register a handler; the latest of an event counts.

        Raises:
            LocalError: a reserved event name, or an async ``disconnecting`` handler.
        """
        if event in RESERVED and event not in _LIFECYCLE:
            raise LocalError(f"{event!r} is a reserved event name")
        registered = Registered.of(handler)
        if event == "disconnecting" and registered.is_async:
            raise LocalError("a disconnecting handler must be a plain function: the rooms go behind it")
        self.handlers[event] = registered

    def bound(self, namespace: str) -> "Layer":
        """Return the layer for one namespace of the family: its functions get the name before the sid."""
        return Layer(
            {k: h.bound(namespace, behind_event=k == ANY) for k, h in self.handlers.items()},
            [h.bound(namespace) for h in self.middlewares],
            *(
                [h.bound(namespace, behind_event=True) for h in listeners]
                for listeners in (self.checks, self.incoming, self.outgoing)
            ),
        )


@frozen
class Table:
    """What counts in one namespace.

    Args:
        events: handlers by event; never a lifecycle event or ``"*"``, whatever a client calls its event.
        rest: for events without a handler.
        entrance: middlewares and the connect handler, in order.
        welcome: the connect handler alone, if there is one.
        disconnecting, disconnect: for those who go.
        checks: event middlewares.
        incoming, outgoing: listeners.
        hooked: whether there are checks or incoming listeners.
    """

    events: dict[str, Registered] = field(factory=dict)
    rest: Registered | None = None
    entrance: tuple[Registered, ...] = ()
    disconnecting: Registered | None = None
    disconnect: Registered | None = None
    checks: tuple[Registered, ...] = ()
    incoming: tuple[Registered, ...] = ()
    outgoing: tuple[Registered, ...] = ()
    hooked: bool = False
    welcome: tuple[Registered, ...] = ()

    @classmethod
    def of(cls, layers: list[Layer]) -> "Table":
        """Lay layers over one another, the first on top."""
        events: dict[str, Registered] = {}
        rest: Registered | None = None
        lifecycle: dict[str, Registered] = {}
        for layer in layers:
            for event, handler in layer.handlers.items():
                if event in _LIFECYCLE:
                    lifecycle.setdefault(event, handler)
                elif event != ANY and rest is None:
                    events.setdefault(event, handler)
            rest = rest or layer.handlers.get(ANY)
        outermost = layers[::-1]
        entrance = [m for layer in outermost for m in layer.middlewares]
        if "connect" in lifecycle:
            entrance.append(lifecycle["connect"])
        checks = tuple(check for layer in outermost for check in layer.checks)
        incoming = tuple(listener for layer in outermost for listener in layer.incoming)
        return cls(
            events,
            rest,
            tuple(entrance),
            lifecycle.get("disconnecting"),
            lifecycle.get("disconnect"),
            checks,
            incoming,
            tuple(listener for layer in outermost for listener in layer.outgoing),
            bool(checks or incoming),
            (lifecycle["connect"],) if "connect" in lifecycle else (),
        )


EMPTY = Table()


class Registry:
    """All that was registered on a server.

    Args:
        accepted: namespaces that exist besides those that something was registered for; ``"*"`` among them
            stands for all.
    """

    def __init__(self, accepted: Iterable[Where]) -> None:
        self._names: dict[str, Layer] = {}
        self._families: dict[Matcher, Layer] = {}
        self._everywhere: Layer | None = None
        self._all = False
        for where in accepted:
            if where == ANY:
                self._all = True
            else:
                self.layer(where)

    def layer(self, where: Where) -> Layer:
        """Return what is registered there; from now on such namespaces exist (not for ``"*"``)."""
        if where == ANY:
            if self._everywhere is None:
                self._everywhere = Layer()
            return self._everywhere
        if isinstance(where, str):
            return self._names.setdefault(where, Layer())
        return self._families.setdefault(where, Layer())

    def static(self, name: str) -> bool:
        """Whether the namespace exists by its name."""
        return name in self._names

    def family(self, name: str, auth: Any) -> Layer | None:
        """Return the first family that a namespace belongs to; it sees the auth payload of who asks."""
        for matcher, layer in self._families.items():
            if isinstance(matcher, re.Pattern):
                if matcher.fullmatch(name):
                    return layer
            elif matcher(name, auth):
                return layer
        return None

    def admits_all(self) -> bool:
        """Whether every name is accepted."""
        return self._all

    def table(self, name: str, family: Layer | None) -> Table:
        """Return what counts in a namespace."""
        layers = [self._names[name]] if name in self._names else []
        layers += [layer.bound(name) for layer in (family, self._everywhere) if layer is not None]
        return Table.of(layers) if layers else EMPTY
