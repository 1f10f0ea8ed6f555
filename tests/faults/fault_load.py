"""The clients of a fault test: askers, who wait for each answer, and streamers, who do not."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import trio
from attrs import define, field
from driver import Client, Driver, DriverError
from kafka_watch import KafkaWatch, Seen
from ledger import Figures, Ledger, State, city_of, numbers_in_order
from program import Program
from scenario import is_error, weather_event

Start = Callable[..., Program]
Watching = Callable[[str], KafkaWatch]
Note = Callable[[Figures], None]
"""Of the fixtures of those names."""

ACK_SECONDS = 20.0
"""How long a client waits for an ack; the BFF promises one within six seconds."""

PAUSE = 0.03
"""Seconds between two requests of a client."""

STREAM_PAUSE = 0.1
"""Seconds between two requests of a streamer."""

DRAIN_SECONDS = 45.0
"""How long what was accepted may wait for its end once the fault is over."""


@define(eq=False)
class Asker:
    """A client that has one request open at a time; after a reconnect it gives its location again.

    Args:
        client: the connection.
        ledger: what it writes into.
        stopping: set when it is to ask no more.
    """

    client: Client
    ledger: Ledger
    stopping: trio.Event

    async def run(self) -> None:
        """Ask until told to stop; returns when the last request has its end."""
        while not self.stopping.is_set():
            await self.ask()
            await trio.sleep(PAUSE)

    async def ask(self) -> None:
        """Send one request, and wait until it has its end."""
        request = self.ledger.write(self.client.name, trio.current_time())
        place = self.client.mark()
        location = {"city": request.city}
        try:
            [ack] = await self.client.call("userLocationUpdate", location, timeout=ACK_SECONDS)
        except DriverError:
            request.becomes(State.UNKNOWN, trio.current_time())
            return
        if is_error(ack):
            request.becomes(State.REFUSED, trio.current_time())
            await trio.sleep(0.2)
            return
        assert ack == {"status": "accepted"}, ack
        request.becomes(State.ACCEPTED, trio.current_time())
        event = weather_event(request.city)
        while request.state is State.ACCEPTED:
            for arrival in self.client.log[place:]:
                place += 1
                if arrival.kind == "connect":
                    await self.client.emit("userLocationUpdate", location)
                elif arrival.kind == "event" and arrival.name == event:
                    failed = is_error(arrival.payload)
                    request.becomes(State.FAILED if failed else State.ANSWERED, trio.current_time())
                    break
            await trio.sleep(0.005)


@define(eq=False)
class Streamer:
    """A client that asks about one city again and again without waiting; the number is the region.

    One city is one key, so what Kafka and the client have of it is in the order of the numbers.

    Args:
        client: the connection.
        stopping: set when it is to ask no more.
    """

    client: Client
    stopping: trio.Event
    sent: int = 0
    accepted: list[int] = field(factory=list)

    @property
    def city(self) -> str:
        """The city it asks about."""
        return f"Stream of {self.client.name}"

    async def run(self) -> None:
        """Ask until told to stop; returns when every ack is there, or is given up."""
        async with trio.open_nursery() as nursery:
            while not self.stopping.is_set():
                self.sent += 1
                nursery.start_soon(self._ask, self.sent)
                await trio.sleep(STREAM_PAUSE)

    async def _ask(self, number: int) -> None:
        location = {"city": self.city, "region": str(number)}
        try:
            [ack] = await self.client.call("userLocationUpdate", location, timeout=ACK_SECONDS)
        except DriverError:
            return
        if not is_error(ack):
            assert ack == {"status": "accepted"}, ack
            self.accepted.append(number)

    def check(self, records: Iterable[Seen]) -> None:
        """Compare with Kafka, and with what the client heard.

        Raises:
            AssertionError: an accepted number is missing, one is there twice or out of order, or the client
                heard an older state after a newer one.
        """
        numbers = numbers_in_order(records, self.city)
        assert numbers == sorted(set(numbers)), f"{self.city}: commands out of order or twice: {numbers}"
        assert set(self.accepted) <= set(numbers), f"lost: {set(self.accepted) - set(numbers)}"
        assert numbers[-1] <= self.sent
        heard = [p for p in self.client.payloads(weather_event(self.city)) if not is_error(p)]
        times = [payload["timestamp"] for payload in heard]
        assert times == sorted(times), f"{self.city}: an older state after a newer one"


@define(eq=False)
class Load:
    """The clients of one test, at work.

    Args:
        ledger: of the askers.
        streamers: the others.
    """

    ledger: Ledger
    streamers: list[Streamer]
    clients: list[Client]

    async def answers(self, count: int, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - the failure says how far it came
        """Wait until so many more requests are answered."""
        target = len(self.ledger.having(State.ANSWERED)) + count
        with trio.move_on_after(timeout):
            while len(self.ledger.having(State.ANSWERED)) < target:  # noqa: ASYNC110 - a loop over what tasks share
                await trio.sleep(0.01)
            return
        raise AssertionError(f"no {count} answers within {timeout:g} s: {self.ledger.figures().line()}")

    async def check(self, watch: KafkaWatch, **extra: float) -> Figures:
        """Compare all with Kafka once the load is over; returns the sums."""
        await watch.caught_up()
        for streamer in self.streamers:
            streamer.check(watch.records)
        streams = {streamer.city for streamer in self.streamers}
        others = [record for record in watch.records if city_of(record) not in streams]
        self.ledger.check(others)
        streamed = {
            "streamed": sum(streamer.sent for streamer in self.streamers),
            "stream_accepted": sum(len(streamer.accepted) for streamer in self.streamers),
        }
        return self.ledger.figures(others, **(streamed if self.streamers else {}), **extra)


@asynccontextmanager
async def load(driver: Driver, url: str, *, askers: int = 8, streamers: int = 2) -> AsyncIterator[Load]:
    """Have clients work inside the block; leaving it stops them and waits for what they were promised.

    Raises:
        AssertionError: something that was accepted has no end in time.
    """
    stopping = trio.Event()
    ledger = Ledger()
    options = {"transports": ["websocket"], "reconnectionDelay": 100, "reconnectionDelayMax": 500}
    clients = [await driver.open(url, **options) for _ in range(askers + streamers)]
    streams = [Streamer(client, stopping) for client in clients[askers:]]
    done = trio.Event()

    async def work() -> None:
        async with trio.open_nursery() as workers:
            for client in clients[:askers]:
                workers.start_soon(Asker(client, ledger, stopping).run)
            for streamer in streams:
                workers.start_soon(streamer.run)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        yield Load(ledger, streams, clients)
        stopping.set()
        with trio.move_on_after(DRAIN_SECONDS):
            await done.wait()
        nursery.cancel_scope.cancel()
    open_ends = ledger.having(State.SENT, State.ACCEPTED)
    assert not open_ends, f"no end within {DRAIN_SECONDS:g} s: {open_ends[:5]} of {len(open_ends)}"
