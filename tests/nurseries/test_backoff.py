"""Backoff: the delays before restarts in a row."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.nurseries import Backoff


class Highest(Random):
    """Always draws the number that leaves the delay at its longest."""

    def random(self) -> float:
        """Return the lower end."""
        return 0.0


def test_delays_double_up_to_the_cap():
    """Without the random part the delays are initial * factor**n, and never above the cap."""
    backoff = Backoff(initial=0.1, factor=2, cap=1.0)
    assert [backoff.delay(n, Highest()) for n in range(1, 7)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


@given(attempt=st.integers(1, 10_000), seed=st.integers(0, 1000), jitter=st.floats(0, 1))
def test_jitter_only_shortens_within_its_share(attempt: int, seed: int, jitter: float):
    """Any delay lies between (1 - jitter) of the full delay and the full delay, also for huge attempts."""
    backoff = Backoff(initial=0.1, factor=2, cap=5.0, jitter=jitter)
    full = backoff.delay(attempt, Highest())
    delay = backoff.delay(attempt, Random(seed))
    assert full * (1 - jitter) - 1e-9 <= delay <= full <= 5.0


def test_two_generators_with_one_seed_give_the_same_delays():
    """The only randomness is the injected generator."""
    backoff = Backoff()
    assert [backoff.delay(n, Random(7)) for n in (1, 2, 3)] == [
        backoff.delay(n, Random(7)) for n in (1, 2, 3)
    ]


def test_a_stable_run_resets_the_attempts():
    """After a run as long as `stable` the next crash is the first in a row again."""
    backoff = Backoff(stable=30)
    assert backoff.next_attempt(5, ran_for=29.9) == 6
    assert backoff.next_attempt(5, ran_for=30.0) == 1
    assert backoff.next_attempt(0, ran_for=0.0) == 1


@pytest.mark.parametrize("wrong", [{"initial": -1}, {"factor": 0.5}, {"jitter": 1.5}, {"cap": -1}])
def test_nonsense_is_refused(wrong: dict[str, float]):
    """A policy that could give negative or shrinking delays cannot be made."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Backoff(**wrong)
