"""The pure parts of a source: breaker, bucket, cache, Retry-After, body."""

import gzip
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flux.domains.sources import SourceError
from flux.domains.sources.body import Body
from flux.domains.sources.breaker import Breaker, BreakerState
from flux.domains.sources.bucket import TokenBucket
from flux.domains.sources.cache import Cache
from flux.domains.sources.retry_after import retry_after

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def test_while_a_probe_is_out_an_older_request_decides_nothing_by_failing() -> None:
    """It began before the breaker opened, so its failure is nothing new; its good answer is."""
    breaker = Breaker(3, 60.0)
    assert [breaker.begin(0.0) for _ in range(5)] == [False] * 5
    for _ in range(3):
        breaker.failed(1.0)
    assert breaker.begin(61.0)
    breaker.failed(62.0)
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.failed(63.0, probe=True)
    assert (breaker.state, breaker.wait(63.0)) == (BreakerState.OPEN, 60.0)
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED


class BreakerMachine(RuleBasedStateMachine):
    """Requests come, overlap and end in any order; the breaker keeps its promises."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(3, 60.0)
        self.now = 0.0
        self.flights: list[bool] = []
        self.bad = 0

    @rule(seconds=st.sampled_from([0.5, 10.0, 59.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        """Nothing happens meanwhile."""
        self.now += seconds

    @precondition(lambda self: self.breaker.wait(self.now) == 0)
    @rule()
    def begin(self) -> None:
        """A request goes."""
        closed = self.breaker.state is BreakerState.CLOSED
        probe = self.breaker.begin(self.now)
        assert probe is not closed
        if probe:
            assert self.breaker.wait(self.now) > 0, "one probe at a time"
        self.flights.append(probe)

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        """A good answer closes it, whenever it was asked for."""
        self._end(data)
        self.bad = 0
        self.breaker.succeeded()
        assert self.breaker.state is BreakerState.CLOSED
        assert self.breaker.wait(self.now) == 0

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """The third in a row opens it; so does a probe's."""
        probe, before = self._end(data), self.breaker.state
        self.bad += 1
        self.breaker.failed(self.now, probe=probe)
        half_open = before is BreakerState.HALF_OPEN
        if (half_open and probe) or (not half_open and self.bad >= 3):
            assert self.breaker.state is BreakerState.OPEN
            assert self.breaker.wait(self.now) == 60.0
        else:
            assert self.breaker.state is before

    @precondition(lambda self: any(self.flights))
    @rule()
    def abandon(self) -> None:
        """A probe without a result lets another go at once."""
        self.flights.remove(True)
        self.breaker.abandoned(self.now)
        assert self.breaker.state is not BreakerState.HALF_OPEN
        if self.breaker.state is BreakerState.OPEN:
            assert self.breaker.wait(self.now + 60.0) == 0

    @invariant()
    def it_never_stays_shut(self) -> None:
        """Sooner or later a request may go, whatever happened."""
        assert 0 <= self.breaker.wait(self.now) <= 60.0
        assert self.breaker.wait(self.now + 60.0) == 0

    def _end(self, data: st.DataObject) -> bool:
        return self.flights.pop(data.draw(st.integers(0, len(self.flights) - 1)))


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(deadline=None, max_examples=100, stateful_step_count=40)


@settings(deadline=None)
@given(
    rate=st.floats(0.01, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.one_of(st.just(0.0), st.floats(0, 100)), max_size=200),
)
def test_a_bucket_never_lets_more_go_than_the_rate(rate: float, burst: int, gaps: list[float]) -> None:
    """In any stretch of time at most `burst` more than the rate gives; and nobody waits without need."""
    bucket = TokenBucket(rate, burst)
    now, goes = 0.0, []
    for gap in gaps:
        now += gap
        foretold = bucket.delay(now)
        wait = bucket.take(now)
        assert wait == foretold
        goes.append(now + wait)
    assert goes == sorted(goes)
    for first in range(len(goes)):
        for last in (first, min(first + burst, len(goes) - 1), len(goes) - 1):
            allowed = burst + rate * (goes[last] - goes[first])
            assert last - first + 1 <= allowed * (1 + 1e-9) + 1e-6
    if len(goes) <= burst:
        assert all(go == pytest.approx(sum(gaps[: n + 1])) for n, go in enumerate(goes))


