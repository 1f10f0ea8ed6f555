"""A client's location: parsed and bounded at the edge, and the key under which its city is known."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from flux.errors import RemoteError

CITY_LIMIT = 100
"""Characters; the longest official place name has 85 letters (one word), 58 in Europe."""


_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
"""What `float` takes besides (``1_0``, other scripts' digits, ``nan``) no geocoder understands."""


class LocationError(RemoteError):
    """A location that cannot be used; the text is fit for the client.

    Attributes:
        city: the city as sent, where that much was valid: the error goes to its own event; else None.
    """

    def __init__(self, message: str, city: str | None = None) -> None:
        super().__init__(message)
        self.city = city


@frozen
class Location:
    """A validated location.

    Args:
        city: exactly as the client sent it: rooms and event names carry it so.
        region, country: as sent, or None.
        lat, lon: decimal degrees as text, both or neither; without them the provider geocodes the city.
    """

    city: str
    region: str | None = None
    country: str | None = None
    lat: str | None = None
    lon: str | None = None


def city_key(city: str) -> str:
    """Return the form of a city's name that is only a key: trimmed, NFC, case-folded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", city.strip()).casefold())


def parse_location(payload: object) -> Location:
    """Validate what a client or a command calls a location.

    Unknown fields (``ip`` among them) are ignored and go no further.

    Args:
        payload: decoded JSON of any shape.

    Raises:
        LocationError: with a message for the client.
    """
    if not isinstance(payload, Mapping):
        raise LocationError("location must be an object with a city")
    city = _city(payload.get("city"))
    try:
        region = _name(payload, "region")
        country = _name(payload, "country")
        lat = _degrees(payload, "lat", 90.0)
        lon = _degrees(payload, "lon", 180.0)
    except LocationError as error:
        raise LocationError(str(error), city) from None
    if (lat is None) != (lon is None):
        raise LocationError("lat and lon must be given together", city)
    return Location(city, region, country, lat, lon)


def _city(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise LocationError("city must be a text of 1 to 100 characters")
    if len(value) > CITY_LIMIT:
        raise LocationError("city must be at most 100 characters")
    if not _printable(value):
        raise LocationError("city must not contain control characters")
    return value


def _name(payload: Mapping[str, Any], field: str) -> str | None:
    value = payload.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > CITY_LIMIT or not _printable(value):
        raise LocationError(f"{field} must be a text of at most 100 characters")
    return value


def _degrees(payload: Mapping[str, Any], field: str, limit: float) -> str | None:
    value = payload.get(field)
    if value is None or value == "":
        return None
    number: float
    message = f"{field} must be a number from {-limit:g} to {limit:g}"
    if isinstance(value, str):
        text = value.strip() if len(value) <= 32 else ""
        if not _DECIMAL.fullmatch(text):
            raise LocationError(message)
        number = float(text)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number, text = value, ""
    else:
        raise LocationError(message)
    # Compared before it is printed: an int of 5,000 digits has no text in Python. NaN is in no range.
    if not -limit <= number <= limit:
        raise LocationError(message)
    return text or repr(number)


def _printable(text: str) -> bool:
    # Cc control, Cs lone surrogates (would fail on encoding), Zl and Zp line separators
    return not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)
