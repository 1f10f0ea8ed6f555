"""The supervisor: order of start and stop, readiness, restarts, strategies, intensity."""

import math

import pytest
import trio
from scripted import Diary, at, counted, run_for, supervise
from structlog.typing import EventDict
from trio.testing import MockClock

from flux.errors import LocalError
from flux.nurseries import Child, Intensity, Kind, ReturnedEarly, State, Strategy, TooManyRestarts

GROUPED = [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL]


@pytest.mark.parametrize("strategy", Strategy)
async def test_children_start_in_order_each_after_the_one_before_is_ready(
    autojump_clock: MockClock, diary: Diary, strategy: Strategy
):
    """A slow child holds up those after it, and the supervisor is ready when the last one is."""
    top = supervise(
        Child("a", diary.service("a", startup=3)),
        Child("b", diary.service("b", startup=2)),
        Child("c", diary.service("c")),
        strategy=strategy,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(top)
        assert diary.entries == [
            (0, "a", "start"),
            (3, "a", "ready"),
            (3, "b", "start"),
            (5, "b", "ready"),
            (5, "c", "start"),
            (5, "c", "ready"),
        ]
        assert top.state is State.RUNNING
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_cancellation_from_outside_stops_children_one_by_one_in_reverse(
    autojump_clock: MockClock, diary: Diary, strategy: Strategy
):
    """No child sees the cancellation before the children after it have finished their clean-up."""
    top = supervise(
        Child("a", diary.service("a", cleanup=1)),
        Child("b", diary.service("b", cleanup=2)),
        Child("c", diary.service("c", cleanup=3)),
        strategy=strategy,
    )
    await run_for(top, 10)
    assert [entry for entry in diary.entries if entry[2] in ("cancelled", "end")] == [
        (10, "c", "cancelled"),
        (13, "c", "end"),
        (13, "b", "cancelled"),
        (15, "b", "end"),
        (15, "a", "cancelled"),
        (16, "a", "end"),
    ]
    assert [child.state for child in top.tree().children] == [State.STOPPED] * 3
    assert not top.tree().unclean


async def test_cancelled_is_raised_bare_after_the_stop(autojump_clock: MockClock, diary: Diary):
    """The outer Cancelled is neither swallowed nor wrapped in a group."""
    top = supervise(Child("a", diary.service("a", cleanup=1)))
    seen: list[BaseException] = []
    with trio.move_on_after(5):
        try:
            await top()
        except BaseException as error:
            seen.append(error)
            assert diary.of("end") == ["a"]
            raise
    assert [type(error) for error in seen] == [trio.Cancelled]


async def test_a_cancellation_during_the_start_stops_what_has_started(
    autojump_clock: MockClock, diary: Diary
):
    """The child that was not ready yet is cancelled too; the one after it never starts."""
    top = supervise(
        Child("a", diary.service("a")),
        Child("b", diary.service("b", startup=10, cleanup=1)),
        Child("c", diary.service("c")),
    )
    await run_for(top, 4)
    assert diary.of("end") == ["b", "a"]
    assert diary.times("b", "cancelled") == [4]
    assert "c" not in diary.of("start")


async def test_a_crashed_child_restarts_alone_after_its_backoff(
    autojump_clock: MockClock, diary: Diary, logged: list[EventDict]
):
    """One for one: delays 1, 2, 4 s; the sibling never notices; one error line and one count a crash."""
    top = supervise(
        Child("a", diary.service("a", crashes=at(10, 10, 10))), Child("b", diary.service("b")), name="solo"
    )
    await run_for(top, 100)
    assert diary.times("a", "start") == [0, 11, 23, 37]
    assert diary.times("b", "start") == [0]
    crashes = [line for line in logged if line["event"] == "child crashed"]
    assert [(line["child"], line["error"], line["restart"], line["delay"]) for line in crashes] == [
        ("a", "ValueError: run 1", 1, 1.0),
        ("a", "ValueError: run 2", 2, 2.0),
        ("a", "ValueError: run 3", 3, 4.0),
    ]
    assert {line["log_level"] for line in crashes} == {"error"}
    assert counted("crashes_total", "solo", "a", phase="run") == 3
    assert counted("restarts_total", "solo", "a") == 3
    assert top.tree().children[0].restarts == 3
    assert top.tree().children[0].last_error == "ValueError: run 3"


async def test_a_stable_run_starts_the_backoff_anew(autojump_clock: MockClock, diary: Diary):
    """After 100 s of health the next crash waits as long as a first one."""
    top = supervise(Child("a", diary.service("a", crashes=at(10, 10, 100))))
    await run_for(top, 200)
    assert diary.times("a", "start") == [0, 11, 23, 124]


async def test_a_long_backoff_of_one_child_does_not_delay_another(autojump_clock: MockClock, diary: Diary):
    """One for one: while a waits 8 s for its restart, b crashes and is back after 1 s."""
    top = supervise(
        Child("a", diary.service("a", crashes=at(1, 1, 1, 1))), Child("b", diary.service("b", crashes=at(12)))
    )
    await run_for(top, 50)
    assert diary.times("a", "start") == [0, 2, 5, 10, 19]
    assert diary.times("b", "start") == [0, 13]


async def test_a_slow_restart_of_one_child_does_not_delay_another(autojump_clock: MockClock, diary: Diary):
    """One for one: a takes 20 s to become ready again; b restarts meanwhile."""
    top = supervise(
        Child("a", diary.service("a", startup=20, crashes=at(30))),
        Child("b", diary.service("b", crashes=at(15))),
    )
    await run_for(top, 70)
    assert diary.times("a", "ready") == [20, 51]
    assert diary.times("b", "start") == [20, 36]


async def test_rest_for_one_restarts_the_later_children_in_order(autojump_clock: MockClock, diary: Diary):
    """When b crashes, c stops before anything restarts, then b and c start in order; a runs on."""
    top = supervise(
        Child("a", diary.service("a")),
        Child("b", diary.service("b", startup=2, crashes=at(12))),
        Child("c", diary.service("c", cleanup=3)),
        strategy=Strategy.REST_FOR_ONE,
    )
    await run_for(top, 30)
    assert diary.times("a", "start") == [0]
    assert diary.times("c", "cancelled")[0] == 12
    assert diary.times("b", "start") == [0, 15]  # c's clean-up took longer than the backoff
    assert diary.times("c", "start") == [2, 17]
    assert diary.of("end") == ["b", "c", "c", "b", "a"]


async def test_one_for_all_restarts_every_child_in_order(autojump_clock: MockClock, diary: Diary):
    """The last child crashes: the others stop in reverse, then all start in order."""
    top = supervise(
        Child("a", diary.service("a")),
        Child("b", diary.service("b")),
        Child("c", diary.service("c", crashes=at(5))),
        strategy=Strategy.ONE_FOR_ALL,
        name="all",
    )
    await run_for(top, 30)
    assert diary.of("start") == ["a", "b", "c"] * 2
    assert diary.of("end") == ["c", "b", "a"] * 2
    assert diary.times("a", "start") == [0, 6]
    assert counted("crashes_total", "all", "c", phase="run") == 1
    assert counted("restarts_total", "all", "a") == 1


async def test_a_crash_during_a_group_restart_begins_it_anew(autojump_clock: MockClock, diary: Diary):
    """When a crashes again while b is still starting, b is stopped and waits for a again."""
    top = supervise(
        Child("a", diary.service("a", crashes=at(20, 3))),
        Child("b", diary.service("b", startup=10)),
        strategy=Strategy.REST_FOR_ONE,
    )
    await run_for(top, 60)
    assert diary.times("a", "start") == [0, 21, 26]
    assert diary.times("b", "start") == [0, 21, 26]
    assert diary.times("b", "ready") == [10, 36]


async def test_a_crash_during_the_stop_of_siblings_takes_its_own_siblings_along(
    autojump_clock: MockClock, diary: Diary
):
    """Rest for one: b crashes at the very moment at which d's stop, for c, is done; x restarts too."""
    top = supervise(
        Child("b", diary.service("b", crashes=at(7))),
        Child("x", diary.service("x")),
        Child("c", diary.service("c", crashes=at(5))),
        Child("d", diary.service("d", cleanup=2)),
        strategy=Strategy.REST_FOR_ONE,
    )
    await run_for(top, 30)
    assert {name: diary.times(name, "start") for name in "bxcd"} == {name: [0, 8] for name in "bxcd"}


@pytest.mark.parametrize("strategy", GROUPED)
async def test_a_sibling_that_overruns_its_deadline_is_never_doubled(
    autojump_clock: MockClock, diary: Diary, strategy: Strategy
):
    """A restart waits for the old instance, also past its shutdown deadline."""
    top = supervise(
        Child("a", diary.service("a", crashes=at(5))),
        Child("b", diary.service("b", cleanup=20), shutdown_deadline=2),
        strategy=strategy,
    )
    await run_for(top, 40)
    assert diary.times("b", "end")[0] == 25
    assert diary.times("a", "start") == [0, 25]


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_crash_before_readiness_of_the_first_start_is_retried(
    autojump_clock: MockClock, diary: Diary, strategy: Strategy
):
    """The children after it wait until it made it; they start once."""
    top = supervise(
        Child("a", diary.service("a", startup=3, crashes=at(1, 1)), kind=Kind.TRANSIENT),
        Child("b", diary.service("b")),
        strategy=strategy,
        name=f"early-{strategy.value}",
    )
    await run_for(top, 30)
    assert diary.times("a", "start") == [0, 2, 5]
    assert diary.times("b", "start") == [8]
    assert counted("crashes_total", f"early-{strategy.value}", "a", phase="start") == 2


async def test_a_child_that_is_not_ready_in_time_crashed(
    autojump_clock: MockClock, diary: Diary, logged: list[EventDict]
):
    """Past the start deadline the child is cancelled and restarted with backoff."""
    slow = diary.service("a", startup=100)
    top = supervise(Child("a", slow, start_deadline=10))
    await run_for(top, 15)
    assert diary.times("a", "start") == [0, 11]
    assert diary.times("a", "cancelled")[0] == 10
    assert logged[0]["error"] == "StartTimeout: a: not ready within 10 s"


async def test_a_permanent_child_that_returns_crashed(
    autojump_clock: MockClock, diary: Diary, logged: list[EventDict]
):
    """Returning is restarted too, and the log says what was wrong with it."""
    top = supervise(Child("a", diary.service("a", crashes=at(5), error=lambda _: None)))
    await run_for(top, 20)
    assert diary.times("a", "start") == [0, 6]
    (line,) = [line for line in logged if line["event"] == "child crashed"]
    assert line["error"].startswith("ReturnedEarly: a: returned")
    assert "exc_info" not in line  # a traceback would show nothing


async def test_a_transient_child_restarts_after_an_error_only(autojump_clock: MockClock, diary: Diary):
    """It crashes, restarts, returns, and stays ended; its sibling runs on."""
    top = supervise(
        Child(
            "a",
            diary.service("a", crashes=at(5, 5), error=lambda run: ValueError() if run == 1 else None),
            kind=Kind.TRANSIENT,
        ),
        Child("b", diary.service("b")),
    )
    await run_for(top, 50)
    assert diary.times("a", "start") == [0, 6]
    assert diary.of("return") == ["a"]
    assert diary.times("b", "end") == [50]


async def test_a_temporary_child_is_never_restarted(autojump_clock: MockClock, diary: Diary):
    """Its crash is counted and stays visible in the tree; nothing else happens."""
    top = supervise(
        Child("a", diary.service("a", crashes=at(5)), kind=Kind.TEMPORARY),
        Child("b", diary.service("b")),
        name="temporary",
        intensity=Intensity(crashes=0),
    )
    await run_for(top, 20)
    assert diary.times("a", "start") == [0]
    assert counted("crashes_total", "temporary", "a", phase="run") == 1
    assert top.tree().children[0].state is State.FAILED
    assert not top.tree().children[0].unclean


async def test_finished_and_temporary_children_stay_out_of_a_group_restart(
    autojump_clock: MockClock, diary: Diary
):
    """One for all restarts what should run: not what returned, not what is temporary."""
    top = supervise(
        Child("job", diary.service("job", crashes=at(1), error=lambda _: None), kind=Kind.TRANSIENT),
        Child("guest", diary.service("guest"), kind=Kind.TEMPORARY),
        Child("a", diary.service("a", crashes=at(5))),
        strategy=Strategy.ONE_FOR_ALL,
    )
    await run_for(top, 20)
    assert diary.of("start") == ["job", "guest", "a", "a"]
    assert diary.times("guest", "end") == [5]


async def test_a_supervisor_with_nothing_left_to_run_returns(autojump_clock: MockClock, diary: Diary):
    """Once every child has finished for good, so has the supervisor."""
    top = supervise(
        Child("a", diary.service("a", crashes=at(2), error=lambda _: None), kind=Kind.TRANSIENT),
        Child("b", diary.service("b", crashes=at(5)), kind=Kind.TEMPORARY),
    )
    await top()
    assert diary.now() == 5
    assert top.state is State.STOPPED


async def test_a_supervisor_without_children_is_ready_and_returns(autojump_clock: MockClock, diary: Diary):
    """An empty supervisor is no error; readiness is reported."""
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise())


