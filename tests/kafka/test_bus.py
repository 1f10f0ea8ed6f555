"""What every bus does alike, whatever stands behind it."""

import pytest
import trio
from bus_checker import PRODUCER, STRANGER, Subject, record, take, takes_nothing, text

from flux.errors import ClosedError, LocalError
from flux.messages import Record
from flux.transport.kafka.bus import OwnershipError
from flux.transport.kafka.catalog import OPERATOR

pytestmark = pytest.mark.usefixtures("clock")


async def test_records_of_one_key_keep_their_order(subject: Subject, clock: object) -> None:
    """All records of a key stand in one partition, in the order in which they were sent."""
    topic = subject.topic(partitions=4)
    async with subject.open(topic) as opened, opened.consumer.follow([topic.name], replay=0) as follower:
        await follower.caught_up()
        for number in range(60):
            await opened.producer.send(record(topic, f"{number}", f"key {number % 6}"))
        records = await take(follower, 60)
    for key in {received.key for received in records}:
        mine = [received for received in records if received.key == key]
        assert [int(text(received)) for received in mine] == sorted(int(text(received)) for received in mine)
        assert len({received.partition for received in mine}) == 1
    assert len({received.partition for received in records}) > 1


async def test_a_record_arrives_as_it_was_sent(subject: Subject, clock: object) -> None:
    """Value, key, headers (in order, also twice the same name) and the position of the report arrive."""
    topic = subject.topic()
    headers = (("ce_id", b"1"), ("raw", b"\xff\x00"), ("twice", b"a"), ("twice", b"b"))
    sent = Record(topic.name, b'{"a":"\xc3\xa9"}', b"key", headers)
    async with subject.open(topic) as opened, opened.consumer.follow([topic.name], replay=0) as follower:
        await follower.caught_up()
        position = await opened.producer.publish(sent)
        [received] = await take(follower, 1)
    assert (received.topic, received.value, received.key) == (sent.topic, sent.value, sent.key)
    assert received.headers == headers
    assert (received.partition, received.offset) == (position.partition, position.offset)
    assert received.timestamp > 1_700_000_000_000


async def test_tombstones_and_empty_values_differ(subject: Subject, clock: object) -> None:
    """A record without a value is not one with an empty value, and neither key nor headers are needed."""
    topic = subject.topic(partitions=1)
    async with subject.open(topic) as opened, opened.consumer.follow([topic.name], replay=0) as follower:
        await follower.caught_up()
        await opened.producer.send(Record(topic.name, None, b"gone"))
        await opened.producer.send(Record(topic.name, b""))
        tombstone, empty = await take(follower, 2)
    assert (tombstone.value, tombstone.key) == (None, b"gone")
    assert (empty.value, empty.key, empty.headers) == (b"", None, ())


async def test_a_group_gets_again_what_it_did_not_mark_done(subject: Subject, clock: object) -> None:
    """What is done stays done; what was only received comes again to the next member."""
    topic, group = subject.topic(partitions=1), subject.group()
    async with subject.open(topic) as opened:
        for number in range(5):
            await opened.producer.publish(record(topic, f"{number}"))
        async with opened.consumer.subscribe([topic.name], group=group) as subscription:
            records = await take(subscription, 5)
            subscription.done(records[0])
            subscription.done(records[1])
        async with opened.consumer.subscribe([topic.name], group=group) as subscription:
            assert [text(received) for received in await take(subscription, 3)] == ["2", "3", "4"]


async def test_a_commit_never_passes_a_record_in_work(subject: Subject, clock: object) -> None:
    """Marking a later record done does not commit over an earlier one; done out of order works."""
    topic, group = subject.topic(partitions=1), subject.group()
    async with subject.open(topic) as opened:
        for number in range(3):
            await opened.producer.publish(record(topic, f"{number}"))
        async with opened.consumer.subscribe([topic.name], group=group) as subscription:
            _, second, third = await take(subscription, 3)
            subscription.done(third)
            subscription.done(second)
        async with opened.consumer.subscribe([topic.name], group=group) as subscription:
            again = await take(subscription, 3)
            assert [text(received) for received in again] == ["0", "1", "2"]
            for received in reversed(again):
                subscription.done(received)
        async with opened.consumer.subscribe([topic.name], group=group) as subscription:
            assert await takes_nothing(subscription)


async def test_a_group_starts_with_what_was_there_before_it(subject: Subject, clock: object) -> None:
    """A command that was sent before its service ever ran is served."""
    topic = subject.topic()
    async with subject.open(topic) as opened:
        await opened.producer.publish(record(topic, "early"))
        async with opened.consumer.subscribe([topic.name], group=subject.group()) as subscription:
            [received] = await take(subscription, 1)
    assert text(received) == "early"


async def test_a_cancelled_receive_loses_nothing(subject: Subject, clock: object) -> None:
    """Whatever a cancelled call had in its hands, the next one returns."""
    topic = subject.topic(partitions=1)
    seen: list[int] = []
    async with subject.open(topic) as opened, opened.consumer.follow([topic.name], replay=0) as follower:
        await follower.caught_up()
        for number in range(100):
            await opened.producer.send(record(topic, f"{number}"))
            with trio.move_on_after(0.001):
                seen += [int(text(received)) for received in await follower.receive()]
        while len(seen) < 100:
            seen += [int(text(received)) for received in await follower.receive()]
    assert seen == list(range(100))


