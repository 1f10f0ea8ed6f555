"""What the door serves besides Socket.IO: the page, liveness, readiness, metrics."""

from datetime import UTC, datetime

import msgspec
import pytest

from flux.domains.sources import Board
from flux.domains.sources.breaker import BreakerState
from flux.site import Check, Site
from flux.transport.http import Request, Response
from flux.web import StaticFile

PAGE = {"/": StaticFile(b"<!doctype html>", {"content-type": "text/html", "etag": '"abc"'})}


def site(*checks: Check) -> Site:
    """A site with a small page and those conditions of readiness."""
    return Site(PAGE, lambda: checks)


def get(
    path: str, *checks: Check, method: str = "GET", headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Response:
    """The answer to one request."""
    return site(*checks)(Request(method, path, headers))


def test_the_page_is_served_with_its_headers() -> None:
    """A file comes whole, with the headers that were made for it."""
    response = get("/?utm=1")
    assert (response.status, response.body) == (200, b"<!doctype html>")
    assert (b"etag", b'"abc"') in response.headers


def test_a_page_that_the_browser_has_is_not_sent_again() -> None:
    """A matching ETag is answered 304 without a body."""
    response = get("/", headers=((b"if-none-match", b'"abc"'),))
    assert (response.status, response.body) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/missing", "/../flux/site.py", "/%2e%2e/site.py", "/assets/", "//", "/\x00"]
)
def test_what_is_not_there_is_404_with_the_way_to_the_page(path: str) -> None:
    """Paths are looked up as exact names, so nothing outside the page can be named."""
    response = get(path)
    assert response.status == 404
    assert b"the page is at /" in response.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "BREW"])
def test_other_methods_are_refused(method: str) -> None:
    """405 names the methods that are allowed."""
    response = get("/", method=method)
    assert response.status == 405
    assert (b"allow", b"GET, HEAD") in response.headers


def test_liveness_does_not_ask_for_readiness() -> None:
    """A process without Kafka is alive."""
    assert get("/livez", Check("kafka", False, "away")).status == 200


def test_readiness_names_what_is_missing_and_why() -> None:
    """503 with the reason of each condition that does not hold, and of no other."""
    response = get("/readyz", Check("kafka", False, "all brokers are down"), Check("bff", True, "unused"))
    assert response.status == 503
    assert msgspec.json.decode(response.body) == {
        "status": "not ready",
        "checks": {"kafka": {"ok": False, "reason": "all brokers are down"}, "bff": {"ok": True}},
    }


def test_readiness_is_200_when_all_holds() -> None:
    """Load balancers look at the status alone."""
    assert get("/readyz", Check("kafka", True)).status == 200


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ill_board() -> Board:
    """A board with a source in each state."""
    board = Board(now=lambda: NOON)
    board.health("test-new", "news")
    board.health("test-up", "weather").answered()
    down = board.health("test-down", "crypto")
    down.answered()
    down.failed("Test Down did not answer in time")
    down.breaker_is(BreakerState.OPEN)
    board.health("test-keyless", "stock").missing("set providers.test_key")
    return board


@pytest.mark.parametrize("query", ["verbose", "verbose=", "verbose=1", "pretty&verbose"])
def test_verbose_readiness_tells_how_the_sources_are(query: str) -> None:
    """State, breaker, since when, why, last answer; a source that is down makes nobody unready."""
    ill = Site(PAGE, lambda: [Check("kafka", True)], ill_board().rows)
    response = ill(Request("GET", f"/readyz?{query}"))
    time = "2026-01-01T12:00:00.000Z"
    assert response.status == 200
    assert msgspec.json.decode(response.body) == {
        "status": "ready",
        "checks": {"kafka": {"ok": True}},
        "sources": [
            {"name": "test-new", "domain": "news", "state": "not asked yet", "breaker": "closed"},
            {
                "name": "test-up",
                "domain": "weather",
                "state": "up",
                "breaker": "closed",
                "since": time,
                "lastAnswer": time,
            },
            {
                "name": "test-down",
                "domain": "crypto",
                "state": "down",
                "breaker": "open",
                "since": time,
                "reason": "Test Down did not answer in time",
                "lastAnswer": time,
            },
            {
                "name": "test-keyless",
                "domain": "stock",
                "state": "not set up",
                "breaker": "closed",
                "since": time,
                "reason": "set providers.test_key",
            },
        ],
    }


def test_readiness_is_verbose_only_when_asked() -> None:
    """Load balancers get as little as before; an unready process tells of its sources, too."""
    ill = Site(PAGE, lambda: [Check("kafka", False, "away")], ill_board().rows)
    for target, told in (("/readyz", False), ("/readyz?x=verbose", False), ("/readyz?verbose", True)):
        response = ill(Request("GET", target))
        assert response.status == 503
        assert ("sources" in msgspec.json.decode(response.body)) is told
    assert msgspec.json.decode(get("/readyz?verbose").body)["sources"] == []
    assert get("/readyz?verbose", method="HEAD").status == 200
    assert get("/readyz?verbose", method="POST").status == 405


def test_metrics_are_prometheus_text() -> None:
    """Every family of the process's registry is there."""
    response = get("/metrics")
    assert response.status == 200
    assert b"python_info" in response.body
    assert any(name == b"content-type" and b"text/plain" in value for name, value in response.headers)


def test_the_browsers_list_of_tags_is_read():
    """Several tags, and the weak form that compression gave it."""
    for value in (b'"old", "abc"', b'W/"abc"', b"*"):
        assert get("/", headers=((b"if-none-match", value),)).status == 304
    for value in (b'"old", W/"older"', b"abc", b""):
        assert get("/", headers=((b"if-none-match", value),)).status == 200
