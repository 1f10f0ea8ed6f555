"""Envelopes and records: the contract's JSON in the value, CloudEvents and trace context in the headers."""

import random
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.messages import Command, Event, Received, Stamp, encode, iso_time

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))


def stamp(seed: int = 1) -> Stamp:
    """A stamp with a fixed clock and seed."""
    return Stamp("weather", now=lambda: NOON, rng=random.Random(seed))


def received(**headers: bytes) -> Received:
    """A consumed record with those headers."""
    return Received("t", 0, 0, 0, b"{}", headers=tuple(headers.items()))


def test_an_envelope_leaves_out_what_it_does_not_say() -> None:
    """A refresh is the contract's JSON, without nulls for the fields that it does not use."""
    command = Command("refresh", timestamp="2026-01-31T10:00:00Z")
    assert encode(command) == b'{"event":"refresh","data":{},"timestamp":"2026-01-31T10:00:00Z"}'


def test_an_error_event_has_a_message_and_no_data() -> None:
    """An error carries what a person reads."""
    event = Event[int]("error", source="simulated", timestamp="t", message="no answer")
    assert encode(event) == b'{"status":"error","source":"simulated","timestamp":"t","message":"no answer"}'


def test_times_are_utc_with_milliseconds() -> None:
    """A zone's own time is written as UTC."""
    assert iso_time(NOON) == "2026-01-31T10:00:00.000Z"


def test_a_record_carries_cloud_events_headers() -> None:
    """Binary mode: every attribute is a header, the value is untouched."""
    record = stamp().record("weather.service.event.updated", b"{}", key="delhi", extra=(("x", b"y"),))
    headers = dict(record.headers)
    assert (record.value, record.key) == (b"{}", b"delhi")
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == b"weather.service.event.updated"
    assert headers["ce_source"] == b"/flux/weather"
    assert headers["ce_time"] == b"2026-01-31T10:00:00.000Z"
    assert headers["content-type"] == b"application/json"
    assert headers["x"] == b"y"
    assert UUID(headers["ce_id"].decode()).version == 4


def test_ids_differ_and_follow_the_seed() -> None:
    """Two records have two ids; the same seed gives the same ones again."""
    one = stamp()
    ids = [dict(one.record("t", b"", key="k").headers)["ce_id"] for _ in range(2)]
    assert len(set(ids)) == 2
    assert dict(stamp().record("t", b"", key="k").headers)["ce_id"] == ids[0]


def test_a_trace_goes_on_from_its_cause() -> None:
    """The trace id stays, the span id is new."""
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    parts = dict(stamp().record("t", b"", key="k", cause=received(traceparent=trace)).headers)[
        "traceparent"
    ].split(b"-")
    assert parts[1] == b"4bf92f3577b34da6a3ce929d0e0e4736"
    assert parts[2] != b"00f067aa0ba902b7"


@pytest.mark.parametrize(
    "header",
    [b"", b"rubbish", b"00-xyz-1-01", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", b"\xff-" * 3, b"-" * 99],
)
def test_a_malformed_trace_begins_a_new_one(header: bytes) -> None:
    """A stranger's header never reaches ours unless it is well formed."""
    parts = dict(stamp().record("t", b"", key="k", cause=received(traceparent=header)).headers)[
        "traceparent"
    ].split(b"-")
    assert len(parts) == 4
    assert len(parts[1]) == 32
    assert int(parts[1], 16) > 0


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2900, 1, 1)))
def test_written_times_sort_as_the_times_do(time: datetime) -> None:
    """Every text has one form, so text order is time order."""
    earlier, later = (
        iso_time(time.replace(tzinfo=UTC)),
        iso_time(time.replace(tzinfo=UTC) + timedelta(milliseconds=1)),
    )
    assert earlier < later
    assert len(earlier) == len("2026-01-31T10:00:00.000Z")


def test_the_last_header_of_a_name_counts() -> None:
    """As in Kafka's own clients; bad UTF-8 is replaced, never raised."""
    record = Received("t", 0, 0, 0, b"", headers=(("a", b"1"), ("a", b"\xff"), ("b", b"2")))
    assert record.header("a") == "\ufffd"
    assert record.header("missing") is None
