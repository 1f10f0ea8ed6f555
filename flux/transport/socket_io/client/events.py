"""Events as an iterator of the client gets them."""

from collections import deque
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Self

import trio
from attrs import field, frozen

from flux.transport.socket_io.client.errors import LaggedError


@frozen(eq=False)
class Event:
    """An event from the server.

    Args:
        name: its name.
        args: its arguments.
        namespace: where it came from.
    """

    name: str
    args: tuple[Any, ...]
    namespace: str = "/"
    _reply: Callable[[list[Any]], None] | None = field(default=None, repr=False, alias="reply")

    @property
    def wants_ack(self) -> bool:
        """Whether the server asked for an ack that no handler has given."""
        return self._reply is not None

    def acknowledge(self, *args: Any) -> None:
        """Send the ack that the server asked for; without effect if it did not. Send it once only.

        Raises:
            LocalError: the arguments cannot be sent.
        """
        if self._reply is not None:
            self._reply(list(args))


class Events:
    """An iterator over events, from the call of `Client.events` on, until the client ends.

    It is a context manager, too: leaving it closes it. Cancelling the iteration loses no event.

    Args:
        names: those wanted; empty is all.
        namespace: None is all.
        limit: events that may wait.
        on_close: called once.
    """

    def __init__(
        self, names: Collection[str], namespace: str | None, limit: int, on_close: Callable[["Events"], None]
    ) -> None:
        self._names = frozenset(names)
        self._namespace = namespace
        self._limit = limit
        self._on_close = on_close
        self._events: deque[Event] = deque()
        self._changed = trio.Event()
        self._ended = False
        self._lagged = False

    def wants(self, event: Event) -> bool:
        """Whether it takes such events."""
        return (not self._names or event.name in self._names) and self._namespace in (None, event.namespace)

    def put(self, event: Event) -> None:
        """Add an event; beyond the limit the iterator ends with `LaggedError`."""
        if len(self._events) >= self._limit:
            self._lagged = True
            self.close()
            return
        self._events.append(event)
        self._changed.set()

    def close(self) -> None:
        """Take no more events; those that wait can still be read."""
        if not self._ended:
            self._ended = True
            self._on_close(self)
            self._changed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event.

        Raises:
            StopAsyncIteration: closed, or the client has ended, and all events were read.
            LaggedError: events were lost; those before them were read.
        """
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._lagged:
                raise LaggedError(f"more than {self._limit} events waited")
            if self._ended:
                raise StopAsyncIteration
            self._changed = trio.Event()
            await self._changed.wait()
        return self._events.popleft()
