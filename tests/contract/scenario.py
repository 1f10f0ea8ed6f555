"""Words and facts that the contract's scenarios share: cities, timestamps, events, fences."""

import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from driver import Client
from kafka_watch import COINS, MOVERS, NEWS, STOCK, WEATHER

MOVERS_RESPONSE = "cryptoTopMoversResponse"
COINS_RESPONSE = "cryptoTopCoinsResponse"
TICKER_RESPONSE = "cryptoTickerResponse"
NEWS_UPDATE = "newsUpdate"
STOCK_RESPONSE = "stockTopPerformersResponse"

EXAMPLE_COMMAND = b"""{
  "event": "locationUpdate",
  "userId": "uuid",
  "data": {
    "city": "Delhi",
    "lat": "28.61",
    "lon": "77.20"
  },
  "timestamp": "2026-01-31T10:00:00Z"
}"""
EXAMPLE_WEATHER = b"""{
  "status": "success",
  "data": {
    "city": "Delhi",
    "temperature": 32,
    "humidity": 60
  }
}"""
EXAMPLE_LOCATION = {
    "city": "Delhi",
    "region": "Delhi",
    "country": "IN",
    "lat": "28.61",
    "lon": "77.20",
    "ip": "x.x.x.x",
}
EXAMPLE_SNAPSHOTS: Mapping[str, tuple[str, bytes, Mapping[str, Any]]] = {
    MOVERS_RESPONSE: (
        MOVERS,
        b'{"status": "success", "data": {"topGainers": [], "topLosers": []}}',
        {"data": {"topGainers": [], "topLosers": []}},
    ),
    COINS_RESPONSE: (COINS, b'{"status": "success", "data": {"topCoins": []}}', {"data": {"topCoins": []}}),
    NEWS_UPDATE: (
        NEWS,
        b'{"status": "success", "scope": "global", "data": []}',
        {"scope": "global", "data": []},
    ),
    STOCK_RESPONSE: (STOCK, b'{"status": "success", "data": []}', {"data": []}),
}
"""Socket event -> its Kafka topic, the contract's example without key or headers, what the client gets."""

_numbers = itertools.count(1)


def new_city(word: str = "Newtown") -> str:
    """Return a city that no other test speaks of."""
    return f"{word} {next(_numbers)}"


def weather_event(city: str) -> str:
    """Return the socket event of a city."""
    return f"weather.{city}.update"


def city_key(city: str) -> str:
    """Return the key that the contract's design gives a city."""
    return city.strip().casefold()


def iso(offset: float = 0.0) -> str:
    """Return the time, `offset` seconds from now, as the wire has it."""
    time = datetime.now(UTC) + timedelta(seconds=offset)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def weather_fact(city: str, temperature: float = 20.0, *, offset: float = 0.0) -> dict[str, Any]:
    """Return a value of the weather topic."""
    data = {"city": city, "temperature": temperature, "humidity": 50}
    return {"status": "success", "data": data, "source": "test", "timestamp": iso(offset)}


def failure(message: str, *, offset: float = 0.0, **facts: Any) -> dict[str, Any]:
    """Return an event's value for a provider's failure."""
    return {"status": "error", "message": message, "source": "test", "timestamp": iso(offset), **facts}


def snapshot_data(topic: str, word: str) -> Any:
    """Return `data` for a snapshot topic, told apart by a word."""
    asset = {"id": word, "symbol": word, "name": word, "price": 1.5}
    return {
        MOVERS: {"topGainers": [asset], "topLosers": []},
        COINS: {"topCoins": [asset]},
        NEWS: [{"id": word, "title": word, "url": "https://example.org/"}],
        STOCK: [{"symbol": word, "name": word, "price": 2.5}],
        WEATHER: {"city": word, "temperature": 1.0},
    }[topic]


def snapshot_fact(topic: str, word: str, *, offset: float = 0.0) -> dict[str, Any]:
    """Return a value of a snapshot topic."""
    return {
        "status": "success",
        "data": snapshot_data(topic, word),
        "source": "test",
        "timestamp": iso(offset),
    }


def ticker_fact(product: str, price: str, **extra: Any) -> bytes:
    """Return a value of the ticker topic as an exchange would have it, spaces and field order and all."""
    data = {"type": "ticker", "product_id": product, "price": price, "time": iso(), **extra}
    return json.dumps({"status": "success", "data": data, "source": "test", "timestamp": iso()}).encode()


def speaks_of(word: str) -> Any:
    """Return a test of a payload: is that word in it anywhere?"""
    return lambda payload: word in json.dumps(payload, ensure_ascii=False)


def is_error(payload: Any) -> bool:
    """Whether a payload is an error state with a text for people."""
    return (
        isinstance(payload, dict)
        and payload["status"] == "error"
        and isinstance(payload["message"], str)
        and bool(payload["message"])
    )


def is_loading(payload: Any) -> bool:
    """Whether a payload is a loading state with a text for people."""
    return bool(payload["status"] == "loading") and isinstance(payload["message"], str)


async def fence(client: Client) -> None:
    """Wait until the client has everything that was sent to it before now.

    The answer to `getUserId` comes over the same connection, behind all that was written earlier.
    """
    await client.call("getUserId")


async def settle(client: Client, city: str) -> None:
    """Have a client sit down in every room, and wait until that is done."""
    answer = await client.call("userLocationUpdate", {"city": city})
    assert answer == [{"status": "accepted"}], answer
