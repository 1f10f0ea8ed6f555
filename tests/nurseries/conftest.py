"""Fixtures for the tests of supervision."""

from collections.abc import Iterator

import pytest
import structlog
from scripted import Diary
from structlog.typing import EventDict


@pytest.fixture
def diary() -> Diary:
    """An empty diary."""
    return Diary()


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    """The log lines of the test; captured in each, as a printed traceback takes longer than a test."""
    with structlog.testing.capture_logs() as lines:
        yield lines