async def test_only_the_owner_produces(subject: Subject, clock: object) -> None:
    """Producing to another's topic is refused, and the error says whose it is."""
    topic = subject.topic()
    async with subject.open(topic) as opened:
        for principal in (STRANGER, OPERATOR):
            client = opened.bus.client(principal)
            with pytest.raises(OwnershipError, match=f"{principal} may not produce .* only producer may"):
                await client.publish(record(topic, "x"))
            with pytest.raises(OwnershipError):
                await client.send(record(topic, "x"))
        async with opened.consumer.follow([topic.name], replay=9) as follower:
            assert await takes_nothing(follower, 0.5)


async def test_only_the_consumer_and_the_operator_consume(subject: Subject, clock: object) -> None:
    """Consuming another's topic is refused; the operator may watch every one."""
    topic = subject.topic()
    async with subject.open(topic) as opened:
        for client in (opened.producer, opened.bus.client(STRANGER)):
            with pytest.raises(OwnershipError, match="may not consume"):
                client.subscribe([topic.name], group=subject.group())
            with pytest.raises(OwnershipError, match="may not consume"):
                client.follow([topic.name], replay=0)
        await opened.producer.publish(record(topic, "seen"))
        async with opened.bus.client(OPERATOR).follow([topic.name], replay=1) as follower:
            assert [text(received) for received in await take(follower, 1)] == ["seen"]


async def test_unknown_topics_are_refused(subject: Subject, clock: object) -> None:
    """A topic that nobody declared is the caller's mistake, in every direction."""
    async with subject.open(subject.topic()) as opened:
        with pytest.raises(LocalError, match="unknown topic"):
            await opened.producer.publish(Record("nowhere", b"x"))
        with pytest.raises(LocalError, match="unknown topic"):
            opened.consumer.follow(["nowhere"], replay=0)
        with pytest.raises(LocalError, match="at least one topic"):
            opened.consumer.subscribe([], group=subject.group())
        with pytest.raises(LocalError, match="replay"):
            opened.consumer.follow([subject.topic().name], replay=-1)


async def test_the_largest_record_passes_and_one_byte_more_is_refused(
    subject: Subject, clock: object
) -> None:
    """A value of a million bytes arrives whole; a larger one is refused before it is produced."""
    topic = subject.topic(partitions=1)
    async with subject.open(topic) as opened, opened.consumer.follow([topic.name], replay=0) as follower:
        await follower.caught_up()
        headers = (("reason", b"h" * 60_000),)
        await opened.producer.publish(Record(topic.name, b"v" * 1_000_000, b"k" * 4096, headers))
        [received] = await take(follower, 1)
        assert len(received.value or b"") == 1_000_000
        with pytest.raises(LocalError, match=r"1000001 bytes .* passes the bound"):
            await opened.producer.publish(Record(topic.name, b"v" * 1_000_001))
        with pytest.raises(LocalError, match="key"):
            await opened.producer.send(Record(topic.name, b"v", b"k" * 4097))
        with pytest.raises(LocalError, match="headers"):
            await opened.producer.send(Record(topic.name, b"v", b"k", (("h", b"h" * 65_536),)))


async def test_a_follower_replays_the_last_records_of_each_partition(subject: Subject, clock: object) -> None:
    """`replay` counts per partition, across topics, and live records follow; nothing is committed."""
    topics = [subject.topic("one", partitions=2), subject.topic("two", partitions=1)]
    names = [topic.name for topic in topics]
    async with subject.open(*topics) as opened:
        positions: dict[tuple[str, int], list[int]] = {}
        for topic in topics:
            for number in range(20):
                position = await opened.producer.publish(record(topic, f"{number}", f"{number % 7}"))
                positions.setdefault((topic.name, position.partition), []).append(position.offset)
        expected = {(*key, offset) for key, offsets in positions.items() for offset in offsets[-3:]}
        for _ in range(2):
            async with opened.consumer.follow(names, replay=3) as follower:
                records = await take(follower, len(expected))
                assert {(r.topic, r.partition, r.offset) for r in records} == expected
                live = await opened.producer.publish(record(topics[0], "live"))
                [received] = await take(follower, 1)
                assert (received.partition, received.offset) == (live.partition, live.offset)
                # The next round's last three.
                positions[topics[0].name, live.partition].append(live.offset)
                expected = {(*key, offset) for key, offsets in positions.items() for offset in offsets[-3:]}


async def test_without_replay_only_news_arrive(subject: Subject, clock: object) -> None:
    """With `replay=0` the records from before are not returned."""
    topic = subject.topic()
    async with subject.open(topic) as opened:
        for number in range(4):
            await opened.producer.publish(record(topic, f"old {number}"))
        async with opened.consumer.follow([topic.name], replay=0) as follower:
            await follower.caught_up()
            await opened.producer.publish(record(topic, "new"))
            assert [text(received) for received in await take(follower, 1)] == ["new"]


