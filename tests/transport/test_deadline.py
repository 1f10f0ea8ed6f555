"""The deadline that is moved often: when it expires, and when not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from flux.transport.deadline import Deadline
from flux.transport.timers import Timers


@asynccontextmanager
async def running() -> AsyncIterator[Timers]:
    """Give timers that run."""
    timers = Timers()
    async with trio.open_nursery() as nursery:
        await nursery.start(timers.run)
        yield timers
        nursery.cancel_scope.cancel()


async def test_it_expires_at_its_last_time(autojump_clock: MockClock) -> None:
    """Moved later it waits, moved nearer it is in time; once each time it is set."""
    expired: list[float] = []
    async with running() as timers:
        deadline = Deadline(timers, lambda: expired.append(round(trio.current_time() - start, 3)))
        start = trio.current_time()
        deadline.set(10)
        await trio.sleep(5)
        deadline.set(10)
        await trio.sleep(20)
        assert expired == [15]
        deadline.set(50)
        deadline.set(1)
        await trio.sleep(100)
        assert expired == [15, 26]
    assert len(timers) == 0


async def test_it_can_be_cleared_and_set_again(autojump_clock: MockClock) -> None:
    """Cleared it never expires; set again it does, and a forgotten one keeps nothing alive."""
    expired: list[int] = []
    async with running() as timers:
        deadline = Deadline(timers, lambda: expired.append(1))
        deadline.set(10)
        deadline.clear()
        await trio.sleep(30)
        assert expired == []
        deadline.set(10)
        await trio.sleep(11)
        assert expired == [1]
        deadline.set(10)
        del deadline
        await trio.sleep(30)
        assert expired == [1]
        assert len(timers) == 0
