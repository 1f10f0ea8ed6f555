"""The news service with real sources: a refresh in over the bus, feeds over HTTP, articles out."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from fake_site import SILENCE, FakeSite, answer, answer_json, status
from news_answers import feed, gdelt_article, newsdata_answer, newsdata_article, rss  # from tests/sources
from structlog.typing import EventDict
from trio.testing import MockClock

from flux.domains.domain import ServiceContext
from flux.domains.news import NEWS
from flux.domains.news.real import NO_KEY, real
from flux.domains.news.views import UPDATES
from flux.domains.providers import ProviderOptions
from flux.domains.sources import Board
from flux.domains.sources.board import SourceState
from flux.errors import SettingsError
from flux.messages import wall_clock
from flux.transport.kafka.memory import MemoryBus

REFRESH = "news.service.command.refresh"
STORY = ("Bells &lt;b&gt;ring&lt;/b&gt;", "https://n.example.org/1", "Wed, 31 Dec 2025 11:59:00 GMT")
NOON = feed(rss("Noon", [STORY]).replace("&amp;lt;", "&lt;").replace("&amp;gt;", "&gt;"))
BOMB = (
    '<!DOCTYPE r [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>'
    '<rss version="2.0"><channel><title>&c;</title></channel></rss>'
)

MakeContext = Callable[..., ServiceContext]


class Served:
    """A running service and what it publishes."""

    def __init__(self, bus: MemoryBus, context: ServiceContext) -> None:
        self._bus = bus
        self.context = context

    async def ask(self, within: float = 15.0) -> dict[str, Any]:
        """Refresh; return the event that answers it within so many seconds."""
        before = len(self._bus.records(UPDATES.topic.name))
        self._bus.inject(REFRESH, b'{"event":"refresh","data":{}}', b"news")
        await trio.sleep(within)
        (record,) = self._bus.records(UPDATES.topic.name)[before:]
        assert UPDATES.decode(record.value or b"")
        payload: dict[str, Any] = json.loads(record.value or b"")
        return payload


@pytest.fixture
def serve(bus: MemoryBus, make_context: MakeContext) -> Any:
    """What runs the service: ``serve(mode="real", feeds=(...))`` with the names of `ProviderOptions`."""

    @asynccontextmanager
    async def run(**options: Any) -> AsyncIterator[Served]:
        context = make_context("news", providers=ProviderOptions(**options))
        async with trio.open_nursery() as nursery:
            await nursery.start(NEWS.service(context))
            yield Served(bus, context)
            nursery.cancel_scope.cancel()
        assert not bus.records(NEWS.rejected.name)

    return run


async def test_a_refresh_brings_what_the_feeds_have(
    serve: Any, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Clean articles under the provider's name, with a bomb, a feed that hangs and one that fails beside."""
    site.script("/noon", NOON)
    site.script("/bomb", answer(BOMB, "text/xml"))
    site.script("/hangs", SILENCE)
    feeds = tuple(f"{site.url}/{path}" for path in ("bomb", "noon", "hangs", "none"))
    async with serve(mode="real", feeds=feeds) as service:
        event = await service.ask(within=2)
    assert (event["status"], event["source"]) == ("success", "rss")
    (article,) = event["data"]
    assert article.pop("id")
    assert article == {
        "title": "Bells ring",
        "description": None,
        "url": "https://n.example.org/1",
        "image": None,
        "source": "Noon",
        "publishedAt": "2025-12-31T11:59:00.000Z",
        "category": [],
    }


async def test_auto_shows_marked_simulated_news_until_a_feed_answers(
    serve: Any, site: FakeSite, logged: list[EventDict], loopback_clock: MockClock
) -> None:
    """Within two seconds; and the recovery is noticed without a restart."""
    site.script("/noon", SILENCE)
    async with serve(mode="auto", feeds=(f"{site.url}/noon",)) as service:
        first = await service.ask(within=2)
        assert (first["status"], first["source"]) == ("success", "simulated")
        await trio.sleep(60)
        site.script("/noon", NOON)
        await trio.sleep(240)
        second = await service.ask()
    assert (second["source"], second["data"][0]["title"]) == ("rss", "Bells ring")
    assert [
        line["event"] for line in logged if line.get("source") == f"rss-{site.url[7:].split(':')[0]}"
    ] == [
        "source is down",
        "source is back",
    ]


async def test_a_failure_after_real_news_is_told_not_replaced(
    serve: Any, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Clients keep the last good news, which the BFF marks stale; simulated ones do not take their place."""
    site.script("/noon", NOON, status(503))
    async with serve(mode="auto", feeds=(f"{site.url}/noon",)) as service:
        assert (await service.ask())["source"] == "rss"
        await trio.sleep(300)
        event = await service.ask()
    assert (event["status"], event["source"]) == ("error", "rss")
    assert event["message"] == "127.0.0.1 answered with status 503"
    assert "data" not in event


@pytest.mark.parametrize(("mode", "outcome"), [("auto", "success"), ("real", "error")])
async def test_a_missing_key_is_said_once(
    mode: str, outcome: str, serve: Any, logged: list[EventDict], loopback_clock: MockClock
) -> None:
    """In the log, on the board, and, where nothing stands in, in the event."""
    async with serve(news=mode, news_source="newsdata") as service:
        event = await service.ask()
        assert (await service.ask())["status"] == event["status"] == outcome
        (row,) = service.context.board.rows()
    assert (row.name, row.state, row.reason) == ("newsdata", SourceState.MISSING, NO_KEY)
    assert event["source"] == ("simulated" if mode == "auto" else "newsdata")
    assert event.get("message") == (NO_KEY if outcome == "error" else None)
    assert [line["event"] for line in logged].count("source is not set up") == 1


@pytest.mark.parametrize("source", ["gdelt", "newsdata"])
async def test_the_other_sources_are_chosen_by_name(
    source: str, serve: Any, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Each under its own name, with its own articles."""
    site.script("/api/v2/doc/doc", answer_json({"articles": [gdelt_article()]}))
    site.script("/api/1/latest", answer_json(newsdata_answer(newsdata_article())))
    options = {"news_source": source, "newsdata_key": "pub_1", "urls": {source: site.url}}
    async with serve(mode="real", **options) as service:
        event = await service.ask()
    assert (event["status"], event["source"], len(event["data"])) == ("success", source, 1)


async def test_simulated_news_need_no_source(serve: Any, site: FakeSite, loopback_clock: MockClock) -> None:
    """Where the domain's own mode says so, nothing real is made or asked."""
    async with serve(mode="real", news="simulated", feeds=(site.url,)) as service:
        assert (await service.ask())["source"] == "simulated"
        assert not service.context.board.rows()
    assert not site.requests


def test_an_unknown_source_is_a_wrong_setting() -> None:
    """The setting is named, and what it may be."""
    with pytest.raises(
        SettingsError, match=r"providers\.news_source is 'paper'; it must be one of rss, gdelt"
    ):
        real(ProviderOptions(news_source="paper"), Board(), wall_clock)
