"""A batch of consumed messages: every record as it stood, and the runs that tell where."""

from itertools import pairwise
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE, Message
from hypothesis import given
from hypothesis import strategies as st

from flux.messages import Received
from flux.transport.kafka.batches import MessageBatch, Run, find_runs
from flux.transport.kafka.bus import Batch

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
            found[-1] = Run(last.partition, last.first, offset + 1)
        else:
            found.append(Run((topic, partition), offset, offset + 1))
    return found


@st.composite
def batches_of_places(draw: st.DrawFn) -> list[Place]:
    """Pieces of few partitions, whose offsets only rise; often they continue one another, or leave holes."""
    pieces = draw(
        st.lists(
            st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 4), st.integers(1, 9)),
            max_size=9,
        )
    )
    places: list[Place] = []
    following: dict[tuple[str, int], int] = {}
    for topic, partition, hole, count in pieces:
        first = following.get((topic, partition), 0) + hole
        following[topic, partition] = first + count
        places += [(topic, partition, first + step) for step in range(count)]
    return places


@given(batches_of_places())
def test_runs_are_those_that_a_look_at_every_record_finds(places: list[Place]) -> None:
    """Also where a search by halves is misled: holes, and other partitions in between."""
    assert list(find_runs([message(*place) for place in places])) == naive_runs(places)
    of_one = [place for place in places if place[0] == "a"]
    assert list(find_runs([message(*place) for place in of_one], one_topic=True)) == naive_runs(of_one)


@pytest.mark.parametrize(
    "places",
    [
        [("a", 0, 5), ("b", 0, 6), ("a", 0, 7)],
        [("a", 0, 5), ("a", 0, 6), ("a", 1, 9), ("a", 0, 8), ("a", 0, 9)],
        [("a", 0, 5), ("a", 0, 6), ("a", 0, 8), ("a", 0, 9), ("a", 1, 10)],
    ],
    ids=["another topic", "another partition in a hole", "a hole"],
)
def test_ends_that_fit_together_do_not_hide_what_stands_between(places: list[Place]) -> None:
    """The first and the last record look like one run, and those between are none."""
    found = list(find_runs([message(*place) for place in places]))
    assert found == naive_runs(places)
    assert all(one.partition != other.partition or one.end != other.first for one, other in pairwise(found))


def test_records_are_what_the_messages_say() -> None:
    """A tombstone, a record without a key, one without a time: each as it stood."""
    batch = MessageBatch(
        [
            message("t", 1, 7, value=b"{}", key=b"k", timestamp=(TIMESTAMP_CREATE_TIME, 1234)),
            message("t", 1, 8, value=None, key=b"k", timestamp=(TIMESTAMP_CREATE_TIME, 0)),
            message("t", 1, 9, value=b"", timestamp=(TIMESTAMP_NOT_AVAILABLE, -1)),
            message("u", 1, 10, value=b"", headers=[("ce_id", b"1")]),
        ]
    )
    assert len(batch) == 4
    assert batch.values == [b"{}", None, b"", b""]
    assert list(batch.stretches) == [("t", range(3)), ("u", range(3, 4))]
    assert list(batch) == [
        Received("t", 1, 7, 1234, b"{}", b"k"),
        Received("t", 1, 8, 0, None, b"k"),
        Received("t", 1, 9, 0, b""),
        Received("u", 1, 10, 0, b"", None, (("ce_id", b"1"),)),
    ]
    assert batch.runs == (Run(("t", 1), 7, 10), Run(("u", 1), 10, 11))
    assert batch[3] is batch[-1], "made once"
    assert batch[1:3] == list(batch)[1:3]
    nothing = MessageBatch([])
    assert not nothing
    assert (list(nothing), nothing.values, nothing.runs, list(nothing.stretches)) == ([], [], (), [])


def test_a_batch_of_records_says_the_same() -> None:
    """The batch that other buses make."""
    records = [Received("t", 0, 1, 0, b"1"), Received("u", 0, 1, 0, None), Received("u", 1, 5, 0, b"3")]
    batch = Batch(records)
    assert (list(batch), len(batch), batch[1]) == (records, 3, records[1])
    assert batch.values == [b"1", None, b"3"]
    assert list(batch.stretches) == [("t", range(1)), ("u", range(1, 3))]
    assert not Batch()
