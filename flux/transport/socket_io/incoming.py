"""What looks at clients' events before their handlers: catch-all listeners, then event middlewares."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import structlog
import trio
from prometheus_client import Counter

from flux.errors import RemoteError
from flux.metrics import REGISTRY
from flux.transport.socket_io.codec import Packet
from flux.transport.socket_io.handlers import Registered, Table
from flux.transport.socket_io.socket import Socket

log = structlog.get_logger("flux.socket_io")

EVENTS_REFUSED = Counter(
    "flux_socketio_events_refused_total", "Events that a middleware stopped", registry=REGISTRY
)

Handle = Callable[[Socket, Packet], trio.Event | None]
Present = Callable[[Socket], bool]


class Submit(Protocol):
    """Runs a coroutine function as a task of a socket."""

    def __call__(self, socket: Socket, call: Any) -> None:
        """Run it."""


class Incoming:
    """Runs listeners and middlewares.

    Args:
        handle: takes the event to its handler.
        present: whether a socket is still there.
        submit: starts tasks.
        failed: logs and counts a function's exception.
    """

    def __init__(
        self,
        handle: Handle,
        present: Present,
        submit: Submit,
        failed: Callable[[str, Socket, Exception], None],
    ) -> None:
        self._handle = handle
        self._present = present
        self._submit = submit
        self._failed = failed

    def take(self, socket: Socket, packet: Packet, table: Table) -> trio.Event | None:
        """Take an event; an event in return stops the reading.

        A listener sees the arguments before a middleware changes them. Plain functions are called here and
        now; if a middleware is async all of them run as one task, so an event may overtake one before it.
        """
        event: str = packet.data[0]
        args: list[Any] = packet.data[1:]
        for listener in table.incoming:
            self._listen(listener, socket, event, args)
        checks = table.checks
        if any(check.is_async for check in checks):
            self._submit(socket, partial(self._check_later, socket, packet, checks, event, args))
            return socket.calls.pressure() if socket.calls is not None else None
        try:
            for check in checks:
                check.call(event, socket.sid, args)
        except Exception as error:  # noqa: BLE001 - `_refuse` logs it
            self._refuse(socket, event, error)
            return None
        if not self._present(socket):
            return None
        packet.data[1:] = args
        pressure = self._handle(socket, packet)
        if pressure is None and socket.calls is not None:
            pressure = socket.calls.pressure()
        return pressure

    async def _check_later(
        self, socket: Socket, packet: Packet, checks: tuple[Registered, ...], event: str, args: list[Any]
    ) -> None:
        try:
            for check in checks:
                answer = check.call(event, socket.sid, args)
                if check.is_async:
                    await answer
        except Exception as error:  # noqa: BLE001 - `_refuse` logs it
            self._refuse(socket, event, error)
            return
        if self._present(socket):
            packet.data[1:] = args
            self._handle(socket, packet)

    def _refuse(self, socket: Socket, event: str, error: Exception) -> None:
        EVENTS_REFUSED.inc()
        if isinstance(error, RemoteError):
            log.info("event refused", event_name=event[:100], sid=socket.sid, reason=str(error))
        else:
            self._failed(event, socket, error)

    def _listen(self, listener: Registered, socket: Socket, event: str, args: list[Any]) -> None:
        if listener.is_async:
            self._submit(socket, partial(self._listen_later, listener, socket, event, tuple(args)))
            return
        try:
            listener.call(event, socket.sid, *args)
        except Exception as error:  # noqa: BLE001 - a listener's fault ends nothing else
            self._failed(event, socket, error)

    async def _listen_later(
        self, listener: Registered, socket: Socket, event: str, args: tuple[Any, ...]
    ) -> None:
        try:
            await listener.call(event, socket.sid, *args)
        except Exception as error:  # noqa: BLE001 - a listener's fault ends nothing else
            self._failed(event, socket, error)
