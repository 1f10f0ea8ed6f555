"""newsdata.io over HTTP: its key stays in a header, its errors are told in words, its limits are kept."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import trio
from fake_site import FakeSite, Reply, answer_json, redirect, status
from hypothesis import given
from hypothesis import strategies as st
from news_answers import NOW, newsdata_answer, newsdata_article  # from tests/sources
from source_doubles import virtual_now
from structlog.typing import EventDict

from flux.domains.news.articles import article_id
from flux.domains.news.contract import Article
from flux.domains.news.newsdata import POLICY, NewsdataNews
from flux.domains.news.newsdata_shape import parse_latest, published
from flux.domains.sources import Board, SourceError
from flux.domains.sources.http import Answer

PATH = "/api/1/latest"
KEY = "pub_0f3e9c"


@asynccontextmanager
async def running(board: Board, site: FakeSite) -> AsyncIterator[NewsdataNews]:
    """Run the provider over the fake site."""
    provider = NewsdataNews(KEY, board, {"newsdata": site.url}, now=virtual_now)
    async with trio.open_nursery() as nursery:
        for source in provider.sources:
            await nursery.start(source.run)
        yield provider
        nursery.cancel_scope.cancel()


def answered(body: object, status: int = 200) -> Answer:
    """Return an answer in JSON."""
    return Answer(status, json.dumps(body).encode())


def error(code: str, message: str = "of the source") -> dict[str, object]:
    """Return newsdata.io's error."""
    return {"status": "error", "results": {"message": message, "code": code}}


async def test_the_latest_news_are_asked_for_and_read(site: FakeSite, board: Board) -> None:
    """With the key in its header; what is null is left out."""
    bare = newsdata_article(
        article_id="b", title="Bare", link="https://b.example.net/", pubDate="2026-01-31 11:00:00",
        **dict.fromkeys(("description", "image_url", "source_name", "category")),
    )  # fmt: skip
    site.script(PATH, answer_json(newsdata_answer(newsdata_article(), bare)))
    async with running(board, site) as provider:
        first, second = await provider.latest()
    assert first == Article(
        id=article_id("https://b.example.net/"),
        title="Bare",
        url="https://b.example.net/",
        source="daily",
        publishedAt="2026-01-31T11:00:00.000Z",
    )
    assert second == Article(
        id=article_id("https://daily.example.net/orchards"),
        title="Orchards return to the coast",
        description="Apples first, then plums.",
        url="https://daily.example.net/orchards",
        image="https://daily.example.net/orchards.jpg",
        source="The Daily",
        publishedAt="2026-01-31T10:15:00.000Z",
        category=("environment", "food"),
    )
    (request,) = site.requests
    assert request.headers["x-access-key"] == KEY
    assert request.params == {"language": "en"}


@pytest.mark.parametrize(
    "bad",
    [
        status(401),
        status(403),
        answer_json(error("Unauthorized", f"the key {KEY} is unknown"), 401),
        answer_json(error("Unauthorized", f"the key {KEY} is unknown")),
        status(500, KEY),
        redirect("https://example.invalid/"),
    ],
    ids=["401", "403", "401 with words", "200 with words", "500", "elsewhere"],
)
async def test_the_key_is_in_no_failure(
    bad: Reply, site: FakeSite, board: Board, logged: list[EventDict], loopback_clock: trio.abc.Clock
) -> None:
    """Neither in the error, nor in the log, nor on the board."""
    site.script(PATH, bad)
    async with running(board, site) as provider:
        with pytest.raises(SourceError) as failure:
            await provider.latest()
    told = f"{failure.value!r} {logged} {board.rows()} {provider.__dict__}"
    assert logged
    assert KEY not in told


async def test_a_refused_key_names_its_setting(site: FakeSite, board: Board) -> None:
    """So that people know what to change."""
    site.script(PATH, status(401))
    async with running(board, site) as provider:
        with pytest.raises(SourceError, match=r"providers\.newsdata_key"):
            await provider.latest()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("Unauthorized", r"check the key in the setting providers\.newsdata_key"),
        ("ApiKeyDisabled", r"check the key in the setting providers\.newsdata_key"),
        ("RateLimitExceeded", "15 minutes are used up"),
        ("ApiLimitExceeded", "today are used up"),
        ("SomethingNew", "no reason that is known"),
    ],
)
def test_errors_are_told_in_words(code: str, reason: str) -> None:
    """The source's own text is not repeated: it may hold what was asked."""
    with pytest.raises(SourceError, match=f"^newsdata.io refused: .*{reason}$"):
        parse_latest(answered(error(code)), NOW)


