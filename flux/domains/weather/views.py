"""What clients see of the weather domain: a room for each city."""

from flux.domains.domain import CommandTopic, SnapshotFeed
from flux.domains.weather.contract import FETCH, UPDATED, WeatherUpdated

INTERVAL = 600.0
"""Seconds between the refreshes of a watched city; the sources behind renew theirs every 15 minutes."""


def city_of(payload: WeatherUpdated, kafka_key: str | None) -> str | None:
    """Return the city that a value speaks of: its data's, its error's, else its record's key."""
    if payload.data is not None:
        return payload.data.city
    return payload.city or kafka_key


UPDATES = SnapshotFeed(
    topic=UPDATED,
    payload=WeatherUpdated,
    room="weather.{city}",
    event="weather.{city}.update",
    ttl=2 * INTERVAL + 60,
    city=city_of,
)

FETCHES = CommandTopic(topic=FETCH, event="locationUpdate", answer=UPDATES, located=True, interval=INTERVAL)
