"""Events of the server to handlers and iterators."""

from collections import deque
from collections.abc import Collection
from functools import partial
from typing import Any

import structlog
import trio
from prometheus_client import Counter

from flux.metrics import REGISTRY
from flux.transport.socket_io.calls import Calls, Workload
from flux.transport.socket_io.client.events import Event, Events
from flux.transport.socket_io.client.socket import ClientSocket
from flux.transport.socket_io.codec import Packet
from flux.transport.socket_io.handlers import ANY, Registered

log = structlog.get_logger("flux.socket_io.client")

HANDLER_ERRORS = Counter(
    "flux_socketio_client_handler_errors_total", "Exceptions in handlers of clients", registry=REGISTRY
)

EARLY = 100
"""Events kept for the first iterator, so that none is lost between the connecting and the first `events`."""


class Dispatch:
    """Runs handlers: plain ones at once, async ones as tasks that start in arrival order, bounded."""

    def __init__(self) -> None:
        self.workload = Workload()
        self._calls = Calls(self.workload)
        self._iterators: list[Events] = []
        self._early: deque[Event] | None = deque(maxlen=EARLY)

    def event(self, socket: ClientSocket, packet: Packet) -> trio.Event | None:
        """Take an event; an event in return stops the reading until handlers have caught up."""
        name, *args = packet.data
        socket.note_offset(args)
        handler = socket.handlers.get(name) if name != ANY else None
        if handler is None:
            handler = socket.handlers.get(ANY)
            if handler is not None:
                args.insert(0, name)
        if self._iterators or (handler is None and self._early is not None):
            values = packet.data[1:]
            reply = None
            if handler is None and packet.id is not None:
                reply = partial(socket.send_ack, packet.id)
            self._offer(Event(name, tuple(values), socket.namespace, reply))
        if handler is None:
            return None
        if len(args) < handler.least:
            log.warning("event has too few arguments for its handler", event_name=name[:100])
            return None
        self._run(socket, name, handler, handler.fitting(*args), packet.id)
        return self._calls.pressure()

    def notify(self, socket: ClientSocket, what: str, *args: Any) -> None:
        """Call the handler for ``connect``, ``connect_error`` or ``disconnect``; some may be left out."""
        handler = socket.handlers.get(what)
        if handler is None:
            return
        fitting = handler.fitting(*args)
        if handler.is_async and what == "disconnect":  # not cancelled with the other handlers
            self.workload.start(partial(self._wait, socket, what, handler, fitting, None))
        else:
            self._run(socket, what, handler, fitting, None)

    def call_back(self, socket: ClientSocket, callback: Any, args: list[Any] | None) -> None:
        """Give the arguments of an ack to a callback; None is no ack, and no call."""
        if args is not None:
            handler = Registered.of(callback)
            self._run(socket, "ack", handler, handler.fitting(*args), None)

    def iterate(self, names: Collection[str], namespace: str | None, limit: int) -> Events:
        """Return a new iterator; the first gets what came before it and no handler took."""
        events = Events(names, namespace, limit, self._iterators.remove)
        self._iterators.append(events)
        early, self._early = self._early, None
        for event in early or ():
            if events in self._iterators and events.wants(event):
                events.put(event)
        return events

    async def end(self) -> None:
        """Cancel handlers, end iterators, and wait for disconnect handlers."""
        for events in list(self._iterators):
            events.close()
        self._calls.cancel()
        await self.workload.drained()

    def _offer(self, event: Event) -> None:
        if self._iterators:
            for events in list(self._iterators):
                if events.wants(event):
                    events.put(event)
        elif self._early is not None:
            self._early.append(event)

    def _run(
        self, socket: ClientSocket, name: str, handler: Registered, args: tuple[Any, ...], number: int | None
    ) -> None:
        if handler.is_async:
            self._calls.submit(partial(self._wait, socket, name, handler, args, number))
            return
        try:
            self._answer(socket, number, handler.call(*args))
        except Exception as error:  # noqa: BLE001 - a handler's fault ends nothing else
            self._failed(name, socket, error)

    async def _wait(
        self, socket: ClientSocket, name: str, handler: Registered, args: tuple[Any, ...], number: int | None
    ) -> None:
        try:
            self._answer(socket, number, await handler.call(*args))
        except Exception as error:  # noqa: BLE001 - a handler's fault ends nothing else
            self._failed(name, socket, error)

    def _answer(self, socket: ClientSocket, number: int | None, result: Any) -> None:
        if number is None:
            return
        if result is None:
            socket.send_ack(number, [])
        else:
            socket.send_ack(number, list(result) if isinstance(result, tuple) else [result])

    def _failed(self, name: str, socket: ClientSocket, error: Exception) -> None:
        HANDLER_ERRORS.inc()
        log.error("handler failed", event_name=name[:100], namespace=socket.namespace, exc_info=error)
