"""A broker that is away, comes back, stalls or loses power: bounded errors, one log line, and healing."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import structlog.testing
import trio
from apache_kafka import ApacheKafka
from bus_checker import CONSUMER, PRODUCER, record, take, takes_nothing, text
from ports import free_port

from flux.errors import BrokenError, LocalError
from flux.messages import Record
from flux.transport.kafka import admin as admin_module
from flux.transport.kafka import consumer as consumer_module
from flux.transport.kafka.bus import Topic
from flux.transport.kafka.config import KafkaConfig
from flux.transport.kafka.confluent import ConfluentBus
from flux.transport.kafka.embedded import EmbeddedBroker

TOPIC = Topic("things", PRODUCER, CONSUMER, partitions=1)


@pytest.fixture
def topic_broker(embedded_broker: EmbeddedBroker) -> EmbeddedBroker:
    """An embedded broker with the topic."""
    embedded_broker.create_topics([TOPIC])
    return embedded_broker


def bus_on(broker: EmbeddedBroker, *, message_timeout: float = 10) -> ConfluentBus:
    """Return a bus over an embedded broker."""
    return ConfluentBus(
        [TOPIC], bootstrap_servers=broker.bootstrap_servers, broker=broker, message_timeout=message_timeout
    )


async def wait_disconnected(bus: ConfluentBus) -> None:
    """Wait until the bus has noticed that the broker is away."""
    while bus.status.connected:  # noqa: ASYNC110 - the interface has no event for this
        await trio.sleep(0.02)


async def wait_logged(logs: list[structlog.typing.EventDict], event: str) -> None:
    """Wait until a thread has logged that."""
    while not any(line["event"] == event for line in logs):  # noqa: ASYNC110 - threads fill the list
        await trio.sleep(0.05)


async def test_a_bus_is_ready_without_a_broker_and_says_why_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Start, status and publish beside an address where nothing listens: ready, explained, bounded."""
    monkeypatch.setattr(admin_module, "ANSWER_SECONDS", 1.0)
    port = free_port()
    bus = ConfluentBus([TOPIC], bootstrap_servers=f"127.0.0.1:{port}", message_timeout=1)
    with trio.fail_after(20), structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(0.5):
                await nursery.start(bus.run)
            start = trio.current_time()
            with pytest.raises(BrokenError, match="things: not delivered"):
                await bus.client(PRODUCER).publish(record(TOPIC, "x"))
            assert trio.current_time() - start < 4
            # librdkafka names the cause in a callback of its own, which a probe's time-out may outrun
            with trio.fail_after(5):
                while "refused" not in bus.status.reason:  # noqa: ASYNC110 - a status tells nobody of its change
                    await trio.sleep(0.05)
            assert not bus.status.connected
            with pytest.raises(BrokenError, match="was not created"), trio.fail_after(4):
                await bus.create_topics()
            nursery.cancel_scope.cancel()
            stop = trio.current_time()
    assert trio.current_time() - stop < 2
    warnings = [line["event"] for line in logs if line["log_level"] == "warning"]
    assert warnings.count("kafka does not answer; going on without it until it does") == 1
    assert len(warnings) == 2  # and the record that was not delivered


async def test_an_undelivered_record_is_logged_with_its_id(topic_broker: EmbeddedBroker) -> None:
    """A failed `send` has no caller left, so the log names the record and the metric counts it."""
    bus = bus_on(topic_broker, message_timeout=0.5)
    with trio.fail_after(20), structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.wait_connected()
            topic_broker.set_down()
            await bus.client(PRODUCER).send(Record(TOPIC.name, b"x", headers=(("ce_id", b"number one"),)))
            await wait_logged(logs, "record not delivered")
            nursery.cancel_scope.cancel()
    [line] = [line for line in logs if line["event"] == "record not delivered"]
    assert (line["topic"], line["ce_id"]) == ("things", "number one")


