"""Where a look into a topic begins: so many records back, at a time, or at the beginning."""

from attrs import frozen

from flux.bff.versions import read_time

BEGINNING = "beginning"

MOST = 100_000
"""How many records a command holds at once, to put those of all partitions into the order of their times."""


@frozen
class Start:
    """Where to begin; without either it is the beginning.

    Args:
        last: that many records back, over all partitions.
        since: at the records of this Kafka time, milliseconds since the Unix epoch.
    """

    last: int | None = None
    since: int | None = None


def parse_start(text: str) -> Start:
    """Read what a person wrote.

    Args:
        text: ``beginning``, a count of records from 0 to `MOST`, or an ISO 8601 time (UTC where it names no
            zone).

    Raises:
        ValueError: it is none of these; the text says what is allowed.
    """
    text = text.strip()
    if text.lower() == BEGINNING:
        return Start()
    if text.isascii() and text.isdigit():
        if len(text) > len(str(MOST)) or int(text) > MOST:
            raise ValueError(f"{text} is more than {MOST} records; give a time or {BEGINNING!r}")
        return Start(last=int(text))
    time = read_time(text)
    if time is None:
        raise ValueError(
            f"{text!r} is no count of records, no ISO time such as 2026-01-31T08:30Z, and not {BEGINNING!r}"
        )
    return Start(since=max(0, int(time.timestamp() * 1000)))