async def test_too_many_crashes_end_the_supervisor(autojump_clock: MockClock, diary: Diary):
    """Two crashes are allowed, the third ends it: the children stop, their errors are carried along."""
    top = supervise(
        Child("a", diary.service("a", cleanup=1)),
        Child("b", diary.service("b", crashes=lambda _: 1)),
        Child("c", diary.service("c", cleanup=1)),
        intensity=Intensity(crashes=2, window=60),
        name="tired",
    )
    with pytest.raises(TooManyRestarts) as caught:
        await top()
    assert [str(error) for error in caught.value.errors] == ["run 1", "run 2", "run 3"]
    assert caught.value.__cause__ is caught.value.errors[-1]
    assert str(caught.value) == "tired: 3 crashes within 60 s, last: ValueError: run 3"
    assert diary.of("end")[-2:] == ["c", "a"]
    assert not diary.running
    assert top.tree().state is State.FAILED
    assert top.tree().children[1].state is State.FAILED


async def test_crashes_further_apart_than_the_window_go_on_for_ever(autojump_clock: MockClock, diary: Diary):
    """The same number of crashes, spread out, is no reason to give up."""
    top = supervise(
        Child("a", diary.service("a", crashes=lambda _: 50)), intensity=Intensity(crashes=1, window=40)
    )
    await run_for(top, 1000)
    assert len(diary.of("crash")) > 10


