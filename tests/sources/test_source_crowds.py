"""More requests than a source takes at once, or wants: they wait, or are turned away, which is one line."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from attrs import evolve
from fake_site import SILENCE, FakeSite, Request, answer_json, late, status, trickling
from source_doubles import POLICY, Running, virtual_now
from trio.testing import MockClock

from flux.domains.sources import Board, Query, Source, SourceError
from flux.domains.sources.episode import Episode
from flux.domains.sources.http import Answer, HttpClient, Secrets

NOW = Query("/now")


def parse(answer: Answer) -> bytes:
    """Take an answer as it is."""
    return answer.body


async def failure(source: Source, query: Query = NOW) -> SourceError:
    """Ask, and return how it failed."""
    with pytest.raises(SourceError) as caught:
        await source.get(query, parse)
    return caught.value


async def ask_each(source: Source, count: int) -> tuple[list[float], list[SourceError]]:
    """Ask for so many keys side by side; return when the answers came, and the failures."""
    times: list[float] = []
    errors: list[SourceError] = []

    async def ask(n: int) -> None:
        try:
            await source.get(Query("/now", {"n": str(n)}), parse)
            times.append(trio.current_time())
        except SourceError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for n in range(count):
            nursery.start_soon(ask, n)
    return times, errors


def events(logged: Sequence[Any]) -> list[str]:
    """Return what the log says, line by line."""
    return [line["event"] for line in logged]


async def test_whoever_waits_for_a_connection_is_no_failure_of_the_source(
    running: Running, site: FakeSite, loopback_clock: MockClock
) -> None:
    """The deadline begins with the connection: a slow source answers everyone, in turns."""
    open_now: list[float] = []

    def note(_: Request) -> Any:
        open_now.append(trio.current_time())
        return late(answer_json(1), 5)

    site.script("/now", note)
    async with running(connections=2) as source:
        times, errors = await ask_each(source, 6)
        assert not errors
        assert [round(at / 5) for at in times] == [1, 1, 2, 2, 3, 3]
        assert [round(at / 5) for at in open_now] == [0, 0, 1, 1, 2, 2]
        assert site.connections <= 2
        assert (source.health.row().state, source.health.row().breaker) == ("up", "closed")


async def test_a_silent_source_fails_for_all_who_wait_at_once(
    running: Running, site: FakeSite, loopback_clock: MockClock, logged: list[Any]
) -> None:
    """The first few were asked; nobody else waits through a deadline of their own, nor is in the log."""
    site.script("/now", SILENCE)
    async with running(connections=3) as source:
        times, errors = await ask_each(source, 100)
        assert not times
        assert trio.current_time() <= 8.5
        assert len(site.requests) == 3
        assert sum(error.asked for error in errors) == 3
        assert all(error.known for error in errors)
        site.script("/now", answer_json(1))
        await trio.sleep(61)
        times, errors = await ask_each(source, 20)
        assert (len(times), errors) == (20, [])
    assert events(logged) == ["source is down", "source is back"]


async def test_one_probe_goes_although_many_left_the_ground_with_it(
    running: Running, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Whoever comes in the same moment waits for what it finds."""
    site.script("/now", status(404))
    async with running() as source:
        for _ in range(3):
            await failure(source)
        await trio.sleep(61)
        _, errors = await ask_each(source, 10)
        assert (len(errors), len(site.requests)) == (10, 4)
        assert sum(error.asked for error in errors) == 1


async def test_a_source_that_stops_leaves_nobody_waiting_for_a_connection(
    board: Board, site: FakeSite, loopback_clock: MockClock
) -> None:
    """And once it runs again, every connection is free."""
    site.script("/now", SILENCE)
    source = Source(POLICY, domain="weather", board=board, urls={"example": site.url})
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run)
            with trio.move_on_after(1):
                await ask_each(source, 10)
            nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        site.script("/now", answer_json(1))
        times, errors = await ask_each(source, 10)
        assert (len(times), errors) == (10, [])
        nursery.cancel_scope.cancel()


async def test_what_is_asked_too_often_is_one_line_in_the_log(
    running: Running, site: FakeSite, loopback_clock: MockClock, logged: list[Any]
) -> None:
    """However many ask, and however long it goes on; a quarter of an hour without it ends it."""
    site.script("/now", answer_json(1))
    async with running(rate=0.01, burst=1) as source:
        for _ in range(5):
            _, errors = await ask_each(source, 20)
            assert len(errors) >= 19
            assert all((error.asked, error.known) == (False, True) for error in errors)
            await trio.sleep(200)
        assert events(logged) == ["source is asked as often as it allows", "source answers"]
        await trio.sleep(901)
        await ask_each(source, 20)
        assert events(logged).count("source is asked as often as it allows") == 2
    (line, _) = [line for line in logged if line["event"] == "source is asked as often as it allows"]
    assert (line["log_level"], line["source"]) == ("warning", source.name)


