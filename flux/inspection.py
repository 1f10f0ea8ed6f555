"""Topics as people see them: what there is (``flux topics``), and what goes through (``flux tail``)."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
import trio
from rich.console import Console
from rich.table import Table

from flux.app import bus_of_this_machine
from flux.domains.registry import ALL_TOPICS, TOPICS
from flux.errors import BrokenError, LocalError
from flux.messages import Received, iso_time
from flux.settings import Settings
from flux.transport.kafka.admin import TopicInfo
from flux.transport.kafka.catalog import OPERATOR

ANSWER_SECONDS = 10.0
"""How long a command waits for Kafka before it says that there is none."""

UNSAFE = dict.fromkeys((*range(32), *range(127, 160)), "\ufffd")
"""Control characters of a record, which must not reach a person's terminal."""


async def topics(settings: Settings, create: bool, as_json: bool, out: TextIO) -> None:
    """Write every declared topic with its owner, consumer, partitions and records.

    Args:
        settings: say which Kafka.
        create: first create those that are missing.
        as_json: one object a line, for machines.
        out: where to.

    Raises:
        BrokenError: Kafka did not answer.
    """
    bus = bus_of_this_machine(settings)
    with _patience():
        created = await bus.create_topics() if create else []
        infos = await bus.list_topics()
    rows = [_row(infos[topic.name], created) for topic in ALL_TOPICS]
    if as_json:
        _write_lines(out, rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("topic", "producer", "consumer"):
        table.add_column(name, no_wrap=True)
    for name in ("partitions", "records"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in rows:
        note = "created" if row["created"] else "" if row["exists"] else "missing: run `flux topics create`"
        table.add_row(
            row["topic"],
            row["producer"],
            row["consumer"],
            str(row["partitions"]),
            str(row["records"]),
            note,
        )
    # Rich cuts what does not fit: a pipe has no width, so nothing is cut there.
    Console(file=out, width=None if out.isatty() else 200).print(table)


def _row(info: TopicInfo, created: Iterable[str]) -> dict[str, Any]:
    topic = TOPICS[info.name]
    return {
        "topic": topic.name,
        "producer": topic.producer,
        "consumer": topic.consumer,
        "partitions": len(info.partitions) if info.exists else topic.partitions,
        "records": info.records,
        "exists": info.exists,
        "created": topic.name in created,
        "retention_s": topic.retention.total_seconds(),
    }


async def tail(settings: Settings, name: str, last: int, follow: bool, as_json: bool, out: TextIO) -> None:
    """Write a topic's last records, and those that come.

    Args:
        settings: say which Kafka.
        name: the topic.
        last: how many records to begin with, over all partitions, in the order of their times.
        follow: go on until cancelled.
        as_json: one object a line, for machines.
        out: where to.

    Raises:
        LocalError: there is no such topic.
        BrokenError: Kafka did not answer, or the topic does not exist there yet.
    """
    if name not in TOPICS:
        raise LocalError(f"there is no topic {name!r}; `flux topics` lists them")
    bus = bus_of_this_machine(settings)
    with _patience():
        info = (await bus.list_topics())[name]
    if not info.exists:
        raise BrokenError(f"topic {name} does not exist yet; run `flux topics create`")
    write = _write_json if as_json else _write_text
    async with bus.client(OPERATOR).follow([name], replay=last) as follower:
        backlog: list[Received] = []
        # What stands in the topic comes partition by partition; people want it by time.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_collect, follower.receive, backlog)
            await follower.caught_up()
            nursery.cancel_scope.cancel()
        backlog.sort(key=lambda record: (record.timestamp, record.partition, record.offset))
        for record in backlog[-last:] if last else []:
            write(out, record)
        out.flush()
        while follow:
            for record in await follower.receive():
                write(out, record)
            out.flush()


async def _collect(receive: Callable[[], Awaitable[list[Received]]], into: list[Received]) -> None:
    while True:
        into += await receive()


@contextmanager
def _patience() -> Iterator[None]:
    """Bound the wait for Kafka's answer, with an error that says what to do."""
    with trio.move_on_after(ANSWER_SECONDS) as scope:
        yield
    if scope.cancelled_caught:
        raise BrokenError(f"kafka did not answer within {ANSWER_SECONDS:g} s; check --bootstrap-servers")


def _time(record: Received) -> datetime:
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)


def _write_text(out: TextIO, record: Received) -> None:
    value = "(tombstone)" if record.value is None else record.value.decode("utf-8", "replace")
    key = "-" if record.key is None else record.key.decode("utf-8", "replace")
    line = f"{iso_time(_time(record))}  {record.partition}/{record.offset}  {key}  {value}"
    out.write(line.translate(UNSAFE) + "\n")


def _write_json(out: TextIO, record: Received) -> None:
    try:
        value: Any = None if record.value is None else msgspec.json.decode(record.value)
    except (msgspec.DecodeError, RecursionError):
        value = None if record.value is None else record.value.decode("utf-8", "replace")
    _write_lines(
        out,
        [
            {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "time": iso_time(_time(record)),
                "key": None if record.key is None else record.key.decode("utf-8", "replace"),
                "headers": {name: record.header(name) for name, _ in record.headers},
                "value": value,
            }
        ],
    )


def _write_lines(out: TextIO, rows: Iterable[dict[str, Any]]) -> None:
    out.writelines(msgspec.json.encode(row).decode() + "\n" for row in rows)
