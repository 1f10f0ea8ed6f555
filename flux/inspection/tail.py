"""A topic's last records, and those that come: ``flux tail``."""

from typing import TextIO

from flux.app import bus_of_this_machine
from flux.inspection.output import writer
from flux.inspection.reading import following, stood
from flux.inspection.start import MOST, Start
from flux.settings import Settings


async def tail(
    settings: Settings, name: str, start: Start, follow: bool, as_json: bool, out: TextIO, notes: TextIO
) -> None:
    """Write a topic's records from a start, oldest first, and then those that come.

    Args:
        settings: say which Kafka.
        name: the topic.
        start: where to begin; of what stands there, the newest `MOST` records are shown.
        follow: go on until cancelled.
        as_json: one object a line, for machines.
        out: where to.
        notes: where what a person should know goes.

    Raises:
        LocalError: there is no such topic.
        BrokenError: Kafka did not answer, or the topic does not exist there yet.
    """
    write = writer(as_json)
    async with following(bus_of_this_machine(settings), name, start) as follower:
        backlog = await stood(follower, start)
        for record in backlog.records():
            write(out, record)
        out.flush()
        if start.last is None and backlog.left_out:
            notes.write(
                f"only the newest {MOST} records are shown; {backlog.left_out} older ones:"
                f" flux replay {name}\n"
            )
            notes.flush()
        while follow:
            for record in await follower.receive():
                write(out, record)
            out.flush()
