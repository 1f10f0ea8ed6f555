"""The domain descriptor: one frozen value from which topics, ownership, rooms and hydration follow.

A domain (weather, crypto, ...) declares its Kafka topics and what clients see of them. The BFF and the
services are written against these descriptors alone and name no domain; adding one is a new package with a
`Domain` in it and one line in ``flux.domains.registry``.
"""

import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from attrs import field, frozen

from flux.domains.limits import WorkerLimits
from flux.domains.location import Location, city_key
from flux.domains.providers import ProviderOptions, SimulationOptions
from flux.domains.sources.board import Board
from flux.messages import Event, wall_clock
from flux.nurseries.service import Service
from flux.transport.kafka.bus import Client, Topic

BFF = "bff"
"""The principal that produces every command and consumes every event."""


@frozen
class Seat:
    """Where a client sits to hear one state.

    Args:
        feed: whose state it is.
        key: the snapshot key: the normalised city, or the domain's name.
        room: the Socket.IO room, ``weather.Delhi`` or ``crypto.global``.
        event: the Socket.IO event name, ``weather.Delhi.update`` or ``cryptoTopMoversResponse``.
    """

    feed: "Feed"
    key: str
    room: str
    event: str


@frozen(kw_only=True, eq=False)
class Feed:
    """An event topic as clients see it; compared by identity.

    Args:
        topic: the Kafka topic.
        payload: the attrs class of its values, an `Event`.
        room: its name; ``{city}`` in it makes the feed located: one room a city, in the client's spelling.
        event: the event's name, with ``{city}`` likewise.
    """

    topic: Topic
    payload: type[Event[Any]]
    room: str
    event: str
    _decoder: msgspec.json.Decoder[Any] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_decoder", msgspec.json.Decoder(self.payload))

    @property
    def domain(self) -> str:
        """The name of the domain that owns the topic."""
        return self.topic.producer

    @property
    def located(self) -> bool:
        """Whether there is one room for each city."""
        return "{city}" in self.room

    def seat(self, city: str) -> Seat:
        """Return the seat of a client that watches that city (which a feed that is not located ignores).

        Args:
            city: exactly as the client sent it.
        """
        key = city_key(city) if self.located else self.domain
        # str.replace, not str.format: a city is a stranger's text and may hold braces.
        return Seat(self, key, self.room.replace("{city}", city), self.event.replace("{city}", city))

    def decode(self, value: bytes) -> Any:
        """Decode and validate a Kafka value.

        Raises:
            msgspec.DecodeError: not JSON, nested too deep, or not of this feed's shape
                (`msgspec.ValidationError`). Fields that are skipped are not checked for UTF-8.
        """
        try:
            return self._decoder.decode(value)
        except (UnicodeDecodeError, RecursionError) as error:  # msgspec lets these two through
            raise msgspec.DecodeError(str(error)) from error


def _whole_domain(payload: Event[Any], kafka_key: str | None) -> None:  # noqa: ARG001 - the shape of SnapshotFeed.city
    return None


def _no_extras(payload: Event[Any]) -> Mapping[str, Any]:  # noqa: ARG001 - the shape of SnapshotFeed.extras
    return {}


@frozen(kw_only=True, eq=False)
class SnapshotFeed(Feed):
    """A feed whose latest value is a state: cached at the BFF, given to clients on joining, never dropped.

    Args:
        ttl: seconds after which an unrefreshed snapshot is marked stale (at least two scheduler intervals).
        city: for a located feed: the city a value speaks of, from the payload, else from the record's key
            (text); None where it cannot be told.
        extras: fields that the socket payload has beyond the Kafka value (``scope`` for news).
    """

    ttl: float
    city: Callable[[Any, str | None], str | None] = _whole_domain
    extras: Callable[[Any], Mapping[str, Any]] = _no_extras

    def key(self, payload: Any, kafka_key: str | None) -> str | None:
        """Return the snapshot key of a decoded value, or None where a located one names no city."""
        if not self.located:
            return self.domain
        city = self.city(payload, kafka_key)
        return None if city is None else city_key(city)


