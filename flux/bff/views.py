"""Views: a Kafka record becomes what clients see: a state, a tick, or a rejected command's reason."""

import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from attrs import frozen

from flux.bff.strict_json import PoisonError, check_json
from flux.bff.versions import Version, read_time, version
from flux.domains.domain import CommandTopic, SnapshotFeed, StreamFeed
from flux.domains.location import CITY_LIMIT, city_key
from flux.messages import Event, Received, Status, iso_time, to_fields

MESSAGE_LIMIT = 300
"""Characters of a message for people; a sentence or two."""


@frozen
class State:
    """A snapshot feed's event.

    Args:
        key: the snapshot key.
        version: when it was taken.
        status: ``success`` is a state; ``error`` and ``loading`` only tell of one.
        payload: the socket payload's JSON.
        message: the event's message for people, or "".
    """

    key: str
    version: Version
    status: Status
    payload: bytes
    message: str


@frozen
class Tick:
    """A stream feed's event: what supersedes what, and the bytes to relay."""

    key: str
    payload: msgspec.Raw


@frozen
class Rejection:
    """A command that could not be served.

    Args:
        command: which one.
        key: the key of the answer that will not come.
        message: why, for people.
    """

    command: CommandTopic
    key: str
    message: str


class _Data(msgspec.Struct):
    """An event's ``data`` as it was sent."""

    data: msgspec.Raw = msgspec.Raw(b"")


_data_decoder = msgspec.json.Decoder(_Data)


def read_state(feed: SnapshotFeed, record: Received, *, now: datetime, skew: timedelta) -> State:
    """Read a record of a snapshot feed.

    ``data`` is checked against the feed's type and goes out as it came, so that fields which a newer
    service adds pass through; a missing ``source`` or ``timestamp`` is filled in from the headers.

    Args:
        feed: whose record it is.
        record: as consumed.
        now: the wall clock, aware.
        skew: how far ahead of it an event's time may be.

    Raises:
        PoisonError: no reading makes sense of it.
    """
    value = check_json(record.value)
    try:
        event: Event[Any] = feed.decode(value)
        data = _data_decoder.decode(value).data
    except msgspec.DecodeError as error:
        raise PoisonError(str(error)) from None
    if event.status == "success" and event.data is None:
        raise PoisonError("success without data")
    key = feed.key(event, _text(record.key))
    if key is None:
        raise PoisonError("names no city")
    taken = version(event.timestamp, record, now=now, skew=skew)
    message = people_text(event.message or "")
    if event.status == "error" and not message:
        message = f"{feed.domain} data could not be refreshed"
    fields: dict[str, Any] = {"status": event.status, **feed.extras(event), **to_fields(event)}
    if event.data is not None:
        fields["data"] = data
    if message:
        fields["message"] = message
    fields["source"] = event.source or people_text(record.header("ce_source") or "") or "unknown"
    if event.timestamp is None or read_time(event.timestamp) is None:
        fields["timestamp"] = iso_time(taken.time)
    return State(key, taken, event.status, msgspec.json.encode(fields), message)


def read_tick(feed: StreamFeed, value: bytes | None) -> Tick:
    """Read the value of a stream feed's record, which is relayed whole.

    Args:
        feed: whose type it must have.
        value: as consumed.

    Raises:
        PoisonError: it must not be relayed.
    """
    value = check_json(value)
    try:
        event = feed.decode(value)
    except msgspec.DecodeError as error:
        raise PoisonError(str(error)) from None
    return Tick(feed.conflation_key(event), msgspec.Raw(value))


def read_rejection(commands: Mapping[str, CommandTopic], record: Received) -> Rejection:
    """Read a record of a domain's topic of rejected commands.

    The value may be anything, since it is what could not be understood; the headers tell the rest.

    Args:
        commands: the domain's, by topic name.
        record: as consumed; ``flux_topic`` names the command's topic, ``flux_reason`` says why.

    Raises:
        PoisonError: it is of no command of this domain, or of no known city.
    """
    topic = record.header("flux_topic") or ""
    command = commands.get(topic)
    if command is None:
        raise PoisonError(f"rejects {people_text(topic) or 'nothing'!r}, which is no command of this domain")
    message = people_text(record.header("flux_reason") or "") or "the request could not be served"
    if not command.answer.located:
        return Rejection(command, command.answer.domain, message)
    city = _commanded_city(record.value) or _text(record.key)
    if not city:
        raise PoisonError("names no city")
    return Rejection(command, city_key(city), message)


def people_text(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return a text fit for people: bounded, on one line, without control characters or lone surrogates."""
    clean = "".join(
        " " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text[: limit + 1]
    ).strip()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def error_state(message: str) -> dict[str, str]:
    """Return the error state."""
    return {"status": "error", "message": message}


def loading_state(message: str) -> dict[str, str]:
    """Return the loading state."""
    return {"status": "loading", "message": message}


def _commanded_city(value: bytes | None) -> str | None:
    """Return the city in a rejected command, however broken the rest of it is."""
    try:
        command = msgspec.json.decode(check_json(value))
    except (PoisonError, msgspec.DecodeError):
        return None
    data = command.get("data") if isinstance(command, dict) else None
    city = data.get("city") if isinstance(data, dict) else None
    return city if isinstance(city, str) and 0 < len(city) <= CITY_LIMIT else None


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode("utf-8", "replace")