async def test_everything_heals_when_the_broker_comes_back(topic_broker: EmbeddedBroker) -> None:
    """Status, producer, follower and group go on by themselves, with one log line for each change."""
    bus = bus_on(topic_broker)
    with trio.fail_after(40), structlog.testing.capture_logs() as logs:
        async with (
            trio.open_nursery() as nursery,
            bus.client(CONSUMER).follow([TOPIC.name], replay=0) as follower,
            bus.client(CONSUMER).subscribe([TOPIC.name], group="group") as subscription,
        ):
            await nursery.start(bus.run)
            await bus.wait_connected()
            await follower.caught_up()
            await bus.client(PRODUCER).publish(record(TOPIC, "before"))
            assert [text(received) for received in await take(follower, 1)] == ["before"]
            for received in await take(subscription, 1):
                subscription.done(received)
            topic_broker.set_down()
            await wait_disconnected(bus)
            assert bus.status.reason
            nursery.start_soon(bus.client(PRODUCER).publish, record(TOPIC, "during"))
            await trio.sleep(1.5)
            topic_broker.set_up()
            await bus.wait_connected()
            assert [text(received) for received in await take(follower, 1)] == ["during"]
            # The outage may have ended the member's session before its commit: then "before" comes again.
            while "during" not in [text(received) for received in await take(subscription, 1)]:
                pass
            nursery.cancel_scope.cancel()
    events = [line["event"] for line in logs]
    assert events.count("kafka does not answer; going on without it until it does") == 1
    assert events.count("kafka answers") == 2
    assert sum(line["log_level"] in ("warning", "error") for line in logs) <= 2


async def test_consumers_wait_for_a_broker_that_is_not_there_yet() -> None:
    """A follower and a group member that start before the broker begin when it comes."""
    with EmbeddedBroker() as broker:
        broker.create_topics([TOPIC])
        broker.set_down()
        bus = bus_on(broker)
        with trio.fail_after(30):
            async with (
                bus.client(CONSUMER).follow([TOPIC.name], replay=5) as follower,
                bus.client(CONSUMER).subscribe([TOPIC.name], group="group") as subscription,
                trio.open_nursery() as nursery,
            ):
                with trio.move_on_after(1.5) as scope:
                    await follower.caught_up()
                assert scope.cancelled_caught, "nobody can know what stands in a topic without its broker"
                broker.set_up()
                await nursery.start(bus.run)
                await follower.caught_up()
                await bus.client(PRODUCER).publish(record(TOPIC, "x"))
                await take(follower, 1)
                await take(subscription, 1)
                nursery.cancel_scope.cancel()


async def test_consumers_find_topics_that_are_created_later(embedded_broker: EmbeddedBroker) -> None:
    """A follower of a missing topic has caught up, and reads it from its beginning once it exists."""
    bus = bus_on(embedded_broker)
    with trio.fail_after(30):
        async with (
            bus.client(CONSUMER).follow([TOPIC.name], replay=0) as follower,
            bus.client(CONSUMER).subscribe([TOPIC.name], group="group") as subscription,
            trio.open_nursery() as nursery,
        ):
            await follower.caught_up()
            await trio.sleep(0.5)
            await nursery.start(bus.run)
            await bus.create_topics()
            await bus.client(PRODUCER).publish(record(TOPIC, "first"))
            assert [text(received) for received in await take(follower, 1)] == ["first"]
            assert [text(received) for received in await take(subscription, 1)] == ["first"]
            nursery.cancel_scope.cancel()


async def test_consumers_close_in_time_beside_a_dead_broker(topic_broker: EmbeddedBroker) -> None:
    """Leaving a group whose broker is gone takes seconds, not a session time-out."""
    bus = bus_on(topic_broker)
    with trio.fail_after(40):
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.client(PRODUCER).publish(record(TOPIC, "x"))
            async with bus.client(CONSUMER).subscribe([TOPIC.name], group="group") as subscription:
                for received in await take(subscription, 1):
                    subscription.done(received)
                topic_broker.set_down()
                await wait_disconnected(bus)
                start = trio.current_time()
            assert trio.current_time() - start < consumer_module.CLOSE_SECONDS + 1
            nursery.cancel_scope.cancel()
            start = trio.current_time()
    assert trio.current_time() - start < 2


async def test_a_publish_in_flight_ends_with_its_bus(topic_broker: EmbeddedBroker) -> None:
    """Whoever waits for a report hears that the bus ended; afterwards it can run again."""
    bus = bus_on(topic_broker)
    outcome: list[BaseException] = []

    async def publish() -> None:
        try:
            await bus.client(PRODUCER).publish(record(TOPIC, "x"))
        except BrokenError as error:
            outcome.append(error)

    with trio.fail_after(30):
        async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.wait_connected()
            topic_broker.set_down()
            outer.start_soon(publish)
            await wait_disconnected(bus)
            nursery.cancel_scope.cancel()
        assert len(outcome) == 1
        with pytest.raises(BrokenError, match="does not run"):
            await bus.client(PRODUCER).send(record(TOPIC, "x"))
        topic_broker.set_up()
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.client(PRODUCER).publish(record(TOPIC, "x"))
            nursery.cancel_scope.cancel()


