"""Finnhub over real HTTP: what is asked, what is served, and what happens when it fails or has no key."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from fake_site import FakeSite, Reply, Request, answer_json, late, status
from structlog.typing import EventDict
from trio.testing import MockClock

from flux.bff import BffOptions
from flux.domains.domain import ServiceContext
from flux.domains.providers import ProviderOptions
from flux.domains.sources import Board, Real, SourceError
from flux.domains.sources.board import SourceState
from flux.domains.stock import STOCK
from flux.domains.stock.finnhub import POLICY, SYMBOLS
from flux.domains.stock.provider import StockProvider
from flux.domains.stock.real import MISSING, real
from flux.domains.stock.views import PERFORMERS_REFRESH
from flux.settings import checks
from flux.transport.kafka.memory import MemoryBus, virtual_now_ms

KEY = "canary-6b2a07"
REFRESH = "stock.service.command.topperformers.refresh"
UPDATED = "stock.service.event.updated"
TRADED = 1_767_225_600  # 2026-01-01
UNKNOWN = {"c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0, "pc": 0, "t": 0}


MakeContext = Callable[..., ServiceContext]


def virtual_now() -> datetime:
    """The wall clock that agrees with the virtual one."""
    return datetime.fromtimestamp(virtual_now_ms() / 1000, UTC)


def quote(percent: float) -> dict[str, Any]:
    """A quote whose share rose by so much."""
    price = 100 + percent
    return {
        "c": price,
        "d": percent,
        "dp": percent,
        "h": 120,
        "l": 80,
        "o": 99,
        "pc": 100,
        "t": 1_767_225_600,
    }


def quotes(**others: Reply) -> Callable[[Request], Reply]:
    """Answer a quote for every symbol, the later in the alphabet the stronger; others as given."""

    def answer(request: Request) -> Reply:
        symbol = request.params["symbol"]
        return others.get(symbol) or answer_json(quote(ord(symbol[0]) - ord("A") + len(symbol) / 10))

    return answer


def options(site: FakeSite, symbols: Iterable[str] = (), **more: Any) -> ProviderOptions:
    """Finnhub's key, and the fake site as its address."""
    urls = {"finnhub": site.url + "/api"}
    return ProviderOptions(**{"finnhub_key": KEY, "symbols": tuple(symbols), "urls": urls, **more})


@pytest.fixture
def board() -> Board:
    """An empty board."""
    return Board(virtual_now)


async def provider_of(made: Real[StockProvider], nursery: trio.Nursery) -> StockProvider:
    """Start what the provider needs."""
    for service in made.services:
        await nursery.start(service)
    assert made.provider is not None
    return made.provider


async def test_every_symbol_is_asked_with_the_key_in_a_header_alone(
    loopback_clock: MockClock, nursery: trio.Nursery, site: FakeSite, board: Board
) -> None:
    """The well-known companies where none are named; what comes back is sorted, ten at most."""
    site.script("/api/quote", quotes())
    provider = await provider_of(real(options(site), board, virtual_now), nursery)
    top = await provider.top_performers()
    assert {request.params["symbol"] for request in site.requests} == set(SYMBOLS)
    assert len(site.requests) == len(SYMBOLS) == 20
    assert all(request.headers["x-finnhub-token"] == KEY for request in site.requests)
    assert all(set(request.params) == {"symbol"} for request in site.requests)
    assert len(top) == 10
    assert [stock.symbol for stock in top][:3] == ["XOM", "WMT", "V"]
    assert [stock.changePercent for stock in top] == sorted((s.changePercent for s in top), reverse=True)
    assert provider.source == "finnhub"


async def test_an_answer_is_good_for_most_of_a_minute(
    loopback_clock: MockClock, nursery: trio.Nursery, site: FakeSite, board: Board
) -> None:
    """Two BFFs that refresh cost no more requests than one; the next round asks anew. No symbol twice."""
    site.script("/api/quote", quotes())
    provider = await provider_of(real(options(site, ["AAPL", "V", "AAPL"]), board, virtual_now), nursery)
    await provider.top_performers()
    await trio.sleep(40)
    await provider.top_performers()
    assert len(site.requests) == 2
    await trio.sleep(14)  # the scheduler's shortest interval
    await provider.top_performers()
    assert len(site.requests) == 4


