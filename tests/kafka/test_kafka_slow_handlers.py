"""Handlers slower than the group allows: the member stays, or comes back; nothing is lost."""

from typing import Any

import pytest
import structlog.testing
import trio
from bus_checker import Subject, record, take, text

from flux.transport.kafka import consumer as consumer_module
from flux.transport.kafka.confluent import ConfluentBus

MAX_POLL_SECONDS = 2.0
CONFIG = {"max.poll.interval.ms": 2000, "session.timeout.ms": 1500, "heartbeat.interval.ms": 200}


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def subject(request: pytest.FixtureRequest) -> Subject:
    """A bus over a broker with groups of librdkafka."""
    fixture = "embedded_broker" if request.param == "embedded" else "apache_kafka"
    broker: Any = request.getfixturevalue(fixture)
    options: dict[str, Any] = {"broker": broker} if request.param == "embedded" else {}
    return Subject(
        request.param,
        lambda topics, **more: ConfluentBus(
            topics, bootstrap_servers=broker.bootstrap_servers, config=CONFIG, **options, **more
        ),
    )


async def test_a_handler_slower_than_the_poll_interval_stays_in_its_group(subject: Subject) -> None:
    """The consumer is polled for it, however short the interval is set: nothing comes twice."""
    topic, group = subject.topic(partitions=1), subject.group()
    handled: list[str] = []
    with structlog.testing.capture_logs() as logs:
        async with subject.open(topic) as opened:
            for number in range(4000):  # more than may wait, so that the thread is without credits
                await opened.producer.send(record(topic, f"{number}"))
            async with opened.consumer.subscribe([topic.name], group=group) as subscription:
                first = True
                while len(handled) < 4000:
                    for received in await subscription.receive():
                        if first:
                            await trio.sleep(1.5 * MAX_POLL_SECONDS)
                            first = False
                        handled.append(text(received))
                        subscription.done(received)
    assert handled == [f"{number}" for number in range(4000)]
    assert "reader stands still; consumer paused" in [line["event"] for line in logs]
    assert not [line for line in logs if line["event"] == "consumer broken"]


async def test_a_member_that_was_thrown_out_comes_back_and_gets_the_records_again(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commits of the time before count for nothing; every record is handled, in order at the last."""
    monkeypatch.setattr(consumer_module, "STALL_SECONDS", 1e6)
    monkeypatch.setattr(consumer_module, "MAX_BATCH", 5)
    monkeypatch.setattr(consumer_module, "MAX_POLL_SHARE", 1e6)
    topic, group = subject.topic(partitions=1), subject.group()
    handled: list[int] = []
    with structlog.testing.capture_logs() as logs:
        async with subject.open(topic) as opened:
            for number in range(100):
                await opened.producer.publish(record(topic, f"{number}"))
            async with opened.consumer.subscribe([topic.name], group=group) as subscription:
                slow = await take(subscription, 1)
                await trio.sleep(MAX_POLL_SECONDS + 2)
                for received in slow:  # too late: it is another member's by now, or nobody's
                    handled.append(int(text(received)))
                    subscription.done(received)
                # Those that waited are of the time before; then all come again, from the first on.
                while handled[-1] != 99:
                    for received in await subscription.receive():
                        handled.append(int(text(received)))
                        subscription.done(received)
            async with opened.consumer.subscribe([topic.name], group=group) as subscription:
                await opened.producer.publish(record(topic, "100"))
                [last] = await take(subscription, 1)
    assert text(last) == "100"
    assert set(handled) == set(range(100))
    assert handled[-100:] == list(range(100))
    assert len(handled) > 100
    assert not [line for line in logs if line["event"] == "consumer broken"]
