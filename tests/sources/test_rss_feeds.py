"""Several feeds over HTTP make one list; one that fails or is slow does not hold up the others."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
from fake_site import SILENCE, FakeSite, Reply, answer, gzip_bomb, gzipped, late, redirect, status, trickling
from news_answers import ATOM, RDF, RSS, feed, rss  # from tests/sources
from source_doubles import virtual_now
from structlog.typing import EventDict

from flux.domains.news.articles import LATEST
from flux.domains.news.rss import FEEDS, Feed, RssNews, feeds_of, policy
from flux.domains.sources import Board, SourceError
from flux.domains.sources.board import SourceState
from flux.errors import LocalError

MORNING = rss("Morning", [("Dawn breaks", "https://m.example.org/1", "Sat, 31 Jan 2026 06:00:00 GMT")])
NOON = rss("Noon", [("Bells ring", "https://n.example.org/1", "Sat, 31 Jan 2026 11:59:00 GMT")])

News = Callable[[Sequence[str]], AbstractAsyncContextManager[RssNews]]


@pytest.fixture
def news(board: Board, site: FakeSite) -> News:
    """What runs the provider over feeds of the fake site, by their paths."""

    @asynccontextmanager
    async def run(paths: Sequence[str]) -> AsyncIterator[RssNews]:
        feeds = [Feed(f"rss-{path.strip('/')}", path.strip("/").title(), site.url + path) for path in paths]
        provider = RssNews(feeds, board, {}, now=virtual_now)
        async with trio.open_nursery() as nursery:
            for source in provider.sources:
                await nursery.start(source.run)
            yield provider
            nursery.cancel_scope.cancel()

    return run


async def test_feeds_are_merged(news: News, site: FakeSite, loopback_clock: trio.abc.Clock) -> None:
    """RSS 2.0, RSS 1.0 and Atom, each in its media type, compressed or not, newest first."""
    site.script("/a", feed(RSS, "text/xml"))
    site.script("/b", gzipped(feed(RDF, "application/rdf+xml")))
    site.script("/c", feed(ATOM, "application/atom+xml"))
    async with news(["/a", "/b", "/c"]) as provider:
        articles = await provider.latest()
    assert [(article.source, (article.publishedAt or "")[11:16]) for article in articles] == [
        ("Harbour News", "12:00"),
        ("Observatory", "10:45"),
        ("Harbour News", "10:15"),
        ("Wave", "09:30"),
    ]
    assert provider.source == "rss"
    accept = site.requests[0].headers["accept"]
    assert "application/rss+xml" in accept
    assert "application/atom+xml" in accept


async def test_a_story_of_two_feeds_is_told_once(news: News, site: FakeSite) -> None:
    """By its link; and no more than the limit are told."""
    many = [
        (f"Story {n}", f"https://e.org/{n}", f"Sat, 31 Jan 2026 08:{n % 60:02}:00 GMT") for n in range(60)
    ]
    site.script("/a", feed(rss("A", many)))
    site.script("/b", feed(rss("B", many[40:])))
    async with news(["/a", "/b"]) as provider:
        articles = await provider.latest()
    assert len(articles) == len({article.url for article in articles}) == LATEST
    assert articles[0].title == "Story 59"


@pytest.mark.parametrize(
    "bad",
    [
        status(500),
        status(404),
        answer("<html><title>Log in</title></html>", "text/html"),
        answer("<html><title>Log in</title></html>", "text/xml"),
        answer('<!DOCTYPE r [<!ENTITY a "b">]><rss/>', "text/xml"),
        gzip_bomb(64 << 20, "text/xml"),
        redirect("/bad"),
    ],
    ids=["500", "404", "page", "page as XML", "entities", "gzip bomb", "circle"],
)
async def test_one_bad_feed_does_not_fail_the_rest(
    bad: Reply,
    news: News,
    site: FakeSite,
    board: Board,
    logged: list[EventDict],
    loopback_clock: trio.abc.Clock,
) -> None:
    """Its own health says what is wrong with it; the others are shown."""
    site.script("/good", feed(MORNING))
    site.script("/bad", bad)
    async with news(["/bad", "/good"]) as provider:
        (article,) = await provider.latest()
        await trio.sleep(8)  # the deadline of the other
    assert article.title == "Dawn breaks"
    states = {row.name: row.state for row in board.rows()}
    assert states == {"rss-bad": SourceState.DOWN, "rss-good": SourceState.UP}
    (down,) = (line for line in logged if line["event"] == "source is down")
    assert (down["source"], down["reason"].startswith("Bad ")) == ("rss-bad", True)
    assert site.url not in str(logged)


async def test_all_feeds_down_is_a_failure(news: News, site: FakeSite) -> None:
    """It says why, for a few of them, and names no address."""
    async with news([f"/feed{n}" for n in range(5)]) as provider:
        with pytest.raises(SourceError) as failure:
            await provider.latest()
    text = str(failure.value)
    reasons = "; ".join(f"Feed{n} answered with status 404" for n in range(3))
    assert text == f"no news feed can be read: {reasons}; and 2 more"
    assert failure.value.asked
    assert failure.value.known  # each feed's own line is in the log


async def test_a_single_feed_tells_its_own_failure(news: News, site: FakeSite) -> None:
    """There is nothing to sum up."""
    async with news(["/only"]) as provider:
        with pytest.raises(SourceError, match=r"^Only answered with status 404$"):
            await provider.latest()


async def test_a_slow_feed_is_not_waited_for(
    news: News, site: FakeSite, loopback_clock: trio.abc.Clock
) -> None:
    """After a second the others are enough; what it answers later is there the next time."""
    site.script("/quick", feed(MORNING))
    site.script("/slow", late(feed(NOON), 3.0), SILENCE)
    async with news(["/slow", "/quick"]) as provider:
        began = trio.current_time()
        assert [article.title for article in await provider.latest()] == ["Dawn breaks"]
        assert trio.current_time() - began == pytest.approx(1.0, abs=0.2)
        await trio.sleep(300)
        assert [article.title for article in await provider.latest()] == ["Bells ring", "Dawn breaks"]
        await trio.sleep(3_600)
        assert [article.title for article in await provider.latest()] == ["Dawn breaks"]


async def test_the_only_answer_is_waited_for(
    news: News, site: FakeSite, loopback_clock: trio.abc.Clock
) -> None:
    """Where no feed answers within a second, the first one counts."""
    site.script("/slow", late(feed(NOON), 3.0))
    site.script("/silent", SILENCE)
    async with news(["/slow", "/silent"]) as provider:
        began = trio.current_time()
        assert [article.title for article in await provider.latest()] == ["Bells ring"]
        assert 3.0 <= trio.current_time() - began < 4.0


async def test_silence_of_all_ends_at_the_deadline(
    news: News, site: FakeSite, loopback_clock: trio.abc.Clock
) -> None:
    """Silence and a trickle alike."""
    site.script("/silent", SILENCE)
    site.script("/trickle", trickling(feed(NOON), 1.0))
    async with news(["/silent", "/trickle"]) as provider:
        began = trio.current_time()
        with pytest.raises(SourceError, match=r"no news feed can be read: .*in"):
            await provider.latest()
        assert trio.current_time() - began < 10


async def test_a_feed_that_fails_keeps_its_last_articles_for_an_hour(
    news: News, site: FakeSite, loopback_clock: trio.abc.Clock
) -> None:
    """So the list does not flicker; and when it is back it is asked again."""
    site.script("/a", feed(MORNING))
    site.script("/b", feed(NOON), status(404))
    async with news(["/a", "/b"]) as provider:
        assert len(await provider.latest()) == 2
        await trio.sleep(1_800)
        assert len(await provider.latest()) == 2
        await trio.sleep(1_900)
        assert len(await provider.latest()) == 1
        site.script("/b", feed(NOON))
        await trio.sleep(300)
        assert len(await provider.latest()) == 2


async def test_feeds_are_not_asked_more_often_than_needed(
    news: News, site: FakeSite, loopback_clock: trio.abc.Clock
) -> None:
    """Two who ask at once, and who ask again within four minutes, share one request."""
    site.script("/a", feed(MORNING))
    async with news(["/a"]) as provider:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.latest)
            nursery.start_soon(provider.latest)
        await trio.sleep(200)
        await provider.latest()
        assert len(site.requests) == 1
        await trio.sleep(100)
        await provider.latest()
        assert len(site.requests) == 2


async def test_a_bug_is_not_hidden(board: Board) -> None:
    """What is no failure of a feed comes out as it is: asked before it runs."""
    provider = RssNews(FEEDS[:2], board, {}, now=virtual_now)
    with pytest.raises(ExceptionGroup) as raised:
        await provider.latest()
    assert raised.group_contains(LocalError)


async def test_a_feeds_own_slash_stays(news: News, site: FakeSite) -> None:
    """An address is asked as it was given, its query too."""
    site.script("/feed/", feed(MORNING))
    site.script("/plain", feed(NOON))
    async with news(["/feed/", "/plain?format=rss"]) as provider:
        assert len(await provider.latest()) == 2
    assert {(request.path, tuple(request.params)) for request in site.requests} == {
        ("/feed/", ()),
        ("/plain", ("format",)),
    }


def test_the_feeds_that_flux_knows() -> None:
    """World news over TLS, each with a name of its own."""
    assert feeds_of(()) == FEEDS
    assert len({feed.name for feed in FEEDS}) == len(FEEDS) >= 3
    assert all(feed.url.startswith("https://") and feed.publisher for feed in FEEDS)


def test_feeds_of_settings_are_named_by_their_hosts() -> None:
    """The same address counts once, a second feed of a host gets a number."""
    urls = ("https://a.org/x", "http://b.org:8080/", "https://a.org/x", "https://a.org/y", "https://a.org/z")
    assert [(feed.name, feed.title, feed.publisher) for feed in feeds_of(urls)] == [
        ("rss-a.org", "a.org", None),
        ("rss-b.org", "b.org", None),
        ("rss-a.org-2", "a.org", None),
        ("rss-a.org-3", "a.org", None),
    ]


def test_the_rounds_of_the_scheduler_find_the_cache_empty() -> None:
    """A feed's answer is good for less than the 300 seconds between rounds, jittered by a tenth."""
    assert policy(FEEDS[0]).ttl <= 270
