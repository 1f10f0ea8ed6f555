"""Sockets and readers that more than one file of tests needs."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from flux.transport.readers import Readers

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected sockets, not blocking."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
async def readers() -> AsyncIterator[Readers]:
    """Readers that run."""
    async with trio.open_nursery() as nursery:
        made = Readers()
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()
