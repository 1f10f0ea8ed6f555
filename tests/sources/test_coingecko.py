"""CoinGecko as a provider, over HTTP to a fake of it."""

import json

import pytest
import trio
from coingecko_answers import MARKETS, markets
from fake_site import FakeSite, answer_json, status, truncated
from source_doubles import virtual_now
from trio.testing import MockClock

from flux.domains.crypto.provider import CryptoProvider
from flux.domains.crypto.real import real
from flux.domains.providers import ProviderOptions
from flux.domains.sources import Board, Real, SourceError
from flux.domains.sources.board import SourceState


def made(site: FakeSite, board: Board, key: str | None = None) -> Real[CryptoProvider]:
    """Return the provider that asks the site."""
    return real(ProviderOptions(urls={"coingecko": site.url}, coingecko_key=key), board, virtual_now)


async def provider(nursery: trio.Nursery, found: Real[CryptoProvider]) -> CryptoProvider:
    """Run what the provider needs, and return it."""
    for service in found.services:
        await nursery.start(service)
    assert found.provider is not None
    return found.provider


async def test_movers_and_top_coins_are_one_request(site: FakeSite, board: Board) -> None:
    """Both come from one page of the hundred largest, asked for as documented, without a key."""
    site.script(MARKETS, answer_json(markets()))
    async with trio.open_nursery() as nursery:
        coingecko = await provider(nursery, made(site, board))
        assert coingecko.source == "coingecko"
        async with trio.open_nursery() as both:
            both.start_soon(coingecko.movers)
            both.start_soon(coingecko.top_coins)
        coins = await coingecko.top_coins()
        nursery.cancel_scope.cancel()
    (request,) = site.requests
    assert request.params == {
        "vs_currency": "usd",
        "order": "market_cap_desc",
        "per_page": "100",
        "page": "1",
        "price_change_percentage": "1h,24h",
    }
    assert "x-cg-demo-api-key" not in request.headers
    assert [asset.symbol for asset in coins.topCoins[:3]] == ["BTC", "ETH", "USDT"]
    assert board.rows()[0].state is SourceState.UP


@pytest.mark.parametrize(("key", "seconds"), [(None, 55), ("CG-demo", 275)])
async def test_a_page_is_asked_for_again_as_often_as_the_plan_allows(
    key: str | None, seconds: float, site: FakeSite, board: Board, loopback_clock: MockClock
) -> None:
    """Once a minute without a key; with one, of 10,000 calls a month, every four and a half minutes."""
    site.script(MARKETS, answer_json(markets()))
    async with trio.open_nursery() as nursery:
        coingecko = await provider(nursery, made(site, board, key))
        await coingecko.movers()
        await trio.sleep(seconds - 10)
        await coingecko.top_coins()
        assert len(site.requests) == 1
        await trio.sleep(10)
        await coingecko.top_coins()
        nursery.cancel_scope.cancel()
    assert [request.headers.get("x-cg-demo-api-key") for request in site.requests] == [key, key]


async def test_no_more_requests_go_than_the_source_publishes(
    site: FakeSite, board: Board, loopback_clock: MockClock
) -> None:
    """Failing, it is asked five times a minute at most, after the first few, until the breaker opens."""
    site.script(MARKETS, status(500))
    failures = []
    async with trio.open_nursery() as nursery:
        coingecko = await provider(nursery, made(site, board))
        for _ in range(60):
            with pytest.raises(SourceError) as caught:
                await coingecko.movers()
            failures.append(str(caught.value))
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert len(site.requests) <= 3 + 6
    assert failures[0].startswith("CoinGecko")


async def test_wait_is_obeyed_when_it_is_asked_for(
    site: FakeSite, board: Board, loopback_clock: MockClock
) -> None:
    """After a 429 with Retry-After nothing is asked until then; then it works again."""
    site.script(MARKETS, status(429, retry_after="60"), answer_json(markets()))
    async with trio.open_nursery() as nursery:
        coingecko = await provider(nursery, made(site, board))
        with pytest.raises(SourceError, match="fewer requests"):
            await coingecko.movers()
        await trio.sleep(50)
        with pytest.raises(SourceError, match="asked again in"):
            await coingecko.movers()
        assert len(site.requests) == 1
        await trio.sleep(15)
        assert (await coingecko.movers()).topGainers
        nursery.cancel_scope.cancel()
    assert board.rows()[0].state is SourceState.UP


async def test_bad_answers_are_failures_that_name_no_key(site: FakeSite, board: Board) -> None:
    """HTML with status 200, a cut-off answer, another shape, a refused key."""
    whole = answer_json(markets())
    secret = "CG-secret"  # noqa: S105 - made up
    for reply, reason in (
        (status(200, "<html>", "text/html"), "answered text/html"),
        (truncated(whole, 1_000), "CoinGecko"),
        (answer_json({"status": {"error_code": 10002}}), "another shape"),
        (answer_json([{"id": "bitcoin", "symbol": 5}]), "symbol"),
        (status(401, json.dumps({"error": secret})), "providers.coingecko_key"),
    ):
        site.script(MARKETS, reply)
        async with trio.open_nursery() as nursery:
            coingecko = await provider(nursery, made(site, Board(virtual_now), secret))
            with pytest.raises(SourceError, match=reason) as caught:
                await coingecko.movers()
            assert secret not in str(caught.value)
            nursery.cancel_scope.cancel()
