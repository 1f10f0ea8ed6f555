"""Commands that crash what serves them: tried again a few times, then a fact; nothing else is held up."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from structlog.typing import EventDict

from flux.domains.commands import Query, Route
from flux.domains.domain import ServiceContext
from flux.domains.limits import WorkerLimits
from flux.domains.providers import Fetched
from flux.domains.registry import TOPICS
from flux.domains.weather.views import FETCHES
from flux.domains.worker import CommandWorker
from flux.errors import LocalError
from flux.messages import Command, Record
from flux.metrics import REGISTRY
from flux.nurseries import Child, Supervisor
from flux.transport.kafka.bus import Position
from flux.transport.kafka.memory import MemoryBus, MemoryClient

FETCH = "weather.service.command.fetch"
UPDATED = "weather.service.event.updated"
REJECTED = "weather.service.event.rejected"

Fetch = Callable[[str, str], Awaitable[Any]]


def worker(context: ServiceContext, fetch: Fetch) -> CommandWorker:
    """Return a worker of weather commands that asks `fetch`, with the city and what else the command says."""

    def query(command: Command) -> Query:
        city, more = command.data["city"], command.data.get("more", "")
        if more == "unreadable":
            raise KeyError(more)

        async def ask() -> Fetched[Any]:
            return Fetched(await fetch(city, more), "told")

        return Query(key=city, fetch=ask, on_error={"city": city})

    route = Route(command=FETCHES, source="told", query=query)
    return CommandWorker(context, rejected=TOPICS[REJECTED], routes=[route])


@asynccontextmanager
async def running(made: CommandWorker) -> AsyncIterator[None]:
    """Run a worker inside the block; it is ready there."""
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield
        nursery.cancel_scope.cancel()


def command(city: str, more: str = "") -> bytes:
    """Return a location command's value."""
    return json.dumps({"event": "locationUpdate", "data": {"city": city, "more": more}}).encode()


def cities(bus: MemoryBus) -> list[str]:
    """Return the cities of the events, in order."""
    return [json.loads(record.value or b"")["data"]["city"] for record in bus.records(UPDATED)]


def weather(city: str) -> dict[str, Any]:
    """Return an answer."""
    return {"city": city, "temperature": 20.0}


def done(bus: MemoryBus) -> int:
    """Return how many commands are committed, over all partitions."""
    return sum(bus.committed("flux.weather").values())


def crashes() -> float:
    """Return how many attempts crashed."""
    return REGISTRY.get_sample_value("flux_command_crashes_total", {"topic": FETCH}) or 0.0


def tracebacks(logged: list[EventDict]) -> int:
    """Return how many log lines carry a traceback."""
    return sum(bool(line.get("exc_info")) for line in logged)


async def test_a_bug_that_passes_is_not_seen(
    bus: MemoryBus, make_context: Any, logged: list[EventDict], autojump_clock: Any
) -> None:
    """The second attempt, after a backoff, answers; the log has one traceback."""
    times: list[float] = []

    async def fetch(city: str, _: str) -> Any:
        await trio.lowlevel.checkpoint()
        times.append(trio.current_time())
        if len(times) == 1:
            raise ConnectionResetError
        return weather(city)

    before = crashes()
    async with running(worker(make_context("weather"), fetch)):
        bus.inject(FETCH, command("Oslo"))
        await trio.sleep(5)
    assert cities(bus) == ["Oslo"]
    assert bus.records(REJECTED) == []
    assert 0.1 <= times[1] - times[0] <= 0.2
    assert done(bus) == 1
    assert crashes() - before == 1
    assert tracebacks(logged) == 1


async def test_a_poison_command_becomes_a_fact_and_the_partition_moves_on(
    bus: MemoryBus, make_context: Any, logged: list[EventDict], autojump_clock: Any
) -> None:
    """After its attempts it is rejected with its value and a reason without internals; others are served."""
    tried: list[str] = []

    async def fetch(city: str, _: str) -> Any:
        await trio.lowlevel.checkpoint()
        tried.append(city)
        if city == "poison":
            raise ZeroDivisionError("a secret of the inside")
        return weather(city)

    before = crashes()
    async with running(worker(make_context("weather"), fetch)):
        for city in ("Rome", "poison", "Oslo"):
            bus.inject(FETCH, command(city), b"key", partition=1)
        await trio.sleep(30)
    (rejected,) = bus.records(REJECTED)
    reason = rejected.header("flux_reason") or ""
    assert rejected.value == command("poison")
    assert rejected.header("flux_offset") == "1"
    assert "internal error (ZeroDivisionError)" in reason
    assert "secret" not in reason
    assert cities(bus) == ["Rome", "Oslo"]
    assert tried.count("poison") == WorkerLimits().attempts == 3
    assert done(bus) == 3
    assert crashes() - before == 3
    assert tracebacks(logged) == 1
    assert [line["event"] for line in logged].count("command rejected") == 1


