"""Deduplication: the window, its bounds, and forgetting."""

from flux.bff.dedupe import Dedupe


def test_found_within_the_window_only() -> None:
    """An entry is found until the window has passed since its first sight."""
    dedupe: Dedupe[str] = Dedupe(window=2.0, limit=10)
    assert dedupe.recent("k", 0.0) is None
    dedupe.remember("k", "v", 0.0)
    assert dedupe.recent("k", 1.999) == "v"
    assert dedupe.recent("other", 1.0) is None
    assert dedupe.recent("k", 2.0) is None


def test_repeats_do_not_prolong() -> None:
    """Someone who repeats himself for ever still gets a command each window."""
    dedupe: Dedupe[str] = Dedupe(window=2.0, limit=10)
    dedupe.remember("k", "v", 0.0)
    published = 0
    for tenth in range(1, 101):
        if dedupe.recent("k", tenth / 10) is None:
            dedupe.remember("k", "v", tenth / 10)
            published += 1
    assert published == 5


def test_expired_entries_are_freed() -> None:
    """Memory holds no more than the window's entries."""
    dedupe: Dedupe[int] = Dedupe(window=2.0, limit=1000)
    for n in range(100):
        dedupe.remember(n, n, n / 100)
    assert dedupe.recent("any", 10.0) is None
    assert len(dedupe) == 0


def test_bounded_by_count() -> None:
    """Beyond the limit the oldest goes, although its window is open."""
    dedupe: Dedupe[int] = Dedupe(window=2.0, limit=3)
    for n in range(5):
        dedupe.remember(n, n, 0.0)
    assert len(dedupe) == 3
    assert dedupe.recent(1, 0.0) is None
    assert dedupe.recent(4, 0.0) == 4


def test_forget_only_the_value_that_failed() -> None:
    """What replaced the failed value stays."""
    dedupe: Dedupe[object] = Dedupe(window=2.0, limit=3)
    failed, later = object(), object()
    dedupe.remember("k", failed, 0.0)
    dedupe.remember("k", later, 0.1)
    dedupe.forget("k", failed)
    assert dedupe.recent("k", 0.2) is later
    dedupe.forget("k", later)
    assert dedupe.recent("k", 0.2) is None
