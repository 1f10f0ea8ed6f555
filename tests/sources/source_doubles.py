"""An ordinary source's policy, and a wall clock that follows trio's."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

import trio

from flux.domains.sources import Source, SourcePolicy

EPOCH = datetime(2026, 1, 31, 12, tzinfo=UTC)

POLICY = SourcePolicy(
    name="example", title="Example", url="https://example.invalid", rate=100.0, burst=100, ttl=60.0
)
"""An ordinary source."""

Running = Callable[..., AbstractAsyncContextManager[Source]]


def virtual_now() -> datetime:
    """Return trio's clock as an aware datetime."""
    return EPOCH + timedelta(seconds=trio.current_time())
