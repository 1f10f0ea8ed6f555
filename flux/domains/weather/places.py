"""Where a city lies, for the simulation: some that everyone knows, and a guess for all others (pure)."""

import hashlib

from attrs import frozen

from flux.domains.location import Location, city_key
from flux.domains.providers import UnknownPlaceError


@frozen
class Place:
    """A place on Earth.

    Args:
        key: the city's key.
        city: as it was asked for.
        region, country: as asked for, else as known.
        lat, lon: decimal degrees.
    """

    key: str
    city: str
    region: str | None
    country: str | None
    lat: float
    lon: float


KNOWN: dict[str, tuple[float, float, str]] = {
    "amsterdam": (52.37, 4.90, "NL"),
    "athens": (37.98, 23.73, "GR"),
    "auckland": (-36.85, 174.76, "NZ"),
    "bangkok": (13.76, 100.50, "TH"),
    "beijing": (39.91, 116.40, "CN"),
    "bengaluru": (12.97, 77.59, "IN"),
    "berlin": (52.52, 13.41, "DE"),
    "buenos aires": (-34.61, -58.38, "AR"),
    "cairo": (30.04, 31.24, "EG"),
    "cape town": (-33.93, 18.42, "ZA"),
    "chennai": (13.08, 80.27, "IN"),
    "chicago": (41.88, -87.63, "US"),
    "delhi": (28.61, 77.20, "IN"),
    "dubai": (25.20, 55.27, "AE"),
    "istanbul": (41.01, 28.98, "TR"),
    "jakarta": (-6.21, 106.85, "ID"),
    "kolkata": (22.57, 88.36, "IN"),
    "lagos": (6.52, 3.38, "NG"),
    "london": (51.51, -0.13, "GB"),
    "los angeles": (34.05, -118.24, "US"),
    "madrid": (40.42, -3.70, "ES"),
    "mexico city": (19.43, -99.13, "MX"),
    "mumbai": (19.08, 72.88, "IN"),
    "nairobi": (-1.29, 36.82, "KE"),
    "new delhi": (28.61, 77.21, "IN"),
    "new york": (40.71, -74.01, "US"),
    "oslo": (59.91, 10.75, "NO"),
    "paris": (48.86, 2.35, "FR"),
    "reykjavik": (64.15, -21.94, "IS"),
    "rome": (41.90, 12.50, "IT"),
    "san francisco": (37.77, -122.42, "US"),
    "seoul": (37.57, 126.98, "KR"),
    "singapore": (1.35, 103.82, "SG"),
    "sydney": (-33.87, 151.21, "AU"),
    "são paulo": (-23.55, -46.63, "BR"),
    "tokyo": (35.68, 139.69, "JP"),
    "toronto": (43.65, -79.38, "CA"),
    "vienna": (48.21, 16.37, "AT"),
    "zürich": (47.37, 8.54, "CH"),
}
"""Latitude, longitude, ISO 3166 country code, by city key."""


def find_place(location: Location) -> Place:
    """Return where a location is: by its coordinates, by its well-known name, else somewhere habitable.

    Raises:
        UnknownPlaceError: the name has no letter at all; nothing is called so.
    """
    if not any(character.isalpha() for character in location.city):
        raise UnknownPlaceError(f"no place is known by the name {location.city!r}")
    key = city_key(location.city)
    known = KNOWN.get(key)
    if location.lat is not None and location.lon is not None:
        lat, lon = float(location.lat), float(location.lon)
    else:
        lat, lon = known[:2] if known else _somewhere(key)
    country = location.country or (known[2] if known else None)
    return Place(key, location.city, location.region, country, lat, lon)


def _somewhere(key: str) -> tuple[float, float]:
    """Return the same coordinates for the same name, between Patagonia and Lapland."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    lat = int.from_bytes(digest[:4]) / 2**32
    lon = int.from_bytes(digest[4:]) / 2**32
    return round(-45 + 110 * lat, 2), round(-180 + 360 * lon, 2)
