"""Sources over real HTTP, on the virtual clock."""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
from attrs import evolve
from fake_site import FakeSite
from source_doubles import POLICY, Running, virtual_now
from structlog.typing import EventDict

from flux.domains.sources import Board, Source


@pytest.fixture
def board() -> Board:
    """A board on the virtual clock."""
    return Board(virtual_now)


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """Log lines of the test."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def running(board: Board, site: FakeSite) -> Running:
    """What runs a source that asks the fake site: ``running(ttl=5, headers={...})``.

    Names of `SourcePolicy` change the policy, others are arguments of `Source`.
    """

    @asynccontextmanager
    async def run(at: FakeSite = site, **changes: Any) -> AsyncIterator[Source]:
        of_policy = {name: changes.pop(name) for name in list(changes) if hasattr(POLICY, name)}
        # Each its own name: metrics are those of the process.
        policy = evolve(POLICY, **{"name": f"example-{random.getrandbits(48):x}", **of_policy})
        changes.setdefault("urls", {policy.name: at.url})
        source = Source(policy, domain="weather", board=board, **changes)
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run)
            yield source
            nursery.cancel_scope.cancel()

    return run
