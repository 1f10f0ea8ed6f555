"""The tree of settings: every setting with its default, its unit and what it may be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import converters, field, frozen, validators

from flux.bff.options import BffOptions
from flux.domains.crypto.coins import COINS
from flux.domains.providers import (
    NEWS_SOURCES,
    WEATHER_SOURCES,
    Mode,
    ProviderOptions,
    SimulationOptions,
    masked,
)
from flux.domains.registry import DOMAINS
from flux.logs import LEVELS
from flux.settings.checks import (
    between,
    check_config,
    check_feeds,
    check_host,
    check_key,
    check_networks,
    check_origins,
    check_servers,
    check_symbols,
    check_urls,
    suggestion,
)


def _masked(value: Mapping[str, str]) -> str:
    return repr(dict.fromkeys(value, "***"))


def _lower(value: str) -> str:
    return value.lower()


@frozen(kw_only=True)
class HttpSettings:
    """The door: HTTP, Socket.IO and the page, on one port.

    Args:
        host: the address to listen on; 0.0.0.0 for all.
        port: 0 takes a free one.
        cors_origins: the pages of other origins that may connect; * for any; none: only the door's own.
        max_payload: the largest Socket.IO message of a client, bytes.
        ping_interval: between two pings to a client, seconds.
        ping_timeout: how long a client may take to answer one, seconds.
        outbox_limit: how much may wait for a slow client before it is disconnected, bytes.
        trusted_proxies: addresses and networks of the proxies before the door, whose X-Forwarded-For,
            -Proto and -Host count; nobody else's do.
        connections_per_address: how many one client address may have open; 0 for no bound.
    """

    host: str = field(default="127.0.0.1", validator=check_host)
    port: int = field(default=8000, validator=between(0, 65_535))
    cors_origins: tuple[str, ...] = field(default=(), validator=check_origins)
    max_payload: int = field(default=1_000_000, validator=between(1_000, 100_000_000))  # bytes
    ping_interval: float = field(default=25.0, validator=between(0.1, 3_600))  # seconds
    ping_timeout: float = field(default=20.0, validator=between(0.1, 3_600))  # seconds
    outbox_limit: int = field(default=1 << 20, validator=between(1_000, 1_000_000_000))  # bytes
    trusted_proxies: tuple[str, ...] = field(default=(), validator=check_networks)
    connections_per_address: int = field(default=0, validator=between(0, 1_000_000))

    @property
    def allowed_origins(self) -> str | tuple[str, ...] | None:
        """What the Socket.IO server takes: None for its own origin, ``"*"`` for any, else the list."""
        return "*" if "*" in self.cors_origins else self.cors_origins or None


@frozen(kw_only=True)
class KafkaSettings:
    """The bus.

    Args:
        bootstrap_servers: ``host:port``, several separated by commas; none: the embedded broker.
        config: passed to librdkafka as it is (TLS, SASL); its values are never shown.
        message_timeout: after which an undelivered record is given up, seconds.
    """

    bootstrap_servers: str | None = field(default=None, validator=validators.optional(check_servers))
    config: Mapping[str, str] = field(
        factory=dict, validator=check_config, repr=_masked, metadata={"secret": "kafka_config"}
    )
    message_timeout: float = field(default=10.0, validator=between(0.1, 3_600))  # seconds


@frozen(kw_only=True)
class SimulationSettings(SimulationOptions):
    """The simulated feeds.

    Args:
        seed: makes the same data again; none: other data each time.
        ticker_rate: events per second, over all products.
        products: how many products the ticker has.
        fetch_delay: how long a simulated fetch takes, seconds.
    """

    seed: int | None = field(default=None, validator=validators.optional(between(-(2**63), 2**63 - 1)))
    ticker_rate: float = field(default=20.0, validator=between(0.001, 100_000))  # events per second
    products: int = field(default=10, validator=between(1, len(COINS)))
    fetch_delay: float = field(default=0.0, validator=between(0, 60))  # seconds


_MODES = tuple(mode.value for mode in Mode)
_OWN_MODE: Any = field(
    default=None, converter=converters.optional(_lower), validator=validators.optional(validators.in_(_MODES))
)
_KEY: Any = field(
    default=None, validator=validators.optional(check_key), repr=masked, metadata={"secret": True}
)


@frozen(kw_only=True)
class ProviderSettings(ProviderOptions):
    """Where the data comes from; its settings are those of `flux.domains.providers.ProviderOptions`.

    Args:
        mode: real, simulated, or auto: real, and simulated (marked so) while there is nothing real to show.
        weather, crypto, news, stock: a domain's own mode.
        weather_source: open-meteo, or weatherapi.
        news_source: rss, gdelt, or newsdata.
        feeds: URLs of the RSS or Atom feeds, at most 20; none: those that Flux knows.
        symbols: the shares that are asked for, at most 25; none: those that Flux knows.
        coingecko_key, weatherapi_key, newsdata_key, finnhub_key: secret; may stand in secret files.
        urls: by source name, another address: of a mirror, or a fake.
        patience: how long auto waits for the first real answer, seconds.
        keep: how long auto shows the last real data of a source that fails, seconds.
    """

    mode: str = field(default=Mode.SIMULATED.value, converter=_lower, validator=validators.in_(_MODES))
    weather: str | None = _OWN_MODE
    crypto: str | None = _OWN_MODE
    news: str | None = _OWN_MODE
    stock: str | None = _OWN_MODE
    weather_source: str = field(
        default=WEATHER_SOURCES[0], converter=_lower, validator=validators.in_(WEATHER_SOURCES)
    )
    news_source: str = field(
        default=NEWS_SOURCES[0], converter=_lower, validator=validators.in_(NEWS_SOURCES)
    )
    feeds: tuple[str, ...] = field(default=(), validator=check_feeds)
    symbols: tuple[str, ...] = field(default=(), validator=check_symbols)
    coingecko_key: str | None = _KEY
    weatherapi_key: str | None = _KEY
    newsdata_key: str | None = _KEY
    finnhub_key: str | None = _KEY
    urls: Mapping[str, str] = field(factory=dict, validator=check_urls)
    patience: float = field(default=1.5, validator=between(0.1, 2))  # seconds; 2 s until something is shown
    keep: float = field(default=3_600.0, validator=between(0, 604_800))  # seconds


_LONGEST = {command.topic.name: command.answer.ttl / 2 for domain in DOMAINS for command in domain.commands}
"""By command topic, seconds: at longer intervals a snapshot goes stale before its second refresh."""


@frozen(kw_only=True)
class BffSettings(BffOptions):
    """The BFF; its settings are those of `flux.bff.options.BffOptions`.

    Args:
        intervals: by command topic, how often the scheduler refreshes, seconds; default: the domain's own.
    """

    intervals: Mapping[str, float] = field(factory=dict)  # seconds by command topic

    @intervals.validator
    def _check_intervals(self, _: object, intervals: Mapping[str, float]) -> None:
        for topic, seconds in intervals.items():
            if topic not in _LONGEST:
                raise ValueError(f"{topic} is no command topic{suggestion(topic, _LONGEST)}")
            if not 1 <= seconds <= _LONGEST[topic]:
                raise ValueError(f"the interval of {topic} must be from 1 to {_LONGEST[topic]:g}")


@frozen(kw_only=True)
class SupervisorSettings:
    """The process.

    Args:
        drain_deadline: how long an ordered stop may take before the process is ended, seconds.
    """

    drain_deadline: float = field(default=10.0, validator=between(0.1, 600))  # seconds


@frozen(kw_only=True)
class LogSettings:
    """The logs, on standard error.

    Args:
        level: the lowest that is shown: debug, info, warning, error or critical.
        json: JSON lines; none: unless standard error is a terminal.
    """

    level: str = field(default="info", converter=_lower, validator=validators.in_(LEVELS))
    json: bool | None = None


@frozen(kw_only=True)
class Settings:
    """Every setting of Flux.

    Args:
        http, kafka, providers, simulation, bff, supervisor, logs: the sections.
        runtime_dir: where the processes of one machine find each other; none: the user's runtime directory.
    """

    http: HttpSettings = field(factory=HttpSettings)
    kafka: KafkaSettings = field(factory=KafkaSettings)
    providers: ProviderSettings = field(factory=ProviderSettings)
    simulation: SimulationSettings = field(factory=SimulationSettings)
    bff: BffSettings = field(factory=BffSettings)
    supervisor: SupervisorSettings = field(factory=SupervisorSettings)
    logs: LogSettings = field(factory=LogSettings)
    runtime_dir: Path | None = None
