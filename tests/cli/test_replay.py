"""`flux replay`, and `flux tail` from the beginning or a time: what was, shown or published once more."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from driver import JS, ClientProcess, attached
from program import Program

from flux.domains.registry import ALL_TOPICS
from flux.transport.kafka.embedded import EmbeddedBroker

Flux = Callable[..., subprocess.CompletedProcess[str]]
NEWS = "news.service.event.updated"
REJECTED = "weather.service.event.rejected"

EARLY, LATE = 1_700_000_000_000, 1_700_000_100_000  # Kafka times, 100 s apart
BETWEEN = "2023-11-14T22:14:00Z"


@pytest.fixture
def past() -> Iterator[str]:
    """A broker whose news topic has three early records, then two late ones, over its partitions."""
    with EmbeddedBroker() as broker:
        broker.create_topics(ALL_TOPICS)
        produce(
            broker.bootstrap_servers,
            NEWS,
            *(article(n) | {"timestamp": (EARLY, EARLY, EARLY, LATE, LATE)[n] + n} for n in range(5)),
        )
        yield broker.bootstrap_servers


@pytest.mark.parametrize("command", [("tail", "--no-follow"), ("replay",)], ids=" ".join)
@pytest.mark.parametrize(
    ("start", "expected"),
    [("beginning", [0, 1, 2, 3, 4]), (BETWEEN, [3, 4]), ("2", [3, 4]), ("2199-01-01", [])],
)
def test_a_look_begins_where_it_is_asked_to(
    flux: Flux, past: str, command: tuple[str, ...], start: str, expected: list[int]
) -> None:
    """So many records back, at a time, or at the beginning; always oldest first."""
    answer = flux(command[0], NEWS, *command[1:], "--from", start, "--json", "--bootstrap-servers", past)
    assert answer.returncode == 0, answer.stderr
    assert numbers(answer) == expected


@pytest.mark.kafka
def test_a_real_kafka_is_asked_for_the_time(flux: Flux, request: pytest.FixtureRequest) -> None:
    """What a real broker finds by time is what a look from that time shows."""
    servers = request.getfixturevalue("apache_kafka").bootstrap_servers
    assert flux("topics", "create", "--bootstrap-servers", servers).returncode == 0
    now = int(time.time() * 1000)
    produce(servers, NEWS, *(article(n) | {"timestamp": now - 100_000 + n * 10_000} for n in range(5)))
    start = datetime.fromtimestamp((now - 75_000) / 1000, UTC).isoformat()
    answer = flux("replay", NEWS, "--from", start, "--json", "--bootstrap-servers", servers)
    assert numbers(answer) == [3, 4], answer.stderr


def test_replay_is_bounded_and_says_where_to_go_on(flux: Flux, past: str) -> None:
    """The oldest records come; a line on standard error tells of the others."""
    answer = flux("replay", NEWS, "--limit", "2", "--json", "--bootstrap-servers", past)
    assert numbers(answer) == [0, 1]
    assert "3 more" in answer.stderr
    assert "2023-11-14T22:13:20.001Z" in answer.stderr


def test_what_is_published_again_is_the_same_record(flux: Flux, past: str) -> None:
    """Key, value and headers, in the order of each partition; one line says how many."""
    with EmbeddedBroker() as target:
        target.create_topics(ALL_TOPICS)
        produce(past, NEWS, {"key": b"news", "value": None, "headers": [("ce_id", b"e-1"), ("odd", b"\xff")]})
        servers = target.bootstrap_servers
        answer = flux("replay", NEWS, "--bootstrap-servers", past, "--to", servers)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout == f"published 6 records to {NEWS} at {servers}\n"
        before, after = read(past, NEWS, 6), read(servers, NEWS, 6)
    assert [(r["key"], r["value"]) for r in after] == [(r["key"], r["value"]) for r in before]
    for old, new in zip(before, after, strict=True):
        assert new["headers"][: len(old["headers"])] == old["headers"]
        added = dict(new["headers"][len(old["headers"]) :])
        assert set(added) == (set() if "ce_time" in dict(old["headers"]) else {"ce_time"})


def test_a_record_that_the_target_cannot_take_is_told_and_the_others_pass(flux: Flux, past: str) -> None:
    """A record past the bus's bound is refused with its position; the rest is published; exit code 1."""
    produce(past, NEWS, {"key": b"k" * 5000, "value": b"{}", "timestamp": EARLY})
    with EmbeddedBroker() as target:
        target.create_topics(ALL_TOPICS)
        answer = flux("replay", NEWS, "--json", "--bootstrap-servers", past, "--to", target.bootstrap_servers)
        assert answer.returncode == 1
        said = json.loads(answer.stdout)
        assert (said["published"], said["refused"]) == (5, 1)
        assert "a key of 5000 bytes" in answer.stderr
        assert "Traceback" not in answer.stderr
        assert len(read(target.bootstrap_servers, NEWS, 5)) == 5


