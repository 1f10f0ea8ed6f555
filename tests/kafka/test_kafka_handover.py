"""The handover between a consumer's thread and its task."""

import pytest
import trio
import trio.testing

from flux.errors import BrokenError, ClosedError
from flux.messages import Received
from flux.transport.kafka.bus import Batch
from flux.transport.kafka.handover import CREDITS, Arrival, Handover

BATCH = Arrival(Batch([Received("things", 0, 0, 0, b"")]))
NEWS = Arrival(last=True)


async def test_a_batch_that_arrives_with_a_cancellation_is_not_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Either the cancelled call returns the batch, or the next one does."""
    handover = Handover()
    taken: list[Arrival] = []

    async def take() -> None:
        taken.append(await handover.take())

    for order in ("arrival first", "cancellation first"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            assert handover.wait_credit(0)
            if order == "arrival first":
                handover._arrived(BATCH)
                nursery.cancel_scope.cancel()
            else:
                nursery.cancel_scope.cancel()
                handover._arrived(BATCH)
        if not taken:
            await take()
        assert taken == [BATCH]
        taken.clear()


async def test_credits_bound_what_waits() -> None:
    """The thread gets a few credits, and one back for each batch that is taken."""
    handover = Handover()
    for _ in range(CREDITS):
        assert handover.wait_credit(0)
        handover._arrived(BATCH)
    assert not handover.wait_credit(0)
    await handover.take()
    assert handover.wait_credit(0)
    assert not handover.wait_credit(0)


async def test_news_wait_for_the_batches_before_them() -> None:
    """What has no records is told at once if nothing waits, else in its turn."""
    told: list[Arrival] = []
    handover = Handover(on_news=told.append)
    handover._arrived(NEWS)
    assert told == [NEWS]
    handover._arrived(BATCH)
    handover._arrived(NEWS)
    assert told == [NEWS]
    assert [await handover.take(), await handover.take()] == [BATCH, NEWS]


async def test_a_failure_comes_after_what_arrived_before_it() -> None:
    """The reader gets every batch first; closing its own side ends it at once."""
    handover = Handover()
    handover._arrived(BATCH)
    handover.end(BrokenError("gone"))
    assert await handover.take() == BATCH
    with pytest.raises(BrokenError, match="gone"):
        await handover.take()
    closed = Handover()
    closed._arrived(BATCH)
    closed.end(ClosedError("closed"))
    with pytest.raises(ClosedError):
        await closed.take()
