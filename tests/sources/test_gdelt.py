"""GDELT's article list over HTTP, its refusals in plain text, and its one request in five seconds."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import trio
from fake_site import FakeSite, answer, answer_json, status
from hypothesis import given
from hypothesis import strategies as st
from news_answers import NOW, gdelt_article  # from tests/sources
from source_doubles import virtual_now

from flux.domains.news.articles import article_id
from flux.domains.news.contract import Article
from flux.domains.news.gdelt import GdeltNews
from flux.domains.news.gdelt_shape import parse_articles, seen
from flux.domains.sources import Board, SourceError

PATH = "/api/v2/doc/doc"


@asynccontextmanager
async def running(board: Board, site: FakeSite) -> AsyncIterator[GdeltNews]:
    """Run the provider over the fake site."""
    provider = GdeltNews(board, {"gdelt": site.url}, now=virtual_now)
    async with trio.open_nursery() as nursery:
        for source in provider.sources:
            await nursery.start(source.run)
        yield provider
        nursery.cancel_scope.cancel()


async def test_the_article_list_is_asked_for_and_read(site: FakeSite, board: Board) -> None:
    """The newest English articles; titles are put together again, syndicated ones come once."""
    site.script(
        PATH,
        answer_json(
            {
                "articles": [
                    gdelt_article(),
                    gdelt_article(url="https://other.example.com/same", seendate="20260131T090000Z"),
                    gdelt_article(url="javascript:x", title="( Odd ) one", seendate="", socialimage=""),
                ]
            },
            content_type="application/json; charset=utf-8",
        ),
    )
    async with running(board, site) as provider:
        first, second = await provider.latest()
    assert first == Article(
        id=article_id("https://paper.example.com/2026/01/rivers"),
        title="The river's banks, and who owns them",
        url="https://paper.example.com/2026/01/rivers",
        image="https://paper.example.com/rivers.jpg",
        source="paper.example.com",
        publishedAt="2026-01-31T10:15:00.000Z",
    )
    assert (second.title, second.url, second.image, second.publishedAt) == ("(Odd) one", None, None, None)
    (request,) = site.requests
    params = dict(request.params)
    assert params.pop("query").endswith(" sourcelang:english")
    assert params == {
        "mode": "artlist",
        "format": "json",
        "maxrecords": "100",
        "sort": "datedesc",
        "timespan": "1d",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "Your query was too short or too long.",
            "GDELT refused the request: Your query was too short or too long.",
        ),
        (
            "Please limit requests to one every 5 seconds or contact someone@example.com for larger queries.",
            "GDELT wants fewer requests",
        ),
        ("See https://example.com/?key=1 or me@example.com", "GDELT refused the request: See or"),
        ("", "GDELT answered something that is not JSON"),
        ("<html><body>Log in</body></html>", "GDELT answered a page, not JSON"),
        ("Timespan \x07is <b>too</b> short", "GDELT refused the request: Timespan is <b>too</b> short"),
    ],
)
def test_a_refusal_in_plain_text_is_told(text: str, reason: str) -> None:
    """As it reads, without addresses."""
    with pytest.raises(SourceError) as failure:
        parse_articles(text.encode(), NOW)
    assert str(failure.value) == reason


async def test_it_is_left_alone_once_it_complained(
    site: FakeSite, board: Board, loopback_clock: trio.abc.Clock
) -> None:
    """The sentence comes with status 200; for a minute no request follows."""
    site.script(
        PATH,
        answer("Please limit requests to one every 5 seconds", "text/html; charset=utf-8"),
        answer_json({"articles": [gdelt_article()]}),
    )
    async with running(board, site) as provider:
        with pytest.raises(SourceError, match="wants fewer requests"):
            await provider.latest()
        await trio.sleep(50)
        with pytest.raises(SourceError, match=r"asked again in \d+ s"):
            await provider.latest()
        assert len(site.requests) == 1
        await trio.sleep(15)
        assert len(await provider.latest()) == 1


async def test_tries_are_five_seconds_apart(
    site: FakeSite, board: Board, loopback_clock: trio.abc.Clock
) -> None:
    """A failure that may pass is tried again when its rate allows."""
    site.script(PATH, status(503), answer_json({"articles": [gdelt_article()]}))
    async with running(board, site) as provider:
        began = trio.current_time()
        assert len(await provider.latest()) == 1
        assert trio.current_time() - began == pytest.approx(5, abs=0.5)
    assert len(site.requests) == 2


def test_nothing_found_is_no_failure() -> None:
    """The answer is then an empty object."""
    assert parse_articles(b"{}", NOW) == ()


def test_raw_control_characters_are_forgiven() -> None:
    """Titles are known to hold them, unescaped, against JSON."""
    body = json.dumps({"articles": [gdelt_article(title="One @ two")]}).replace("@", "\t\x0b\n").encode()
    assert parse_articles(body, NOW)[0].title == "One two"


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        (r"The river\'s banks", "The river's banks"),
        (r"One \\\' two \x41 \u00e9 \u12 \"three\"", 'One \\\' two x41 é u12 "three"'),
        ("One \\\ntwo", "One two"),
    ],
)
def test_invalid_escapes_are_forgiven(raw: str, title: str) -> None:
    """Titles are known to hold them; what JSON allows stays as it is."""
    body = json.dumps({"articles": [gdelt_article(title="@")]}).replace("@", raw).encode()
    assert parse_articles(body, NOW)[0].title == title


def test_many_articles_are_bounded() -> None:
    """What is beyond is not read."""
    many = [gdelt_article(title="new", seendate="20260131T100000Z")] * 250
    late = gdelt_article(title="newer", seendate="20260131T110000Z")
    assert [a.title for a in parse_articles(json.dumps({"articles": [*many, late]}).encode(), NOW)] == ["new"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"articles": {}}, "another shape than it documents: .*articles"),
        ({"articles": [{"title": "x"}]}, r"missing required field `url`.*articles"),
        ({"articles": [gdelt_article(title=7)]}, r"Expected `str`.*title"),
        ([], "another shape"),
    ],
)
def test_another_shape_is_named(body: object, reason: str) -> None:
    """Which field is missing or of another type."""
    with pytest.raises(SourceError, match=reason):
        parse_articles(json.dumps(body).encode(), NOW)


def test_times_are_read_or_none() -> None:
    """Only as documented, and only ones that exist."""
    assert seen("20260131T101500Z") == datetime(2026, 1, 31, 10, 15, tzinfo=UTC)
    for text in ("", "20260231T101500Z", "20260131101500", "2026-01-31T10:15:00Z", "٢٠٢٦٠١٣١T101500Z"):  # noqa: RUF001 - other digits
        assert seen(text) is None


@given(
    st.binary(max_size=80)
    | st.text(max_size=60).map(lambda text: json.dumps(gdelt_article(title=text)).encode())
)
def test_any_bytes_are_articles_or_a_failure(body: bytes) -> None:
    """Nothing else comes out."""
    for whole in (body, b'{"articles":[' + body + b"]}"):
        try:
            articles = parse_articles(whole, NOW)
        except SourceError:
            continue
        assert all(article.title for article in articles)