async def test_the_crashes_of_all_children_count_together(autojump_clock: MockClock, diary: Diary):
    """The intensity belongs to the supervisor, as in OTP."""
    top = supervise(
        *(Child(name, diary.service(name, crashes=at(1))) for name in "abc"),
        intensity=Intensity(crashes=2, window=60),
    )
    with pytest.raises(TooManyRestarts):
        await top()


async def test_a_child_that_overruns_its_shutdown_deadline_is_left_behind(
    autojump_clock: MockClock, diary: Diary, logged: list[EventDict]
):
    """The stop goes on after 2 s, names the child, and still waits for its end before it returns."""
    top = supervise(
        Child("a", diary.service("a", cleanup=1)),
        Child("b", diary.service("b", cleanup=30), shutdown_deadline=2),
        name="slow",
    )
    await run_for(top, 10)
    assert diary.times("a", "cancelled") == [12]
    assert diary.times("b", "end") == [40]
    assert diary.now() == 40
    overruns = [line for line in logged if "overran" in line["event"]]
    assert [(line["child"], line["deadline"]) for line in overruns] == [("b", 2)]
    assert counted("shutdown_overruns_total", "slow", "b") == 1
    assert top.tree().children[1].unclean


async def test_a_crash_while_stopping_is_logged_and_the_stop_goes_on(
    autojump_clock: MockClock, diary: Diary, logged: list[EventDict]
):
    """The error is counted under the phase stop and in the tree; what is raised is Cancelled alone."""
    top = supervise(
        Child("a", diary.service("a")),
        Child("b", diary.service("b", cleanup_error=OSError("flush failed"))),
        name="messy",
    )
    await run_for(top, 5)
    assert diary.of("end") == ["b", "a"]
    assert [line["event"] for line in logged if line["log_level"] == "error"] == [
        "child failed while stopping"
    ]
    assert counted("crashes_total", "messy", "b", phase="stop") == 1
    node = top.tree().children[1]
    assert (node.state, node.last_error, node.unclean) == (State.FAILED, "OSError: flush failed", True)


