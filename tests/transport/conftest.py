"""Fixtures for the transport's tests."""

import pytest
from trio.testing import MockClock


@pytest.fixture
def loopback_clock() -> MockClock:
    """Virtual time that waits for loopback traffic: it jumps once nothing has happened for 30 ms."""
    return MockClock(autojump_threshold=0.03)
