"""Supervisors as children of supervisors, and the tree that they form."""

from datetime import UTC, datetime, timedelta

import pytest
import trio
from scripted import Diary, at, counted, run_for, supervise
from trio.testing import MockClock

from flux.errors import SettingsError
from flux.nurseries import Child, Intensity, State


def clock() -> datetime:
    """Return a wall clock that follows trio's."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=trio.current_time())


async def test_start_and_stop_keep_their_order_across_levels(autojump_clock: MockClock, diary: Diary):
    """Depth first up, and exactly backwards down, also with slow clean-ups."""
    inner = supervise(
        Child("b", diary.service("b", startup=2, cleanup=4)),
        Child("c", diary.service("c", cleanup=4)),
        name="inner",
    )
    top = supervise(
        Child("a", diary.service("a", cleanup=1)),
        Child("inner", inner),
        Child("d", diary.service("d", cleanup=1)),
    )
    await run_for(top, 20)
    assert diary.of("ready") == ["a", "b", "c", "d"]
    assert [(time, name) for time, name, what in diary.entries if what == "cancelled"] == [
        (20, "d"),
        (21, "c"),
        (25, "b"),
        (29, "a"),
    ]


async def test_an_inner_supervisor_that_gives_up_is_restarted_by_the_outer(
    autojump_clock: MockClock, diary: Diary
):
    """Too many restarts inside are one crash outside; the siblings outside never notice."""
    inner = supervise(
        Child("b", diary.service("b", crashes=at(1, 1))), name="inner", intensity=Intensity(crashes=1)
    )
    top = supervise(Child("a", diary.service("a")), Child("inner", inner), name="outer")
    await run_for(top, 60)
    assert diary.times("b", "start") == [0, 2, 4]
    assert diary.times("a", "start") == [0]
    assert counted("crashes_total", "outer", "inner", phase="run") == 1
    assert top.tree().children[1].restarts == 1
    assert top.tree().children[1].last_error.startswith("TooManyRestarts: inner: 2 crashes")


async def test_a_fatal_error_climbs_to_the_root(autojump_clock: MockClock, diary: Diary):
    """A wrong setting two levels down ends the whole tree, bare."""
    fatal = SettingsError("wrong")
    inner = supervise(Child("b", diary.service("b", crashes=at(3), error=lambda _: fatal)), name="inner")
    top = supervise(Child("a", diary.service("a", cleanup=1)), Child("inner", inner))
    with pytest.raises(SettingsError) as caught:
        await top()
    assert caught.value is fatal
    assert diary.of("end") == ["b", "a"]


async def test_the_tree_shows_every_level_as_it_is(autojump_clock: MockClock, diary: Diary):
    """States, restarts, errors and times, at three moments."""
    inner = supervise(
        Child("b", diary.service("b", startup=5, crashes=at(10)), start_deadline=60),
        name="inner",
        utc_now=clock,
    )
    top = supervise(Child("a", diary.service("a")), Child("inner", inner), name="top", utc_now=clock)
    before = top.tree()
    assert (before.state, before.since) == (State.STOPPED, None)
    begin = clock()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(top)
        await trio.sleep(1)
        starting = dict(top.tree().walk())
        assert starting["top"].state is State.STARTING
        assert starting["top/a"].state is State.RUNNING
        assert starting["top/inner"].state is State.STARTING
        assert starting["top/inner/b"].state is State.STARTING

        await trio.sleep(9.5)
        crashed = dict(top.tree().walk())
        assert crashed["top/inner"].state is State.RUNNING
        assert crashed["top/inner/b"].state is State.RESTARTING
        assert crashed["top/inner/b"].last_error == "ValueError: run 1"
        since = crashed["top/inner/b"].since
        assert since is not None
        assert abs((since - begin).total_seconds() - 10) < 0.001

        await trio.sleep(10)
        again = dict(top.tree().walk())
        assert (again["top/inner/b"].state, again["top/inner/b"].restarts) == (State.RUNNING, 1)
        nursery.cancel_scope.cancel()
    assert {node.state for _, node in top.tree().walk()} == {State.STOPPED}


async def test_the_up_gauge_follows_readiness(autojump_clock: MockClock, diary: Diary):
    """1 only between readiness and the end."""
    top = supervise(Child("a", diary.service("a", startup=2, crashes=at(5))), name="gauge")
    seen: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(top)
        for _ in range(9):
            await trio.sleep(1)
            seen.append(counted("child_up", "gauge", "a"))
        nursery.cancel_scope.cancel()
    assert seen[0] == 0
    assert seen[3] == 1
    assert seen[5] == 0  # it crashed at 5, restarts at 6, is ready at 8
    assert seen[8] == 1
    assert counted("child_up", "gauge", "a") == 0


async def test_wait_stopping_returns_when_the_stop_begins(autojump_clock: MockClock, diary: Diary):
    """Readiness can be switched off before the first child is told to stop."""
    top = supervise(Child("a", diary.service("a", cleanup=5)))
    noticed: list[float] = []

    async def watch() -> None:
        await top.wait_stopping()
        noticed.append(diary.now())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await run_for(top, 7)
    assert noticed == [7]
    assert diary.times("a", "end") == [12]
