"""A source is asked with care: once for everyone, as often as it allows, not while it is down."""

import io
import logging
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import trio
from fake_site import RESET, SILENCE, FakeSite, Request, answer_json, late, status
from prometheus_client import generate_latest
from source_doubles import POLICY, Running, virtual_now
from trio.testing import MockClock

from flux.domains.providers import UnknownPlaceError
from flux.domains.sources import Board, Query, Source, SourceError
from flux.domains.sources.http import Answer
from flux.errors import LocalError
from flux.logs import configure_logs
from flux.metrics import REGISTRY

NOW = Query("/now")


def parse(answer: Answer) -> bytes:
    """Take an answer as it is."""
    return answer.body


def value(name: str, **labels: str) -> float | None:
    """Return a metric."""
    return REGISTRY.get_sample_value(name, labels)


def outcomes(source: Source) -> dict[str, float]:
    """Return the requests by outcome."""
    kinds = ("answered", "failed", "cached", "joined", "spared")
    counted = {
        kind: value("flux_source_requests_total", source=source.name, outcome=kind) or 0 for kind in kinds
    }
    return {kind: count for kind, count in counted.items() if count}


async def failure(source: Source, query: Query = NOW) -> SourceError:
    """Ask, and return how it failed."""
    with pytest.raises(SourceError) as caught:
        await source.get(query, parse)
    return caught.value


async def test_an_answer_is_kept_for_its_time(
    running: Running, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Then it is asked for anew; a query may have a time of its own."""
    site.script("/now", lambda _: answer_json(len(site.requests)))
    async with running(ttl=60) as source:
        assert [await source.get(NOW, parse) for _ in range(3)] == [b"1"] * 3
        await trio.sleep(61)
        assert await source.get(NOW, parse) == b"2"
        short = Query("/now", {"q": "x"}, ttl=5)
        assert await source.get(short, parse) == b"3"
        await trio.sleep(6)
        assert await source.get(short, parse) == b"4"
        assert outcomes(source) == {"answered": 4, "cached": 2}


async def test_those_who_ask_the_same_share_one_request(
    running: Running, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Other questions go beside it."""
    site.script("/now", late(answer_json(1), 2))
    got = []

    async def ask(query: Query) -> None:
        got.append(await source.get(query, parse))

    async with running() as source, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask, Query("/now", {"a": "1", "b": "2"}))
            nursery.start_soon(ask, Query("/now", {"b": "2", "a": "1"}))
        nursery.start_soon(ask, Query("/now", {"a": "2"}))
    assert got == [b"1"] * 21
    assert len(site.requests) == 2
    assert trio.current_time() < 3


