"""What every bus promises beyond the simple case: crashes, cancellation, back-pressure, moves, its end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from bus_checker import CONSUMER, Open, Subject, record, take, takes_nothing, text

from flux.messages import Record
from flux.transport.kafka.bus import Subscription, Topic

pytestmark = pytest.mark.usefixtures("clock")


class Crash(Exception):  # noqa: N818 - it is what happens to a member
    """The end of a member in the middle of its work."""


@pytest.mark.parametrize("marked", ["before", "after"])
async def test_a_member_that_crashes_at_any_record_loses_none(
    subject: Subject, clock: object, marked: str
) -> None:
    """Whether it ends before or after it marks a record done, the next member goes on where it must."""
    topic, group = subject.topic(partitions=1), subject.group()
    handled: list[str] = []

    async def member(crash_at: int) -> None:
        async with opened.consumer.subscribe([topic.name], group=group) as subscription:
            while len(set(handled)) < 12:
                for received in await subscription.receive():
                    handled.append(text(received))
                    if marked == "before":
                        subscription.done(received)
                    if text(received) == f"{crash_at}":
                        raise Crash
                    if marked == "after":
                        subscription.done(received)

    async with subject.open(topic) as opened:
        for number in range(12):
            await opened.producer.publish(record(topic, f"{number}"))
        for crash_at in (0, 1, 5, 10):
            with pytest.raises(Crash):
                await member(crash_at)
        await member(-1)
    firsts = sorted(set(handled), key=handled.index)
    assert firsts == [f"{number}" for number in range(12)]
    # What was done before a crash does not come again; the record that crashed does, if it was not.
    assert len(handled) == (12 if marked == "before" else 16)


@pytest.mark.parametrize(
    "call", ["publish", "send", "receive", "caught up", "connected", "create", "subscribe"]
)
async def test_every_call_can_be_cancelled_and_the_bus_goes_on(
    subject: Subject, clock: object, call: str
) -> None:
    """A call in a cancelled scope ends as cancelled, has no effect, and the next one works."""
    topic, group = subject.topic(partitions=1), subject.group()
    async with subject.open(topic) as opened, opened.consumer.follow([topic.name], replay=0) as follower:
        await follower.caught_up()

        async def subscribe() -> None:
            async with opened.consumer.subscribe([topic.name], group=group) as subscription:
                await subscription.receive()

        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "publish": lambda: opened.producer.publish(record(topic, "never")),
            "send": lambda: opened.producer.send(record(topic, "never")),
            "receive": follower.receive,
            "caught up": follower.caught_up,
            "connected": opened.bus.wait_connected,
            "create": opened.bus.create_topics,
            "subscribe": subscribe,
        }
        with trio.CancelScope() as scope:
            scope.cancel()
            await calls[call]()
        assert scope.cancelled_caught
        await opened.producer.publish(record(topic, "after"))
        assert [text(received) for received in await take(follower, 1)] == ["after"]


async def test_a_publish_that_is_cancelled_in_flight_stands_there_once_or_not_at_all(
    subject: Subject, clock: object
) -> None:
    """Only its report is lost: it never comes twice, and what follows it is in order."""
    topic = subject.topic(partitions=1)
    async with subject.open(topic) as opened, opened.consumer.follow([topic.name], replay=0) as follower:
        await follower.caught_up()
        for number in range(40):
            with trio.move_on_after(number * 0.0001):
                await opened.producer.publish(record(topic, f"{number}"))
        await opened.producer.publish(record(topic, "40"))
        seen: list[int] = []
        while 40 not in seen:
            seen += [int(text(received)) for received in await follower.receive()]
    assert seen == sorted(set(seen))


async def test_a_reader_that_takes_its_time_gets_bounded_batches_and_all_of_them(
    subject: Subject, clock: object
) -> None:
    """However much waits, a batch is bounded, and nothing is dropped for it."""
    topic, count = subject.topic(partitions=1), 3000
    async with (
        subject.open(topic) as opened,
        opened.consumer.subscribe([topic.name], group=subject.group()) as subscription,
    ):
        for number in range(count):
            await opened.producer.send(record(topic, f"{number}"))
        seen: list[int] = []
        while len(seen) < count:
            batch = await subscription.receive()
            assert 0 < len(batch) <= 500
            seen += [int(text(received)) for received in batch]
            await trio.sleep(0.01)
    assert seen == list(range(count))


async def test_leaving_with_records_in_work_takes_seconds_at_most(subject: Subject, clock: object) -> None:
    """Neither what is in work nor what still waits holds up the end; both come again."""
    topic, group = subject.topic(partitions=1), subject.group()
    async with subject.open(topic) as opened:
        for number in range(1500):
            await opened.producer.send(record(topic, f"{number}"))
        async with opened.consumer.subscribe([topic.name], group=group) as subscription:
            await take(subscription, 1)
            start = trio.current_time()
        assert trio.current_time() - start < 4
        async with opened.consumer.subscribe([topic.name], group=group) as subscription:
            [first, *_] = await take(subscription, 1)
    assert text(first) == "0"


async def test_headers_of_every_shape_arrive(subject: Subject, clock: object) -> None:
    """Empty names and values, many of them, any bytes, and names beyond ASCII."""
    topic = subject.topic(partitions=1)
    headers = (
        ("empty", b""),
        ("", b"no name"),
        ("größe", b"\x00\xff"),
        *((f"h{n}", b"x") for n in range(100)),
    )
    async with subject.open(topic) as opened, opened.consumer.follow([topic.name], replay=0) as follower:
        await follower.caught_up()
        await opened.producer.publish(Record(topic.name, b"{}", b"", headers))
        [received] = await take(follower, 1)
    assert tuple(received.headers) == headers
    assert (received.value, received.key) == (b"{}", b"")


class Members:
    """Members of a group that handle one record after the other, slowly.

    Args:
        opened: the bus.
        topic, group: what they read.
    """

    def __init__(self, opened: Open, topic: Topic, group: str) -> None:
        self.handled: list[tuple[str, str, int]] = []  # member, key, number
        self._opened = opened
        self._topic = topic
        self._group = group

    @asynccontextmanager
    async def member(self, name: str) -> AsyncIterator[None]:
        """Let a member work inside the block; at its end it leaves, with a record in its hands."""
        async with (
            self._opened.consumer.subscribe([self._topic.name], group=self._group) as subscription,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._work, name, subscription)
            yield
            nursery.cancel_scope.cancel()

    async def _work(self, name: str, subscription: Subscription) -> None:
        while True:
            for received in await subscription.receive():
                await trio.sleep(0.004)
                assert received.key is not None
                self.handled.append((name, received.key.decode(), int(text(received))))
                subscription.done(received)

    async def until(self, count: int, member: str | None = None) -> None:
        """Wait until so many records were handled, by that member or by any."""
        while len({number for name, _, number in self.handled if member in (None, name)}) < count:  # noqa: ASYNC110 - a loop over what tasks share
            await trio.sleep(0.01)


async def test_members_that_come_and_go_lose_nothing_and_keep_the_order_of_a_key(
    subject: Subject, clock: object
) -> None:
    """A record in work when its partition moves is handled by both members: of each key, in order.

    A member does not wait for its handlers when a partition is taken away: it commits what is done, and hands
    over the rest. So a record may be handled twice, but of a key the first handling of each is in order.
    """
    topic = subject.topic(partitions=4)
    count = 0

    async def send() -> None:
        nonlocal count
        while True:
            await opened.producer.send(record(topic, f"{count}", f"key {count % 12}"))
            count += 1
            await trio.sleep(0.004)

    async with subject.open(topic) as opened:
        members = Members(opened, topic, subject.group())
        async with trio.open_nursery() as sending:
            sending.start_soon(send)
            async with members.member("first"):
                await members.until(30)
                async with members.member("second"):
                    await members.until(20, "second")
                async with members.member("third"):
                    await members.until(20, "third")
            sending.cancel_scope.cancel()
        async with members.member("last"):
            await members.until(count)
    assert {number for _, _, number in members.handled} == set(range(count))
    for key in {key for _, key, _ in members.handled}:
        mine = [number for _, of, number in members.handled if of == key]
        firsts = sorted(set(mine), key=mine.index)
        assert firsts == sorted(firsts)
    assert len(members.handled) < 2 * count


async def test_nothing_arrives_for_a_member_that_has_done_all(subject: Subject, clock: object) -> None:
    """After an orderly hand-over no record comes a second time."""
    topic, group = subject.topic(partitions=2), subject.group()
    async with subject.open(topic) as opened:
        async with opened.consumer.subscribe([topic.name], group=group) as subscription:
            for number in range(10):
                await opened.producer.publish(record(topic, f"{number}", f"{number}"))
            for received in await take(subscription, 10):
                subscription.done(received)
        assert opened.consumer.principal == CONSUMER
        async with opened.consumer.subscribe([topic.name], group=group) as subscription:
            assert await takes_nothing(subscription)
