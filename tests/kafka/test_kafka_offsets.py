"""Which offset may be committed, and when a reader has caught up."""

from hypothesis import given
from hypothesis import strategies as st

from flux.messages import Received
from flux.transport.kafka.offsets import CatchUp, OffsetTracker, PartitionTracker

PARTITION = ("things", 0)


def received(offset: int, partition: int = 0) -> Received:
    """Return a record at that offset."""
    return Received("things", partition, offset, 0, b"")


@given(st.lists(st.integers(0, 30), unique=True), st.data())
def test_a_commit_stands_behind_the_contiguous_run(offsets: list[int], data: st.DataObject) -> None:
    """Whatever the holes in the offsets and the order of work, nothing in work lies before the commit."""
    offsets.sort()
    tracker = PartitionTracker()
    for offset in offsets:
        tracker.delivered(offset)
    done: set[int] = set()
    committed = None
    for offset in data.draw(st.permutations(offsets)):
        moved = tracker.done(offset)
        done.add(offset)
        if moved is not None:
            assert committed is None or moved > committed
            committed = moved
        in_work = [other for other in offsets if other not in done]
        before = [other for other in offsets if not in_work or other < in_work[0]]
        assert committed == (before[-1] + 1 if before else None)
        assert tracker.in_work == len(in_work)


def test_done_twice_counts_once() -> None:
    """A second `done` of a record, or one of a record that was never delivered, moves nothing."""
    tracker = PartitionTracker()
    tracker.delivered(5)
    assert tracker.done(5) == 6
    assert tracker.done(5) is None
    assert tracker.done(99) is None


def test_a_partition_that_is_read_anew_starts_over() -> None:
    """After a second delivery of the same offsets, all of them have to be done before the commit moves on."""
    tracker = PartitionTracker()
    for offset in (0, 1, 2, 1, 2, 3):
        tracker.delivered(offset)
    assert tracker.done(0) is None
    assert tracker.done(2) is None
    assert tracker.done(1) == 3
    assert tracker.done(3) == 4


def test_partitions_are_tracked_apart_and_forgotten() -> None:
    """A partition that was taken away is no longer this member's to commit."""
    tracker = OffsetTracker()
    tracker.delivered([received(0), received(0, partition=1)])
    tracker.forget([PARTITION, ("never", 7)])
    assert tracker.done(received(0)) is None
    assert tracker.done(received(0, partition=1)) == 1


def test_catching_up_needs_every_partition() -> None:
    """Each partition has to be read up to its own end; what lies behind the end does not matter."""
    catch_up = CatchUp({PARTITION: 3})
    catch_up.expect({("things", 1): 10})
    catch_up.reached(PARTITION, 2)
    catch_up.reached(("things", 1), 11)
    catch_up.reached(("things", 2), 99)
    assert not catch_up.complete
    catch_up.reached(PARTITION, 3)
    assert catch_up.complete
    assert CatchUp({}).complete