async def test_a_shared_failure_has_a_traceback_for_each(
    running: Running, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Raising one exception from many places would make it longer each time."""
    site.script("/now", late(status(404), 1))
    errors = []

    async def ask() -> None:
        errors.append(await failure(source))

    async with running() as source, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    lengths = []
    for error in errors:
        trace, length = error.__traceback__, 0
        while trace is not None:
            trace, length = trace.tb_next, length + 1
        lengths.append(length)
    assert len({id(error) for error in errors}) == 3
    assert lengths == [lengths[0]] * 3
    assert [(str(e), e.asked, e.known) for e in errors] == [
        ("Example answered with status 404", True, True)
    ] * 3


async def test_whoever_goes_does_not_break_off_the_request(
    running: Running, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Its answer is kept for the next."""
    site.script("/now", late(answer_json(1), 2), status(500))
    async with running() as source:
        with trio.move_on_after(1):
            await source.get(NOW, parse)
        await trio.sleep(2)
        assert await source.get(NOW, parse) == b"1"


@pytest.mark.parametrize("changes", [{}, {"params": {"key": "canary"}}, {"headers": {"x-key": "canary"}}])
async def test_what_is_sent(
    running: Running, site: FakeSite, changes: dict[str, Any], loopback_clock: MockClock
) -> None:
    """The question, the key, who asks, what is taken."""
    site.script("/now", answer_json(1))
    async with running(**changes) as source:
        await source.get(Query("/now", {"city": "São Paulo & x"}), parse)
    request = site.requests[0]
    assert request.params == {"city": "São Paulo & x", **changes.get("params", {})}
    assert request.headers["accept"] == "application/json"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["user-agent"].startswith("flux/")
    assert request.headers.get("x-key") == changes.get("headers", {}).get("x-key")


async def test_requests_keep_to_the_rate(running: Running, site: FakeSite, loopback_clock: MockClock) -> None:
    """Some at once, then one at a time; what would wait too long is told so, and is no failure."""
    times: list[float] = []

    def note(_: Request) -> Any:
        times.append(trio.current_time())
        return answer_json(1)

    site.script("/now", note)
    errors = []

    async def ask(n: int) -> None:
        try:
            await source.get(Query("/now", {"n": str(n)}), parse)
        except SourceError as error:
            errors.append(error)

    async with running(rate=1, burst=2, deadline=7) as source:
        async with trio.open_nursery() as nursery:
            for n in range(9):
                nursery.start_soon(ask, n)
        assert [round(at) for at in times] == [0, 0, 1, 2, 3, 4, 5]
        assert {str(error) for error in errors} == {"Example is asked as often as it allows; try later"}
        assert [(error.asked, error.known) for error in errors] == [(False, True)] * 2
        assert (source.health.row().state, source.health.row().breaker) == ("up", "closed")
        assert outcomes(source) == {"answered": 7, "spared": 2}


@pytest.mark.parametrize(
    "value", ["3", lambda: format_datetime(virtual_now() + timedelta(seconds=3), usegmt=True)]
)
async def test_a_short_retry_after_is_waited_for(
    running: Running, site: FakeSite, value: Any, loopback_clock: MockClock
) -> None:
    """By the request itself, and by those for other keys that come meanwhile."""
    times: list[float] = []

    def refuse_once(_: Request) -> Any:
        times.append(trio.current_time())
        after = value if isinstance(value, str) else value()
        return status(429, retry_after=after) if len(times) == 1 else answer_json(1)

    site.script("/now", refuse_once)
    site.script("/other", refuse_once)
    async with running() as source, trio.open_nursery() as nursery:
        nursery.start_soon(source.get, NOW, parse)
        await trio.sleep(1)
        assert await source.get(Query("/other"), parse) == b"1"
    assert times[0] < 1
    assert len(times) == 3
    assert min(times[1:]) >= 2.9
    assert max(times[1:]) <= 4.5


@pytest.mark.parametrize("code", [429, 503])
async def test_a_long_retry_after_is_obeyed(
    running: Running, site: FakeSite, code: int, loopback_clock: MockClock
) -> None:
    """The source is not asked meanwhile, whatever the key; then it is."""
    site.script("/now", status(code, retry_after="100"), answer_json(1))
    async with running() as source:
        error = await failure(source)
        assert error.retry_after == 100
        for query in (NOW, Query("/other")):
            spared = await failure(source, query)
            assert not spared.asked
            assert spared.known
            assert str(spared).startswith("Example is asked again in 100 s (Example ")
        assert len(site.requests) == 1
        await trio.sleep(97)
        # The rest is short enough to be waited for.
        assert await source.get(NOW, parse) == b"1"
        assert trio.current_time() >= 100


async def test_a_retry_after_is_bounded(running: Running, site: FakeSite, loopback_clock: MockClock) -> None:
    """A year would never be noticed to be over."""
    site.script("/now", status(429, retry_after="31536000"), answer_json(1))
    async with running(longest_wait=600) as source:
        await failure(source)
        assert "in 600 s" in str(await failure(source))
        await trio.sleep(601)
        await source.get(NOW, parse)


async def test_a_source_that_fails_is_left_alone_and_asked_again_by_one(
    running: Running, site: FakeSite, loopback_clock: MockClock, logged: list[Any]
) -> None:
    """Three failures open the breaker; a minute later one request asks for all, whatever their keys."""
    site.script("/now", status(404))

    def breaker() -> str:
        return str(source.health.row().breaker)

    async with running() as source:
        assert [str(await failure(source)) for _ in range(3)] == ["Example answered with status 404"] * 3
        assert breaker() == "open"
        spared = await failure(source)
        assert str(spared) == "Example is asked again in 60 s (Example answered with status 404)"
        assert (spared.asked, spared.known) == (False, True)
        await trio.sleep(30)
        assert "in 30 s" in str(await failure(source, Query("/other")))
        assert len(site.requests) == 3
        await trio.sleep(31)

        # One probe, although many ask.
        site.script("/now", late(status(404), 1))
        other = late(answer_json(1), 1)
        site.script("/other", other)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failure, source)
            await trio.sleep(0.2)
            assert breaker() == "half_open"
            for n in range(5):
                nursery.start_soon(failure, source, Query("/other", {"n": str(n)}))
        assert len(site.requests) == 4
        assert breaker() == "open"

        # It is back: those who ask meanwhile wait for the probe, and are answered.
        await trio.sleep(61)
        answers = []

        async def ask(query: Query) -> None:
            answers.append(await source.get(query, parse))

        async with trio.open_nursery() as nursery:
            for n in range(5):
                nursery.start_soon(ask, Query("/other", {"n": str(n)}))
            await trio.sleep(0.5)
            assert len(site.requests) == 5
        assert answers == [b"1"] * 5
        assert len(site.requests) == 9
        assert breaker() == "closed"
        assert source.health.row().state == "up"
        site.script("/now", answer_json(2))
        await source.get(NOW, parse)
    assert [line["event"] for line in logged] == ["source is down", "source is back"]
    assert value("flux_source_up", source=source.name) == 1
    assert value("flux_source_breaker", source=source.name, flux_source_breaker="closed") == 1