@pytest.mark.parametrize("topic", [NEWS, "no.such.topic"])
def test_a_target_that_is_not_there_is_one_line(flux: Flux, past: str, topic: str) -> None:
    """Nothing is read or published; the line names what to check."""
    answer = flux("replay", topic, "--bootstrap-servers", past, "--to", "127.0.0.1:1")
    assert answer.returncode == 1
    (line,) = (
        line for line in answer.stderr.splitlines() if not line.startswith("{")
    )  # the others are the log
    assert "--to" in line or "no topic" in line


@pytest.mark.parametrize("dated", ["payload", "header", "kafka"])
async def test_an_older_event_that_is_replayed_never_replaces_a_newer_snapshot(
    flux: Flux, running: Program, dated: str
) -> None:
    """Wherever an event's time stands (payload, ce_time, or Kafka's own): clients still see the newer one."""
    base = {"payload": EARLY, "header": EARLY + 10_000, "kafka": EARLY + 20_000}[dated]
    with EmbeddedBroker() as archive:
        archive.create_topics(ALL_TOPICS)
        old, new = event("old", base, dated), event("new", base + 5_000, dated)
        produce(archive.bootstrap_servers, NEWS, old)
        before = running.counted("flux_bff_events_total", topic=NEWS)
        produce(running.bootstrap_servers, NEWS, new)
        wait_until(lambda: running.counted("flux_bff_events_total", topic=NEWS) == before + 1)
        late = running.counted("flux_bff_events_total", topic=NEWS, result="late")
        answer = flux(
            *("replay", NEWS, "--bootstrap-servers", archive.bootstrap_servers),
            *("--to", running.bootstrap_servers),
        )
        assert answer.returncode == 0, answer.stderr
    wait_until(lambda: running.counted("flux_bff_events_total", topic=NEWS, result="late") == late + 1)
    process = ClientProcess(JS)
    try:
        async with attached(process) as driver:
            client = await driver.open(running.url, transports=["websocket"])
            shown = (await client.call("topNewsRequest"))[0]
    finally:
        process.stop()
    assert [item["title"] for item in shown["data"]] == ["new"]


def event(title: str, milliseconds: int, dated: str) -> dict[str, Any]:
    """A news event of that time, which stands in one place alone."""
    iso = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
    value = {"status": "success", "data": [{"id": title, "title": title}]}
    return {
        "key": b"news",
        "value": json.dumps(value | ({"timestamp": iso} if dated == "payload" else {})).encode(),
        "headers": [("ce_time", iso.encode())] if dated == "header" else [],
        "timestamp": milliseconds,
    }


def article(number: int) -> dict[str, Any]:
    """A record that can be told from the others."""
    value = {"status": "success", "data": [], "n": number}
    return {"key": f"k{number}".encode(), "value": json.dumps(value).encode(), "headers": [("n", b"1")]}


def produce(servers: str, topic: str, *records: dict[str, Any]) -> None:
    """Put records into a topic, past every check."""
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random"})
    for record in records:
        producer.produce(topic, **record)
    assert producer.flush(10) == 0


def read(servers: str, topic: str, count: int) -> list[dict[str, Any]]:
    """Every record of a topic, by partition and offset."""
    group = f"look-{time.monotonic_ns()}"
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest"}
        | {"fetch.wait.max.ms": 10}
    )
    try:
        consumer.subscribe([topic])
        found: list[Any] = []
        deadline = time.monotonic() + 15
        while len(found) < count and time.monotonic() < deadline:
            found += [message for message in consumer.consume(100, 0.1) if message.error() is None]
    finally:
        consumer.close()
    found.sort(key=lambda message: (message.partition(), message.offset()))
    return [{"key": m.key(), "value": m.value(), "headers": m.headers() or []} for m in found]


def numbers(answer: subprocess.CompletedProcess[str]) -> list[int]:
    """The numbers of the records that a command showed."""
    return [json.loads(line)["value"]["n"] for line in answer.stdout.splitlines()]


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait for another process, for a bounded time."""
    deadline = time.monotonic() + 15
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