async def test_a_crash_while_stopping_for_a_sibling_does_not_hinder_the_restart(
    autojump_clock: MockClock, diary: Diary
):
    """The clean-up of b fails while a's crash takes it along; both are back."""
    top = supervise(
        Child("a", diary.service("a", crashes=at(5))),
        Child("b", diary.service("b", cleanup_error=OSError("flush failed"))),
        strategy=Strategy.ONE_FOR_ALL,
        intensity=Intensity(crashes=1),
    )
    await run_for(top, 20)
    assert diary.times("a", "start") == diary.times("b", "start") == [0, 6]


async def test_a_crash_of_an_earlier_child_during_the_stop_is_not_restarted(
    autojump_clock: MockClock, diary: Diary
):
    """While c cleans up, a crashes: counted, in the tree, and the stop goes on."""
    top = supervise(
        Child("a", diary.service("a", crashes=at(12))),
        Child("b", diary.service("b")),
        Child("c", diary.service("c", cleanup=4)),
        name="late",
    )
    await run_for(top, 10)
    assert diary.of("start") == ["a", "b", "c"]
    assert diary.of("end") == ["a", "c", "b"]
    assert counted("crashes_total", "late", "a", phase="run") == 1
    assert top.tree().children[0].unclean


async def test_a_stop_during_a_backoff_starts_nothing(autojump_clock: MockClock, diary: Diary):
    """A child that waits for its restart is simply stopped."""
    top = supervise(Child("a", diary.service("a", crashes=at(5))))
    await run_for(top, 5.5)
    assert diary.of("start") == ["a"]
    assert top.tree().children[0].state is State.STOPPED