async def test_the_end_of_the_bus_waits_for_what_is_on_its_way(topic_broker: EmbeddedBroker) -> None:
    """Records that a slow broker has not confirmed yet are flushed, not purged."""
    bus = bus_on(topic_broker)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.client(PRODUCER).publish(record(TOPIC, "0"))
            topic_broker.set_round_trip(0.3)
            for number in range(20):
                await bus.client(PRODUCER).send(record(TOPIC, f"{number}"))
            nursery.cancel_scope.cancel()
        topic_broker.set_round_trip(0)
        info = (await bus.list_topics())[TOPIC.name]
    assert info.records == 21


async def test_a_full_queue_holds_the_sender_back_then_breaks(topic_broker: EmbeddedBroker) -> None:
    """`send` waits while the queue is full, and gives up after the message time-out."""
    bus = ConfluentBus(
        [TOPIC],
        bootstrap_servers=topic_broker.bootstrap_servers,
        broker=topic_broker,
        message_timeout=1,
        config={"queue.buffering.max.messages": 10, "message.timeout.ms": 1000},
    )
    client = bus.client(PRODUCER)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.wait_connected()
            for number in range(200):  # more than the queue holds: it drains while the sender waits
                await client.send(record(TOPIC, f"{number}"))
            topic_broker.set_round_trip(3)
            with pytest.raises(BrokenError, match="queue stayed full"):  # noqa: PT012 - which one is not known
                while True:
                    await client.send(record(TOPIC, "x"))
            topic_broker.set_round_trip(0)
            nursery.cancel_scope.cancel()


async def test_refusals_for_the_moment_are_tried_again(topic_broker: EmbeddedBroker) -> None:
    """Produce requests that the broker refuses for the moment are repeated, and stand there exactly once.

    One at a time: the mock cluster, unlike Kafka, takes a later batch before the one that it refused.
    """
    bus = bus_on(topic_broker)
    not_leader, timed_out = 6, 7  # Kafka protocol guide, error codes
    with trio.fail_after(30):
        async with (
            trio.open_nursery() as nursery,
            bus.client(CONSUMER).follow([TOPIC.name], replay=0) as follower,
        ):
            await nursery.start(bus.run)
            await follower.caught_up()
            topic_broker.push_errors(0, [not_leader, timed_out, not_leader])
            for number in range(5):
                await bus.client(PRODUCER).publish(record(TOPIC, f"{number}"))
            records = await take(follower, 5)
            assert await takes_nothing(follower, 0.3)
            nursery.cancel_scope.cancel()
    assert [int(text(received)) for received in records] == list(range(5))


async def test_a_refused_setting_is_named(topic_broker: EmbeddedBroker) -> None:
    """A setting that librdkafka does not know stops the bus with its name."""
    bus = ConfluentBus([TOPIC], bootstrap_servers=topic_broker.bootstrap_servers, config={"no.such": 1})
    with pytest.raises(LocalError, match=r"no\.such"):
        await bus.run()


async def test_a_slow_reader_holds_its_consumer_back(topic_broker: EmbeddedBroker) -> None:
    """While nobody receives, only a few batches leave librdkafka; then all of them arrive."""
    bus = bus_on(topic_broker)
    count = 8000
    with trio.fail_after(60):
        async with (
            trio.open_nursery() as nursery,
            bus.client(CONSUMER).follow([TOPIC.name], replay=0) as follower,
        ):
            await nursery.start(bus.run)
            await follower.caught_up()
            for number in range(count):
                await bus.client(PRODUCER).send(record(TOPIC, f"{number}"))
            await trio.sleep(1)
            handover = follower.handover  # type: ignore[attr-defined]
            waiting = sum(len(arrival.records) for arrival in handover._arrivals)
            assert 0 < waiting <= 4 * consumer_module.MAX_BATCH
            records = await take(follower, count)
            nursery.cancel_scope.cancel()
    assert [int(text(received)) for received in records] == list(range(count))


