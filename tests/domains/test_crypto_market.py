"""The simulated crypto market: plausible, moving, repeatable, and one price for all who ask."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flux.domains.crypto.coins import COINS
from flux.domains.crypto.contract import Asset
from flux.domains.crypto.market import Market

START = datetime(2026, 1, 31, 10, 2, 3, 456789, UTC)
PRODUCTS = [coin.product for coin in COINS]


def market(seed: int = 1, start: datetime = START) -> Market:
    """Return a market that opens now."""
    return Market(COINS, seed=seed, now=start)


def check_assets(assets: tuple[Asset, ...]) -> None:
    """Check what holds of any asset."""
    levels = {coin.symbol: coin.price for coin in COINS}
    for asset in assets:
        assert asset.price is not None
        assert asset.marketCap is not None
        assert asset.volume24h is not None
        assert asset.symbol is not None
        assert 0.5 < asset.price / levels[asset.symbol] < 2
        assert asset.marketCap > 0
        assert asset.volume24h > 0
        assert asset.currency == "USD"
    assert len({asset.id for asset in assets}) == len(assets)


def check_tick(tick: dict[str, Any]) -> None:
    """Check what holds of any tick."""
    low, price, high = (float(tick[name]) for name in ("low_24h", "price", "high_24h"))
    assert 0 < low <= price <= high
    assert low <= float(tick["open_24h"]) <= high
    assert 0 <= float(tick["best_bid"]) < float(tick["best_ask"])
    assert float(tick["best_bid"]) <= price <= float(tick["best_ask"])
    assert float(tick["volume_30d"]) > 0
    assert tick["side"] in ("buy", "sell")


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.floats(-100, 200_000), st.sampled_from(PRODUCTS)), min_size=1, max_size=8),
)
def test_a_market_is_plausible_at_any_time(seed: int, looks: list[tuple[float, str]]) -> None:
    """Whatever the seed and however the clock jumps, the figures agree with each other."""
    made, now = market(seed), START
    for seconds, product in looks:
        now += timedelta(seconds=seconds)
        check_tick(made.tick(product, now))
        coins = made.top_coins(now).topCoins
        check_assets(coins)
        caps = [asset.marketCap or 0 for asset in coins]
        assert caps == sorted(caps, reverse=True)
        assert [asset.rank for asset in coins] == list(range(1, 31))
        movers = made.movers(now)
        check_assets(movers.topGainers)
        gains = [asset.change24h or 0 for asset in movers.topGainers]
        losses = [asset.change24h or 0 for asset in movers.topLosers]
        assert gains == sorted(gains, reverse=True)
        assert losses == sorted(losses)
        assert all(gain > 0 for gain in gains)
        assert all(loss < 0 for loss in losses)
        assert len(gains) <= 10
        assert len(losses) <= 10


def test_the_same_seed_gives_the_same_market() -> None:
    """A demonstration can be repeated; another seed gives another one."""

    def look(seed: int) -> tuple[Any, ...]:
        made = market(seed)
        later = START + timedelta(minutes=7)
        return made.top_coins(START), made.movers(later), made.tick("BTC-USD", later)

    assert look(5) == look(5)
    assert look(5) != look(6)


def test_prices_move_at_each_look_even_at_the_same_moment() -> None:
    """Two fetches never show the same."""
    made = market()
    first, second = (made.top_coins(START).topCoins[0].price for _ in range(2))
    assert first != second
    prices = {made.tick("BTC-USD", START + timedelta(seconds=n))["price"] for n in range(20)}
    assert len(prices) > 10


def test_ticker_movers_and_coins_have_one_price() -> None:
    """The snapshots continue where the ticker stands: within what a second can do."""
    made = market()
    for coin in COINS[:10]:
        price = float(made.tick(coin.product, START)["price"])
        asset = next(a for a in made.top_coins(START).topCoins if a.symbol == coin.symbol)
        assert asset.price is not None
        assert abs(asset.price / price - 1) < 0.005


def test_the_change_of_24_hours_is_that_of_the_ticker() -> None:
    """`change24h` and the ticker's `open_24h` tell the same story."""
    made = market()
    tick = made.tick("ETH-USD", START)
    movers = made.movers(START)
    change = (float(tick["price"]) / float(tick["open_24h"]) - 1) * 100
    found = [
        a
        for a in (*movers.topGainers, *movers.topLosers, *made.top_coins(START).topCoins)
        if a.symbol == "ETH"
    ]
    assert found
    assert all(abs((asset.change24h or 0) - change) < 0.3 for asset in found)


def test_a_tick_looks_like_the_exchanges() -> None:
    """Every field of the exchange's ticker channel is there, prices as text, counters rising."""
    made = market()
    first = made.tick("BTC-USD", START)
    second = made.tick("BTC-USD", START + timedelta(seconds=1))
    assert set(first) == {
        "type", "sequence", "product_id", "price", "open_24h", "volume_24h", "low_24h", "high_24h",
        "volume_30d", "best_bid", "best_bid_size", "best_ask", "best_ask_size", "side", "time",
        "trade_id", "last_size",
    }  # fmt: skip
    assert first["type"] == "ticker"
    assert first["time"] == "2026-01-31T10:02:03.456789Z"
    assert second["sequence"] > first["sequence"]
    assert second["trade_id"] == first["trade_id"] + 1
    texts = set(first) - {"sequence", "trade_id"}
    assert all(isinstance(first[name], str) for name in texts)


def test_a_day_forgets_its_extremes() -> None:
    """The high of 24 hours is of the last 24 hours, not of all time."""
    made = market()
    highs = set()
    for hour in range(0, 24 * 6, 3):
        tick = made.tick("BTC-USD", START + timedelta(hours=hour))
        highs.add(float(tick["high_24h"]))
        check_tick(tick)
    falls = sorted(highs)
    assert falls[0] < falls[-1]
    assert len(highs) > 3


def test_prices_return_to_their_level_after_months() -> None:
    """A long demonstration does not end with a coin worth nothing."""
    made = market()
    for week in range(12):
        check_assets(made.top_coins(START + timedelta(weeks=5 * week)).topCoins)
