"""The declared topics with their owners, and what Kafka has of them: ``flux topics``."""

from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from flux.app import bus_of_this_machine
from flux.domains.registry import ALL_TOPICS, TOPICS
from flux.inspection.output import write_lines
from flux.inspection.reading import patience
from flux.settings import Settings
from flux.transport.kafka.admin import TopicInfo


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
    with patience():
        created = await bus.create_topics() if create else []
        infos = await bus.list_topics()
    rows = [_row(infos[topic.name], created) for topic in ALL_TOPICS]
    if as_json:
        write_lines(out, rows)
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
    console = Console(file=out, width=None if out.isatty() else 200)
    with console.capture() as captured:  # rich itself would end the process where the pipe is lost
        console.print(table)
    out.write(captured.get())


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
