"""trio-websocket's client over a stream that its user opens and closes: the handshake, and what reads."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import trio
from trio_websocket import wrap_client_stream

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


async def shake_hands(
    reader: WebSocketReader,
    stream: trio.abc.Stream,
    host: str,
    resource: str,
    *,
    headers: Sequence[tuple[bytes, bytes]],
    limit: int,
) -> Any:
    """Do the opening handshake (RFC 6455, section 4).

    Cancellation and errors leave the stream open and the reader running: both are the caller's to end.

    Args:
        reader: will read the connection.
        stream: TCP or TLS, after its own handshake.
        host: of the Host header, with the port where it is not the scheme's.
        resource: path and query.
        headers: more of them.
        limit: bytes of the largest message taken in.

    Returns:
        trio-websocket's connection; None where the server refused or broke off, of which `reader.error`
        may say more.
    """
    connection: Any = None
    async with trio.open_nursery() as race:

        async def watch() -> None:
            await reader.over.wait()
            race.cancel_scope.cancel()

        race.start_soon(watch)
        connection = await wrap_client_stream(
            cast("trio.Nursery", reader),
            cast("trio.SocketStream", stream),  # any stream will do
            host,
            resource,
            extra_headers=list(headers),
            message_queue_size=QUEUE,
            max_message_size=limit,
            receive_buffer_size=None,
        )
        race.cancel_scope.cancel()
    return connection
