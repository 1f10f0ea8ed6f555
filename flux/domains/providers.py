"""What every provider shares: how one is chosen, and how one fails."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Generic, TypeVar

from attrs import field, frozen

from flux.errors import BrokenError

SIMULATED = "simulated"
"""The `source` of everything that a simulated provider makes."""

T_co = TypeVar("T_co", covariant=True)


class Mode(StrEnum):
    """Where a domain's data comes from."""

    REAL = "real"
    SIMULATED = SIMULATED
    AUTO = "auto"
    """Real; simulated, and marked so, while there is nothing real to show."""


@frozen(kw_only=True)
class SimulationOptions:
    """How the simulated providers are made.

    Args:
        seed: of the simulation; None takes one from the operating system.
        ticker_rate: simulated ticker events per second, over all products.
        products: how many products the simulated ticker has.
        fetch_delay: seconds that a simulated fetch takes.
    """

    seed: int | None = None
    ticker_rate: float = 20.0
    products: int = 10
    fetch_delay: float = 0.0


WEATHER_SOURCES = ("open-meteo", "weatherapi")
"""What ``weather_source`` may be; the first needs no key."""

NEWS_SOURCES = ("rss", "gdelt", "newsdata")
"""What ``news_source`` may be; the first needs no key."""


def masked(value: str | None) -> str:
    """Return what is shown of a key: whether there is one."""
    return "None" if value is None else "'***'"


_KEY: Any = field(default=None, repr=masked, metadata={"secret": True})


@frozen(kw_only=True)
class ProviderOptions:
    """Which providers the domains use, and what the real ones need; keys are never shown.

    Args:
        mode: of every domain that has none of its own.
        weather, crypto, news, stock: a domain's own mode.
        weather_source: ``open-meteo``, or ``weatherapi`` (with its key).
        news_source: ``rss`` (the feeds), ``gdelt``, or ``newsdata`` (with its key).
        feeds: URLs of the RSS or Atom feeds; none: those that Flux knows.
        symbols: the shares that are asked for; none: those that Flux knows.
        coingecko_key: a demo key; optional.
        weatherapi_key, newsdata_key, finnhub_key: without its key a source cannot be asked.
        urls: by source name, instead of the source's own address: a mirror, or a fake for tests.
        patience: how long ``auto`` waits for a first real answer before it shows a simulated one, seconds.
        keep: how long ``auto`` shows the last real data of a source that fails (marked stale) before it
            shows simulated data, seconds.
    """

    mode: str = Mode.SIMULATED
    weather: str | None = None
    crypto: str | None = None
    news: str | None = None
    stock: str | None = None
    weather_source: str = WEATHER_SOURCES[0]
    news_source: str = NEWS_SOURCES[0]
    feeds: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    coingecko_key: str | None = _KEY
    weatherapi_key: str | None = _KEY
    newsdata_key: str | None = _KEY
    finnhub_key: str | None = _KEY
    urls: Mapping[str, str] = field(factory=dict)
    patience: float = 1.5
    keep: float = 3600.0

    def mode_of(self, domain: str) -> Mode:
        """Return a domain's mode."""
        return Mode(getattr(self, domain, None) or self.mode)


@frozen
class Fetched(Generic[T_co]):
    """What a provider had.

    Args:
        data: the event's ``data``.
        source: the event's ``source``: the provider's name, or ``simulated``.
    """

    data: T_co
    source: str


class ProviderError(BrokenError):
    """A source failed; becomes an event with ``status: "error"``; the text is fit for people.

    Attributes:
        known: whether the log says already that the source does not answer.
    """

    known: bool = False


class UnknownPlaceError(BrokenError):
    """A source does not know the place asked for; the command is rejected; the text is fit for people."""