@frozen(kw_only=True, eq=False)
class StreamFeed(Feed):
    """A high-frequency feed: relayed whole, never cached; a client that lags gets the latest per key.

    Args:
        conflation_key: what of a decoded value the latest of which supersedes the earlier (the product).
    """

    conflation_key: Callable[[Any], str]


@frozen(kw_only=True, eq=False)
class CommandTopic:
    """A command topic: who asks for what, and on which feed the answer is awaited; compared by identity.

    Args:
        topic: the Kafka topic.
        event: the command's ``event`` word: ``locationUpdate`` or ``refresh``.
        answer: the feed that carries the answer, or the error.
        located: the command is about a city (its ``data`` is a location); else its ``data`` is ``{}``.
        interval: seconds between the scheduler's rounds of it, for a located one per city with members.
    """

    topic: Topic
    event: str
    answer: SnapshotFeed
    located: bool = False
    interval: float

    def key(self, city: str) -> str:
        """Return the record's key, which is the snapshot key of the answer."""
        return self.answer.seat(city).key


@frozen(kw_only=True)
class ClientRequest:
    """A client event that asks for a feed's state.

    Args:
        event: the Socket.IO event, ``cryptoTopMoversRequest``.
        feed: what it asks for; never a located one.
        refresh: the command to publish when there is no snapshot; None waits for the scheduler.
    """

    event: str
    feed: SnapshotFeed
    refresh: CommandTopic | None = None


@frozen(kw_only=True)
class ServiceContext:
    """What a domain's service gets to work with.

    Args:
        client: the bus as this domain's principal.
        simulation: how its simulated provider is made.
        providers: which provider it uses, and what a real one needs.
        board: where the health of its real sources stands.
        limits: the bounds of its command worker.
        now: the wall clock, aware.
        rng: of ids and of jitter; never the simulation's, whose seed would repeat ids after a restart.
    """

    client: Client
    simulation: SimulationOptions = field(factory=SimulationOptions)
    providers: ProviderOptions = field(factory=ProviderOptions)
    board: Board = field(factory=Board)
    limits: WorkerLimits = field(factory=WorkerLimits)
    now: Callable[[], datetime] = wall_clock
    rng: random.Random = field(factory=random.Random)


@frozen(kw_only=True)
class Domain:
    """One domain, whole.

    Args:
        name: also its principal, and ``flux.<name>`` its consumer group.
        commands: what its service consumes.
        feeds: what its service publishes.
        rejected: commands that could not be served, as facts.
        requests: the client events that ask for its states.
        service: makes its service.
    """

    name: str
    commands: tuple[CommandTopic, ...]
    feeds: tuple[Feed, ...]
    rejected: Topic
    requests: tuple[ClientRequest, ...]
    service: Callable[[ServiceContext], Service]

    @property
    def topics(self) -> tuple[Topic, ...]:
        """Every Kafka topic of the domain: commands, events, rejected."""
        return (*(c.topic for c in self.commands), *(f.topic for f in self.feeds), self.rejected)


def command_topic(name: str, domain: str, *, partitions: int = 1) -> Topic:
    """Declare a command topic: the BFF produces it, the domain's service consumes it."""
    return Topic(name, producer=BFF, consumer=domain, partitions=partitions)


def event_topic(
    name: str, domain: str, *, partitions: int = 1, retention: timedelta = timedelta(days=1)
) -> Topic:
    """Declare an event topic: the domain's service produces it, the BFF consumes it."""
    return Topic(name, producer=domain, consumer=BFF, partitions=partitions, retention=retention)


def location_command_data(location: Location) -> dict[str, Any]:
    """Return a location as a command's ``data``: what is known of it, lat and lon as text, never an IP."""
    known = {
        "city": location.city,
        "region": location.region,
        "country": location.country,
        "lat": location.lat,
        "lon": location.lon,
    }
    return {name: value for name, value in known.items() if value is not None}


__all__ = [
    "BFF",
    "ClientRequest",
    "CommandTopic",
    "Domain",
    "Feed",
    "Seat",
    "ServiceContext",
    "SnapshotFeed",
    "StreamFeed",
    "command_topic",
    "event_topic",
    "location_command_data",
]
