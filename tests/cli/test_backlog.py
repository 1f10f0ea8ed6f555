"""The pure parts of `tail` and `replay`: where to begin, which records are kept, what is published again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.inspection.backlog import Backlog
from flux.inspection.replay import again
from flux.inspection.start import MOST, Start, parse_start
from flux.messages import Received


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", Start(last=0)),
        (" 12 ", Start(last=12)),
        (str(MOST), Start(last=MOST)),
        ("Beginning", Start()),
        ("1970-01-01", Start(since=0)),
        ("1970-01-01T00:00:01.5Z", Start(since=1500)),
        ("1970-01-01T01:00:02+01:00", Start(since=2000)),
        ("0001-01-01", Start(since=0)),
    ],
)
def test_a_start_is_a_count_a_time_or_the_beginning(text: str, expected: Start) -> None:
    """A time without a zone is UTC; one before Kafka's first is the first."""
    assert parse_start(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1e3", "now", "٣", "2026-13-01", str(MOST + 1), "9" * 5000])
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="beginning"):
        parse_start(text)


records = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=40
)  # (partition, timestamp) in the order in which they come


@given(records, st.integers(0, 12), st.booleans())
def test_a_backlog_keeps_an_end_of_the_topic_in_the_order_of_its_partitions(
    arrivals: list[tuple[int, int]], limit: int, newest: bool
) -> None:
    """However they come and whatever their times: a run of each partition, in the order of its offsets."""
    backlog = Backlog(limit, newest=newest)
    offsets = dict.fromkeys(range(3), 0)
    for partition, timestamp in arrivals:
        backlog.add([Received("t", partition, offsets[partition], timestamp, b"")])
        offsets[partition] += 1
    kept = backlog.records()
    assert len(kept) == min(limit, len(arrivals))
    assert backlog.left_out == len(arrivals) - len(kept)
    for partition, count in offsets.items():
        found = [record.offset for record in kept if record.partition == partition]
        first = count - len(found) if newest else 0
        assert found == list(range(first, first + len(found)))


def test_a_backlog_is_in_the_order_of_times() -> None:
    """Over partitions, that is."""
    backlog = Backlog(10, newest=True)
    backlog.add(Received("t", 0, n, time, b"") for n, time in enumerate((10, 30, 50)))
    backlog.add(Received("t", 1, n, time, b"") for n, time in enumerate((20, 40)))
    assert [record.timestamp for record in backlog.records()] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("headers", "timestamp", "added"),
    [
        ((("ce_id", b"1"), ("ce_time", b"2026-01-01T00:00:00Z")), 5, ()),
        ((("ce_id", b"1"),), 5, (("ce_time", b"1970-01-01T00:00:00.005Z"),)),
        ((("ce_time", b"rubbish"),), 5, (("ce_time", b"1970-01-01T00:00:00.005Z"),)),
        ((("ce_id", b"1"),), 0, ()),
    ],
)
def test_a_record_comes_again_as_it_was_and_says_when(
    headers: tuple[tuple[str, bytes], ...], timestamp: int, added: tuple[tuple[str, bytes], ...]
) -> None:
    """Only a missing ce_time is filled in, from Kafka's own time."""
    record = again(Received("t", 1, 2, timestamp, None, b"k", headers))
    assert (record.topic, record.value, record.key) == ("t", None, b"k")
    assert record.headers == headers + added
