"""The restart policy: strategies, kinds, intensity."""

import pytest

from flux.nurseries import Intensity, Kind, Strategy
from flux.nurseries.restarts import CrashWindow


@pytest.mark.parametrize(
    ("strategy", "affected"),
    [
        (Strategy.ONE_FOR_ONE, [1]),
        (Strategy.REST_FOR_ONE, [1, 2, 3]),
        (Strategy.ONE_FOR_ALL, [0, 1, 2, 3]),
    ],
)
def test_the_strategy_names_who_restarts(strategy: Strategy, affected: list[int]):
    """The second of four children crashes: itself, itself and the later ones, or all restart."""
    assert list(strategy.affected(1, 4)) == affected


def test_only_one_for_one_keeps_children_apart():
    """Children that never restart together form groups of one; the others share one group."""
    assert Strategy.ONE_FOR_ONE.groups(3) == [range(1), range(1, 2), range(2, 3)]
    assert Strategy.REST_FOR_ONE.groups(3) == [range(3)]
    assert Strategy.ONE_FOR_ALL.groups(0) == []


@pytest.mark.parametrize(
    ("kind", "returning", "raising", "restarts"),
    [
        (Kind.PERMANENT, True, True, True),
        (Kind.TRANSIENT, False, True, True),
        (Kind.TEMPORARY, False, True, False),
    ],
)
def test_the_kind_says_what_a_crash_is(kind: Kind, *, returning: bool, raising: bool, restarts: bool):
    """Returning is a crash of a permanent child only; a temporary child is never restarted."""
    assert kind.is_crash(failed=False) is returning
    assert kind.is_crash(failed=True) is raising
    assert kind.restarts is restarts


def test_one_crash_more_than_allowed_is_too_many():
    """The window counts crashes; the errors of all of them are kept."""
    window = CrashWindow(Intensity(crashes=2, window=10))
    errors = [ValueError(str(n)) for n in range(3)]
    assert [window.add(float(n), error) for n, error in enumerate(errors)] == [False, False, True]
    assert window.errors == tuple(errors)


def test_crashes_leave_the_window():
    """A crash that lies a whole window back counts no longer."""
    window = CrashWindow(Intensity(crashes=1, window=10))
    assert not window.add(0, ValueError("old"))
    assert not window.add(10, ValueError("new"))
    assert [str(error) for error in window.errors] == ["new"]
    assert window.add(19.9, ValueError("newer"))


def test_without_a_limit_nothing_is_too_many_or_kept():
    """None means restarts for ever, in constant memory."""
    window = CrashWindow(Intensity(crashes=None, window=1e9))
    assert not any(window.add(0, ValueError()) for _ in range(1000))
    assert window.errors == ()


@pytest.mark.parametrize("wrong", [{"crashes": -1}, {"window": 0}])
def test_nonsense_is_refused(wrong: dict[str, int]):
    """An intensity that no history can meet cannot be made."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Intensity(**wrong)
