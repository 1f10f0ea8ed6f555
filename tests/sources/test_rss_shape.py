"""Feeds as they are documented, as they are in the wild, and as an attacker writes them, become articles."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from news_answers import ATOM, NOW, RDF, RSS, rss  # from tests/sources

from flux.domains.news.articles import CATEGORIES, article_id, latest, make_article
from flux.domains.news.contract import Article
from flux.domains.news.rss_shape import ENTRIES, parse_feed
from flux.domains.sources import SourceError

DECLARED = '<?xml version="1.0"?>'
BARE = '<rss version="2.0"><channel><title>T</title>'
HEAD = DECLARED + BARE
ITEM = "<item><title>One</title><link>https://example.org/1</link></item>"
TAIL = "</channel></rss>"
ZOE = f"{BARE}<item><title>Zoë</title></item>{TAIL}"


def parse(text: str | bytes) -> tuple[Article, ...]:
    """Read a feed."""
    return parse_feed(text.encode() if isinstance(text, str) else text, "The Feed", NOW)


def outcome(text: str) -> str:
    """Return what comes of a feed: its articles, or the failure, as text."""
    try:
        return repr(parse(text))
    except SourceError as error:
        return str(error)


def test_rss_2_becomes_articles() -> None:
    """Text is plain, links are safe, times are UTC, the channel is the publisher, ids come from the link."""
    ferry, tide = parse(RSS)
    assert ferry == Article(
        id=article_id("https://news.example.org/articles/ferry"),
        title="Ferry & lighthouse reopen",
        description="The ferry sails again. So does the light.",
        url="https://news.example.org/articles/ferry?at_medium=RSS&at_campaign=rss",
        image="https://pictures.example.org/ferry.jpg",
        source="Harbour News",
        publishedAt="2026-01-31T10:15:00.000Z",
        category=("transport",),
    )
    assert tide == Article(
        id=article_id("Harbour News tide-7"),
        title="Tide tables: who needs <b> today?",
        description="Plain.",
        url=None,
        image="https://pictures.example.org/tide.png",
        source="Harbour News",
        publishedAt="2026-01-31T12:00:00.000Z",  # 13:00 in UTC is still to come
        category=(),
    )


def test_rss_1_becomes_articles() -> None:
    """RDF with Dublin Core."""
    (article,) = parse(RDF)
    assert (article.title, article.source) == ("A bridge for the valley", "Wave")
    assert (article.publishedAt, article.category) == ("2026-01-31T09:30:00.000Z", ("regions",))


def test_atom_becomes_articles() -> None:
    """Of its two times the publication counts, of a category the label."""
    (article,) = parse(ATOM)
    assert (article.title, article.description) == ("A comet & its tail", "Seen at dawn.")
    assert (article.publishedAt, article.category) == ("2026-01-31T10:45:00.000Z", ("the sky",))
    assert article.url == "https://sky.example.org/comet"


def test_an_entry_without_a_publication_has_its_update() -> None:
    """Atom needs only the update; and asking for it warns of nothing."""
    (article,) = parse(ATOM.replace("<published>2026-01-31T10:45:00+00:00</published>", ""))
    assert article.publishedAt == "2026-01-31T11:00:00.000Z"


def test_a_named_publisher_wins() -> None:
    """The feeds that Flux knows bring their name along."""
    assert {article.source for article in parse_feed(RSS.encode(), "x", NOW, publisher="Known")} == {"Known"}


def test_ids_are_stable() -> None:
    """What an editor or a counter of visitors changes of an address changes no id; another page does."""
    first = parse(RSS)[0]
    second = parse(RSS.replace("ferry#0", "ferry#1").replace("at_medium=RSS", "at_medium=x"))[0]
    assert first.title == second.title
    assert first.id == second.id
    base = article_id("https://e.org/a?id=1")
    assert base == article_id("https://e.org/a?utm_source=x&id=1#top")
    assert (
        len(
            {base, article_id("https://e.org/a?id=2"), article_id("https://e.org/a?7"), article_id("no link")}
        )
        == 4
    )


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "Sat, 99 Foo 2026 99:99:99 XXX",
        "0000-00-00T00:00:00Z",
        "Mon, 01 Jan 0001 00:00:00 GMT",
    ],
)
def test_a_bad_date_is_none(date: str) -> None:
    """The article stands without it."""
    (article,) = parse(rss("T", [("One", "https://e.org/1", date)]))
    assert (article.title, article.publishedAt) == ("One", None)


def test_a_time_to_come_is_now() -> None:
    """No article is newer than the clock."""
    article = make_article(title="x", link=None, published=NOW + timedelta(days=400), now=NOW)
    assert article is not None
    assert article.publishedAt == "2026-01-31T12:00:00.000Z"


def test_texts_and_lists_are_bounded() -> None:
    """A title of 300 characters, a description of 1,000, five categories of 40, a hundred entries."""
    long = "word " * 500
    categories = "".join(f"<category>{n} {long[:100]}</category>" for n in range(30))
    item = f"<item><title>{long}</title><description>{long}</description>{categories}</item>"
    articles = parse(HEAD + item * (ENTRIES + 50) + TAIL)
    assert len(articles) == ENTRIES
    article = articles[0]
    assert len(article.title or "") <= 300
    assert 900 < len(article.description or "") <= 1_000
    assert len(article.category) == CATEGORIES
    assert max(map(len, article.category)) <= 40


def test_an_entry_without_a_title_is_left_out() -> None:
    """Also where the title is only markup."""
    assert (
        parse(HEAD + "<item><title>&lt;img src=x&gt;</title></item><item/>" + ITEM + TAIL)[0].title == "One"
    )


def test_an_empty_feed_is_no_failure() -> None:
    """A feed of a known kind may have no entries."""
    assert parse(HEAD + TAIL) == ()


@pytest.mark.parametrize(
    "text",
    [
        HEAD + ITEM + "<item><title>Bread & butter &nbsp; &undefined;</title></item>" + TAIL,
        HEAD + ITEM + "<item><title>Cut o",
        HEAD + ITEM + "<item><title>Wrong </b> nesting</item></title>" + TAIL,
        HEAD + ITEM.replace("One", "One\x01\x08") + TAIL,
        "\n\n  " + HEAD.replace('<?xml version="1.0"?>', "") + ITEM + TAIL,
        "\ufeff" + HEAD + ITEM + TAIL,
    ],
)
def test_a_broken_feed_is_taken_as_far_as_it_goes(text: str) -> None:
    """Not well formed, but with entries: readers show them, so does Flux."""
    article = parse(text)[0]
    assert (article.title, article.url) == ("One", "https://example.org/1")


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (f'<?xml version="1.0" encoding="iso-8859-1"?>{ZOE}'.encode("latin-1"), "Zoë"),
        (ZOE.encode("utf-16"), "Zoë"),
        (ZOE.encode("latin-1"), "Zo\ufffd"),
    ],
)
def test_encodings(body: bytes, title: str) -> None:
    """The declared one, a byte order mark, else UTF-8; what does not fit is replaced."""
    assert parse(body)[0].title == title


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"\x00\x01\x02\xff" * 100,
        b'{"articles": []}',
        b"<html><body><h1>Log in</h1><p>to the network</body></html>",
        b"<!DOCTYPE html><title>404</title>",
        b'<?xml version="1.0"?><sitemap><url>x</url></sitemap>',
        b'<?xml version="1.0" encoding="utf-7"?><rss version="2.0"></rss>',
        b'<?xml version="1.0" encoding="zip"?><rss version="2.0"></rss>',
        HEAD.encode("cp037"),
        b"https://example.org/feed.xml",
        b"/etc/hostname",
    ],
)
def test_what_is_no_feed_is_a_failure(body: bytes) -> None:
    """It is told in words; nothing is fetched or opened that it names."""
    with pytest.raises(SourceError, match=r"^The Feed answered"):
        parse(body)


def laughs() -> str:
    """A billion laughs."""
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return f'<!DOCTYPE rss [<!ENTITY l0 "lol">{entities}]>{BARE}<item><title>&l9;</title></item>{TAIL}'


def blow_up() -> str:
    """One long entity, used often."""
    entity, uses = "a" * 50_000, "&a;" * 50_000
    return f'<!DOCTYPE rss [<!ENTITY a "{entity}">]>{BARE}<item><title>{uses}</title></item>{TAIL}'


@pytest.mark.parametrize("bomb", [laughs, blow_up])
def test_entity_bombs_do_not_go_off(bomb: Callable[[], str]) -> None:
    """A feed that declares entities is refused at once, in whatever encoding it comes."""
    for encoding in ("utf-8", "utf-16"):
        began = time.perf_counter()
        with pytest.raises(SourceError, match="declares entities"):
            parse(bomb().encode(encoding))
        assert time.perf_counter() - began < 1.0


def test_no_file_is_read(tmp_path: Path) -> None:
    """Neither through an external entity, nor through a document type or an inclusion."""
    secret = tmp_path / "secret"
    secret.write_text("TOPSECRET")
    uri = secret.as_uri()
    include = f'<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="{uri}" parse="text"/>'
    for feed in (
        f'<!DOCTYPE rss [<!ENTITY x SYSTEM "{uri}">]>{BARE}<item><title>&x;</title></item>{TAIL}',
        f'<!DOCTYPE rss [<!ENTITY % x SYSTEM "{uri}"> %x;]>{BARE}{ITEM}{TAIL}',
        f'<!DOCTYPE rss SYSTEM "{uri}">{BARE}{ITEM}{TAIL}',
        f"{BARE}<item><title>One</title>{include}</item>{TAIL}",
    ):
        assert "TOPSECRET" not in outcome(feed)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\n" * 1_000_000 + HEAD, id="white space ahead"),
        pytest.param("<!" * 500_000, id="declarations"),
        pytest.param("<!DOCTYPE\n" + "\n" * 900_000 + ">" + HEAD, id="a long document type"),
        pytest.param(HEAD + "<a>" * 300_000, id="deep"),
        pytest.param(HEAD + "<a " * 300_000, id="unfinished tags"),
        pytest.param(HEAD + "<a " + " ".join(f'a{n}="b"' for n in range(90_000)) + "/>", id="attributes"),
        pytest.param(HEAD + "<item><author>" + "a" * 900_000 + "</author></item>" + TAIL, id="an author"),
        pytest.param(
            HEAD + "<item><dc_creator>" + "a." * 450_000 + "</dc_creator></item>" + TAIL, id="a creator"
        ),
        pytest.param(HEAD + "& <item><x:OWNER>" + "a@" * 450_000 + "</x:OWNER></item>" + TAIL, id="an owner"),
        pytest.param(
            HEAD + "<item>" + "".join(f"<category>{n}</category>" for n in range(40_000)), id="categories"
        ),
        pytest.param(HEAD + "<![CDATA[" * 100_000, id="sections"),
        pytest.param(HEAD + "<item><title>" + "&amp;lt;a " * 90_000 + "</title></item>" + TAIL, id="a title"),
        pytest.param(HEAD + "<item><pubDate>" + "1" * 900_000 + "</pubDate></item>" + TAIL, id="a date"),
    ],
)
def test_hostile_feeds_take_little_time(text: str) -> None:
    """A megabyte of what is slow to read ends in a second or two, in articles or in a failure."""
    began = time.perf_counter()
    assert outcome(text)
    assert time.perf_counter() - began < 4.0  # 0.3 s and less on a quiet machine


@given(
    st.lists(
        st.sampled_from(
            [
                HEAD,
                ITEM,
                TAIL,
                ATOM,
                RDF,
                "<item>",
                "<",
                ">",
                "&",
                "<!--",
                "]]>",
                "<![CDATA[",
                '"',
                "<?xml",
                "\0",
            ]
        )
        | st.text(max_size=10),
        max_size=12,
    ).map("".join)
    | st.binary(max_size=60)
)
def test_any_bytes_are_articles_or_a_failure(text: str | bytes) -> None:
    """Nothing else comes out, whatever goes in."""
    body = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    try:
        articles = parse(body)
    except SourceError:
        return
    assert all(article.title and article.id for article in articles)


def test_the_latest_of_several_lists() -> None:
    """Newest first, each id and each title once, undated ones last, no more than wanted."""

    def article(name: str, hour: int | None, title: str | None = None) -> Article:
        time_ = None if hour is None else datetime(2026, 1, 31, hour, tzinfo=UTC)
        made = make_article(title=title or name, link=f"https://e.org/{name}", published=time_, now=NOW)
        assert made is not None
        return made

    a, b, c, undated = article("a", 9), article("b", 8), article("c", 10), article("u", None)
    again = article("other", 7, title="A")
    assert latest([[undated, a, again], [c, b, a]]) == (c, a, b, undated)
    assert latest([[a, b], [c]], count=2) == (c, a)
    assert latest([]) == ()
