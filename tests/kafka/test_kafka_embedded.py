"""The embedded broker by itself."""

import pytest
import trio
from bus_checker import CONSUMER, PRODUCER, record

from flux.errors import BrokenError, ClosedError, LocalError
from flux.transport.kafka import embedded
from flux.transport.kafka.bus import Topic
from flux.transport.kafka.confluent import ConfluentBus
from flux.transport.kafka.embedded import EmbeddedBroker

TOPIC = Topic("things", PRODUCER, CONSUMER, partitions=3)


async def test_as_a_service_it_is_ready_and_stops() -> None:
    """Ready when clients can come; after the cancellation nobody listens there."""
    broker = EmbeddedBroker()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(broker.run)
            host, _, port = broker.bootstrap_servers.partition(":")
            assert broker.creates_topics
            assert broker.create_topics([TOPIC]) == ["things"]
            assert broker.create_topics([TOPIC]) == []
            stream = await trio.open_tcp_stream(host, int(port))
            await stream.aclose()
            nursery.cancel_scope.cancel()
        with pytest.raises(OSError, match="refused|failed|all attempts"):  # noqa: RUF043
            await trio.open_tcp_stream(host, int(port))
    with pytest.raises(ClosedError):
        _ = broker.bootstrap_servers
    with pytest.raises(LocalError):
        broker.set_down()
    broker.stop()


async def test_another_process_finds_the_topics_there_or_hears_who_makes_them(
    embedded_broker: EmbeddedBroker,
) -> None:
    """Only the owner can create topics on it; the others check, and say what is missing."""
    joined = ConfluentBus([TOPIC], bootstrap_servers=embedded_broker.bootstrap_servers, embedded=True)
    with trio.fail_after(20):
        with pytest.raises(BrokenError, match="owner has not created things"):
            await joined.create_topics()
        embedded_broker.create_topics([TOPIC])
        assert await joined.create_topics() == []
        info = (await joined.list_topics())["things"]
    assert [(p.number, p.low, p.high) for p in info.partitions] == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]


async def test_without_the_mock_api_topics_have_other_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A librdkafka that hides its mock API still serves as a broker; only faults cannot be made."""
    monkeypatch.setattr(embedded, "load_mock_api", lambda: None)
    with EmbeddedBroker() as broker, trio.fail_after(20):
        assert not broker.creates_topics
        bus = ConfluentBus([TOPIC], bootstrap_servers=broker.bootstrap_servers, broker=broker)
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.wait_connected()
            assert await bus.create_topics() == []
            assert len((await bus.list_topics())["things"].partitions) == 4
            position = await bus.client(PRODUCER).publish(record(TOPIC, "x"))
            assert position.topic == "things"
            nursery.cancel_scope.cancel()
        with pytest.raises(LocalError):
            broker.set_round_trip(1)
