"""What other programs may do to a topic: odd headers, refusals of the broker, records deleted unread."""

import ctypes

import pytest
import structlog
import structlog.testing
import trio
from bus_checker import CONSUMER, PRODUCER, record, take, text
from confluent_kafka import cimpl

from flux.errors import BrokenError
from flux.transport.kafka import embedded
from flux.transport.kafka.bus import Topic
from flux.transport.kafka.confluent import ConfluentBus
from flux.transport.kafka.embedded import EmbeddedBroker

TOPIC = Topic("things", PRODUCER, CONSUMER, partitions=1)


@pytest.fixture
def bus(embedded_broker: EmbeddedBroker) -> ConfluentBus:
    """A bus over an embedded broker that has the topic."""
    embedded_broker.create_topics([TOPIC])
    return ConfluentBus([TOPIC], bootstrap_servers=embedded_broker.bootstrap_servers, broker=embedded_broker)


def produce_with_odd_headers(bootstrap_servers: str, count: int) -> None:
    """Produce records with a header name that is not UTF-8, which only librdkafka itself can do."""
    library = embedded.load_mock_api()
    assert library is not None
    pointer, text_type = ctypes.c_void_p, ctypes.c_char_p
    more = ctypes.CDLL(cimpl.__file__)
    more.rd_kafka_headers_new.restype = pointer
    more.rd_kafka_headers_new.argtypes = [ctypes.c_size_t]
    more.rd_kafka_header_add.argtypes = [pointer, text_type, ctypes.c_ssize_t, text_type, ctypes.c_ssize_t]
    more.rd_kafka_conf_set.argtypes = [pointer, text_type, text_type, pointer, ctypes.c_size_t]
    more.rd_kafka_flush.argtypes = [pointer, ctypes.c_int]
    conf = library.rd_kafka_conf_new()
    more.rd_kafka_conf_set(conf, b"bootstrap.servers", bootstrap_servers.encode(), None, 0)
    client = library.rd_kafka_new(0, conf, None, 0)
    topic, value, flags, header_list, end = 1, 4, 7, 10, 0  # rd_kafka_vtype_t
    copy = 2  # RD_KAFKA_MSG_F_COPY
    for _ in range(count):
        headers = more.rd_kafka_headers_new(1)
        more.rd_kafka_header_add(headers, b"\xff\xfe", -1, b"x", 1)
        more.rd_kafka_producev(
            pointer(client), topic, text_type(b"things"), value, text_type(b"odd"), ctypes.c_size_t(3),
            flags, copy, header_list, pointer(headers), end,
        )  # fmt: skip
    assert more.rd_kafka_flush(client, 5000) == 0
    library.rd_kafka_destroy(client)


async def test_header_names_that_are_not_text_do_not_end_the_consumer(
    bus: ConfluentBus, embedded_broker: EmbeddedBroker
) -> None:
    """Who asks for their headers finds none, with one log line each; what comes after them arrives."""
    count = 200  # more than the interpreter needs to specialise the call
    await trio.to_thread.run_sync(produce_with_odd_headers, embedded_broker.bootstrap_servers, count)
    with trio.fail_after(20), structlog.testing.capture_logs() as logs:
        async with (
            trio.open_nursery() as nursery,
            bus.client(CONSUMER).subscribe([TOPIC.name], group="group") as subscription,
        ):
            await nursery.start(bus.run)
            await bus.client(PRODUCER).publish(record(TOPIC, "fine"))
            records = await take(subscription, count + 1)
            found = [(text(received), tuple(received.headers)) for received in records]
            nursery.cancel_scope.cancel()
    assert found == [("odd", ())] * count + [("fine", ())]
    assert [line["offset"] for line in logs if line["event"].startswith("headers")] == list(range(count))


@pytest.mark.parametrize(
    ("api_key", "code"), [(10, 30), (11, 30)], ids=["find coordinator", "join group"]
)  # Kafka protocol guide: GROUP_AUTHORIZATION_FAILED is 30
async def test_a_member_that_may_not_join_is_told(
    bus: ConfluentBus, embedded_broker: EmbeddedBroker, api_key: int, code: int
) -> None:
    """Access refused is not waited out: `receive` breaks with the broker's reason."""
    embedded_broker.push_errors(api_key, [code] * 50)
    with trio.fail_after(20):
        async with bus.client(CONSUMER).subscribe([TOPIC.name], group="group") as subscription:
            with pytest.raises(BrokenError, match=r"consumer of group failed: .*authorization failed"):
                await subscription.receive()
            with pytest.raises(BrokenError):
                await subscription.receive()


async def test_a_group_goes_on_where_the_deleted_records_end(
    bus: ConfluentBus, embedded_broker: EmbeddedBroker
) -> None:
    """A committed offset whose record is gone by now leads to the oldest record that is left."""
    client = bus.client(PRODUCER)
    with trio.fail_after(40):
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await client.publish(record(TOPIC, "first"))
            async with bus.client(CONSUMER).subscribe([TOPIC.name], group="group") as subscription:
                for received in await take(subscription, 1):
                    subscription.done(received)
            for number in range(10):  # the embedded broker keeps 5 MiB of a partition
                await client.publish(record(TOPIC, f"{number}" * 900_000))
            low = (await bus.list_topics())[TOPIC.name].partitions[0].low
            assert low > 1
            async with bus.client(CONSUMER).subscribe([TOPIC.name], group="group") as subscription:
                [received, *_] = await take(subscription, 1)
            nursery.cancel_scope.cancel()
    assert received.offset == low


async def test_a_follower_catches_up_over_deleted_records(
    bus: ConfluentBus, embedded_broker: EmbeddedBroker
) -> None:
    """`replay` beyond what is left reads what is left."""
    client = bus.client(PRODUCER)
    with trio.fail_after(40):
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            for number in range(10):
                await client.publish(record(TOPIC, f"{number}" * 900_000))
            info = (await bus.list_topics())[TOPIC.name]
            async with bus.client(CONSUMER).follow([TOPIC.name], replay=100) as follower:
                records = await take(follower, info.records)
                await follower.caught_up()
            nursery.cancel_scope.cancel()
    assert info.records < 10
    assert records[0].offset == info.partitions[0].low
