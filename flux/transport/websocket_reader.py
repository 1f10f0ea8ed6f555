"""What trio-websocket's client reads in, for whoever opens its stream."""

from collections.abc import Awaitable, Callable

import trio

QUEUE = 64
"""Messages that trio-websocket may hold; its default of one costs a task switch for each."""


class WebSocketReader:
    """Stands in for the nursery of trio-websocket's reader: keeps its error, and says when it is over.

    The reader of a refused handshake raises into its nursery, and that of one which breaks off ends without
    waking whoever waits for it. It is shielded, since a closing handshake needs it also when all is
    cancelled; so `stop` must be called in the end.

    Args:
        nursery: in which it reads; it outlives the connection.

    Attributes:
        over: set when it has ended.
        error: how it ended; None if in order.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scope = trio.CancelScope(shield=True)
        self.over = trio.Event()
        self.error: Exception | None = None

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        """Start the reader, as a nursery's own would."""
        self._nursery.start_soon(self._run, reader)

    def stop(self) -> None:
        """End the reader."""
        self._scope.cancel()

    async def _run(self, reader: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await reader()
        except Exception as error:  # noqa: BLE001 - whoever opens or receives tells it
            self.error = error
        finally:
            self.over.set()
