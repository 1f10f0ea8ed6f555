"""What the BFF needs of a Socket.IO server: the narrow part of `flux.transport.socket_io.Server` it calls."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from flux.transport.socket_io import Server


class SocketServer(Protocol):
    """A Socket.IO server; nothing here waits.

    ``def`` handlers run inline in the client's reader; ``async def`` handlers run as tasks whose first steps
    come in the order in which their packets arrived: joins happen there. What a handler returns is the ack.
    """

    def on(self, event: str, handler: Callable[..., Any], namespace: str = "/") -> Any:
        """Register a handler of an event, of ``connect``, ``disconnect``, or of every other event (``*``)."""
        ...

    def emit(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        *,
        conflate: str | None = None,
    ) -> None:
        """Send an event to a client or a room; `data` may be `msgspec.Raw`."""
        ...

    def enter_room(self, sid: str, room: str) -> None:
        """Add a client to a room."""
        ...

    def leave_room(self, sid: str, room: str) -> None:
        """Take a client out of a room."""
        ...

    def batch(self) -> AbstractContextManager[None]:
        """Return a block whose emits reach each member in one write."""
        ...


if TYPE_CHECKING:

    def _server_fits(server: Server) -> SocketServer:
        return server  # mypy checks the real server against the port
