"""The newer rule: when the state in an event was taken, and so which of two events is newer."""

from datetime import UTC, datetime, timedelta

from attrs import frozen

from flux.messages import Received

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_LIMIT = 64  # characters; the longest ISO 8601 form in use has 35


@frozen(order=True)
class Version:
    """Orders the events of one key: by time, ties by offset.

    Args:
        time: when the state was taken, aware, UTC.
        offset: the record's.
    """

    time: datetime
    offset: int


def version(timestamp: str | None, record: Received, *, now: datetime, skew: timedelta) -> Version:
    """Return an event's version: the payload's `timestamp`, else ``ce_time``, else Kafka's timestamp.

    A time that cannot be read, or that lies in the future, is passed over: believed, one event dated 2099
    would hold back every later one of its key.

    Args:
        timestamp: the payload's, if it has one.
        record: the event's record.
        now: the wall clock, aware.
        skew: how far ahead of it another machine's clock may be.
    """
    horizon = now.astimezone(UTC) + skew
    for time in (read_time(timestamp), read_time(record.header("ce_time")), _kafka_time(record.timestamp)):
        if time is not None and time <= horizon:
            return Version(time, record.offset)
    return Version(now.astimezone(UTC), record.offset)


def read_time(text: str | None) -> datetime | None:
    """Return an ISO 8601 text as an aware datetime in UTC (a naive one is taken as UTC), or None."""
    if text is None or len(text) > _TEXT_LIMIT:
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _kafka_time(milliseconds: int) -> datetime | None:
    if milliseconds <= 0:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
