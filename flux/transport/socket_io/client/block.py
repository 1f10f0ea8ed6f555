"""A client that lives as long as an ``async with`` block."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from flux.transport.socket_io.client.client import Client


@asynccontextmanager
async def connect(url: str, **options: Any) -> AsyncIterator[Client]:
    """Give a connected client to an ``async with`` block; its end is `Client.disconnect`.

    Args:
        url: as for `Client`.
        **options: as for `Client`.

    Cancellation, and an exception in the block, close the connection at once: what waits is not sent. The
    exception comes out as it is, not in a group.

    Raises:
        ConnectError: see `Client.run`.
        LocalError: see `Client`.
    """
    client = Client(url, **options)
    async with running(client):
        yield client


@asynccontextmanager
async def running(client: Client) -> AsyncIterator[None]:
    """Run a client, whose handlers are in place, during an ``async with`` block; see `connect`."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(client.run)
            yield
            client.disconnect()
            await client.wait()
        except Exception as error:  # noqa: BLE001 - raised below, outside the nursery that would wrap it
            failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