async def test_attempts_that_use_up_the_rate_are_no_crowd(
    running: Running, site: FakeSite, loopback_clock: MockClock, logged: list[Any]
) -> None:
    """A source that is down is told as down, also where there is no time to ask it again."""
    site.script("/now", status(503))
    async with running(rate=0.01, burst=2) as source:
        assert str(await failure(source)) == "Example answered with status 503"
        error = await failure(source)
        assert (error.asked, error.known) == (False, True)
    assert events(logged) == ["source is down"]


@pytest.mark.parametrize("pause", ["100", "7"])
async def test_a_source_that_wants_to_be_left_alone_is_down_however_well_it_was(
    running: Running, site: FakeSite, pause: str, loopback_clock: MockClock, logged: list[Any]
) -> None:
    """That is no stumble over one key: it is told once, and not for each request that is spared."""
    site.script("/now", answer_json(1))
    site.script("/busy", status(429, retry_after=pause))
    async with running() as source:
        await source.get(NOW, parse)
        error = await failure(source, Query("/busy"))
        assert error.known
        assert source.health.row().state == "down"
        for n in range(5):
            spared = await failure(source, Query("/other", {"n": str(n)}))
            assert (spared.asked, spared.known) == (False, True)
        assert len(site.requests) == 2
        await trio.sleep(float(pause))
        site.script("/busy", answer_json(1))
        await source.get(Query("/busy"), parse)
    assert events(logged) == ["source answers", "source is down", "source is back"]


async def test_a_short_pause_is_still_a_stumble(
    running: Running, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Requests wait for it, so nobody is turned away."""
    site.script("/now", answer_json(1))
    site.script("/busy", status(503, retry_after="1"))
    async with running(attempts=2) as source:
        await source.get(NOW, parse)
        assert not (await failure(source, Query("/busy"))).known
        assert source.health.row().state == "up"


async def test_an_answer_that_overtakes_a_refusal_does_not_hide_it(
    running: Running, site: FakeSite, loopback_clock: MockClock, logged: list[Any]
) -> None:
    """Whoever is turned away afterwards finds the reason in the log."""
    site.script("/now", late(answer_json(1), 2))
    site.script("/busy", status(429, retry_after="100"))
    async with running() as source:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.get, NOW, parse)
            await trio.sleep(1)
            nursery.start_soon(failure, source, Query("/busy"))
        assert source.health.row().state == "up"
        for n in range(3):
            spared = await failure(source, Query("/other", {"n": str(n)}))
            assert spared.known
            assert "wants fewer requests" in str(spared)
        assert source.health.row().state == "down"
    assert events(logged) == ["source is down", "source is back", "source is down"]


@pytest.mark.parametrize("header", [{}, {"retry_after": "soon"}])
async def test_a_source_that_wants_fewer_requests_is_left_alone_for_a_minute(
    running: Running, site: FakeSite, header: dict[str, str], loopback_clock: MockClock
) -> None:
    """Also where it does not say for how long: asking again at once would be more requests."""
    site.script("/now", status(429, **header), answer_json(1))
    async with running() as source:
        assert str(await failure(source)) == "Example wants fewer requests (429)"
        assert "is asked again in 60 s" in str(await failure(source, Query("/other")))
        assert len(site.requests) == 1
        await trio.sleep(60)
        await source.get(NOW, parse)


async def test_a_source_may_have_a_pause_of_its_own(
    running: Running, site: FakeSite, loopback_clock: MockClock
) -> None:
    """Its header says more than the policy."""
    site.script("/now", status(429))
    async with running(too_many_pause=900.0) as source:
        await failure(source)
        assert "is asked again in 900 s" in str(await failure(source))
    site.script("/now", status(429, retry_after="0"), answer_json(1))
    async with running(too_many_pause=900.0) as source:
        assert await source.get(NOW, parse) == b"1"


async def test_a_client_without_a_free_connection_says_nothing_against_the_source(
    site: FakeSite, loopback_clock: MockClock
) -> None:
    """A source takes no more than there are; were it to happen, it would be our own fault."""
    site.script("/now", trickling(answer_json("0123456789"), 2))
    policy = evolve(POLICY, connections=1)
    async with HttpClient(policy, Secrets(), virtual_now) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, site.url + "/now", {}, frozenset({200}))
        await trio.sleep(1)
        with pytest.raises(SourceError, match="no connection to Example is free") as caught:
            await client.get(site.url + "/now", {}, frozenset({200}))
        assert not caught.value.asked


def test_an_episode_goes_on_while_events_come() -> None:
    """The first is told; the next that is told comes after a silence."""
    episode = Episode(gap=10.0)
    assert [episode.begins(now) for now in (5, 6, 15, 24, 34, 35)] == [True, False, False, False, True, False]
