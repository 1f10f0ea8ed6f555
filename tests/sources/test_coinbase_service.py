"""The crypto service's ticks in every mode: a fake exchange, a fake CoinGecko, a bus in memory."""

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
from coingecko_answers import MARKETS, coin
from fake_coinbase import FakeCoinbase, open_coinbase
from fake_site import FakeSite, answer_json, status
from source_doubles import virtual_now
from trio.testing import MockClock

from flux.domains.crypto import CRYPTO
from flux.domains.crypto.real import real_ticks
from flux.domains.crypto.views import TICKER
from flux.domains.domain import ServiceContext
from flux.domains.providers import ProviderOptions, SimulationOptions
from flux.domains.registry import ALL_TOPICS
from flux.domains.sources import Board, SourceError
from flux.domains.sources.board import SourceState
from flux.metrics import REGISTRY
from flux.transport.kafka.memory import MemoryBus

TOPIC = "crypto.ticker.event.updated"
RATE = 5.0
"""Simulated ticks per second; each jump of the virtual clock takes 30 ms."""

REFRESH = "crypto.service.command.topcoins.refresh"


class Crypto:
    """The service as it runs, and what it publishes."""

    def __init__(
        self, mode: str, exchange: FakeCoinbase, site: FakeSite | None = None, *, products: int = 2
    ) -> None:
        urls = {"coinbase": exchange.url, "coingecko": site.url if site else "http://127.0.0.1:1"}
        self.bus = MemoryBus(ALL_TOPICS)
        self.context = ServiceContext(
            client=self.bus.client("crypto"),
            simulation=SimulationOptions(seed=1, products=products, ticker_rate=RATE),
            providers=ProviderOptions(mode=mode, urls=urls),
            board=Board(virtual_now),
            now=virtual_now,
            rng=random.Random(1),
        )

    @property
    def ticks(self) -> list[dict[str, Any]]:
        """Every tick so far."""
        return [json.loads(record.value or b"") for record in self.bus.records(TOPIC)]

    @property
    def sources(self) -> list[str]:
        """The sources of the ticks so far, each as often as it took over from another."""
        sources = [tick["source"] for tick in self.ticks]
        return [now for before, now in zip(["", *sources], sources, strict=False) if now != before]

    @property
    def feed(self) -> SourceState:
        """The feed's health."""
        return next(row.state for row in self.context.board.rows() if row.name == "coinbase")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the service during a block."""
        async with trio.open_nursery() as nursery:
            await nursery.start(CRYPTO.service(self.context))
            yield
            nursery.cancel_scope.cancel()


async def test_real_ticks_are_relayed_untouched(loopback_clock: MockClock) -> None:
    """The exchange's object byte for byte, in the contract's envelope, keyed by its product."""
    async with open_coinbase() as exchange:
        crypto = Crypto("real", exchange)
        async with crypto.running():
            await exchange.subscribed("BTC-USD", "ETH-USD")
            sent = [await exchange.tick(p) for p in ("BTC-USD", "ETH-USD", "BTC-USD")]
            await trio.sleep(1)
        records = crypto.bus.records(TOPIC)
    assert sorted((r.key or b"").decode() for r in records) == ["BTC-USD", "BTC-USD", "ETH-USD"]
    for text in sent:
        (record,) = (r for r in records if text.encode() in (r.value or b""))
        value = json.loads(record.value or b"")
        assert list(value) == ["status", "data", "source", "timestamp"]
        assert (value["status"], value["source"]) == ("success", "coinbase")
        assert value["data"] == json.loads(text)
        assert value["timestamp"].startswith("2026-01-31T12:00:")
        assert TICKER.decode(record.value or b"").data.price == value["data"]["price"]


async def test_in_real_mode_a_feed_that_is_down_is_silence(loopback_clock: MockClock) -> None:
    """Nothing simulated is shown; the board says that the feed is down."""
    crypto = Crypto("real", FakeCoinbase())
    async with crypto.running():
        await trio.sleep(30)
    assert crypto.ticks == []
    assert crypto.feed is SourceState.DOWN


async def test_in_simulated_mode_nobody_is_asked(loopback_clock: MockClock) -> None:
    """No connection is made."""
    async with open_coinbase() as exchange:
        crypto = Crypto("simulated", exchange)
        async with crypto.running():
            await trio.sleep(2)
        assert exchange.connections == 0
    assert crypto.sources == ["simulated"]
    assert crypto.context.board.rows() == []


async def test_simulated_ticks_stand_in_within_two_seconds(loopback_clock: MockClock) -> None:
    """Without a network: marked ticks, and three log lines, however long it lasts."""
    crypto = Crypto("auto", FakeCoinbase())
    with structlog.testing.capture_logs() as lines:
        async with crypto.running():
            await trio.sleep(1.4)
            assert crypto.ticks == []
            await trio.sleep(0.6)
            assert crypto.sources == ["simulated"]
            await trio.sleep(10)
            assert len(crypto.ticks) == pytest.approx(10 * RATE, abs=3)
    assert [line["event"] for line in lines] == [
        "source is down",
        "simulated ticks stand in",
    ]


async def test_real_and_simulated_ticks_never_interleave(loopback_clock: MockClock) -> None:
    """A real tick ends the simulation at once; a lost feed begins it again, within two seconds."""
    async with open_coinbase(heartbeats=5.0) as exchange:
        crypto = Crypto("auto", exchange)
        async with crypto.running():
            await exchange.subscribed("BTC-USD", "ETH-USD")
            await trio.sleep(3)
            assert crypto.sources == ["simulated"]  # subscribed, but no tick has come
            for _ in range(20):
                await exchange.tick("BTC-USD")
                await trio.sleep(0.1)
            assert crypto.sources == ["simulated", "coinbase"]
            exchange.status = 503
            await exchange.hang_up(1006)
            await trio.sleep(1.4)
            assert crypto.sources == ["simulated", "coinbase"]
            await trio.sleep(0.6)
            assert crypto.sources == ["simulated", "coinbase", "simulated"]
            exchange.status = 101
            exchange.products = set()
            await exchange.subscribed("BTC-USD", "ETH-USD")
            await exchange.tick("ETH-USD")
            await trio.sleep(20)
        assert crypto.sources == ["simulated", "coinbase", "simulated", "coinbase"]
        assert crypto.feed is SourceState.UP


async def test_a_feed_that_is_back_before_anyone_missed_it_is_not_stood_in_for(
    loopback_clock: MockClock,
) -> None:
    """A connection that is lost and made again within the patience shows no simulated tick."""
    async with open_coinbase() as exchange:
        crypto = Crypto("auto", exchange)
        async with crypto.running():
            await exchange.subscribed()
            await exchange.tick("BTC-USD")
            for number in range(2, 5):
                await exchange.hang_up(1011)
                await exchange.connected(number)
                await exchange.subscribed()
                await exchange.tick("BTC-USD")
                await trio.sleep(5)
        assert crypto.sources == ["coinbase"]


async def test_a_stalled_feed_is_stood_in_for(loopback_clock: MockClock) -> None:
    """A connection on which nothing comes any more counts as down after 30 s."""
    async with open_coinbase(heartbeats=5.0) as exchange:
        crypto = Crypto("auto", exchange)
        async with crypto.running():
            await exchange.subscribed()
            await exchange.tick("BTC-USD")
            await trio.sleep(20)
            assert crypto.sources == ["coinbase"]  # a quiet market is not a dead feed
            exchange.silent = True
            exchange.status = 503
            await trio.sleep(33)
        assert crypto.sources == ["coinbase", "simulated"]


async def test_ticks_for_a_broker_that_is_away_are_skipped_and_counted(loopback_clock: MockClock) -> None:
    """None are queued: when it is back only new ones come; one log line for each change."""

    def skipped() -> float:
        return REGISTRY.get_sample_value("flux_ticks_total", {"outcome": "skipped"}) or 0.0

    before = skipped()
    async with open_coinbase(trades=0.5) as exchange:
        crypto = Crypto("real", exchange)
        with structlog.testing.capture_logs() as lines:
            async with crypto.running():
                await exchange.subscribed()
                await trio.sleep(3)
                crypto.bus.set_down("gone")
                already = len(crypto.ticks)
                await trio.sleep(20)
                crypto.bus.set_up()
                await trio.sleep(0.2)
                assert len(crypto.ticks) - already < 15  # of 80: what was sent until it was noticed
                await trio.sleep(5)
                assert len(crypto.ticks) - already > 12
                assert exchange.connections == 1
    assert skipped() - before > 60
    assert [line["event"] for line in lines if "tick" in line["event"]] == [
        "ticks are skipped until the broker is back",
        "ticks are sent again",
    ]


async def test_ticks_of_a_product_stay_in_order(loopback_clock: MockClock) -> None:
    """Also those whose delivery report is awaited."""
    async with open_coinbase() as exchange:
        crypto = Crypto("real", exchange)
        async with crypto.running():
            await exchange.subscribed()
            for number in range(600):
                await exchange.tick("BTC-USD")
                if number % 50 == 0:
                    await trio.sleep(0.6)
            await trio.sleep(1)
        sequences = [tick["data"]["sequence"] for tick in crypto.ticks]
    assert len(sequences) == 600
    assert sequences == sorted(sequences)


async def test_the_feed_follows_the_top_coins(site: FakeSite, loopback_clock: MockClock) -> None:
    """CoinGecko's largest become the products; a coin that the exchange does not know is passed over."""
    coins = [
        coin(symbol, symbol, 5.0, 1.0, rank=rank) for rank, symbol in enumerate(("pepe", "steth", "sol"), 1)
    ]
    site.script(MARKETS, answer_json(coins))
    async with open_coinbase(unknown={"STETH-USD"}) as exchange:
        crypto = Crypto("real", exchange, site)
        async with crypto.running():
            await exchange.subscribed("BTC-USD", "ETH-USD")
            crypto.bus.inject(REFRESH, b'{"event":"refresh"}')
            with trio.fail_after(10):
                await exchange.subscribed("PEPE-USD", "SOL-USD")
            assert exchange.connections == 1
        (event,) = (json.loads(r.value or b"") for r in crypto.bus.records("crypto.topcoins.event.updated"))
    assert event["source"] == "coingecko"
    assert [asset["symbol"] for asset in event["data"]["topCoins"]] == ["PEPE", "STETH", "SOL"]