async def test_a_probe_that_has_no_time_is_no_verdict(
    running: Running, site: FakeSite, loopback_clock: MockClock
) -> None:
    """The source was not asked, so the next request may ask."""
    site.script("/now", status(404))
    async with running(rate=0.001, burst=3) as source:
        for _ in range(3):
            await failure(source)
        await trio.sleep(61)
        for _ in range(2):
            assert str(await failure(source)) == "Example is asked as often as it allows; try later"
        assert source.health.row().breaker == "open"


async def test_one_failure_beside_good_answers_does_not_take_the_source_down(
    running: Running, site: FakeSite, loopback_clock: MockClock, logged: list[Any]
) -> None:
    """One share of twenty that fails each round is not an outage each round."""
    site.script("/bad", status(404))
    site.script("/now", answer_json(1))
    async with running(ttl=0) as source:
        for _ in range(5):
            await source.get(NOW, parse)
            error = await failure(source, Query("/bad"))
            assert not error.known
        assert source.health.row().state == "up"
        await failure(source, Query("/bad"))
        assert source.health.row().state == "down"
    assert [line["event"] for line in logged] == ["source answers", "source is down"]


async def test_what_the_source_said_last_is_told_when_time_is_up(
    running: Running, site: FakeSite, loopback_clock: MockClock
) -> None:
    """A refusal tells more than the silence after it."""
    site.script("/now", status(503), SILENCE)
    async with running() as source:
        assert str(await failure(source)) == "Example answered with status 503"
        assert trio.current_time() == pytest.approx(8, abs=0.5)


