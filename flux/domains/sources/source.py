"""A real source: one answer at a time for a key, kept while it is good, asked for with care."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import stamina
import trio
from attrs import define, evolve, field, frozen

from flux.domains.providers import UnknownPlaceError
from flux.domains.sources.board import REQUESTS, SECONDS, Board
from flux.domains.sources.breaker import Breaker
from flux.domains.sources.bucket import TokenBucket
from flux.domains.sources.cache import Cache
from flux.domains.sources.failures import SourceError
from flux.domains.sources.http import Answer, HttpClient
from flux.domains.sources.policy import SourcePolicy
from flux.errors import LocalError

T = TypeVar("T")


@frozen
class Query:
    """What is asked of a source; also the key under which the answer is kept.

    Args:
        path: behind the source's address, with its slash.
        params: of the query, without keys.
        statuses: those whose answers the parser wants.
        ttl: seconds for which the answer is good, where it is not the policy's.
    """

    path: str = ""
    params: Mapping[str, str] = field(factory=dict)
    statuses: frozenset[int] = frozenset({200})
    ttl: float | None = None

    @property
    def key(self) -> str:
        """The same for the same question."""
        return f"{self.path}?{sorted(self.params.items())}"


@define(eq=False)
class _Flight:
    """A request under way; everyone who asks the same waits for it."""

    landed: trio.Event = field(factory=trio.Event)
    value: Any = None
    error: Exception | None = None


class Source:
    """Asks one source. It must be running (`run`, a service) to be asked.

    Args:
        policy: the bounds.
        domain: whose source it is.
        board: where its health stands.
        urls: by source name, addresses instead of the policy's.
        headers: sent with every request, and never shown: a key.
        params: the same in the query.
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
    ) -> None:
        url = (urls or {}).get(policy.name, policy.url).rstrip("/")
        self.policy = evolve(policy, url=url)
        self.health = board.health(policy.name, domain)
        self._headers = dict(headers or {})
        self._params = dict(params or {})
        self._breaker = Breaker(policy.failures, policy.probe_after)
        self._bucket = TokenBucket(policy.rate, policy.burst)
        self._cache: Cache[Any] = Cache(policy.cached)
        self._flights: dict[str, _Flight] = {}
        self._left_alone_until = -math.inf
        self._http: HttpClient | None = None
        self._nursery: trio.Nursery | None = None

    @property
    def name(self) -> str:
        """As it stands in events."""
        return self.policy.name

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the client and the requests under way, until cancelled."""
        async with HttpClient(self.policy, self._headers) as self._http, trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

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
        kept: T | None = self._cache.get(query.key, trio.current_time())
        if kept is not None:
            REQUESTS.labels(self.name, "cached").inc()
            return kept
        flight = self._flights.get(query.key) or self._depart(query, parse)
        await flight.landed.wait()
        if flight.error is not None:
            raise flight.error
        value: T = flight.value
        return value

    def _depart(self, query: Query, parse: Callable[[Answer], Any]) -> _Flight:
        if self._nursery is None:
            raise LocalError(f"the source {self.name} is not running")
        now = trio.current_time()
        wait = max(self._left_alone_until - now, self._breaker.wait(now))
        if wait > 0:
            REQUESTS.labels(self.name, "spared").inc()
            reason = f" ({self.health.reason})" if self.health.reason else ""
            raise SourceError(
                f"{self.policy.title} is asked again in {math.ceil(wait)} s{reason}", asked=False
            )
        self._breaker.begin(now)
        self.health.breaker_is(self._breaker.state)
        flight = self._flights[query.key] = _Flight()
        self._nursery.start_soon(self._fly, query, parse, flight)
        return flight

    async def _fly(self, query: Query, parse: Callable[[Answer], Any], flight: _Flight) -> None:
        try:
            with SECONDS.labels(self.name).time():
                flight.value = await self._ask(query, parse)
            ttl = self.policy.ttl if query.ttl is None else query.ttl
            self._cache.put(query.key, flight.value, trio.current_time() + ttl)
            self._answered()
        except UnknownPlaceError as error:
            flight.error = error
            self._answered()
        except SourceError as error:
            flight.error = error
            self._failed(error)
        except Exception as bug:  # noqa: BLE001 - whoever asked gets it; the source serves the others
            flight.error = bug
            self._failed(SourceError(f"an answer of {self.policy.title} could not be read"))
        finally:
            if not flight.landed.is_set() and flight.value is None and flight.error is None:
                flight.error = SourceError("Flux is stopping", asked=False)
                self._breaker.abandoned(trio.current_time())
            del self._flights[query.key]
            flight.landed.set()

    async def _ask(self, query: Query, parse: Callable[[Answer], Any]) -> Any:
        """Make the attempts."""
        policy = self.policy
        deadline = trio.current_time() + policy.deadline

        def again(error: Exception) -> bool | float:
            if not isinstance(error, SourceError) or not error.passing:
                return False
            if error.retry_after is None:
                return True
            return error.retry_after if trio.current_time() + error.retry_after < deadline else False

        with trio.CancelScope(deadline=deadline):
            async for attempt in stamina.retry_context(
                on=again,
                attempts=policy.attempts,
                timeout=None,
                wait_initial=0.2,
                wait_max=2.0,
                wait_jitter=0.2,
            ):
                with attempt:
                    await self._token(deadline)
                    return parse(await self._request(query))
        raise SourceError(f"{policy.title} did not answer within {policy.deadline:g} s")

    async def _token(self, deadline: float) -> None:
        """Wait until the source's published rate allows a request."""
        now = trio.current_time()
        if now + self._bucket.delay(now) > deadline:
            raise SourceError(f"{self.policy.title} is asked as often as it allows; try later", asked=False)
        await trio.sleep(self._bucket.take(now))

    async def _request(self, query: Query) -> Answer:
        assert self._http is not None  # noqa: S101 - a flight lives in run()
        params = {**query.params, **self._params}
        return await self._http.get(self.policy.url + query.path, params, query.statuses)

    def _answered(self) -> None:
        REQUESTS.labels(self.name, "answered").inc()
        self._breaker.succeeded()
        self.health.breaker_is(self._breaker.state)
        self.health.answered()

    def _failed(self, error: SourceError) -> None:
        now = trio.current_time()
        if not error.asked:
            REQUESTS.labels(self.name, "spared").inc()
            self._breaker.abandoned(now)
        else:
            REQUESTS.labels(self.name, "failed").inc()
            if error.retry_after is not None:
                self._left_alone_until = now + min(error.retry_after, self.policy.longest_wait)
            self._breaker.failed(now)
            self.health.failed(str(error))
        self.health.breaker_is(self._breaker.state)
