"""The stock domain's real provider as Flux is set up: Finnhub, where there is a key."""

from collections.abc import Callable
from datetime import datetime

from flux.domains.providers import ProviderOptions
from flux.domains.sources import Board, Real, Source
from flux.domains.stock.contract import NAME
from flux.domains.stock.finnhub import POLICY, FinnhubStocks
from flux.domains.stock.finnhub_shape import KEY_SETTING
from flux.domains.stock.provider import StockProvider

MISSING = f"Stock prices are not set up: Finnhub needs a key (free at finnhub.io); set {KEY_SETTING}"


def real(
    providers: ProviderOptions,
    board: Board,
    now: Callable[[], datetime],  # noqa: ARG001 - the shape of every domain's; quotes bring their time along
) -> Real[StockProvider]:
    """Return Finnhub as provider, or why there is none."""
    if providers.finnhub_key is None:
        board.health(POLICY.name, NAME).missing(MISSING)
        return Real(provider=None, missing=MISSING, source=POLICY.name)
    source = Source(
        POLICY,
        domain=NAME,
        board=board,
        urls=providers.urls,
        headers={"x-finnhub-token": providers.finnhub_key},
        key_setting=KEY_SETTING,
    )
    return Real(provider=FinnhubStocks(source, providers.symbols), services=(source.run,))
