"""A bus in memory with Flux's topics, and contexts whose wall clock is trio's virtual one."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import structlog
import trio
from structlog.typing import EventDict

from flux.domains.domain import ServiceContext
from flux.domains.limits import WorkerLimits
from flux.domains.providers import ProviderOptions, SimulationOptions
from flux.domains.registry import ALL_TOPICS
from flux.domains.sources import Board
from flux.transport.kafka.memory import EPOCH_MS, MemoryBus

MakeContext = Callable[..., ServiceContext]


def virtual_now() -> datetime:
    """Return trio's clock as an aware datetime, on the memory bus's epoch."""
    return datetime.fromtimestamp(EPOCH_MS / 1000, UTC) + timedelta(seconds=trio.current_time())


@pytest.fixture
def bus() -> MemoryBus:
    """A bus in memory with Flux's topics."""
    return MemoryBus(ALL_TOPICS)


@pytest.fixture
def make_context(bus: MemoryBus) -> MakeContext:
    """What makes a service's context, by its principal."""

    def make(
        principal: str,
        options: SimulationOptions | None = None,
        limits: WorkerLimits | None = None,
        providers: ProviderOptions | None = None,
    ) -> ServiceContext:
        return ServiceContext(
            client=bus.client(principal),
            simulation=options or SimulationOptions(seed=7),
            providers=providers or ProviderOptions(),
            board=Board(virtual_now),
            limits=limits or WorkerLimits(),
            now=virtual_now,
            rng=random.Random(7),
        )

    return make


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """Log lines of the test."""
    with structlog.testing.capture_logs() as lines:
        yield lines