async def test_empty_topics_are_caught_up_at_once(subject: Subject, clock: object) -> None:
    """Nobody needs to receive anything for that."""
    topics = [subject.topic("one"), subject.topic("two")]
    async with (
        subject.open(*topics) as opened,
        opened.consumer.follow([topic.name for topic in topics], replay=10) as follower,
    ):
        with trio.fail_after(10):
            await follower.caught_up()


async def test_caught_up_means_that_everything_was_returned(subject: Subject, clock: object) -> None:
    """Before the last record from the start is returned, the follower has not caught up."""
    topic = subject.topic(partitions=2)
    async with subject.open(topic) as opened:
        for number in range(10):
            await opened.producer.publish(record(topic, f"{number}", f"{number}"))
        async with opened.consumer.follow([topic.name], replay=10) as follower:
            with trio.move_on_after(1) as scope:
                await follower.caught_up()
            assert scope.cancelled_caught
            await take(follower, 10)
            with trio.fail_after(10):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(follower.receive)  # on librdkafka, the end of a partition comes apart
                    await follower.caught_up()
                    nursery.cancel_scope.cancel()


async def test_two_members_share_the_partitions(subject: Subject, clock: object) -> None:
    """Both members of a group get records, and together they get all."""
    topic, group = subject.topic(partitions=4), subject.group()
    shares: list[set[int]] = [set(), set()]
    seen: set[str] = set()

    async def member(share: set[int]) -> None:
        async with opened.consumer.subscribe([topic.name], group=group) as subscription:
            while True:
                for received in await subscription.receive():
                    share.add(received.partition)
                    seen.add(text(received))
                    subscription.done(received)

    async with subject.open(topic) as opened, trio.open_nursery() as nursery:
        for share in shares:
            nursery.start_soon(member, share)
        sent = 0
        while not all(shares):
            await opened.producer.publish(record(topic, f"{sent}", f"{sent}"))
            sent += 1
            await trio.sleep(0.02)
        while len(seen) < sent:  # noqa: ASYNC110 - a loop over what two tasks share
            await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert seen == {f"{number}" for number in range(sent)}


async def test_a_member_takes_over_from_one_that_left(subject: Subject, clock: object) -> None:
    """When a member leaves, the other gets its partitions, from the first record that was not done."""
    topic, group = subject.topic(partitions=2), subject.group()
    async with subject.open(topic) as opened:
        async with opened.consumer.subscribe([topic.name], group=group) as first:
            await opened.producer.publish(record(topic, "done", "a"))
            [received] = await take(first, 1)
            first.done(received)
            await opened.producer.publish(record(topic, "in work", "a"))
            await take(first, 1)
        async with opened.consumer.subscribe([topic.name], group=group) as second:
            assert [text(received) for received in await take(second, 1)] == ["in work"]


async def test_a_closed_reader_says_so(subject: Subject, clock: object) -> None:
    """Receiving after the block is this side's mistake."""
    topic = subject.topic()
    async with subject.open(topic) as opened:
        async with opened.consumer.follow([topic.name], replay=0) as follower:
            pass
        with pytest.raises(ClosedError):
            await follower.receive()


async def test_two_tasks_may_not_receive_at_once(subject: Subject, clock: object) -> None:
    """The order of batches would be lost between two tasks, so the second one is told."""
    topic = subject.topic()
    async with (
        subject.open(topic) as opened,
        opened.consumer.follow([topic.name], replay=0) as follower,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(follower.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await follower.receive()
        nursery.cancel_scope.cancel()


async def test_an_error_of_the_block_passes_unwrapped(subject: Subject, clock: object) -> None:
    """The reader's own tasks do not turn the caller's error into an ExceptionGroup."""
    topic = subject.topic()
    caught = None
    async with subject.open(topic) as opened:
        try:
            async with opened.consumer.subscribe([topic.name], group=subject.group()):
                raise ZeroDivisionError  # noqa: TRY301 - the error under test
        except ZeroDivisionError as error:
            caught = error
    assert caught is not None


async def test_creating_topics_again_creates_nothing(subject: Subject, clock: object) -> None:
    """Topic creation is idempotent: every process of a deployment may do it."""
    async with subject.open(subject.topic()) as opened:
        assert await opened.bus.create_topics() == []


async def test_sent_records_are_delivered_before_the_bus_ends(subject: Subject, clock: object) -> None:
    """What was sent just before the end is flushed, not dropped."""
    topic = subject.topic(partitions=1)
    async with subject.open(topic) as opened:
        for number in range(200):
            await opened.producer.send(record(topic, f"{number}"))
    async with (
        subject.open(topic) as opened,
        opened.bus.client("consumer").follow([topic.name], replay=500) as follower,
    ):
        assert [int(text(received)) for received in await take(follower, 200)] == list(range(200))


def test_principals_are_roles_not_names(subject: Subject) -> None:
    """A client knows whose it is."""
    assert subject.make([subject.topic()]).client(PRODUCER).principal == PRODUCER
