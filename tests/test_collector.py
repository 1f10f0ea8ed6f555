"""The garbage collector of a process that serves."""

import gc
from collections.abc import Iterator

import pytest

from flux.collector import YOUNG, calm


@pytest.fixture
def _restored() -> Iterator[None]:
    """Give the other tests their collector back."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("_restored")
def test_only_the_youngest_are_looked_at_less_often() -> None:
    """Cycles that live longer are found as before."""
    _, *older = gc.get_threshold()
    calm()
    assert gc.get_threshold() == (YOUNG, *older)
    assert gc.isenabled()
