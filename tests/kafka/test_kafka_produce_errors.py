"""What fails to be produced: each class of error has its meaning; a producer beyond help is replaced."""

from typing import Any

import pytest
import structlog.testing
import trio
from bus_checker import CONSUMER, PRODUCER, record, take, text
from confluent_kafka import KafkaError, KafkaException

from flux import app
from flux.domains.domain import BFF
from flux.domains.registry import ALL_TOPICS
from flux.domains.sources import Board
from flux.domains.weather import WEATHER
from flux.errors import BrokenError, FluxError, LocalError
from flux.messages import Record
from flux.metrics import REGISTRY
from flux.nurseries import Supervisor
from flux.settings import load_settings
from flux.transport.kafka.broker_watch import BrokerWatch
from flux.transport.kafka.bus import Client, Topic
from flux.transport.kafka.config import KafkaConfig
from flux.transport.kafka.confluent import ConfluentBus
from flux.transport.kafka.embedded import EmbeddedBroker
from flux.transport.kafka.link import Link
from flux.transport.kafka.produce_errors import REFUSED, TOO_LARGE, delivery_error
from flux.transport.kafka.producer import KafkaProducer

TOPIC = Topic("things", PRODUCER, CONSUMER, partitions=1)
PRODUCE = 0  # Kafka protocol guide, API keys
OUT_OF_ORDER_SEQUENCE = 45  # Kafka protocol guide, error codes


def bus_on(broker: EmbeddedBroker, **options: Any) -> ConfluentBus:
    """Return a bus over an embedded broker, with its topic created."""
    broker.create_topics([TOPIC])
    return ConfluentBus([TOPIC], bootstrap_servers=broker.bootstrap_servers, broker=broker, **options)


async def publish_at_last(client: Client, sent: Record) -> None:
    """Publish, and try again while that may help."""
    with trio.fail_after(20):
        while True:
            try:
                await client.publish(sent)
            except BrokenError:
                await trio.sleep(0.05)
            else:
                return


def codes() -> list[int]:
    """Return every error code that librdkafka and the protocol have."""
    names = (name for name in dir(KafkaError) if name.lstrip("_").isupper())
    found = {getattr(KafkaError, name) for name in names}
    return sorted(code for code in found if isinstance(code, int) and code != 0)


def test_every_error_is_the_records_own_or_may_pass() -> None:
    """Each code gives exactly one of the two errors, which names the topic; only a few are for ever."""
    local = set()
    for code in codes():
        error = delivery_error("things", KafkaError(code))
        assert type(error) in (LocalError, BrokenError)
        assert str(error).startswith("things: ")
        if isinstance(error, LocalError):
            local.add(code)
    assert local == TOO_LARGE | REFUSED
    assert len(codes()) > 100


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, LocalError, "too large for the broker"),
        (KafkaError.RECORD_LIST_TOO_LARGE, LocalError, "too large for the broker"),
        (KafkaError.INVALID_RECORD, LocalError, "refuses the record"),
        (KafkaError.POLICY_VIOLATION, LocalError, "refuses the record"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, BrokenError, "access rules"),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, BrokenError, "access rules"),
        (KafkaError.INVALID_PRODUCER_EPOCH, BrokenError, "not delivered"),
    ],
)
async def test_a_broker_that_refuses_for_good_is_believed_at_once(
    embedded_broker: EmbeddedBroker, code: int, expected: type[FluxError], words: str
) -> None:
    """The refusal comes long before the message time-out, says why, and the next record passes."""
    bus = bus_on(embedded_broker)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.client(PRODUCER).publish(record(TOPIC, "before"))
            embedded_broker.push_errors(PRODUCE, [code])
            with trio.fail_after(5), pytest.raises(expected, match=words) as caught:
                await bus.client(PRODUCER).publish(record(TOPIC, "refused"))
            assert type(caught.value) is expected
            embedded_broker.clear_errors(PRODUCE)
            await publish_at_last(bus.client(PRODUCER), record(TOPIC, "after"))
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError._TRANSPORT,
    ],
)
async def test_what_may_pass_is_tried_again_until_it_has(embedded_broker: EmbeddedBroker, code: int) -> None:
    """The caller of `publish` sees nothing of it, and the record stands there once."""
    bus = bus_on(embedded_broker)
    with trio.fail_after(20):
        async with (
            trio.open_nursery() as nursery,
            bus.client(CONSUMER).follow([TOPIC.name], replay=0) as follower,
        ):
            await nursery.start(bus.run)
            await follower.caught_up()
            await bus.client(PRODUCER).publish(record(TOPIC, "before"))
            embedded_broker.push_errors(PRODUCE, [code])
            await bus.client(PRODUCER).publish(record(TOPIC, "during"))
            await bus.client(PRODUCER).publish(record(TOPIC, "after"))
            assert [text(received) for received in await take(follower, 3)] == ["before", "during", "after"]
            nursery.cancel_scope.cancel()


