"""Share prices from Finnhub: one quote a symbol, asked side by side."""

from collections.abc import Sequence
from functools import partial

import trio

from flux.domains.sources import Query, Source, SourceError, SourcePolicy
from flux.domains.stock.companies import COMPANIES
from flux.domains.stock.contract import Stock
from flux.domains.stock.finnhub_shape import NO_ACCESS, TITLE, read_quote, strongest

POLICY = SourcePolicy(
    name="finnhub",
    title=TITLE,
    url="https://finnhub.io/api/v1",
    # The free plan allows 60 calls a minute (https://finnhub.io/pricing), every plan 30 a second
    # (https://finnhub.io/docs/api/rate-limit): the burst, and what is refilled in a minute, keep to both.
    rate=0.5,
    burst=30,
    ttl=45.0,  # the scheduler refreshes each 60 s, up to a tenth earlier
    deadline=6.0,
    attempts=2,
    body_limit=64 << 10,
    connections=6,
)

SYMBOLS: tuple[str, ...] = tuple(company.symbol for company in COMPANIES[:20])
"""What is asked for where the settings name no symbols."""


class FinnhubStocks:
    """A `StockProvider` over one source.

    Args:
        source: Finnhub, with a key.
        symbols: of the shares among which the top performers are sought; each costs a request.
    """

    def __init__(self, source: Source, symbols: Sequence[str]) -> None:
        self._source = source
        self._symbols = tuple(dict.fromkeys(symbols)) or SYMBOLS

    @property
    def source(self) -> str:
        """The source's name."""
        return self._source.name

    async def top_performers(self) -> tuple[Stock, ...]:
        """Return the top performers of the symbols, the strongest first.

        A symbol that Finnhub does not know is left out, and one that failed; but where more failed than were
        answered the whole has failed, so that a few shares never replace the last good list.

        Raises:
            SourceError: Finnhub failed, or has no price of any symbol.
        """
        answers: dict[str, tuple[Stock, ...]] = {}
        failures: list[SourceError] = []

        async def ask(symbol: str) -> None:
            try:
                answers[symbol] = await self._quote(symbol)
            except SourceError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for symbol in self._symbols:
                nursery.start_soon(ask, symbol)
        if len(failures) > len(answers):
            raise next((failure for failure in failures if failure.asked), failures[0])
        # In the order of the symbols, whichever answered first: shares that rose alike do not change places.
        found = [stock for symbol in self._symbols for stock in answers.get(symbol, ())]
        if not found:
            raise SourceError(f"{TITLE} has no price of any symbol that was asked for (providers.symbols)")
        return strongest(found)

    async def _quote(self, symbol: str) -> tuple[Stock, ...]:
        query = Query("/quote", {"symbol": symbol}, statuses=frozenset({200, NO_ACCESS}))
        return await self._source.get(query, partial(read_quote, symbol=symbol))
