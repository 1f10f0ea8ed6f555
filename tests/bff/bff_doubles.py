"""Doubles for the tests of the BFF: a Socket.IO server that records, and a BFF at work on a bus in memory."""

import inspect
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import trio
from attrs import define, field

from flux.bff import Bff, BffOptions
from flux.domains.registry import ALL_TOPICS, DOMAINS
from flux.messages import Headers, Received, iso_time
from flux.transport.kafka.memory import MemoryBus, virtual_now_ms

FETCH = "weather.service.command.fetch"
WEATHER = "weather.service.event.updated"
WEATHER_REJECTED = "weather.service.event.rejected"
MOVERS_REFRESH = "crypto.service.command.topmovers.refresh"
COINS_REFRESH = "crypto.service.command.topcoins.refresh"
MOVERS = "crypto.movers.event.updated"
COINS = "crypto.topcoins.event.updated"
TICKER = "crypto.ticker.event.updated"
CRYPTO_REJECTED = "crypto.service.event.rejected"
NEWS_REFRESH = "news.service.command.refresh"
NEWS = "news.service.event.updated"
STOCK_REFRESH = "stock.service.command.topperformers.refresh"
STOCK = "stock.service.event.updated"

ACCEPTED = {"status": "accepted"}


def virtual_now() -> datetime:
    """The wall clock that agrees with the virtual one and with `MemoryBus`."""
    return datetime.fromtimestamp(virtual_now_ms() / 1000, UTC)


class RecordingServer:
    """The BFF's port to Socket.IO: handlers, rooms, and what each client received, as a browser reads it."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[..., Any]] = {}
        self.members: defaultdict[str, set[str]] = defaultdict(set)
        self.received: defaultdict[str, list[tuple[str, Any]]] = defaultdict(list)
        self.raw: list[tuple[str, Any, str | None, str | None]] = []
        self.batches = 0

    def on(self, event: str, handler: Callable[..., Any], namespace: str = "/") -> Any:
        """Register a handler; once an event."""
        assert namespace == "/"
        assert event not in self.handlers
        self.handlers[event] = handler

    def emit(
        self, event: str, data: Any = None, to: str | None = None, *, conflate: str | None = None
    ) -> None:
        """Deliver to a client or the members of a room."""
        self.raw.append((event, data, to, conflate))
        payload = msgspec.json.decode(msgspec.json.encode(data))
        assert to is not None, "the BFF never sends to everyone"
        for sid in sorted(self.members[to]):
            self.received[sid].append((event, payload))

    def enter_room(self, sid: str, room: str) -> None:
        """Add a connected client to a room."""
        assert sid in self.members[sid], "no such client"
        self.members[room].add(sid)

    def leave_room(self, sid: str, room: str) -> None:
        """Take a client out."""
        self.members[room].discard(sid)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Count a batch."""
        self.batches += 1
        yield

    def connect(self, sid: str, auth: object = None, **environ: str) -> None:
        """Let a client connect."""
        self.members[sid].add(sid)
        facts = {"REMOTE_ADDR": "192.0.2.7", "QUERY_STRING": "EIO=4&transport=websocket", **environ}
        self.handlers["connect"](sid, facts, auth)

    def disconnect(self, sid: str, reason: str = "transport close") -> None:
        """Let a client go."""
        for members in self.members.values():
            members.discard(sid)
        self.handlers["disconnect"](sid, reason)

    async def send(self, sid: str, event: str, *args: Any) -> Any:
        """Let a client emit; return the ack as it would arrive."""
        handler = self.handlers.get(event)
        answer = self.handlers["*"](event, sid, *args) if handler is None else handler(sid, *args)
        if inspect.isawaitable(answer):
            answer = await answer
        return msgspec.json.decode(msgspec.json.encode(answer))

    def rooms(self, sid: str) -> set[str]:
        """Return the rooms of a client, but its own."""
        return {room for room, members in self.members.items() if sid in members and room != sid}

    def heard(self, sid: str, event: str) -> list[Any]:
        """Return the payloads of an event that a client received."""
        return [payload for name, payload in self.received[sid] if name == event]


@define
class Stage:
    """A BFF with its server and its bus.

    Args:
        options: of the BFF.
    """

    options: BffOptions = field(factory=lambda: BffOptions(scheduler=False))
    bus: MemoryBus = field(factory=lambda: MemoryBus(ALL_TOPICS))
    server: RecordingServer = field(factory=RecordingServer)
    bff: Bff = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.bff = Bff(
            self.server,
            self.bus.client("bff"),
            DOMAINS,
            self.options,
            rng=random.Random(7),
            now=virtual_now,
            bus_status=lambda: self.bus.status,
        )

    def produce(
        self,
        topic: str,
        value: Any,
        key: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        partition: int | None = None,
    ) -> None:
        """Put a record into a topic; a value that is not bytes or None is encoded as JSON."""
        raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        pairs: Headers = tuple((name, text.encode()) for name, text in (headers or {}).items())
        self.bus.inject(topic, raw, None if key is None else key.encode(), pairs, partition=partition)

    def commands(self, topic: str) -> list[Any]:
        """Return the values of a command topic's records."""
        return [json.loads(record.value or b"null") for record in self.bus.records(topic)]

    def records(self, topic: str) -> list[Received]:
        """Return a topic's records."""
        return self.bus.records(topic)

    async def settle(self) -> None:
        """Let everything happen that is due now."""
        await trio.testing.wait_all_tasks_blocked()


def at(seconds: float = 0.0) -> str:
    """Return the virtual time so many seconds from now, as the wire has it."""
    return iso_time(datetime.fromtimestamp(virtual_now_ms() / 1000 + seconds, UTC))


def weather(city: str, temperature: float = 20.0, *, seconds: float = 0.0) -> dict[str, Any]:
    """Return a weather event's value."""
    data = {"city": city, "temperature": temperature}
    return {"status": "success", "data": data, "source": "test", "timestamp": at(seconds)}


def movers(name: str = "Bitcoin", *, seconds: float = 0.0) -> dict[str, Any]:
    """Return a movers event's value."""
    data = {"topGainers": [{"id": name, "name": name}], "topLosers": []}
    return {"status": "success", "data": data, "source": "test", "timestamp": at(seconds)}


def failure(message: str, *, seconds: float = 0.0, **more: Any) -> dict[str, Any]:
    """Return an event's value for a provider's failure."""
    return {"status": "error", "message": message, "source": "test", "timestamp": at(seconds), **more}


def tick(product: str = "BTC-USD", price: str = "1.00") -> bytes:
    """Return a ticker event's value, with an exchange's own spacing."""
    data = f'{{"type": "ticker", "product_id": "{product}",  "price": "{price}"}}'
    return f'{{"status":"success", "data": {data}, "source":"test","timestamp":"{at()}"}}'.encode()
