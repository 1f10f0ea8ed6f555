"""A batch of consumed messages: every record as it stood, and the runs that tell where."""

from itertools import pairwise
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE, Message
from hypothesis import given
from hypothesis import strategies as st

from flux.messages import Received
from flux.transport.kafka import batches
from flux.transport.kafka.batches import Run

Place = tuple[str, int, int]


def message(topic: str, partition: int, offset: int, **parts: Any) -> Message:
    """Return a message as a consumer gets it."""
    return Message(topic=topic, partition=partition, offset=offset, **parts)


def naive_runs(places: list[Place]) -> list[Run]:
    """Return the runs, found by looking at one record after the other."""
    found: list[Run] = []
    for topic, partition, offset in places:
        last = found[-1] if found else None
        if last is not None and last.partition == (topic, partition) and last.end == offset:
            found[-1] = Run(last.partition, last.first, last.count + 1)
        else:
            found.append(Run((topic, partition), offset, 1))
    return found


@st.composite
def batches_of_places(draw: st.DrawFn) -> list[Place]:
    """Pieces of few partitions, with offsets that often continue one another, and holes."""
    pieces = draw(
        st.lists(
            st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 12), st.integers(1, 9)),
            max_size=9,
        )
    )
    return [
        (topic, partition, first + step) for topic, partition, first, count in pieces for step in range(count)
    ]


@given(batches_of_places())
def test_runs_are_those_that_a_look_at_every_record_finds(places: list[Place]) -> None:
    """Also where a search by halves is misled: holes, rewinds, and other partitions in between."""
    columns: Any = [list(column) for column in zip(*places, strict=True)] or [[], [], []]
    assert list(batches.runs(*columns)) == naive_runs(places)


@pytest.mark.parametrize(
    "places",
    [
        [("a", 0, 5), ("b", 0, 6), ("a", 0, 7)],
        [("a", 0, 5), ("a", 0, 6), ("a", 1, 9), ("a", 0, 8), ("a", 0, 9)],
        [("a", 0, 5), ("a", 0, 6), ("a", 0, 6), ("a", 0, 8), ("a", 0, 9)],
    ],
    ids=["another topic", "another partition in a hole", "a rewind"],
)
def test_ends_that_fit_together_do_not_hide_what_stands_between(places: list[Place]) -> None:
    """The first and the last record look like one run, and those between are none."""
    topics, partitions, offsets = (list(column) for column in zip(*places, strict=True))
    found = list(batches.runs(topics, partitions, offsets))
    assert found == naive_runs(places)
    assert all(one.partition != other.partition or one.end != other.first for one, other in pairwise(found))


def test_records_are_what_the_messages_say() -> None:
    """A tombstone, a record without a key, one without a time: each as it stood."""
    batch = batches.read(
        [
            message("t", 1, 7, value=b"{}", key=b"k", timestamp=(TIMESTAMP_CREATE_TIME, 1234)),
            message("t", 1, 8, value=None, key=b"k", timestamp=(TIMESTAMP_CREATE_TIME, 0)),
            message("t", 1, 9, value=b"", timestamp=(TIMESTAMP_NOT_AVAILABLE, -1)),
            message("u", 1, 10, value=b"", headers=[("ce_id", b"1")]),
        ]
    )
    assert batch.records == [
        Received("t", 1, 7, 1234, b"{}", b"k"),
        Received("t", 1, 8, 0, None, b"k"),
        Received("t", 1, 9, 0, b""),
        Received("u", 1, 10, 0, b"", None, (("ce_id", b"1"),)),
    ]
    assert batch.runs == (Run(("t", 1), 7, 3), Run(("u", 1), 10, 1))
    assert batches.read([]) == batches.Batch([], ())
