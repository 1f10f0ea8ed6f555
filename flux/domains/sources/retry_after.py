"""Retry-After: how long a source asks to be left alone (pure)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

DIGITS = 12
"""Of the longest number that is taken for seconds: 30,000 years."""


def retry_after(text: str, now: datetime) -> float | None:
    """Read the header's value: seconds, or a date (RFC 9110, section 10.2.3).

    Args:
        text: as it came.
        now: the wall clock, aware.

    Returns:
        Seconds from now, 0 or more; None if the value is neither.
    """
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) <= DIGITS:
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        # An HTTP date is always in GMT, whatever a sender leaves out.
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (aware - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