async def test_simulated_top_coins_do_not_move_the_feed(site: FakeSite, loopback_clock: MockClock) -> None:
    """While CoinGecko fails, its stand-in's coins are shown, marked, and the products stay."""
    site.script(MARKETS, status(500))
    async with open_coinbase() as exchange:
        crypto = Crypto("auto", exchange, site, products=5)
        async with crypto.running():
            await exchange.subscribed()
            crypto.bus.inject(REFRESH, b'{"event":"refresh"}')
            await trio.sleep(3)
            assert len(exchange.requests) == 1
        (event,) = (json.loads(r.value or b"") for r in crypto.bus.records("crypto.topcoins.event.updated"))
    assert event["source"] == "simulated"


async def test_movers_are_coingeckos(site: FakeSite, loopback_clock: MockClock) -> None:
    """In real mode a failure is an error event under the source's name; then the data comes."""
    site.script(MARKETS, status(404), answer_json([coin("a", "aa", 5.0, 3.0), coin("b", "bb", 5.0, -3.0)]))
    async with open_coinbase() as exchange:
        crypto = Crypto("real", exchange, site)
        async with crypto.running():
            for _ in range(2):
                crypto.bus.inject("crypto.service.command.topmovers.refresh", b'{"event":"refresh"}')
                await trio.sleep(1)
        failed, good = (json.loads(r.value or b"") for r in crypto.bus.records("crypto.movers.event.updated"))
    assert (failed["status"], failed["source"]) == ("error", "coingecko")
    assert "404" in failed["message"]
    assert [a["symbol"] for a in good["data"]["topGainers"]] == ["AA"]
    assert [a["symbol"] for a in good["data"]["topLosers"]] == ["BB"]


