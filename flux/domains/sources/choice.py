"""The choice between a real provider and a simulated one, fetch by fetch."""

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import trio

from flux.domains.providers import Fetched, Mode, ProviderError, ProviderOptions

KEYS = 10_000
"""Keys of which the time of the last real answer is remembered."""

T = TypeVar("T")


class Sourced(Protocol):
    """A provider has a name."""

    @property
    def source(self) -> str: ...  # noqa: D102 - the class says it


P = TypeVar("P", bound=Sourced)


class Choice(Generic[P]):
    """Asks the provider that a domain's mode says.

    With `Mode.AUTO` the real one is asked first. While it fails, and what it had is not too old, its failure
    is told, so that clients keep the last good data, marked stale; where there is none, simulated data stands
    in, marked by its `source`.

    Args:
        domain: whose data.
        options: the domain's mode, and how patient `Mode.AUTO` is.
        real: the real provider; None where it is not set up.
        simulated: the simulated one.
        missing: why there is no real one and what to do about it, for people.
    """

    def __init__(
        self, domain: str, options: ProviderOptions, *, real: P | None, simulated: P, missing: str = ""
    ) -> None:
        self._mode = options.mode_of(domain)
        self._options = options
        self._real = real
        self._simulated = simulated
        self._missing = missing
        self._answered: OrderedDict[str, float] = OrderedDict()

    @property
    def source(self) -> str:
        """The name under which a failure is told."""
        if self._real is None or self._mode is Mode.SIMULATED:
            return self._simulated.source
        return self._real.source

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
                return await self._simulate(ask)
            raise ProviderError(self._missing)
        if self._mode is Mode.REAL:
            return Fetched(await ask(self._real), self._real.source)
        return await self._try(self._real, key, ask)

    async def _try(self, real: P, key: str, ask: Callable[[P], Awaitable[T]]) -> Fetched[T]:
        shown = self._recently(key)
        try:
            with trio.move_on_after(math.inf if shown else self._options.patience):
                data = await ask(real)
                self._answered[key] = trio.current_time()
                self._answered.move_to_end(key)
                if len(self._answered) > KEYS:
                    self._answered.popitem(last=False)
                return Fetched(data, real.source)
        except ProviderError:
            if shown:
                raise
        return await self._simulate(ask)

    def _recently(self, key: str) -> bool:
        at = self._answered.get(key)
        return at is not None and trio.current_time() - at <= self._options.keep

    async def _simulate(self, ask: Callable[[P], Awaitable[T]]) -> Fetched[T]:
        return Fetched(await ask(self._simulated), self._simulated.source)