async def test_some_symbols_that_fail_leave_the_others(
    loopback_clock: MockClock, nursery: trio.Nursery, site: FakeSite, board: Board
) -> None:
    """Refused, unknown, not in the plan, of another shape: each is left out, and Finnhub counts as up."""
    bad = {
        "GONE": status(404),
        "ZZZ": answer_json(UNKNOWN),
        "VOD.L": answer_json({"error": "You don't have access to this resource."}, 403),
        "ODD": answer_json({"c": "1"}),
    }
    site.script("/api/quote", quotes(**bad))
    provider = await provider_of(real(options(site, ["AAPL", *bad, "V"]), board, virtual_now), nursery)
    assert [stock.symbol for stock in await provider.top_performers()] == ["V", "AAPL"]
    assert [stock.symbol for stock in await provider.top_performers()] == ["V", "AAPL"]


async def test_most_symbols_failing_is_a_failure(
    loopback_clock: MockClock, nursery: trio.Nursery, site: FakeSite, board: Board
) -> None:
    """A few shares never replace the last good list."""
    site.script("/api/quote", quotes(MSFT=status(404), V=status(404)))
    provider = await provider_of(real(options(site, ["AAPL", "MSFT", "V"]), board, virtual_now), nursery)
    with pytest.raises(SourceError, match="Finnhub answered with status 404"):
        await provider.top_performers()


async def test_nothing_but_unknown_symbols_is_a_failure_that_names_the_setting(
    loopback_clock: MockClock, nursery: trio.Nursery, site: FakeSite, board: Board
) -> None:
    """An empty list would hide the mistake."""
    site.script("/api/quote", answer_json(UNKNOWN))
    provider = await provider_of(real(options(site, ["NONE"]), board, virtual_now), nursery)
    with pytest.raises(SourceError, match=r"providers\.symbols"):
        await provider.top_performers()


async def test_a_wrong_key_is_told_and_never_shown(
    loopback_clock: MockClock, nursery: trio.Nursery, site: FakeSite, board: Board, logged: list[EventDict]
) -> None:
    """401: the error says what to check; neither it, nor the log, nor the board holds the key."""
    site.script("/api/quote", answer_json({"error": f"Invalid API key {KEY}"}, 401))
    provider = await provider_of(real(options(site), board, virtual_now), nursery)
    with pytest.raises(SourceError, match=r"401.*providers\.finnhub_key") as caught:
        await provider.top_performers()
    (row,) = board.rows()
    assert row.state is SourceState.DOWN
    assert [line["event"] for line in logged] == ["source is down"]
    for shown in (str(caught.value), repr(caught.value), repr(row), repr(logged), repr(provider)):
        assert KEY not in shown


def test_the_rate_keeps_to_the_free_plan() -> None:
    """At most 30 requests in a second and 60 in any minute; every symbol that can be set, once a round."""
    assert POLICY.burst <= 30
    assert POLICY.burst + 60 * POLICY.rate <= 60
    pause = PERFORMERS_REFRESH.interval * (1 - BffOptions().jitter)  # the scheduler's shortest
    assert POLICY.ttl < pause
    for symbols in (len(SYMBOLS), checks.SYMBOLS):
        assert symbols <= min(POLICY.burst, POLICY.rate * pause)


async def test_shares_that_rose_alike_keep_their_places(
    loopback_clock: MockClock, nursery: trio.Nursery, site: FakeSite, board: Board
) -> None:
    """In the order of the symbols, whichever was answered first."""
    same = answer_json(quote(1.0))
    site.script("/api/quote", quotes(S0=late(same, 0.3), S1=late(same, 0.1), S2=same, S3=late(same, 0.2)))
    provider = await provider_of(real(options(site, ["S0", "S1", "S2", "S3"]), board, virtual_now), nursery)
    assert [stock.symbol for stock in await provider.top_performers()] == ["S0", "S1", "S2", "S3"]


async def test_a_recovery_brings_the_whole_list_at_once(
    loopback_clock: MockClock, nursery: trio.Nursery, site: FakeSite, board: Board
) -> None:
    """While it is down one request in a minute asks whether it is back; once it is, the others follow."""
    site.script("/api/quote", status(500))
    provider = await provider_of(real(options(site), board, virtual_now), nursery)
    with pytest.raises(SourceError):
        await provider.top_performers()
    await trio.sleep(POLICY.probe_after + 1)
    before = len(site.requests)
    with pytest.raises(SourceError):
        await provider.top_performers()
    assert len({request.params["symbol"] for request in site.requests[before:]}) == 1
    site.script("/api/quote", quotes())
    await trio.sleep(POLICY.probe_after + 1)
    assert len(await provider.top_performers()) == 10
    assert board.rows()[0].state is SourceState.UP


