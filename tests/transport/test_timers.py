"""Timers call back in order, at their times, and survive what they call."""

import trio
from trio.testing import MockClock

from flux.transport.timers import Timers


async def test_callbacks_come_at_their_times_in_order(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Also where a later call asks for an earlier time."""
    timers = Timers()
    await nursery.start(timers.run)
    start = trio.current_time()
    calls: list[tuple[str, float]] = []

    def note(name: str) -> None:
        calls.append((name, trio.current_time() - start))

    timers.call_at(start + 10, lambda: note("ten"))
    await trio.sleep(1)
    timers.call_at(start + 5, lambda: note("five"))
    timers.call_at(start + 5, lambda: note("five again"))
    timers.call_at(start, lambda: note("past"))
    assert calls == []
    await trio.sleep(20)
    assert calls == [("past", 1), ("five", 5), ("five again", 5), ("ten", 10)]
    nursery.cancel_scope.cancel()


async def test_a_failing_callback_ends_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The next one is called all the same."""
    timers = Timers()
    await nursery.start(timers.run)
    called = trio.Event()
    timers.call_at(1, lambda: 1 / 0)
    timers.call_at(1, called.set)
    await called.wait()
    nursery.cancel_scope.cancel()


async def test_a_callback_may_ask_for_itself_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A timer at the present does not starve other tasks."""
    timers = Timers()
    await nursery.start(timers.run)
    count = 0

    def again() -> None:
        nonlocal count
        count += 1
        timers.call_at(trio.current_time(), again)

    again()
    for _ in range(100):
        await trio.lowlevel.checkpoint()
    assert 1 < count < 200
    nursery.cancel_scope.cancel()
