"""Snapshots: newest wins, failures do not overwrite, staleness, bounds."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.bff.snapshots import Snapshots
from flux.bff.versions import Version
from flux.domains.domain import SnapshotFeed
from flux.domains.registry import domain_named

START = datetime(2026, 1, 1, tzinfo=UTC)


def snapshot_feed(domain: str) -> SnapshotFeed:
    """The first snapshot feed of a domain."""
    return next(f for f in domain_named(domain).feeds if isinstance(f, SnapshotFeed))


WEATHER, NEWS = snapshot_feed("weather"), snapshot_feed("news")


def time(seconds: float) -> datetime:
    """A time of the test's clock."""
    return START + timedelta(seconds=seconds)


def version(seconds: float, offset: int = 0) -> Version:
    """A version at that time."""
    return Version(time(seconds), offset)


def payload(number: int) -> bytes:
    """A payload told apart by a number."""
    return b'{"status":"success","data":%d}' % number


def shown(snapshots: Snapshots, key: str = "delhi", seconds: float = 0.0) -> Any:
    """What a client would get at that time."""
    found = snapshots.get(WEATHER, key, time(seconds))
    return None if found is None else json.loads(bytes(found.payload))


@pytest.fixture
def snapshots() -> Snapshots:
    """An empty cache."""
    return Snapshots(3)


def test_newer_replaces_older_is_refused(snapshots: Snapshots) -> None:
    """A late event is refused, and so is the same one a second time."""
    assert snapshots.store(WEATHER, "delhi", version(10), payload(1))
    assert not snapshots.store(WEATHER, "delhi", version(9, offset=99), payload(2))
    assert not snapshots.store(WEATHER, "delhi", version(10), payload(3))
    assert shown(snapshots)["data"] == 1
    assert snapshots.store(WEATHER, "delhi", version(10, offset=1), payload(4))
    assert shown(snapshots)["data"] == 4


def test_keys_and_feeds_are_apart(snapshots: Snapshots) -> None:
    """One key's state is not another's, nor another feed's."""
    snapshots.store(WEATHER, "delhi", version(0), payload(1))
    assert shown(snapshots, "paris") is None
    assert snapshots.get(NEWS, "delhi", START) is None


def test_fresh_payload_is_the_stored_bytes(snapshots: Snapshots) -> None:
    """Hydration of a fresh snapshot encodes nothing."""
    snapshots.store(WEATHER, "delhi", version(0), payload(1))
    found = snapshots.get(WEATHER, "delhi", time(WEATHER.ttl))
    assert found is not None
    assert not found.stale
    assert bytes(found.payload) == payload(1)


def test_stale_past_the_ttl(snapshots: Snapshots) -> None:
    """Past the ttl the payload says since when, and that no update came."""
    snapshots.store(WEATHER, "delhi", version(0), payload(1))
    stale = shown(snapshots, seconds=WEATHER.ttl + 1)
    since = "2026-01-01T00:00:00.000Z"
    assert stale == {
        "status": "success",
        "data": 1,
        "stale": {"since": since, "reason": f"no update since {since}"},
    }
    assert snapshots.store(WEATHER, "delhi", version(WEATHER.ttl), payload(2))
    assert "stale" not in shown(snapshots, seconds=WEATHER.ttl + 1)


def test_a_failure_marks_the_state_stale_at_once(snapshots: Snapshots) -> None:
    """Well within the ttl: since when, and the failure's message; past the ttl the message stands, too."""
    snapshots.store(WEATHER, "delhi", version(0), payload(1))
    assert snapshots.fail(WEATHER, "delhi", version(5), 'the "source" is ill')
    for seconds in (5, WEATHER.ttl + 1):
        assert shown(snapshots, seconds=seconds) == {
            "status": "success",
            "data": 1,
            "stale": {"since": "2026-01-01T00:00:00.000Z", "reason": 'the "source" is ill'},
        }
    assert snapshots.fail(WEATHER, "delhi", version(8), "still ill")
    assert shown(snapshots, seconds=8)["stale"]["reason"] == "still ill"
    found = snapshots.get(WEATHER, "delhi", time(8))
    assert found is not None
    assert found.stale


def test_a_success_after_the_failure_is_fresh(snapshots: Snapshots) -> None:
    """Recovery clears the mark, and the old failure is no reason later; a late success clears nothing."""
    snapshots.store(WEATHER, "delhi", version(0), payload(1))
    snapshots.fail(WEATHER, "delhi", version(5), "ill")
    assert snapshots.store(WEATHER, "delhi", version(4), payload(2))
    stale = shown(snapshots, seconds=6)
    assert (stale["data"], stale["stale"]["since"]) == (2, "2026-01-01T00:00:04.000Z")
    assert snapshots.store(WEATHER, "delhi", version(6), payload(3))
    assert "stale" not in shown(snapshots, seconds=6)
    assert shown(snapshots, seconds=WEATHER.ttl + 10)["stale"]["reason"].startswith("no update since")


def test_failure_never_overwrites(snapshots: Snapshots) -> None:
    """The last good state stays; a failure alone is no state."""
    assert snapshots.fail(WEATHER, "paris", version(1), "ill")
    assert shown(snapshots, "paris") is None
    snapshots.store(WEATHER, "delhi", version(0), payload(1))
    snapshots.fail(WEATHER, "delhi", version(1), "ill")
    assert shown(snapshots)["data"] == 1


def test_late_failure_is_refused(snapshots: Snapshots) -> None:
    """A failure older than the state, or seen before, is not news."""
    snapshots.store(WEATHER, "delhi", version(10), payload(1))
    assert not snapshots.fail(WEATHER, "delhi", version(9), "ill")
    assert snapshots.fail(WEATHER, "delhi", version(11), "ill")
    assert not snapshots.fail(WEATHER, "delhi", version(11), "ill")


def test_bounded_least_recently_used_goes(snapshots: Snapshots) -> None:
    """Looking keeps a key; other feeds are not touched."""
    snapshots.store(NEWS, "news", version(0), payload(0))
    for number, key in enumerate(["a", "b", "c"]):
        snapshots.store(WEATHER, key, version(number), payload(number))
    assert shown(snapshots, "a") is not None
    snapshots.store(WEATHER, "d", version(9), payload(9))
    assert snapshots.count(WEATHER) == 3
    assert shown(snapshots, "b") is None
    assert shown(snapshots, "a") is not None
    assert snapshots.get(NEWS, "news", START) is not None


events = st.lists(
    st.tuples(st.sampled_from(["success", "error"]), st.integers(0, 20), st.integers(0, 3)), max_size=40
)


@given(events)
def test_shown_state_never_goes_back_in_time(history: list[tuple[str, int, int]]) -> None:
    """Whatever order events come in, what is shown only moves forward, and ends at the newest success.

    It is marked stale just while a failure is known that is newer.
    """
    snapshots = Snapshots(3)
    newest: Version | None = None
    for number, (status, seconds, offset) in enumerate(history):
        event = version(seconds, offset)
        if status == "error":
            assert not (snapshots.fail(WEATHER, "delhi", event, "ill") and newest and event <= newest)
        elif snapshots.store(WEATHER, "delhi", event, payload(number)):
            assert newest is None or event > newest
            newest = event
            current = number
        else:
            assert newest is not None
            assert event <= newest
        if newest is not None:
            failed = any(s == "error" and version(t, o) > newest for s, t, o in history[: number + 1])
            assert shown(snapshots)["data"] == current
            assert ("stale" in shown(snapshots)) == failed
    successes = [version(s, o) for status, s, o in history if status == "success"]
    assert newest == (max(successes) if successes else None)
