"""The choice between a real provider and a simulated one, fetch by fetch."""

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import structlog
import trio
from attrs import define
from prometheus_client import Counter

from flux.domains.providers import Fetched, Mode, ProviderError, ProviderOptions
from flux.domains.sources.failures import SourceError
from flux.metrics import REGISTRY

KEYS = 10_000
"""Keys of which it is remembered how they were answered last."""

QUIET_SECONDS = 60.0
"""The least time between two log lines that say that simulated data stands in."""

FORGOTTEN_SECONDS = 1_800.0
"""A key for which simulated data stood in so long ago is not asked for any more: a city without watchers."""

FALLBACKS = Counter(
    "flux_source_fallbacks",
    "Answers with simulated data because the real source had none",
    ["domain"],
    registry=REGISTRY,
)

log = structlog.get_logger("flux.sources")

T = TypeVar("T")


class Sourced(Protocol):
    """A provider has a name."""

    @property
    def source(self) -> str: ...  # noqa: D102 - the class says it


P = TypeVar("P", bound=Sourced)


@define
class _Last:
    """How a key was answered last.

    Args:
        real_at: when the real provider answered for it, trio's clock.
        slow: whether simulated data stood in because the real provider took too long.
    """

    real_at: float = -math.inf
    slow: bool = False


class Choice(Generic[P]):
    """Asks the provider that a domain's mode says.

    With `Mode.AUTO` the real one is asked first. While it fails, and what it had is not too old, its failure
    is told, so that clients keep the last good data, marked stale; where there is none, simulated data stands
    in, marked by its `source`.

    Where there is nothing real to show, the real provider has `ProviderOptions.patience` to answer; past it
    simulated data stands in. The next time it may take as long as it needs, so that a source that is slow
    every time is shown all the same: there is simulated data to look at meanwhile.

    Args:
        domain: whose data.
        options: the domain's mode, and how patient `Mode.AUTO` is.
        real: the real provider; None where it is not set up.
        simulated: the simulated one.
        missing: why there is no real one and what to do about it, for people.
        source: the name of the real one where there is none, under which that is told.
    """

    def __init__(
        self,
        domain: str,
        options: ProviderOptions,
        *,
        real: P | None,
        simulated: P,
        missing: str = "",
        source: str = "",
    ) -> None:
        self._mode = options.mode_of(domain)
        self._options = options
        self._real = real
        self._simulated = simulated
        self._missing = missing
        self._source = source or simulated.source
        self._domain = domain
        self._keys: OrderedDict[str, _Last] = OrderedDict()
        self._standing_in: OrderedDict[str, float] = OrderedDict()
        """Keys that were answered with simulated data last, and when: the longest ago first."""
        self._told = False
        self._told_at = -math.inf

    @property
    def source(self) -> str:
        """The name under which a failure is told."""
        if self._mode is Mode.SIMULATED:
            return self._simulated.source
        return self._real.source if self._real is not None else self._source

    async def fetch(self, key: str, ask: Callable[[P], Awaitable[T]]) -> Fetched[T]:
        """Return what the chosen provider has.

        Args:
            key: what is asked for (a city), or the domain.
            ask: asks a provider.

        Raises:
            ProviderError: it failed, and nothing stands in.
            UnknownPlaceError: the provider does not know the place.
        """
        if self._mode is Mode.SIMULATED:
            return await self._simulate(ask)
        if self._real is None:
            if self._mode is Mode.AUTO:
                return await self._stand_in(key, ask, self._missing)
            raise SourceError(self._missing, asked=False, known=True)
        if self._mode is Mode.REAL:
            return Fetched(await ask(self._real), self._real.source)
        return await self._try(self._real, key, ask)

    async def _try(self, real: P, key: str, ask: Callable[[P], Awaitable[T]]) -> Fetched[T]:
        last = self._last(key)
        shown = trio.current_time() - last.real_at <= self._options.keep
        patience = math.inf if shown or last.slow else self._options.patience
        reason = f"{real.source} did not answer within {patience:g} s"
        try:
            with trio.move_on_after(patience) as waiting:
                data = await ask(real)
                last.real_at, last.slow = trio.current_time(), False
                self._real_again(key)
                return Fetched(data, real.source)
        except ProviderError as error:
            last.slow = False
            if shown:
                raise
            reason = str(error)
        else:
            last.slow = waiting.cancelled_caught
        return await self._stand_in(key, ask, reason)

    def _last(self, key: str) -> _Last:
        last = self._keys.setdefault(key, _Last())
        self._keys.move_to_end(key)
        if len(self._keys) > KEYS:
            self._keys.popitem(last=False)
        return last

    async def _stand_in(self, key: str, ask: Callable[[P], Awaitable[T]], reason: str) -> Fetched[T]:
        FALLBACKS.labels(self._domain).inc()
        now = trio.current_time()
        self._standing_in[key] = now
        self._standing_in.move_to_end(key)
        if len(self._standing_in) > KEYS:
            self._standing_in.popitem(last=False)
        if not self._told and now - self._told_at >= QUIET_SECONDS:
            self._told, self._told_at = True, now
            log.info("simulated data stands in", domain=self._domain, reason=reason)
        return await self._simulate(ask)

    def _real_again(self, key: str) -> None:
        self._standing_in.pop(key, None)
        forgotten = trio.current_time() - FORGOTTEN_SECONDS
        while self._standing_in and next(iter(self._standing_in.values())) <= forgotten:
            self._standing_in.popitem(last=False)
        if self._told and not self._standing_in:
            self._told = False
            log.info("real data is shown again", domain=self._domain)

    async def _simulate(self, ask: Callable[[P], Awaitable[T]]) -> Fetched[T]:
        return Fetched(await ask(self._simulated), self._simulated.source)
