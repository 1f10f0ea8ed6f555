"""The ledger: numbered requests of clients, what became of each, and whether the sums hold.

A request is a ``userLocationUpdate`` for a city of its own. It counts as accepted once its ack says so; from
then on it has to be answered (the client hears the weather) or to fail explicitly (the client hears why).
Kafka is the second witness: whatever was accepted is a command there, and every command has its event.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from attrs import asdict, define, field, frozen
from kafka_watch import FETCH, WEATHER, Seen

REJECTED = "weather.service.event.rejected"


class State(Enum):
    """What is known of a request."""

    SENT = "sent"
    REFUSED = "refused"  # the ack is an error: never accepted
    UNKNOWN = "unknown"  # no ack: the connection went before it
    ACCEPTED = "accepted"
    ANSWERED = "answered"  # accepted, and the client has the weather
    FAILED = "failed"  # accepted, and the client was told that it failed


ONCE_ACCEPTED = frozenset({State.ACCEPTED, State.ANSWERED, State.FAILED})


@define(eq=False)
class Request:
    """One numbered request.

    Args:
        client: who sends it.
        number: counted over all clients.
        city: of this request alone.
        state: what is known of it.
        at: when its state was known, seconds.
    """

    client: str
    number: int
    city: str
    state: State = State.SENT
    at: float = 0.0

    def becomes(self, state: State, at: float) -> None:
        """Note what is known now."""
        self.state, self.at = state, at


@frozen
class Figures:
    """What a fault cost.

    Args:
        sent: requests.
        accepted: those whose ack said so.
        answered, failed: what became of those.
        refused: told at once that it cannot be done.
        unknown: those without an ack.
        duplicates: events on Kafka beyond one for a request.
        longest_silence: seconds in which no client was answered.
        extra: what a test measured beside it.
    """

    sent: int
    accepted: int
    answered: int
    failed: int
    refused: int
    unknown: int
    duplicates: int
    longest_silence: float
    extra: Mapping[str, float] = field(factory=dict)

    def line(self) -> str:
        """Return them as one line."""
        facts = asdict(self)
        extra = facts.pop("extra")
        return ", ".join(
            f"{name.replace('_', ' ')} {value:g}" for name, value in (facts | dict(extra)).items()
        )


@define(eq=False)
class Ledger:
    """Every request of a test."""

    requests: list[Request] = field(factory=list)
    began: float | None = None
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1))

    def write(self, client: str, at: float) -> Request:
        """Enter a new request."""
        if self.began is None:
            self.began = at
        number = next(self._numbers)
        request = Request(client, number, f"Request {number} of {client}", at=at)
        self.requests.append(request)
        return request

    def having(self, *states: State) -> list[Request]:
        """Return the requests in one of those states."""
        return [request for request in self.requests if request.state in states]

    def figures(self, records: Iterable[Seen] = (), **extra: float) -> Figures:
        """Return the sums.

        Args:
            records: what Kafka has.
            extra: what a test measured beside it.
        """
        count = Counter(request.state for request in self.requests)
        events = Counter(city_of(record) for record in records if record.topic in (WEATHER, REJECTED))
        ours = {request.city for request in self.requests}
        ended = sorted(request.at for request in self.having(State.ANSWERED, State.FAILED))
        times = [self.began or 0.0, *ended]
        return Figures(
            sent=len(self.requests),
            accepted=sum(count[state] for state in ONCE_ACCEPTED),
            answered=count[State.ANSWERED],
            failed=count[State.FAILED],
            refused=count[State.REFUSED],
            unknown=count[State.UNKNOWN],
            duplicates=sum(n - 1 for city, n in events.items() if city in ours),
            longest_silence=round(max((b - a for a, b in itertools.pairwise(times)), default=0.0), 2),
            extra=extra,
        )

    def check(self, records: Iterable[Seen]) -> None:
        """Compare with Kafka.

        Args:
            records: every record that the topics of commands and events have.

        Raises:
            AssertionError: a request that was accepted has no end, or is not on Kafka; a command there has no
                event; or something is there that nobody asked for.
        """
        records = list(records)
        open_ends = self.having(State.SENT, State.ACCEPTED)
        assert not open_ends, f"accepted, but neither answered nor failed: {open_ends}"
        ours = {request.city: request for request in self.requests}
        commands = {city_of(record) for record in records if record.topic == FETCH}
        ended = {city_of(record) for record in records if record.topic in (WEATHER, REJECTED)}
        accepted = {request.city for request in self.having(*ONCE_ACCEPTED)}
        assert accepted <= commands, f"accepted, but not on Kafka: {accepted - commands}"
        assert commands <= ended, f"commands without an event: {commands - ended}"
        invented = (commands | ended) - ours.keys()
        assert not invented, f"nobody asked for {invented}"


def city_of(record: Seen) -> str | None:
    """Return the city that a command, an event or a rejection speaks of."""
    found: Any = record.at("data", "city")
    found = record.at("city") if found is None else found
    return found if isinstance(found, str) else None


def numbers_in_order(records: Iterable[Seen], city: str) -> list[int]:
    """Return the numbers (the region) of the commands about a city, in the order in which Kafka has them.

    Args:
        records: of any topic.
        city: all its commands have one key, so one partition.
    """
    commands = [
        record
        for record in records
        if record.topic == FETCH and city_of(record) == city and record.at("userId")  # not the scheduler's
    ]
    assert len({record.partition for record in commands}) <= 1
    return [int(record.at("data", "region")) for record in sorted(commands, key=lambda record: record.offset)]