def test_a_bucket_counts_those_who_came_before() -> None:
    """What waits for its token is told as if those ahead had taken theirs."""
    bucket = TokenBucket(0.5, 2)
    foretold = [bucket.delay(1e6, ahead=ahead) for ahead in range(4)]
    assert foretold == [bucket.take(1e6) for _ in range(4)] == [0, 0, 2, 4]


def test_a_full_bucket_fills_no_further() -> None:
    """A long rest is no credit beyond the burst."""
    bucket = TokenBucket(1.0, 2)
    assert [bucket.take(1e6) for _ in range(4)] == [0, 0, 1, 2]
    assert bucket.delay(1e6 + 1) == 2


def test_a_cache_keeps_the_recently_used() -> None:
    """And nothing past its time."""
    cache: Cache[str] = Cache(2)
    cache.put("a", "A", until=10)
    cache.put("b", "B", until=10)
    assert cache.get("a", 5) == "A"
    cache.put("c", "C", until=7)
    assert [cache.get(key, 6) for key in "abc"] == ["A", None, "C"]
    assert [cache.get(key, 7) for key in "ac"] == ["A", None]
    assert cache.get("a", 10) is None
    assert len(cache) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("999999999999", 999_999_999_999),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30),
        ("Saturday, 31-Jan-26 12:00:30 GMT", 30),
        ("Sat Jan 31 12:00:30 2026", 30),
        ("Sat, 31 Jan 2026 12:00:30 -0000", 30),
        ("Sat, 31 Jan 2026 11:59:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251_632_439_999),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 40, None),
        ("soon", None),
        ("Sat, 31 Jan 2026 99:99:99 GMT", None),
        ("Sat, 31 Jan 99999999999999 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    """All three formats of dates that HTTP knows; what is neither is nothing."""
    assert retry_after(text, NOW) == seconds


@settings(deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ ?[+-]?\w*")))
def test_no_retry_after_is_an_error(text: str) -> None:
    """Whatever a source sends."""
    seconds = retry_after(text, NOW)
    assert seconds is None or seconds >= 0


def taken(body: Body, pieces: list[bytes]) -> bytes:
    """Return a whole body."""
    for piece in pieces:
        body.take(piece)
    return body.end()


@settings(deadline=None)
@given(st.binary(max_size=3000), st.booleans(), st.integers(1, 500), st.integers(1, 3000))
def test_a_body_is_whole_or_refused(data: bytes, packed: bool, step: int, limit: int) -> None:
    """However it is cut into pieces, and compressed or not."""
    wire = gzip.compress(data) if packed else data
    body = Body("gzip" if packed else "identity", limit, "Example")
    fits = max(len(wire), len(data)) <= limit
    with nullcontext() if fits else pytest.raises(SourceError, match="more than"):
        assert taken(body, [wire[at : at + step] for at in range(0, len(wire), step)]) == data


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(min_size=1, max_size=10))
def test_broken_gzip_is_a_failure(data: bytes, junk: bytes) -> None:
    """Cut off, or garbage."""
    for broken in (gzip.compress(data)[:-9], junk):
        body = Body("gzip", 10_000, "Example")
        with pytest.raises(SourceError, match=r"cut off|broken gzip"):
            taken(body, [broken])


def test_a_bomb_is_decompressed_no_further_than_the_limit() -> None:
    """A small piece may hold gigabytes."""
    body = Body("gzip", 10_000, "Example")
    with pytest.raises(SourceError, match="more than 10000 bytes"):
        body.take(gzip.compress(b" " * 9_000_000))
    assert len(body._data) == 10_001