async def test_poison_never_ends_the_service(
    bus: MemoryBus, make_context: Any, logged: list[EventDict], autojump_clock: Any
) -> None:
    """Under a supervisor, a hundred poison commands cause no restart."""

    async def fetch(city: str, _: str) -> Any:
        await trio.lowlevel.checkpoint()
        raise RuntimeError

    tree = Supervisor("domains", [Child("weather", worker(make_context("weather"), fetch).run)])
    for number in range(100):
        bus.inject(FETCH, command(f"city {number}"))
    async with trio.open_nursery() as nursery:
        await nursery.start(tree)
        await trio.sleep(60)
        (node,) = tree.tree().children
        nursery.cancel_scope.cancel()
    assert node.restarts == 0
    assert len(bus.records(REJECTED)) == done(bus) == 100


async def test_what_was_coalesced_with_a_poison_command_is_answered(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """Only the command that was tried is rejected; the older ones, which waited with it, get a fetch."""

    async def fetch(city: str, more: str) -> Any:
        await trio.sleep(1)
        if more == "poison":
            raise ZeroDivisionError
        return weather(city)

    async with running(worker(make_context("weather"), fetch)):
        bus.inject(FETCH, command("Oslo"), b"k")
        await trio.sleep(0.5)
        for more in ("first", "second", "poison"):
            bus.inject(FETCH, command("Oslo", more), b"k")
        await trio.sleep(30)
    assert [record.value for record in bus.records(REJECTED)] == [command("Oslo", "poison")]
    assert len(bus.records(UPDATED)) == 2
    assert done(bus) == 4


async def test_a_key_whose_every_command_is_poison_is_through_soon(
    bus: MemoryBus, make_context: Any, logged: list[EventDict], autojump_clock: Any
) -> None:
    """After one was given up the others of the key are tried once each; a success sets that back."""
    healthy = False
    tried: list[str] = []

    async def fetch(city: str, more: str) -> Any:
        await trio.lowlevel.checkpoint()
        tried.append(more)
        if not healthy:
            raise ZeroDivisionError
        return weather(city)

    async with running(worker(make_context("weather"), fetch)):
        for number in range(50):
            bus.inject(FETCH, command("Oslo", f"{number}"), b"k")
        await trio.sleep(5)
        assert len(tried) == 50 + 2
        assert len(bus.records(REJECTED)) == done(bus) == 50
        assert tracebacks(logged) == 1
        healthy = True
        bus.inject(FETCH, command("Oslo"), b"k")
        await trio.sleep(5)
    assert cities(bus) == ["Oslo"]


async def test_the_commands_of_a_key_wait_for_the_one_that_is_tried_again(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """Order per key holds over retries, while other keys go on."""
    tried: list[tuple[str, str]] = []

    async def fetch(city: str, more: str) -> Any:
        await trio.lowlevel.checkpoint()
        tried.append((city, more))
        if more == "poison":
            raise ZeroDivisionError
        return weather(city)

    async with running(worker(make_context("weather"), fetch)):
        bus.inject(FETCH, command("Oslo", "poison"), b"k")
        await trio.sleep(0.01)
        bus.inject(FETCH, command("Oslo", "later"), b"k")
        bus.inject(FETCH, command("Rome"), b"k")
        await trio.sleep(10)
    assert [more for city, more in tried if city == "Oslo"] == ["poison", "poison", "poison", "later"]
    assert tried.index(("Rome", "")) == 1
    assert cities(bus) == ["Rome", "Oslo"]


async def test_no_fetch_slot_is_held_during_a_backoff(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """With one slot alone, another city is answered between two attempts."""

    async def fetch(city: str, _: str) -> Any:
        await trio.lowlevel.checkpoint()
        if city == "poison":
            raise ZeroDivisionError
        return weather(city)

    async with running(worker(make_context("weather", limits=WorkerLimits(fetches=1)), fetch)):
        bus.inject(FETCH, command("poison"))
        bus.inject(FETCH, command("Oslo"))
        await trio.sleep(0.05)
        assert cities(bus) == ["Oslo"]


@pytest.mark.parametrize("instant", [0.05, 0.15, 0.45])
async def test_a_cancellation_between_attempts_leaves_the_command_for_the_next_run(
    instant: float, bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """Nothing is committed or rejected; run again, the command is served."""
    healthy = False

    async def fetch(city: str, _: str) -> Any:
        await trio.sleep(0.1)
        if not healthy:
            raise ZeroDivisionError
        return weather(city)

    made = worker(make_context("weather"), fetch)
    bus.inject(FETCH, command("Oslo"))
    with trio.move_on_after(instant):
        await made.run()
    assert (done(bus), bus.records(REJECTED)) == (0, [])
    healthy = True
    async with running(made):
        await trio.sleep(1)
    assert (done(bus), cities(bus)) == (1, ["Oslo"])


async def test_a_command_that_crashes_its_reader_is_rejected_at_once(
    bus: MemoryBus, make_context: Any, logged: list[EventDict], autojump_clock: Any
) -> None:
    """Reading is pure, so a second attempt would end alike."""

    async def fetch(city: str, _: str) -> Any:
        await trio.lowlevel.checkpoint()
        return weather(city)

    before = crashes()
    async with running(worker(make_context("weather"), fetch)):
        bus.inject(FETCH, command("Oslo", "unreadable"), b"k")
        bus.inject(FETCH, command("Rome"), b"k")
        await trio.sleep(0.01)
    assert [record.value for record in bus.records(REJECTED)] == [command("Oslo", "unreadable")]
    assert cities(bus) == ["Rome"]
    assert crashes() - before == 1
    assert tracebacks(logged) == 1


async def test_an_answer_that_no_broker_takes_is_a_rejection(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """An event past the bus's bound would be refused for ever."""

    async def fetch(city: str, _: str) -> Any:
        await trio.lowlevel.checkpoint()
        return msgspec.Raw(b'"' + b"x" * 1_000_001 + b'"') if city == "huge" else weather(city)

    async with running(worker(make_context("weather"), fetch)):
        bus.inject(FETCH, command("huge"), b"k")
        bus.inject(FETCH, command("Oslo"), b"k")
        await trio.sleep(1)
    (rejected,) = bus.records(REJECTED)
    assert "could not be published" in (rejected.header("flux_reason") or "")
    assert (cities(bus), done(bus)) == (["Oslo"], 2)


async def test_an_answer_that_is_not_json_is_a_rejection(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """What a provider returned and cannot be encoded is its bug, not the end of the service."""

    async def fetch(_: str, __: str) -> Any:
        await trio.lowlevel.checkpoint()
        return object()

    async with running(worker(make_context("weather"), fetch)):
        bus.inject(FETCH, command("Oslo"))
        await trio.sleep(5)
    (rejected,) = bus.records(REJECTED)
    assert "TypeError" in (rejected.header("flux_reason") or "")
    assert done(bus) == 1


async def test_a_rejection_that_is_too_large_for_the_broker_goes_without_its_value(
    bus: MemoryBus, make_context: Any, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    """A broker with a smaller bound than the worker's does not make a refused command come for ever."""
    publish = MemoryClient.publish

    async def small(client: MemoryClient, record: Record) -> Position:
        if len(record.value or b"") > 1_000:
            raise LocalError("too large")
        return await publish(client, record)

    async def fetch(city: str, _: str) -> Any:
        await trio.lowlevel.checkpoint()
        return weather(city)

    monkeypatch.setattr(MemoryClient, "publish", small)
    async with running(worker(make_context("weather"), fetch)):
        bus.inject(FETCH, b"x" * 2_000)
        await trio.sleep(1)
    (rejected,) = bus.records(REJECTED)
    assert rejected.value is None
    assert rejected.header("flux_offset") == "0"
    assert done(bus) == 1
