"""A real source: one answer at a time for a key, kept while it is good, asked for with care."""

import math
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, TypeVar

import stamina
import stamina.instrumentation
import structlog
import trio
from attrs import define, evolve, field, frozen

from flux.domains.providers import UnknownPlaceError
from flux.domains.sources.board import REQUESTS, SECONDS, Board, SourceState
from flux.domains.sources.breaker import Breaker
from flux.domains.sources.bucket import TokenBucket
from flux.domains.sources.cache import Cache
from flux.domains.sources.episode import Episode
from flux.domains.sources.failures import SourceError
from flux.domains.sources.http import Answer, HttpClient, Secrets
from flux.domains.sources.policy import SourcePolicy
from flux.errors import LocalError

T = TypeVar("T")

LEAST_PAUSE = 0.2
"""Seconds between two attempts."""

STUMBLE_SECONDS = 60.0
"""A single failure so soon after a good answer concerns one key, not the source: it is not down.

Unless the source asks to be left alone for longer than a request can wait: that concerns every key.
"""

log = structlog.get_logger("flux.sources")


@frozen
class Query:
    """What is asked of a source; also the key under which the answer is kept.

    Args:
        path: behind the source's address, with its slash.
        params: of the query, without keys.
        statuses: those whose answers the parser wants.
        ttl: seconds for which the answer is good, where it is not the policy's.
        in_thread: the answer takes long to read, so a worker thread reads it.
    """

    path: str = ""
    params: Mapping[str, str] = field(factory=dict)
    statuses: frozenset[int] = frozenset({200})
    ttl: float | None = None
    in_thread: bool = False

    @property
    def key(self) -> str:
        """The same for the same question."""
        return f"{self.path}?{sorted(self.params.items())}"


@define(eq=False)
class _Flight:
    """A request under way; everyone who asks the same waits for it.

    Args:
        error: how it ends if nobody says otherwise.
        probe: whether it asks for the circuit breaker if the source is back.
    """

    error: Exception | None
    probe: bool = False
    value: Any = None
    landed: trio.Event = field(factory=trio.Event, init=False)

    def take(self) -> Any:
        """Return what it brought, or raise its error: a copy, whose traceback is that of one waiter."""
        if self.error is not None:
            raise copy(self.error)
        return self.value