async def test_a_reader_that_stands_still_stays_in_its_group(
    topic_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer without credits is paused and polled, loses nothing, and goes on when the reader does."""
    monkeypatch.setattr(consumer_module, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(consumer_module, "MAX_BATCH", 5)
    bus = bus_on(topic_broker)
    with trio.fail_after(30), structlog.testing.capture_logs() as logs:
        async with (
            trio.open_nursery() as nursery,
            bus.client(CONSUMER).subscribe([TOPIC.name], group="group") as subscription,
        ):
            await nursery.start(bus.run)
            for number in range(100):
                await bus.client(PRODUCER).send(record(TOPIC, f"{number}"))
            await wait_logged(logs, "reader stands still; consumer paused")
            await trio.sleep(0.5)
            records = await take(subscription, 100)
            nursery.cancel_scope.cancel()
    assert [int(text(received)) for received in records] == list(range(100))


@pytest.fixture(scope="module")
def own_kafka(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A real node to break; each test leaves it up, and has a topic of its own."""
    with ApacheKafka(kafka_jars, tmp_path_factory.mktemp("own")) as node:
        yield node


@pytest.mark.kafka
async def test_nothing_confirmed_is_lost_when_a_real_broker_loses_power(own_kafka: ApacheKafka) -> None:
    """Kill -9 in the middle of a stream, restart on the same data: what was confirmed arrives, in order."""
    topic = Topic("power", PRODUCER, CONSUMER, partitions=1)
    confirmed: list[str] = []
    seen: list[str] = []

    async def publish_all() -> None:
        number = 0
        while number < 400:
            try:
                await client.publish(record(topic, f"{number}"))
            except BrokenError:
                continue
            confirmed.append(f"{number}")
            number += 1

    async def restart() -> None:
        while len(confirmed) < 150:  # noqa: ASYNC110 - a loop over what two tasks share
            await trio.sleep(0.01)
        own_kafka.kill()
        await trio.to_thread.run_sync(own_kafka.start)

    with trio.fail_after(90):
        bus = ConfluentBus([topic], bootstrap_servers=own_kafka.bootstrap_servers)
        client = bus.client(PRODUCER)
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.wait_connected()
            await bus.create_topics()
            async with (
                bus.client(CONSUMER).subscribe([topic.name], group="group") as subscription,
                trio.open_nursery() as work,
            ):
                work.start_soon(publish_all)
                work.start_soon(restart)
                while "399" not in seen:
                    for received in await subscription.receive():
                        seen.append(text(received))
                        subscription.done(received)
            nursery.cancel_scope.cancel()
    assert set(confirmed) <= set(seen)
    assert sorted(set(seen), key=seen.index) == [f"{number}" for number in range(400)]


@pytest.mark.kafka
async def test_a_frozen_broker_is_noticed_and_its_thaw_too(own_kafka: ApacheKafka) -> None:
    """A broker whose connections stay open but that answers nothing counts as away; publish stays bounded."""
    topic = Topic("ice", PRODUCER, CONSUMER, partitions=1)
    with trio.fail_after(60):
        bus = ConfluentBus([topic], bootstrap_servers=own_kafka.bootstrap_servers, message_timeout=2)
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.wait_connected()
            await bus.create_topics()
            await bus.client(PRODUCER).publish(record(topic, "before"))
            own_kafka.freeze()
            start = trio.current_time()
            with pytest.raises(BrokenError):
                await bus.client(PRODUCER).publish(record(topic, "during"))
            assert trio.current_time() - start < 6
            await wait_disconnected(bus)
            own_kafka.thaw()
            await bus.wait_connected()
            await bus.client(PRODUCER).publish(record(topic, "after"))
            nursery.cancel_scope.cancel()


async def test_a_question_that_was_given_up_says_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread ends by its own time-out; what the library logs until then is of no use to anyone."""
    monkeypatch.setattr(admin_module, "ANSWER_SECONDS", 1.0)
    with structlog.testing.capture_logs() as lines:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            admin = admin_module.Admin(KafkaConfig(f"127.0.0.1:{silent.getsockname()[1]}"))
            with trio.move_on_after(0.2):
                await admin.list_topics([Topic("t", producer=PRODUCER, consumer=CONSUMER)])
        assert lines == []
        await trio.sleep(1.2)  # nobody listens there now; librdkafka tells it when the thread ends
        assert lines == []
