"""Records and rows as text: a line for people, without harm to their terminal, or JSON for machines."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from flux.messages import Received, iso_time

UNSAFE = dict.fromkeys((*range(32), *range(127, 160)), "\ufffd")
"""Control characters of a record, which must not reach a person's terminal."""

Write = Callable[[TextIO, Received], None]


def writer(as_json: bool) -> Write:
    """Return what writes a record as a line: JSON for machines, else text for people."""
    return _write_json if as_json else _write_text


def write_lines(out: TextIO, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows, one JSON object a line."""
    out.writelines(msgspec.json.encode(row).decode() + "\n" for row in rows)


def kafka_time(record: Received) -> datetime:
    """Return a record's Kafka timestamp, aware, in UTC."""
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)


def _write_text(out: TextIO, record: Received) -> None:
    value = "(tombstone)" if record.value is None else record.value.decode("utf-8", "replace")
    key = "-" if record.key is None else record.key.decode("utf-8", "replace")
    line = f"{iso_time(kafka_time(record))}  {record.partition}/{record.offset}  {key}  {value}"
    out.write(line.translate(UNSAFE) + "\n")


def _write_json(out: TextIO, record: Received) -> None:
    try:
        value: Any = None if record.value is None else msgspec.json.decode(record.value)
    except (msgspec.DecodeError, RecursionError):
        value = None if record.value is None else record.value.decode("utf-8", "replace")
    write_lines(
        out,
        [
            {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "time": iso_time(kafka_time(record)),
                "key": None if record.key is None else record.key.decode("utf-8", "replace"),
                "headers": {name: record.header(name) for name, _ in record.headers},
                "value": value,
            }
        ],
    )