class Source:
    """Asks one source. It must be running (`run`, a service) to be asked.

    Args:
        policy: the bounds.
        domain: whose source it is.
        board: where its health stands.
        urls: by source name, addresses instead of the policy's.
        headers: sent with every request, to no other host, and never shown: a key.
        params: the same in the query.
        key_setting: the setting that holds the key, for the message where the source refuses it.
    """

    def __init__(
        self,
        policy: SourcePolicy,
        *,
        domain: str,
        board: Board,
        urls: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        key_setting: str = "",
    ) -> None:
        url = (urls or {}).get(policy.name, policy.url).rstrip("/")
        self.policy = evolve(policy, url=url)
        self.health = board.health(policy.name, domain)
        self._secrets = Secrets(headers=dict(headers or {}), params=dict(params or {}), setting=key_setting)
        self._now = board.now
        self._breaker = Breaker(policy.failures, policy.probe_after)
        self._bucket = TokenBucket(policy.rate, policy.burst)
        self._cache: Cache[Any] = Cache(policy.cached)
        self._flights: dict[str, _Flight] = {}
        self._probe: _Flight | None = None
        self._connections = trio.Semaphore(policy.connections)
        self._queued = 0
        self._crowds = Episode()
        self._left_alone_until = -math.inf
        self._last_failure = ""
        self._answered_at = -math.inf
        self._http: HttpClient | None = None
        self._nursery: trio.Nursery | None = None
        self._running = False

    @property
    def name(self) -> str:
        """As it stands in events."""
        return self.policy.name

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the client and the requests under way, until cancelled; whoever waits then gets an error."""
        # Retries are counted and told here; stamina's own hooks would log each one, and count it in
        # Prometheus' registry beside Flux's. It has one list of hooks for the whole process.
        stamina.instrumentation.set_on_retry_hooks(())
        self.health.breaker_is(self._breaker.state)
        async with (
            HttpClient(self.policy, self._secrets, self._now) as self._http,
            trio.open_nursery() as self._nursery,
        ):
            self._running = True
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._running = False

    async def get(self, query: Query, parse: Callable[[Answer], T]) -> T:
        """Return what the source has, from memory while that is good.

        Cancellation: the request goes on for those who ask the same, and for the memory.

        Args:
            query: what is asked.
            parse: reads an answer; pure; raises `SourceError`, or `UnknownPlaceError`.

        Raises:
            SourceError: the source failed, or is left alone for now.
            UnknownPlaceError: it does not know the place.
        """
        while True:
            kept: T | None = self._cache.get(query.key, trio.current_time())
            if kept is not None:
                REQUESTS.labels(self.name, "cached").inc()
                return kept
            flight = self._flights.get(query.key)
            if flight is not None or self._probe is None:
                break
            # Whether the source is back is about to be known: an error now would be premature.
            await self._probe.landed.wait()
        if flight is None:
            flight = self._depart(query, parse)
        else:
            REQUESTS.labels(self.name, "joined").inc()
        await flight.landed.wait()
        value: T = flight.take()
        return value

    def _depart(self, query: Query, parse: Callable[[Answer], Any]) -> _Flight:
        if self._nursery is None:
            raise LocalError(f"the source {self.name} is not running")
        stopped = SourceError(f"{self.policy.title} is not asked while Flux stops", asked=False, known=True)
        if not self._running:
            raise stopped
        now = trio.current_time()
        refusal: SourceError | None = None
        if (wait := self._wait(now)) > 0:
            refusal = self._spared(wait)
        elif not self._in_time(self._bucket.delay(now, ahead=self._queued), now + self.policy.deadline):
            refusal = self._crowded()
        if refusal is not None:
            REQUESTS.labels(self.name, "spared").inc()
            raise refusal
        flight = _Flight(stopped)
        self._flights[query.key] = flight
        self._queued += 1
        self._nursery.start_soon(self._fly, query, parse, flight)
        return flight

    def _wait(self, now: float) -> float:
        """Return how long the source is left alone, seconds; a request waits for a short pause itself."""
        pause = self._left_alone_until - now
        too_long = not self._in_time(pause, now + self.policy.deadline)
        return max(self._breaker.wait(now), pause if too_long else 0.0)

    async def _fly(self, query: Query, parse: Callable[[Answer], Any], flight: _Flight) -> None:
        try:
            try:
                await self._admit(flight)
            finally:
                self._queued -= 1
            try:
                with SECONDS.labels(self.name).time():
                    flight.value = await self._ask(query, parse)
            finally:
                self._connections.release()
            flight.error = None
            ttl = self.policy.ttl if query.ttl is None else query.ttl
            self._cache.put(query.key, flight.value, trio.current_time() + ttl)
            self._answered()
        except UnknownPlaceError as error:
            flight.error = error
            self._answered()
        except SourceError as error:
            flight.error = error
            self._failed(error, probe=flight.probe)
        except Exception as bug:  # whoever asked gets a failure; the source serves the others
            unread = SourceError(f"an answer of {self.policy.title} could not be read")
            flight.error = unread
            if self.health.reason != str(unread):
                log.exception("answer could not be read", source=self.name, error=type(bug).__name__)
            self._failed(unread, probe=flight.probe)
        except trio.Cancelled:
            self._unasked(probe=flight.probe)
            raise
        finally:
            del self._flights[query.key]
            if self._probe is flight:
                self._probe = None
            flight.landed.set()

    async def _admit(self, flight: _Flight) -> None:
        """Wait for a connection, which is the flight's on return; the source has nothing to do with it.

        Raises:
            SourceError: the source is left alone by now; no connection is held.
        """
        while True:
            await self._connections.acquire()
            if self._probe is None:
                break
            self._connections.release()
            await self._probe.landed.wait()
        now = trio.current_time()
        if (wait := self._wait(now)) > 0:
            self._connections.release()
            raise self._spared(wait)
        flight.probe = self._breaker.begin(now)
        self._probe = flight if flight.probe else None
        self.health.breaker_is(self._breaker.state)

    async def _ask(self, query: Query, parse: Callable[[Answer], Any]) -> Any:
        """Make the attempts."""
        policy = self.policy
        deadline = trio.current_time() + policy.deadline
        last: SourceError | None = None

        def again(error: Exception) -> bool | float:
            nonlocal last
            if not isinstance(error, SourceError) or not error.asked:
                return False
            last = error
            pause = error.retry_after
            if not error.passing or pause is None:
                return error.passing
            return max(pause, LEAST_PAUSE) if self._in_time(pause, deadline) else False

        try:
            with trio.CancelScope(deadline=deadline):
                async for attempt in stamina.retry_context(
                    on=again,
                    attempts=policy.attempts,
                    timeout=None,
                    wait_initial=LEAST_PAUSE,
                    wait_max=2.0,
                    wait_jitter=0.2,
                ):
                    with attempt:
                        await self._turn(deadline, again=last is not None)
                        return await self._attempt(query, parse)
        except SourceError as error:
            if error.asked or last is None:
                raise
        # What the source last said tells more than that there was no time for another attempt.
        raise last or SourceError(f"{policy.title} did not answer within {policy.deadline:g} s")

    async def _turn(self, deadline: float, *, again: bool) -> None:
        """Wait until the source may be asked, for the first time or again."""
        if not self._in_time(self._bucket.delay(trio.current_time()), deadline):
            raise self._crowded(again=again)
        await trio.sleep(self._bucket.take(trio.current_time()))
        # Only now: another request may have been told meanwhile to leave the source alone.
        while (pause := self._left_alone_until - trio.current_time()) > 0:
            if not self._in_time(pause, deadline):
                raise self._spared(pause)
            await trio.sleep(pause)

    async def _attempt(self, query: Query, parse: Callable[[Answer], T]) -> T:
        assert self._http is not None  # noqa: S101 - a flight lives in run()
        try:
            answer = await self._http.get(self.policy.url + query.path, query.params, query.statuses)
            if query.in_thread:
                return await trio.to_thread.run_sync(parse, answer, abandon_on_cancel=True)
            return parse(answer)
        except SourceError as error:
            if error.retry_after is not None:  # at once: it holds for the requests for other keys, too
                pause = min(error.retry_after, self.policy.longest_wait)
                self._left_alone_until = max(self._left_alone_until, trio.current_time() + pause)
                self._last_failure = str(error)
            raise

    def _in_time(self, pause: float, deadline: float) -> bool:
        """Return whether a pause leaves enough for an answer: a quarter of the time that it may take."""
        return trio.current_time() + pause <= deadline - self.policy.deadline / 4

    def _crowded(self, *, again: bool = False) -> SourceError:
        # Where there is no time to ask once more, or the source is down, the log has a better reason.
        known = again or self.health.state is SourceState.DOWN
        if not known and self._crowds.begins(trio.current_time()):
            log.warning("source is asked as often as it allows", source=self.name, rate=self.policy.rate)
        return SourceError(
            f"{self.policy.title} is asked as often as it allows; try later", asked=False, known=True
        )

    def _spared(self, wait: float) -> SourceError:
        if self.health.state is not SourceState.DOWN:
            # An answer to an earlier request came after the refusal: it was up, but is not for whoever asks.
            self.health.failed(self._last_failure)
        return SourceError(
            f"{self.policy.title} is asked again in {math.ceil(wait)} s ({self.health.reason})",
            asked=False,
            known=True,
        )

    def _answered(self) -> None:
        REQUESTS.labels(self.name, "answered").inc()
        self._answered_at = trio.current_time()
        self._breaker.succeeded()
        self.health.breaker_is(self._breaker.state)
        self.health.answered()

    def _failed(self, error: SourceError, *, probe: bool) -> None:
        if not error.asked:
            self._unasked(probe=probe)
            return
        REQUESTS.labels(self.name, "failed").inc()
        now = trio.current_time()
        self._breaker.failed(now, probe=probe)
        self.health.breaker_is(self._breaker.state)
        self._last_failure = str(error)
        stumbled = (
            self._breaker.failed_in_a_row == 1
            and now - self._answered_at < STUMBLE_SECONDS
            and self._in_time(error.retry_after or 0.0, now + self.policy.deadline)
        )
        if not stumbled:
            self.health.failed(str(error))
        error.known = not stumbled

    def _unasked(self, *, probe: bool) -> None:
        """Note that a request ended before the source had to do with it."""
        REQUESTS.labels(self.name, "spared").inc()
        if probe:
            self._breaker.abandoned(trio.current_time())
        self.health.breaker_is(self._breaker.state)