async def events(bus: MemoryBus, count: int) -> list[Any]:
    """Wait for so many events of the stock service."""
    with trio.fail_after(60):
        while len(bus.records(UPDATED)) < count:  # noqa: ASYNC110 - the bus tells nobody
            await trio.sleep(0.05)
    return [json.loads(record.value or b"null") for record in bus.records(UPDATED)]


def refresh(bus: MemoryBus) -> None:
    """Put a refresh command."""
    bus.inject(REFRESH, json.dumps({"event": "refresh", "data": {}}).encode())


async def test_a_command_becomes_an_event_of_finnhub(
    loopback_clock: MockClock,
    nursery: trio.Nursery,
    site: FakeSite,
    make_context: MakeContext,
    bus: MemoryBus,
) -> None:
    """Every field of the payload that a quote can fill; an outage is an event, too, and so is its end."""
    site.script("/api/quote", quotes())
    context = make_context("stock", providers=options(site, ["V"], mode="real"))
    await nursery.start(STOCK.service(context))
    refresh(bus)
    (event,) = await events(bus, 1)
    assert (event["status"], event["source"]) == ("success", "finnhub")
    assert event["data"] == [
        {
            "symbol": "V",
            "name": "Visa",
            "price": 121.1,
            "change": 21.1,
            "changePercent": 21.1,
            "open": 99.0,
            "high": 120.0,
            "low": 80.0,
            "previousClose": 100.0,
            "volume": None,
            "currency": "USD",
            "asOf": "2026-01-01T00:00:00.000Z",
        }
    ]
    await trio.sleep(60)
    async with site.away():
        refresh(bus)
        event = (await events(bus, 2))[1]
    assert (event["status"], event["source"]) == ("error", "finnhub")
    assert "Finnhub cannot be reached" in event["message"]
    await trio.sleep(60)
    refresh(bus)
    assert (await events(bus, 3))[2]["status"] == "success"
    assert KEY not in repr(bus.records(UPDATED))


async def test_auto_shows_simulated_prices_while_finnhub_is_silent(
    loopback_clock: MockClock,
    nursery: trio.Nursery,
    site: FakeSite,
    make_context: MakeContext,
    bus: MemoryBus,
) -> None:
    """Within two seconds, and marked; real ones once they are there."""
    site.script("/api/quote", late(answer_json(quote(1.0)), 4.0))
    await nursery.start(STOCK.service(make_context("stock", providers=options(site, ["V"], mode="auto"))))
    begin = trio.current_time()
    refresh(bus)
    (event,) = await events(bus, 1)
    assert trio.current_time() - begin <= 2
    assert (event["status"], event["source"], len(event["data"])) == ("success", "simulated", 10)
    await trio.sleep(10)
    refresh(bus)
    assert (await events(bus, 2))[1]["source"] == "finnhub"


async def test_without_a_key_auto_is_simulated_and_real_says_what_to_set(
    loopback_clock: MockClock,
    nursery: trio.Nursery,
    make_context: MakeContext,
    bus: MemoryBus,
    logged: list[EventDict],
) -> None:
    """The board and one log line say so; nothing is asked of anyone."""
    for mode, shown in (("auto", ("success", "simulated")), ("real", ("error", "finnhub"))):
        context = make_context("stock", providers=ProviderOptions(stock=mode))
        async with trio.open_nursery() as running:
            await running.start(STOCK.service(context))
            refresh(bus)
            event = (await events(bus, 1 if mode == "auto" else 2))[-1]
            running.cancel_scope.cancel()
        assert (event["status"], event["source"]) == shown
        assert event.get("message") == (None if mode == "auto" else MISSING)
        (row,) = context.board.rows()
        assert (row.name, row.state, row.reason) == ("finnhub", SourceState.MISSING, MISSING)
    assert [line["event"] for line in logged].count("source is not set up") == 2
    assert "providers.finnhub_key" in MISSING


async def test_simulated_mode_has_no_source(make_context: MakeContext) -> None:
    """Not even with a key: nothing stands on the board."""
    context = make_context("stock", providers=ProviderOptions(finnhub_key=KEY))
    STOCK.service(context)
    assert context.board.rows() == []
