"""Fixtures for the tests of the BFF."""

from collections.abc import Iterator

import pytest
import structlog
import trio
from bff_doubles import Stage
from structlog.typing import EventDict


@pytest.fixture
async def stage(nursery: trio.Nursery) -> Stage:
    """A BFF that has caught up with an empty bus, without a scheduler.

    Its tests take ``autojump_clock``, too: pytest-trio looks for a clock among a test's own arguments.
    """
    stage = Stage()
    await nursery.start(stage.bff.run)
    return stage


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """The log lines of the test."""
    with structlog.testing.capture_logs() as lines:
        yield lines