@pytest.mark.parametrize(
    ("bad", "reason", "requests"),
    [
        (answer_json(error("Unauthorized"), 401), "the key is not valid; check the key", 1),
        (answer_json(error("SomethingNew"), 401), "the key is not valid; check the key in the setting", 1),
        (answer_json(error("AccessDenied"), 403), "the key's plan does not allow this; check the key", 1),
        (answer_json(error("ApiLimitExceeded"), 429), "the key's requests for today are used up", 1),
        (answer_json({"status": "error", "results": [error("x")]}, 429), "these 15 minutes are used up", 1),
        (answer_json({"status": "error", "results": [{"code": "ApiLimitExceeded"}]}, 429), "for today", 1),
        (answer_json(error("UnsupportedFilter"), 422), "it gave no reason that is known", 1),
        (answer_json([], 422), "it gave no reason that is known", 1),
        (answer_json({"status": "success"}, 409), "it gave no reason that is known", 1),
        (answer_json(error("InternalError"), 500), "it gave no reason that is known", 2),
    ],
)
async def test_a_documented_status_comes_with_its_reason(
    bad: Reply, reason: str, requests: int, site: FakeSite, board: Board, loopback_clock: trio.abc.Clock
) -> None:
    """Its body is read; only what may pass is tried again."""
    site.script(PATH, bad)
    async with running(board, site) as provider:
        with pytest.raises(SourceError, match=re.escape(reason)) as failure:
            await provider.latest()
    assert str(failure.value).startswith("newsdata.io refused: ")
    assert (failure.value.key_setting == "providers.newsdata_key") is ("check the key" in reason)
    assert len(site.requests) == requests


def test_many_articles_are_bounded() -> None:
    """What is beyond is not read."""
    many = [newsdata_article(title="new")] * 250
    late = newsdata_article(title="newer", link="https://b.example.net/", pubDate="2026-01-31 11:00:00")
    assert [article.title for article in parse_latest(answered(newsdata_answer(*many, late)), NOW)] == ["new"]


@pytest.mark.parametrize(
    "refusal",
    [
        answer_json(error("RateLimitExceeded")),
        answer_json(error("TooManyRequests"), 429),
        answer_json({}, 429),
        status(429),
    ],
    ids=["200 with words", "429 with words", "429 with other words", "429"],
)
async def test_it_is_left_alone_once_a_limit_is_reached(
    refusal: Reply, site: FakeSite, board: Board, loopback_clock: trio.abc.Clock
) -> None:
    """For the quarter of an hour in which it counts."""
    site.script(PATH, refusal, answer_json(newsdata_answer(newsdata_article())))
    async with running(board, site) as provider:
        for pause in (600.0, 310.0):
            with pytest.raises(SourceError):
                await provider.latest()
            await trio.sleep(pause)
        assert len(await provider.latest()) == 1
    assert len(site.requests) == 2


async def test_a_day_of_rounds_stays_within_the_plan(
    site: FakeSite, board: Board, loopback_clock: trio.abc.Clock
) -> None:
    """A round every five minutes for a day costs less than 200 requests."""
    site.script(PATH, answer_json(newsdata_answer(newsdata_article())))
    rounds = 24  # two hours of them
    async with running(board, site) as provider:
        for _ in range(rounds):
            await provider.latest()
            await trio.sleep(300)
    assert len(site.requests) * 12 <= 200
    assert POLICY.rate * 86_400 <= 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "missing required field `status`"),
        ({"status": "success", "results": {}}, r"Expected `array`.*results"),
        ({"status": "success", "results": [{"title": "x"}]}, r"missing required field `article_id`"),
        (newsdata_answer(newsdata_article(category="world")), r"Expected `array \| null`.*category"),
    ],
)
def test_another_shape_is_named(body: object, reason: str) -> None:
    """Which field is missing or of another type."""
    with pytest.raises(SourceError, match=reason):
        parse_latest(answered(body), NOW)


def test_times_are_read_or_none() -> None:
    """Only as documented, and only ones that exist."""
    assert published("2026-01-31 10:15:00") == datetime(2026, 1, 31, 10, 15, tzinfo=UTC)
    for text in (None, "", "2026-02-31 10:15:00", "2026-01-31T10:15:00Z", "2026-01-31 10:15"):
        assert published(text) is None


@given(
    st.binary(max_size=80)
    | st.text(max_size=60).map(lambda text: json.dumps(newsdata_article(title=text)).encode())
)
def test_any_bytes_are_articles_or_a_failure(body: bytes) -> None:
    """Nothing else comes out."""
    for whole in (body, b'{"status":"success","results":[' + body + b"]}"):
        try:
            articles = parse_latest(Answer(200, whole), NOW)
        except SourceError:
            continue
        assert all(article.title for article in articles)
