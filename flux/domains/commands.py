"""What comes in on a command topic (pure): a query for a provider, or a refusal that says why."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from attrs import evolve, field, frozen

from flux.domains.domain import CommandTopic
from flux.domains.providers import Fetched
from flux.domains.sources.choice import Choice, Sourced
from flux.errors import RemoteError
from flux.messages import Command, Received, Record, Stamp

REASON_LIMIT = 500
"""Characters of a rejection's reason."""

KEY_LIMIT = 1024
"""Bytes of a key that a rejection repeats; the longest city has 100 characters."""

P = TypeVar("P", bound=Sourced)

_DECODER = msgspec.json.Decoder(Command)


class RefusedError(RemoteError):
    """A command that cannot be served; the text is fit for people."""


@frozen(kw_only=True)
class Query:
    """What a command asks of a provider.

    Args:
        key: what it is about: commands of one key are served in order, or by one fetch together.
        fetch: asks the provider.
            Raises `ProviderError` (an error event) or `UnknownPlaceError` (a rejection).
        on_error: fields of an error event beside the message (weather: the city).
    """

    key: str
    fetch: Callable[[], Awaitable[Fetched[Any]]]
    on_error: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class Route:
    """How a service serves one command topic.

    Args:
        command: the topic, and the feed that carries the answer.
        source: the provider's name, under which a failure is told.
        query: reads a decoded command; raises `RemoteError` where it cannot be served.
    """

    command: CommandTopic
    source: str
    query: Callable[[Command], Query]

    @classmethod
    def refresh(cls, command: CommandTopic, choice: Choice[P], ask: Callable[[P], Awaitable[Any]]) -> "Route":
        """Return the route of a command without an argument: there is one key, and one thing to fetch."""
        key = command.key("")
        query = Query(key=key, fetch=lambda: choice.fetch(command.topic.name, ask))
        return cls(command=command, source=choice.source, query=lambda _: query)


def read_command(record: Received, route: Route, *, limit: int) -> Query:
    """Decode and validate a command.

    The topic says what is wanted, so its ``event`` word is not compared; unknown fields are ignored.

    Args:
        record: as it was consumed.
        route: of its topic.
        limit: bytes that the value may have.

    Raises:
        RemoteError: it cannot be served; the text says why.
    """
    if record.value is None:
        raise RefusedError("the command has no value")
    if len(record.value) > limit:
        raise RefusedError(f"the command has {len(record.value)} bytes; at most {limit} are taken")
    try:
        command = _DECODER.decode(record.value)
    except msgspec.ValidationError as error:
        raise RefusedError(f"the command does not have the contract's shape: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"the command is not JSON: {error}") from None
    except RecursionError:
        raise RefusedError("the command is nested too deep") from None
    return route.query(command)


def rejection(record: Received, reason: str, topic: str, stamp: Stamp, *, limit: int) -> Record:
    """Return the fact that a command could not be served.

    Args:
        record: the command as it was consumed; value and key are repeated as far as they fit.
        reason: fit for people; cut at 500 characters.
        topic: ``<domain>.service.event.rejected``.
        stamp: of the service.
        limit: bytes of the value that are repeated.
    """
    value = record.value if record.value is None else record.value[:limit]
    rejected = stamp.record(
        topic,
        value,
        key="",
        cause=record,
        extra=(
            ("flux_reason", reason[:REASON_LIMIT].encode("utf-8", "replace")),
            ("flux_topic", record.topic.encode()),
            ("flux_partition", str(record.partition).encode()),
            ("flux_offset", str(record.offset).encode()),
        ),
    )
    key = record.key if record.key is not None and len(record.key) <= KEY_LIMIT else None
    return evolve(rejected, key=key)