async def test_a_supervisor_can_run_again_but_not_twice_at_once(autojump_clock: MockClock, diary: Diary):
    """A second run starts afresh; one within another is this side's mistake."""
    top = supervise(Child("a", diary.service("a")))
    await run_for(top, 5)
    async with trio.open_nursery() as nursery:
        await nursery.start(top)
        with pytest.raises(LocalError, match="runs already"):
            await top()
        nursery.cancel_scope.cancel()
    assert diary.of("start") == ["a", "a"]


def test_names_are_unique():
    """Two children of one name could not be told apart in logs and metrics."""

    async def service(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None: ...

    with pytest.raises(LocalError, match="twin"):
        supervise(Child("twin", service), Child("other", service), Child("twin", service))


def test_a_supervisor_as_child_has_no_deadlines_of_its_own():
    """Its children's deadlines bound it, as in OTP."""

    async def service(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None: ...

    nested = Child("nested", supervise(Child("a", service)))
    assert (nested.shutdown_deadline, nested.start_deadline) == (math.inf, math.inf)
    assert (Child("a", service).shutdown_deadline, Child("a", service).start_deadline) == (5.0, 30.0)


async def test_readiness_reported_twice_is_the_services_mistake(
    autojump_clock: MockClock, diary: Diary, logged: list[EventDict]
):
    """As in trio it raises a RuntimeError in the service, which makes it a crash."""

    async def eager(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        task_status.started()

    await run_for(supervise(Child("a", eager)), 0.5)
    assert logged[-1]["error"].startswith("RuntimeError: called 'started' twice")


async def test_the_error_of_returning_early_is_carried_too(autojump_clock: MockClock, diary: Diary):
    """TooManyRestarts after mere returns names them."""
    top = supervise(
        Child("a", diary.service("a", crashes=lambda _: 1, error=lambda _: None)),
        intensity=Intensity(crashes=0),
    )
    with pytest.raises(TooManyRestarts) as caught:
        await top()
    assert isinstance(caught.value.errors[0], ReturnedEarly)