async def test_a_restarted_service_goes_on(loopback_clock: MockClock) -> None:
    """The supervisor runs the same service again: a probe lost with the first run holds nothing up."""
    async with open_coinbase() as exchange:
        crypto = Crypto("auto", exchange)
        service = CRYPTO.service(crypto.context)
        for number in range(1, 4):
            async with trio.open_nursery() as nursery:
                await nursery.start(service)
                await exchange.connected(number)
                await exchange.subscribed()
                crypto.bus.set_up()
                for _ in range(5):
                    await exchange.tick("BTC-USD")
                    await trio.sleep(0.5)
                crypto.bus.set_down()
                await exchange.tick("BTC-USD")
                await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
            exchange.products = set()
            assert len(crypto.ticks) >= number * 5
    assert crypto.sources == ["coinbase"]


async def test_the_doctor_gets_a_tick_or_the_reason() -> None:
    """It asks the feed for one product, and waits no longer than it takes to fail."""
    async with open_coinbase(trades=0.05) as exchange:
        for status_code, outcome in ((101, "BTC-USD"), (503, "status 503")):
            exchange.status = status_code
            found = real_ticks(ProviderOptions(urls={"coinbase": exchange.url}), Board(), virtual_now)
            assert found.provider is not None
            async with trio.open_nursery() as nursery:
                for service in found.services:
                    await nursery.start(service)
                try:
                    with trio.fail_after(5):
                        heard = await found.provider.first()
                except SourceError as error:
                    heard = str(error)
                nursery.cancel_scope.cancel()
            assert outcome in heard
