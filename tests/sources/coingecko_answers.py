"""What CoinGecko answers on ``/coins/markets``, rebuilt with its documented fields."""

from typing import Any

MARKETS = "/coins/markets"

_LARGE = ("btc", "eth", "usdt", "xrp", "bnb", "sol", "usdc", "doge", "steth", "trx", "ada", "wbtc")


def coin(
    id_: str, symbol: str, price: float, change: float, *, name: str = "", rank: int | None = None
) -> dict[str, Any]:
    """Return one coin, with a change in 24 hours in %."""
    return {
        "id": id_,
        "symbol": symbol,
        "name": name or id_.title(),
        "image": "https://assets.coingecko.com/coins/images/1/large/bitcoin.png?1696501400",
        "current_price": price,
        "market_cap": 1_381_651_251_183 / (rank or 1),
        "market_cap_rank": rank,
        "fully_diluted_valuation": 1_474_623_675_796,
        "total_volume": 20_154_184_933,
        "high_24h": price * 1.02,
        "low_24h": price * 0.98,
        "price_change_24h": price * change / 100,
        "price_change_percentage_24h": change,
        "market_cap_change_24h": 44_110_000_000.0,
        "market_cap_change_percentage_24h": change,
        "circulating_supply": 19_675_987.0,
        "total_supply": 21_000_000.0,
        "max_supply": None,
        "ath": price * 2,
        "ath_change_percentage": -50.0,
        "ath_date": "2025-10-06T18:57:42.558Z",
        "atl": 67.81,
        "atl_change_percentage": 103_455.8,
        "atl_date": "2013-07-06T00:00:00.000Z",
        "roi": None,
        "last_updated": "2026-01-01T11:59:31.736Z",
        "price_change_percentage_1h_in_currency": 0.12234,
        "price_change_percentage_24h_in_currency": change,
    }


def markets(count: int = 60) -> list[dict[str, Any]]:
    """Return so many coins, the largest first, rising and falling by turns; some figures are null."""
    symbols = [*_LARGE, *(f"coin{n}" for n in range(count))][:count]
    coins = []
    for rank, symbol in enumerate(symbols, 1):
        change = 0.01 if symbol in ("usdt", "usdc") else (-1) ** rank * (rank * 7 % 23 + 0.5)
        coins.append(coin(f"id-{symbol}", symbol, 70_000.0 / rank, change, rank=rank))
    coins[4]["market_cap_rank"] = None
    coins[5]["price_change_percentage_1h_in_currency"] = None
    coins[9]["price_change_percentage_24h"] = coins[9]["price_change_percentage_24h_in_currency"] = None
    return coins
