"""CoinGecko's answer: what Flux takes of it, and what it does without."""

import json
from typing import Any

import pytest
from coingecko_answers import coin, markets
from hypothesis import given, settings
from hypothesis import strategies as st

from flux.domains.crypto.coingecko_shape import movers, read_markets, top_coins
from flux.domains.crypto.contract import Asset
from flux.domains.sources import SourceError


def read(*coins: Any) -> tuple[Asset, ...]:
    """Read an answer of these coins."""
    return read_markets(json.dumps(coins).encode())


def test_a_coin_becomes_an_asset() -> None:
    """Every field of the contract comes from the documented one; unknown ones do no harm."""
    assert read(coin("bitcoin", "btc", 70187.0, 3.12502, name="Bitcoin", rank=1)) == (
        Asset(
            id="bitcoin",
            symbol="BTC",
            name="Bitcoin",
            image="https://assets.coingecko.com/coins/images/1/large/bitcoin.png?1696501400",
            price=70187.0,
            currency="USD",
            change1h=0.12,
            change24h=3.13,
            marketCap=1_381_651_251_183.0,
            rank=1,
            volume24h=20_154_184_933.0,
            updatedAt="2026-01-01T11:59:31.736Z",
        ),
    )


def test_what_is_null_or_missing_is_left_out_of_the_asset() -> None:
    """Nulls are common; id, symbol and price are all that a coin needs."""
    nulls = dict.fromkeys(coin("x", "x", 1.0, 1.0))
    bare = {**nulls, "id": "new-coin", "symbol": "new", "current_price": 0.00000123}
    (asset,) = read(bare)
    assert asset == Asset(id="new-coin", symbol="NEW", name="NEW", price=0.00000123, currency="USD")
    assert read({"id": "new-coin", "symbol": "new", "current_price": 0.00000123}) == (asset,)


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": " "},
        {"symbol": None},
        {"symbol": "x" * 21},
        {"current_price": None},
        {"current_price": -1},
        {"current_price": "70187"},
        {"market_cap": "much"},
        {"market_cap_rank": 1.5},
    ],
)
def test_a_coin_that_cannot_be_used_is_left_out(change: dict[str, Any]) -> None:
    """The others stand; where none is left the answer is a failure."""
    bad = {**coin("bad", "bad", 1.0, 1.0), **change}
    (asset,) = read(bad, coin("good", "good", 1.0, 1.0))
    assert asset.id == "good"
    with pytest.raises(SourceError, match="CoinGecko answered"):
        read(bad)


def test_what_is_missing_is_named() -> None:
    """The error names the field."""
    with pytest.raises(SourceError, match="current_price"):
        read({"id": "a", "symbol": "a"})


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[{", b'{"status":{"error_code":429}}', b"[]", b"[1,null]", b"\xff"]
)
def test_what_is_no_list_of_coins_is_a_failure(body: bytes) -> None:
    """Nothing but a `SourceError`."""
    with pytest.raises(SourceError):
        read_markets(body)


def test_texts_addresses_and_figures_are_bounded() -> None:
    """Control characters go, lengths are cut, figures out of range and other addresses count as missing."""
    (asset,) = read(
        {
            **coin("a", "a", 1.0, 1.0),
            "name": "A\u0000\n <b>" + "x" * 500,
            "image": "javascript:alert(1)",
            "price_change_percentage_1h_in_currency": -101.0,
            "price_change_percentage_24h_in_currency": 1e12,
            "market_cap_rank": -3,
            "last_updated": "yesterday",
        }
    )
    assert asset.name is not None
    assert asset.name.startswith("A <b>x")
    assert len(asset.name) == 100
    found = (asset.image, asset.change1h, asset.change24h, asset.rank, asset.updatedAt)
    assert found == (None, None, None, None, None)


def test_at_most_a_page_is_read() -> None:
    """More coins than a page has are not taken."""
    assert len(read(*(coin(f"c{n}", f"c{n}", 1.0, 1.0) for n in range(300)))) == 250


def test_movers_are_the_strongest_ten_each_way() -> None:
    """Stable coins are in the middle, coins without a change are in neither list."""
    assets = read(*markets())
    found = movers(assets)
    gains = [asset.change24h or 0 for asset in found.topGainers]
    losses = [asset.change24h or 0 for asset in found.topLosers]
    assert len(gains) == len(losses) == 10
    assert gains == sorted(gains, reverse=True)
    assert losses == sorted(losses)
    rest = {a.change24h for a in assets if a.change24h is not None} - {*gains, *losses}
    assert max(losses) <= min(rest)
    assert max(rest) <= min(gains)
    assert "USDT" not in {asset.symbol for asset in (*found.topGainers, *found.topLosers)}


def test_top_coins_are_the_thirty_largest_in_order() -> None:
    """By market capitalisation, whatever the order of the answer; coins without one come last."""
    coins = markets()
    assets = read({**coin("none", "none", 1.0, 1.0), "market_cap": None}, *reversed(coins))
    found = top_coins(assets).topCoins
    caps = [asset.marketCap or 0 for asset in found]
    assert len(caps) == 30
    assert caps == sorted(caps, reverse=True)
    assert found[0].symbol == "BTC"
    assert top_coins(assets[:1]).topCoins[0].id == "none"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(sorted(coin("x", "x", 1.0, 1.0))), json_values), max_size=4))
def test_whatever_a_coin_holds_it_is_read_or_left_out(coins: list[dict[str, Any]]) -> None:
    """Assets, or a `SourceError`, nothing else; and what is read is within bounds."""
    try:
        assets = read(*coins)
    except SourceError:
        return
    for asset in assets:
        assert asset.id
        assert asset.symbol
        assert asset.price is not None
        assert asset.price >= 0
        assert len(asset.name or "") <= 100
    movers(assets)
    top_coins(assets)