async def test_a_source_that_stops_leaves_nobody_waiting(
    board: Board, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Whoever waits gets an error; so does who asks afterwards; it can be run again."""
    site.script("/now", SILENCE, answer_json(1))
    source = Source(POLICY, domain="weather", board=board, urls={"example": site.url})
    with pytest.raises(LocalError, match="the source example is not running"):
        await source.get(NOW, parse)
    errors: list[SourceError] = []

    async def ask() -> None:
        errors.append(await failure(source))

    async with trio.open_nursery() as waiters:
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run)
            waiters.start_soon(ask)
            waiters.start_soon(ask)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        errors.append(await failure(source))
    assert {str(e) for e in errors} == {"Example is not asked while Flux stops"}
    assert [(e.asked, e.known) for e in errors] == [(False, True)] * 3
    assert trio.current_time() < 2
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        assert await source.get(NOW, parse) == b"1"
        nursery.cancel_scope.cancel()


async def test_a_probe_that_is_cut_short_by_a_stop_is_no_verdict(
    board: Board, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Once the source runs again, the next request may ask at once."""
    site.script("/now", status(404), status(404), status(404), SILENCE, answer_json(1))
    source = Source(POLICY, domain="weather", board=board, urls={"example": site.url})

    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        for _ in range(3):
            await failure(source)
        await trio.sleep(61)
        with trio.move_on_after(1):
            await source.get(NOW, parse)
        assert source.health.breaker == "half_open"
        nursery.cancel_scope.cancel()
    assert source.health.breaker == "open"
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        assert await source.get(NOW, parse) == b"1"
        nursery.cancel_scope.cancel()


async def test_a_source_that_is_not_used_has_no_metrics(board: Board) -> None:
    """An alert on a source that is down must not ring for one that nobody asks."""
    board.health("unused", "stock").missing("set providers.unused_key")
    Source(POLICY, domain="weather", board=board)
    assert 'source="unused"' not in generate_latest(REGISTRY).decode()
    assert [(row.state, row.reason) for row in board.rows()] == [
        ("not set up", "set providers.unused_key"),
        ("not asked yet", ""),
    ]


async def test_a_source_that_is_not_set_up_is_told_once(board: Board, logged: list[Any]) -> None:
    """A service that starts anew does not say it again."""
    for _ in range(3):
        board.health("unused", "stock").missing("set providers.unused_key")
    assert [line["event"] for line in logged] == ["source is not set up"]


@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize(
    "reply",
    [
        answer_json(1),
        status(401),
        status(500),
        RESET,
        SILENCE,
        status(301, location="http://canary.invalid/"),
    ],
)
async def test_a_key_is_nowhere(
    running: Running, site: FakeSite, reply: Any, level: str, loopback_clock: MockClock, restored_logs: None
) -> None:
    """Not in the log at any level, nor in errors, metrics or the board; nor is the address."""
    site.script("/now", reply)
    stream = io.StringIO()
    configure_logs(level=level, stream=stream)
    secrets = {"params": {"key": "canary"}, "headers": {"x-key": "canary"}}
    async with running(**secrets, key_setting="providers.x_key") as source:
        try:
            await source.get(NOW, parse)
        except SourceError as error:
            told = f"{error!r} {error} {error.__cause__}"
            logging.getLogger("flux").warning("failed", exc_info=error)
        else:
            told = ""
        told += stream.getvalue() + generate_latest(REGISTRY).decode() + repr(source.health.row())
    assert site.requests[0].params["key"] == "canary"
    assert "canary" not in told
    assert f":{site.port}" not in told  # without the colon it may be part of a figure


async def test_retries_are_not_logged_one_by_one(
    running: Running, site: FakeSite, loopback_clock: MockClock, logged: list[Any]
) -> None:
    """The change of state is."""
    site.script("/now", status(503))
    async with running() as source:
        await failure(source)
    assert [line["event"] for line in logged] == ["source is down"]


async def test_an_unknown_place_is_shared_too(
    running: Running, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Everyone who waits hears of it."""
    site.script("/now", late(answer_json([]), 1))
    errors = []

    def unknown(_: Answer) -> bytes:
        raise UnknownPlaceError("nobody knows Atlantis")

    async def ask() -> None:
        with pytest.raises(UnknownPlaceError) as caught:
            await source.get(NOW, unknown)
        errors.append(caught.value)

    async with running() as source, trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
    assert [str(error) for error in errors] == ["nobody knows Atlantis"] * 2
