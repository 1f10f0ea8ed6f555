"""What a supervisor raises: never a group, fatal errors at once, interrupts as they are."""

import pytest
import trio
from scripted import Diary, at, run_for, supervise
from structlog.typing import EventDict
from trio.testing import MockClock

from flux.errors import SettingsError
from flux.nurseries import Child, Intensity, Node, State, TooManyRestarts, describe, leaves


async def test_a_group_from_a_child_is_one_crash_and_its_leaves_are_logged(
    autojump_clock: MockClock, diary: Diary, logged: list[EventDict]
):
    """Nested groups count once; the log line names every leaf."""
    nested = ExceptionGroup("outer", [ValueError("one"), ExceptionGroup("inner", [KeyError("two")])])
    top = supervise(
        Child("a", diary.service("a", crashes=at(1), error=lambda _: nested)), intensity=Intensity(crashes=1)
    )
    await run_for(top, 10)
    (line,) = [line for line in logged if line["event"] == "child crashed"]
    assert line["error"] == "ValueError: one; KeyError: 'two'"
    assert line["exc_info"] is nested


async def test_a_group_stays_a_group_in_too_many_restarts(autojump_clock: MockClock, diary: Diary):
    """The carried errors are what the child raised, for whoever wants to look inside."""
    group = ExceptionGroup("both", [ValueError("one"), ValueError("two")])
    top = supervise(
        Child("a", diary.service("a", crashes=at(1), error=lambda _: group)), intensity=Intensity(crashes=0)
    )
    with pytest.raises(TooManyRestarts) as caught:
        await top()
    assert caught.value.errors == (group,)
    assert caught.value.__cause__ is group


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_fatal_error_ends_the_supervisor_at_once_and_is_raised_bare(
    autojump_clock: MockClock, diary: Diary, *, grouped: bool
):
    """No restart mends a setting; siblings stop in reverse first."""
    fatal = SettingsError("http.port: not a number")
    raised = ExceptionGroup("nursery", [ValueError(), ExceptionGroup("inner", [fatal])]) if grouped else fatal
    top = supervise(
        Child("a", diary.service("a", cleanup=2)),
        Child("b", diary.service("b", startup=3, crashes=at(1), error=lambda _: raised)),
        Child("c", diary.service("c")),
    )
    with pytest.raises(SettingsError) as caught:
        await top()
    assert caught.value is fatal
    assert diary.of("start") == ["a", "b"]
    assert (diary.now(), diary.running) == (3, set())
    assert top.tree().last_error == "SettingsError: http.port: not a number"


async def test_which_errors_are_fatal_is_the_callers_choice(autojump_clock: MockClock, diary: Diary):
    """With other types named, a SettingsError is restarted and the named type is fatal."""
    errors = [SettingsError("later"), LookupError("gone")]
    top = supervise(
        Child("a", diary.service("a", crashes=at(1, 1), error=lambda run: errors[run - 1])),
        fatal=(LookupError,),
    )
    with pytest.raises(LookupError, match="gone"):
        await top()
    assert diary.of("start") == ["a", "a"]


async def test_system_exit_passes_after_an_ordered_stop(autojump_clock: MockClock, diary: Diary):
    """What is no Exception is not restarted, and raised as it is."""
    top = supervise(
        Child("a", diary.service("a", cleanup=2)),
        Child("b", diary.service("b", crashes=at(5), error=lambda _: SystemExit(7))),
        Child("c", diary.service("c", cleanup=2)),
    )
    with pytest.raises(SystemExit) as caught:
        await top()
    assert caught.value.code == 7
    assert diary.of("end") == ["b", "c", "a"]


async def test_system_exit_during_the_stop_is_not_lost(autojump_clock: MockClock, diary: Diary):
    """Only ordinary errors of a stop are merely logged."""
    top = supervise(
        Child("a", diary.service("a")), Child("b", diary.service("b", cleanup_error=SystemExit(7)))
    )
    with trio.move_on_after(5), pytest.raises(SystemExit):
        await top()
    assert diary.of("end") == ["b", "a"]


async def test_the_reason_for_giving_up_survives_a_later_cancellation(
    autojump_clock: MockClock, diary: Diary
):
    """Cancelled while it stops because of too many restarts, the supervisor still says so."""
    top = supervise(
        Child("a", diary.service("a", cleanup=10)),
        Child("b", diary.service("b", crashes=at(1))),
        intensity=Intensity(crashes=0),
    )
    with trio.move_on_after(3), pytest.raises(TooManyRestarts):
        await top()
    assert diary.now() == 11


async def test_a_stale_cancelled_is_a_crash(autojump_clock: MockClock, diary: Diary):
    """A service that raises a Cancelled of another scope does not take the supervisor with it."""
    stale: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            stale.append(error)
            raise
    top = supervise(Child("a", diary.service("a", crashes=at(1), error=lambda _: stale[0])))
    await run_for(top, 5)
    assert len(diary.of("start")) == 2


def test_leaves_of_an_error_without_a_group():
    """An error that is no group is its own only leaf."""
    error = ValueError()
    assert list(leaves(error)) == [error]


def test_descriptions_are_one_bounded_line():
    """Whatever a peer wrote into an error: one line, of bounded length, and never an exception."""

    class Broken(Exception):  # noqa: N818 - a test's own
        def __str__(self) -> str:
            raise RuntimeError

    assert describe(ValueError("two\nlines  here")) == "ValueError: two lines here"
    assert describe(ValueError()) == "ValueError"
    assert len(describe(ValueError("x" * 10_000))) == 500
    assert describe(Broken()) == "Broken: (its text cannot be shown)"


def test_nodes_walk_with_their_paths():
    """Parents come before children; a path joins the names."""
    tree = Node(
        "flux",
        State.RUNNING,
        children=(Node("domains", State.RUNNING, children=(Node("weather", State.FAILED),)),),
    )
    assert [path for path, _ in tree.walk()] == ["flux", "flux/domains", "flux/domains/weather"]
