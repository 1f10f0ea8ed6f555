"""The board: how each real source is, for the log, the metrics and ``/readyz?verbose``."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

import structlog
from attrs import define, field, frozen
from prometheus_client import Counter, Enum, Gauge, Histogram

from flux.domains.sources.breaker import BreakerState
from flux.messages import iso_time, wall_clock
from flux.metrics import REGISTRY

REQUESTS = Counter(
    "flux_source_requests",
    "Requests to real sources by outcome: answered, failed, cached, joined (another's of the same), "
    "or spared (breaker open, asked to wait, no time for it)",
    ["source", "outcome"],
    registry=REGISTRY,
)
SECONDS = Histogram(
    "flux_source_seconds", "What a request took, retries included", ["source"], registry=REGISTRY
)
UP = Gauge(
    "flux_source_up", "1 while a real source answers, 0 while it does not", ["source"], registry=REGISTRY
)
BREAKER = Enum(
    "flux_source_breaker",
    "The circuit breaker of a real source",
    ["source"],
    states=[state.value for state in BreakerState],
    registry=REGISTRY,
)

log = structlog.get_logger("flux.sources")


class SourceState(StrEnum):
    """How a source is."""

    UNKNOWN = "not asked yet"
    UP = "up"
    DOWN = "down"
    MISSING = "not set up"


@frozen(kw_only=True)
class Row:
    """A source as people see it.

    Args:
        name: ``open-meteo``.
        domain: whose source it is.
        state: how it is.
        breaker: of its circuit breaker.
        since: ISO 8601, UTC, when it became so; None where it was not asked yet.
        reason: why it is not up.
        last_answer: ISO 8601, UTC, of the last good answer.
    """

    name: str
    domain: str
    state: SourceState
    breaker: BreakerState
    since: str | None
    reason: str
    last_answer: str | None


@define(eq=False)
class Health:
    """How one source is; every change of state is one log line.

    Args:
        name: ``open-meteo``.
        domain: whose source it is.
        now: the wall clock, aware.
    """

    name: str
    domain: str
    now: Callable[[], datetime]
    state: SourceState = field(default=SourceState.UNKNOWN, init=False)
    breaker: BreakerState = field(default=BreakerState.CLOSED, init=False)
    reason: str = field(default="", init=False)
    _since: datetime | None = field(default=None, init=False)
    _last_answer: datetime | None = field(default=None, init=False)

    def answered(self) -> None:
        """Note a good answer."""
        self._last_answer = self.now()
        if self.state is not SourceState.UP:
            was_down, since = self.state is SourceState.DOWN, self._since
            self._become(SourceState.UP)
            down_for = (self._last_answer - since).total_seconds() if was_down and since else None
            facts = {} if down_for is None else {"seconds_down": round(down_for, 1)}
            log.info("source is back" if was_down else "source answers", source=self.name, **facts)

    def failed(self, reason: str) -> None:
        """Note a failed request, and why; fit for people, without addresses and keys."""
        if self.state is not SourceState.DOWN:
            self._become(SourceState.DOWN)
            log.warning("source is down", source=self.name, domain=self.domain, reason=reason)
        self.reason = reason

    def missing(self, reason: str) -> None:
        """Note that the source cannot be asked as Flux is set up, and what to do about it."""
        if (self.state, self.reason) != (
            SourceState.MISSING,
            reason,
        ):  # a service that starts anew says it again
            self._become(SourceState.MISSING)
            self.reason = reason
            log.warning("source is not set up", source=self.name, domain=self.domain, reason=reason)

    def breaker_is(self, state: BreakerState) -> None:
        """Note the breaker's state."""
        self.breaker = state
        BREAKER.labels(self.name).state(state.value)

    def row(self) -> Row:
        """Return how it is now."""
        return Row(
            name=self.name,
            domain=self.domain,
            state=self.state,
            breaker=self.breaker,
            since=iso_time(self._since) if self._since else None,
            reason=self.reason,
            last_answer=iso_time(self._last_answer) if self._last_answer else None,
        )

    def _become(self, state: SourceState) -> None:
        self.state, self._since, self.reason = state, self.now(), ""
        if state is not SourceState.MISSING:  # what nobody asks is not down
            UP.labels(self.name).set(state is SourceState.UP)


@define(eq=False)
class Board:
    """The health of every real source of a process.

    Args:
        now: the wall clock, aware.
    """

    now: Callable[[], datetime] = wall_clock
    _sources: dict[str, Health] = field(factory=dict, init=False)

    def health(self, name: str, domain: str) -> Health:
        """Return the health of a source, which is kept over restarts of the service that asks it."""
        if name not in self._sources:
            self._sources[name] = Health(name, domain, self.now)
        return self._sources[name]

    def rows(self) -> list[Row]:
        """Return how all are now, in the order of their first use."""
        return [health.row() for health in self._sources.values()]
