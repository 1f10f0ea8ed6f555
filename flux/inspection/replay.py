"""A topic's past, once more: ``flux replay`` prints its records, or publishes them again as their owner.

A record that is published again keeps its value, key and headers, so its ``ce_id`` and ``ce_time`` as well.
The BFF takes for newer what was *taken* later (the payload's time, else ``ce_time``), so a state that comes
again never replaces one that is newer.
"""

from typing import TextIO

import trio

from flux.app import bus_at, bus_of_this_machine
from flux.bff.versions import read_time
from flux.domains.registry import TOPICS
from flux.errors import BrokenError, LocalError
from flux.inspection.output import kafka_time, write_lines, writer
from flux.inspection.reading import check_exists, following, known, one_error, patience, stood
from flux.inspection.start import Start
from flux.messages import Received, Record, iso_time
from flux.settings import Settings
from flux.transport.kafka.bus import Client


async def replay(
    settings: Settings,
    name: str,
    start: Start,
    limit: int,
    to: str | None,
    as_json: bool,
    out: TextIO,
    notes: TextIO,
) -> None:
    """Write a topic's records from a start, oldest first, or publish them to the same topic of a Kafka.

    Args:
        settings: say which Kafka is read, and how both are reached (TLS, SASL).
        name: the topic.
        start: where to begin.
        limit: how many records at most; the oldest from the start on.
        to: ``host:port[,...]`` of the Kafka to publish to; None only writes.
        as_json: one object a line, for machines.
        out: where to.
        notes: where what a person should know goes.

    Raises:
        LocalError: there is no such topic; or records were refused, of which the others are published.
        BrokenError: Kafka did not answer or did not take a record, or a topic does not exist there yet.
    """
    target = None if to is None else bus_at(settings, to)
    if target is not None:
        await check_exists(target, known(name), "--to")
    async with following(bus_of_this_machine(settings), name, start) as follower:
        backlog = await stood(follower, start, oldest=limit)
    records = backlog.records()
    beyond = len(records) - limit if start.last is not None else backlog.left_out
    records = records[:limit]
    if target is None:
        write = writer(as_json)
        for record in records:
            write(out, record)
    else:
        with one_error():
            async with trio.open_nursery() as nursery:
                await nursery.start(target.run)
                with patience("--to"):
                    await target.wait_connected()
                refused = await _publish(target.client(TOPICS[name].producer), records)
                nursery.cancel_scope.cancel()
        published = len(records) - len(refused)
        if as_json:
            write_lines(out, [{"topic": name, "to": to, "published": published, "refused": len(refused)}])
        else:
            out.write(f"published {published} {_records(published)} to {name} at {to}\n")
    out.flush()
    if beyond > 0:
        notes.write(
            f"stopped after {limit} {_records(limit)} (--limit); {beyond} more, from about"
            f" --from {iso_time(kafka_time(records[-1]))} on\n"
        )
        notes.flush()
    if target is not None and refused:
        raise LocalError(
            f"{len(refused)} of {len(records)} records were not published; the first: {refused[0]}"
        )


async def _publish(client: Client, records: list[Received]) -> list[str]:
    """Publish one record after the other, each once Kafka has confirmed the one before it.

    Returns:
        Where each record stood that the bus refused, and why.

    Raises:
        BrokenError: Kafka did not take a record; the text says how many it has taken.
    """
    refused: list[str] = []
    for number, record in enumerate(records):
        try:
            await client.publish(again(record))
        except LocalError as error:
            refused.append(f"{record.partition}/{record.offset}: {error}")
        except BrokenError as error:
            done = number - len(refused)
            raise BrokenError(f"published {done} of {len(records)} records, then: {error}") from error
    return refused


def again(record: Received) -> Record:
    """Return the record to publish: as it was, with its Kafka time as ``ce_time`` where it names none.

    Without that, a record that says nowhere when its state was taken would come again as the newest of all.
    """
    headers = tuple(record.headers)
    if read_time(record.header("ce_time")) is None and record.timestamp > 0:
        headers = (*headers, ("ce_time", iso_time(kafka_time(record)).encode()))
    return Record(record.topic, record.value, record.key, headers)


def _records(count: int) -> str:
    return "record" if count == 1 else "records"
