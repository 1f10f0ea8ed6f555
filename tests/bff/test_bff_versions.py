"""The newer rule: payload, else ce_time, else Kafka; ties by offset."""

from datetime import UTC, datetime, timedelta

import pytest

from flux.bff.versions import Version, read_time, version
from flux.messages import Received

NOW = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)
SKEW = timedelta(minutes=5)
KAFKA = datetime(2026, 2, 1, 11, 0, tzinfo=UTC)


def record(*, ce_time: str | None = None, kafka: datetime | None = KAFKA, offset: int = 0) -> Received:
    """A record with those times."""
    headers = () if ce_time is None else (("ce_time", ce_time.encode()),)
    return Received("t", 0, offset, 0 if kafka is None else int(kafka.timestamp() * 1000), b"", None, headers)


def taken(timestamp: str | None, received: Received) -> datetime:
    """When the state in it was taken."""
    return version(timestamp, received, now=NOW, skew=SKEW).time


def test_order_of_sources() -> None:
    """The payload's own timestamp decides, else ce_time, else Kafka's."""
    both = record(ce_time="2026-02-01T10:00:00Z")
    assert taken("2026-02-01T09:00:00Z", both) == datetime(2026, 2, 1, 9, tzinfo=UTC)
    assert taken(None, both) == datetime(2026, 2, 1, 10, tzinfo=UTC)
    assert taken(None, record()) == KAFKA
    assert taken(None, record(kafka=None)) == NOW


@pytest.mark.parametrize(
    "bad", ["", "yesterday", "2026-13-01", "9" * 1000, "0001-01-01T00:00:00+14:00", "\x00"]
)
def test_unreadable_time_is_passed_over(bad: str) -> None:
    """What is no time does not decide."""
    assert read_time(bad) is None
    assert taken(bad, record(ce_time=bad)) == KAFKA


def test_future_is_not_believed() -> None:
    """An event dated far ahead would hold back all later ones; a skewed clock is forgiven."""
    assert taken("2099-01-01T00:00:00Z", record()) == KAFKA
    assert taken("2026-02-01T12:04:59Z", record()) > NOW
    far = record(ce_time="2098-01-01T00:00:00Z", kafka=datetime(2097, 1, 1, tzinfo=UTC))
    assert taken("2099-01-01T00:00:00Z", far) == NOW


def test_offsets_of_time_zones_count() -> None:
    """The instant counts, not its notation; a naive time is UTC."""
    assert read_time("2026-02-01T12:00:00+02:00") == datetime(2026, 2, 1, 10, tzinfo=UTC)
    assert read_time("2026-02-01T12:00:00") == datetime(2026, 2, 1, 12, tzinfo=UTC)


def test_ties_by_offset() -> None:
    """At the same instant the later record is newer, and a record is not newer than itself."""
    assert Version(NOW, 2) > Version(NOW, 1)
    assert not Version(NOW, 1) > Version(NOW, 1)
    assert Version(NOW, 1) > Version(NOW - timedelta(microseconds=1), 9)


def test_absurd_kafka_timestamp() -> None:
    """A timestamp beyond the calendar is passed over."""
    assert taken(None, Received("t", 0, 0, 2**62, b"")) == NOW
