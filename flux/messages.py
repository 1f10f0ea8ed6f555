"""What travels in Kafka: records, their CloudEvents headers, and the two envelopes (command, event).

The value of a record is exactly the JSON of the contract; metadata travels in headers, in CloudEvents
binary mode (CloudEvents 1.0, Kafka protocol binding, section 3.2). All types here are pure data.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from attrs import field, fields, frozen

Headers = tuple[tuple[str, bytes], ...]
"""Header names with their raw values, in order; a name may come twice (the last one counts)."""

Status = Literal["success", "error", "loading"]

T = TypeVar("T")


@frozen
class Record:
    """A record to be produced.

    Args:
        topic: the topic's full name.
        value: the JSON bytes; None is a tombstone.
        key: what decides the partition; None spreads over all.
        headers: metadata, see `Stamp`.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()


class Received(msgspec.Struct, frozen=True, gc=False):
    """A record as it was consumed, with its position.

    Not an attrs class, as the one type that is made hundreds of thousands of times a second: a frozen attrs
    object takes 0.6 us to make, this 0.06 us, and the garbage collector never walks it.

    Args:
        topic, partition, offset: where it stood.
        timestamp: Kafka's own timestamp, milliseconds since the Unix epoch (0 where the broker gave none).
        value, key, headers: as produced.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()

    def header(self, name: str) -> str | None:
        """Return the last header of that name as text (bad UTF-8 replaced), or None."""
        for key, raw in reversed(self.headers):
            if key == name:
                return raw.decode("utf-8", "replace") if raw is not None else None
        return None


@frozen
class Command:
    """Intent, produced by the BFF alone (contract: command topics).

    Args:
        event: what happened, in the contract's words: ``locationUpdate`` or ``refresh``.
        data: the command's argument; ``{}`` for a refresh.
        timestamp: ISO 8601, UTC.
        userId: who asked, where a user did.
        reason: why, for people reading the topic: ``client request``, ``schedule``, ``start``.
    """

    event: str
    data: Mapping[str, Any] = field(factory=dict)
    timestamp: str = ""
    userId: str | None = None  # noqa: N815 - the wire's own name
    reason: str | None = None


@frozen
class Event(Generic[T]):
    """A fact, produced by a domain's service (contract: event topics).

    Args:
        status: ``success``, or ``error`` when the provider failed.
        data: the state; None with an error.
        source: the provider's name, or ``simulated``.
        timestamp: ISO 8601, UTC: when the state was taken.
        message: with an error: what went wrong, fit for people.
    """

    status: Status
    data: T | None = None
    source: str | None = None
    timestamp: str | None = None
    message: str | None = None


def encode(envelope: Any) -> bytes:
    """Encode an attrs envelope as the contract's JSON: its fields in order, those that are None left out.

    Only the outermost level drops None: inside ``data`` a null is a value.

    Args:
        envelope: an instance of an attrs class.

    Returns:
        UTF-8 JSON without white space.
    """
    return msgspec.json.encode(to_fields(envelope))


def to_fields(envelope: Any) -> dict[str, Any]:
    """Return an attrs envelope's fields that are not None, in order."""
    return {a.name: value for a in fields(type(envelope)) if (value := getattr(envelope, a.name)) is not None}


@frozen
class Stamp:
    """Makes one principal's records: CloudEvents 1.0 headers in binary mode, and a W3C ``traceparent``.

    Args:
        principal: who produces; ``ce_source`` is ``/flux/<principal>``.
        now: the wall clock, aware.
        rng: where ids come from.
    """

    principal: str
    now: Callable[[], datetime]
    rng: random.Random

    def record(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: str,
        cause: Received | None = None,
        extra: Headers = (),
    ) -> Record:
        """Return the record that says `value` on `topic`.

        Args:
            topic: full name; becomes ``ce_type``.
            value: the JSON bytes.
            key: decides the partition.
            cause: the record this one answers: its trace goes on.
            extra: further headers.
        """
        bits = self.rng.getrandbits
        trace = _trace_id(cause) or f"{bits(128) | 1:032x}"
        headers = (
            ("ce_specversion", b"1.0"),
            ("ce_id", str(UUID(int=bits(128), version=4)).encode()),
            ("ce_source", f"/flux/{self.principal}".encode()),
            ("ce_type", topic.encode()),
            ("ce_time", iso_time(self.now()).encode()),
            ("content-type", b"application/json"),
            ("traceparent", f"00-{trace}-{bits(64) | 1:016x}-01".encode()),
            *extra,
        )
        return Record(topic, value, key.encode(), headers)


def _trace_id(cause: Received | None) -> str | None:
    """Return the trace id of a record's ``traceparent`` (W3C Trace Context), if it is well formed."""
    parts = ((cause.header("traceparent") or "") if cause else "").split("-")
    if (
        len(parts) != 4
        or len(parts[1]) != 32
        or set(parts[1]) - set("0123456789abcdef")
        or not parts[1].strip("0")
    ):
        return None
    return parts[1]


def wall_clock() -> datetime:
    """Return the time now, aware, in UTC."""
    return datetime.now(UTC)


def iso_time(time: datetime) -> str:
    """Return an aware datetime as the wire's ISO 8601 text: UTC, milliseconds, ``Z``."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