async def test_a_producer_that_fails_for_good_ends_its_bus_with_every_pending_publish(
    embedded_broker: EmbeddedBroker,
) -> None:
    """`run` raises BrokenError alone, all who wait hear of it, and run again the bus delivers."""
    bus = bus_on(embedded_broker)
    before = REGISTRY.get_sample_value("flux_kafka_producers_broken_total") or 0.0
    outcomes: list[BaseException] = []

    async def publish(number: int) -> None:
        try:
            await bus.client(PRODUCER).publish(record(TOPIC, f"{number}"))
        except BrokenError as error:
            outcomes.append(error)

    async def fail() -> None:
        async with trio.open_nursery() as nursery:
            await bus.wait_connected()
            await bus.client(PRODUCER).publish(record(TOPIC, "before"))
            embedded_broker.push_errors(PRODUCE, [OUT_OF_ORDER_SEQUENCE])
            for number in range(20):
                nursery.start_soon(publish, number)

    with trio.fail_after(30), structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            start = trio.current_time()
            with pytest.raises(BrokenError, match=r"failed for good: .*sequence"):
                await bus.run()
            assert trio.current_time() - start < 5
        assert outcomes
        embedded_broker.clear_errors(PRODUCE)
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.client(PRODUCER).publish(record(TOPIC, "after"))
            nursery.cancel_scope.cancel()
    assert (REGISTRY.get_sample_value("flux_kafka_producers_broken_total") or 0.0) - before == 1
    # Each of them is told to its caller and in the log, by id where it has one.
    undelivered = [line for line in logs if line["event"] == "record not delivered"]
    assert 0 < len(undelivered) <= len(outcomes)


async def test_the_tree_replaces_a_producer_that_failed_for_good(embedded_broker: EmbeddedBroker) -> None:
    """Kafka's children and a domain's, as `flux service` runs them: the command is answered all the same."""
    settings = load_settings(None, {}, environ={})
    kafka = app.Kafka(embedded_broker.bootstrap_servers, embedded=True, host=embedded_broker)
    bus = app._bus(settings, kafka, ALL_TOPICS)
    domains = app._domain_children(settings, bus, [WEATHER], Board())
    tree = Supervisor("flux", [*app._kafka_children(bus, kafka), *domains])
    fetch, updated = WEATHER.commands[0].topic.name, WEATHER.feeds[0].topic.name
    command = Record(fetch, b'{"event":"locationUpdate","data":{"city":"Oslo"}}', b"oslo")
    with trio.fail_after(40):
        async with trio.open_nursery() as nursery:
            await nursery.start(tree)
            await bus.wait_connected()
            async with bus.client(BFF).follow([updated], replay=10) as follower:
                await follower.caught_up()
                await bus.client(BFF).publish(command)
                await take(follower, 1)
                embedded_broker.push_errors(PRODUCE, [OUT_OF_ORDER_SEQUENCE])
                with pytest.raises(BrokenError):
                    await bus.client(BFF).publish(command)
                embedded_broker.clear_errors(PRODUCE)
                await publish_at_last(bus.client(BFF), command)
                [answer] = await take(follower, 1)
                nodes = {node.name: node for node in tree.tree().children}
            nursery.cancel_scope.cancel()
    assert answer.key == b"oslo"
    assert nodes["bus"].restarts == 1
    assert "failed for good" in (nodes["bus"].last_error or "")
    assert nodes["domains"].restarts == 0
    assert [child.restarts for child in nodes["domains"].children] == [0]


def test_every_report_is_served_at_the_end_although_the_fatal_error_cuts_polls_short() -> None:
    """What librdkafka still holds after a purge is told, not left behind by the first poll that raises."""
    fatal = KafkaException(KafkaError(KafkaError._FATAL, "it failed"))

    class CutShort:
        """A producer with three reports left; every other poll raises."""

        left, turns = 3, 0

        def __len__(self) -> int:
            return self.left

        def flush(self, timeout: float) -> None:  # noqa: ARG002 - the producer's signature, also below
            raise fatal

        def purge(self) -> None:
            """Make reports of what is queued: they are there already."""

        def poll(self, timeout: float) -> int:  # noqa: ARG002
            self.turns += 1
            if self.turns % 2:
                raise fatal
            self.left -= 1
            return 1

    reports: Any = CutShort()
    producer = KafkaProducer(KafkaConfig("nowhere:1"), Link())
    producer._fatal = "it failed"
    producer._serve(reports, BrokerWatch())
    assert reports.left == 0
