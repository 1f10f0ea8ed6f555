"""An outage from a command to its event: real HTTP, a source, the worker, a bus in memory, virtual time."""

import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define
from fake_site import FakeSite, answer_json
from source_doubles import POLICY, virtual_now
from trio.testing import MockClock

from flux.domains.commands import Route
from flux.domains.domain import ServiceContext
from flux.domains.news.contract import NAME, REJECTED, Article
from flux.domains.news.provider import NewsProvider
from flux.domains.news.simulated import SimulatedNews
from flux.domains.news.views import NEWS_REFRESH
from flux.domains.providers import ProviderError, ProviderOptions, SimulationOptions
from flux.domains.registry import ALL_TOPICS
from flux.domains.sources import Board, Choice, Query, Source
from flux.domains.worker import CommandWorker
from flux.nurseries.together import together
from flux.transport.kafka.memory import MemoryBus

COMMAND = NEWS_REFRESH.topic.name
UPDATED = NEWS_REFRESH.answer.topic.name


@define
class Site:
    """News of one web site."""

    running: Source
    source: str = "example"

    async def latest(self) -> tuple[Article, ...]:
        """Ask it."""
        title = await self.running.get(Query("/news"), lambda answer: answer.body.decode())
        return (Article(title=title),)


@define
class Outage:
    """A news service beside its web site.

    Args:
        bus: where commands and events go.
        site: the web site.
    """

    bus: MemoryBus
    site: FakeSite

    async def ask(self) -> dict[str, Any]:
        """Send a command, and return the event that answers it."""
        before = len(self.bus.records(UPDATED))
        self.bus.inject(COMMAND, b'{"event":"refresh","data":{}}')
        with trio.fail_after(20):
            while len(self.bus.records(UPDATED)) == before:  # noqa: ASYNC110 - the bus in memory tells nobody
                await trio.sleep(0.5)
        event: dict[str, Any] = json.loads(self.bus.records(UPDATED)[-1].value or b"")
        return event

    async def rounds(self, count: int) -> Counter[tuple[str, str]]:
        """Ask once in a minute; return how often which status came from which source."""
        seen: Counter[tuple[str, str]] = Counter()
        for _ in range(count):
            event = await self.ask()
            seen[event["status"], event["source"]] += 1
            await trio.sleep(60)
        return seen


@pytest.fixture
def serving(site: FakeSite) -> Any:
    """What runs the service in a mode."""

    @asynccontextmanager
    async def serve(mode: str, **options: Any) -> AsyncIterator[Outage]:
        bus = MemoryBus(ALL_TOPICS)
        context = ServiceContext(
            client=bus.client(NAME),
            providers=ProviderOptions(mode=mode, urls={"example": site.url}, **options),
            board=Board(virtual_now),
            now=virtual_now,
            rng=random.Random(1),
        )
        source = Source(POLICY, domain=NAME, board=context.board, urls=context.providers.urls)
        simulated = SimulatedNews(SimulationOptions(seed=1), now=virtual_now)
        choice: Choice[NewsProvider] = Choice(NAME, context.providers, real=Site(source), simulated=simulated)
        route = Route.refresh(NEWS_REFRESH, choice, lambda provider: provider.latest())
        worker = CommandWorker(context, rejected=REJECTED, routes=[route])
        async with trio.open_nursery() as nursery:
            await nursery.start(together(source.run, worker.run))
            yield Outage(bus, site)
            nursery.cancel_scope.cancel()

    return serve


def lines(logged: list[Any]) -> list[tuple[str, str]]:
    """Return what people see at the usual level."""
    return [(line["log_level"], line["event"]) for line in logged if line["log_level"] != "debug"]


@pytest.mark.parametrize("mode", ["real", "auto"])
async def test_an_outage_is_told_and_its_end_is_noticed(
    serving: Any, site: FakeSite, mode: str, loopback_clock: MockClock, logged: list[Any]
) -> None:
    """Real data, then errors (clients keep what they have), then real data; two log lines for all of it."""
    site.script("/news", answer_json("hello"))
    async with serving(mode) as outage:
        assert await outage.rounds(2) == {("success", "example"): 2}
        async with site.away():
            assert (await outage.ask())["message"] == "Example cannot be reached"
            assert await outage.rounds(6) == {("error", "example"): 6}
        assert await outage.rounds(3) >= Counter({("success", "example"): 2})
    assert lines(logged) == [
        ("info", "source answers"),
        ("warning", "source is down"),
        ("info", "source is back"),
    ]


async def test_auto_without_anything_real_is_simulated_until_there_is(
    serving: Any, site: FakeSite, loopback_clock: MockClock, logged: list[Any]
) -> None:
    """It starts without a network, and goes over to real data once there is one."""
    site.script("/news", answer_json("hello"))
    async with serving("auto") as outage:
        async with site.away():
            began = trio.current_time()
            assert (await outage.ask())["source"] == "simulated"
            assert trio.current_time() - began < 2.5  # half a second of it is the test's own step
            assert await outage.rounds(4) == {("success", "simulated"): 4}
        assert await outage.rounds(3) >= Counter({("success", "example"): 2})
    assert lines(logged) == [
        ("warning", "source is down"),
        ("info", "simulated data stands in"),
        ("info", "source is back"),
        ("info", "real data is shown again"),
    ]


async def test_a_failure_that_the_log_does_not_know_is_a_warning(
    serving: Any,
    site: FakeSite,
    monkeypatch: pytest.MonkeyPatch,
    loopback_clock: MockClock,
    logged: list[Any],
) -> None:
    """So that nothing is lost in silence."""

    async def fail(_: Any) -> None:
        raise ProviderError("it rains in")

    monkeypatch.setattr(Site, "latest", fail)
    async with serving("real") as outage:
        assert (await outage.ask())["message"] == "it rains in"
    assert lines(logged) == [("warning", "fetch failed")]
