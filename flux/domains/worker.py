"""The command worker that every domain's service runs: commands in, events out, at least once.

Commands of one key are served in order by one task, its lane; keys are served side by side. A lane that is
about to fetch takes every command that waits in it: one fetch answers them all.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import structlog
import trio
from attrs import define, evolve, field, frozen
from prometheus_client import Counter, Gauge, Histogram

from flux.domains.commands import Query, Route, read_command, rejection
from flux.domains.delivery import Delivery
from flux.domains.domain import ServiceContext
from flux.domains.providers import Fetched, ProviderError, UnknownPlaceError
from flux.errors import LocalError, RemoteError
from flux.messages import Received, Record, Stamp, encode, iso_time
from flux.metrics import REGISTRY
from flux.transport.kafka.bus import Subscription, Topic

COMMANDS = Counter(
    "flux_commands",
    "Commands by how they ended: answered, coalesced (by another's answer), failed (error event), rejected",
    ["topic", "outcome"],
    registry=REGISTRY,
)
IN_HAND = Gauge(
    "flux_commands_in_hand", "Commands received and not yet answered", ["principal"], registry=REGISTRY
)
CRASHES = Counter(
    "flux_command_crashes",
    "Attempts at a command that raised what nobody expected",
    ["topic"],
    registry=REGISTRY,
)
FETCH_SECONDS = Histogram(
    "flux_fetch_seconds", "Seconds that a provider took, failures included", ["topic"], registry=REGISTRY
)

log = structlog.get_logger("flux.domains")


@frozen
class _Job:
    """A command and what it asks; without a query it is refused for a reason."""

    record: Received
    query: Query | None
    reason: str = ""


@frozen
class _Answer:
    """How an attempt ended: an event to publish, or none and why the command is refused.

    Args:
        outcome: of `COMMANDS`.
        event: the answer's record; None where the command is refused.
        message: what went wrong, fit for people.
    """

    outcome: str
    event: Record | None
    message: str = ""


@define
class _Lane:
    """The commands of one key that wait.

    `gave_up`: the last one was given up. What was coalesced with it is then tried once each, so that a bug
    which hits every command of a key does not hold up the partition by all retries of all of them.
    """

    jobs: deque[_Job] = field(factory=deque)
    gave_up: bool = False


_LaneKey = tuple[str, str | None]  # topic and query key; None: what is refused


class CommandWorker:
    """Serves a domain's command topics in the consumer group ``flux.<principal>``.

    A record is done only once its event (or rejection) is delivered, so a crash or a cancellation between
    makes it come again. An exception that is neither the provider's nor the sender's fault is a bug: it may
    pass, so the fetch is tried again a few times (`WorkerLimits.attempts`), while the commands of its key
    wait; then the command is rejected. The commands that were coalesced with it are not: they are served
    next, by a fetch of their own. So a poison command never blocks its partition, nor ends the service.

    Args:
        context: the bus, the limits, the clock.
        rejected: the topic of commands that could not be served.
        routes: one for each command topic.
    """

    def __init__(self, context: ServiceContext, *, rejected: Topic, routes: Sequence[Route]) -> None:
        self._context = context
        self._rejected = rejected
        self._routes = {route.command.topic.name: route for route in routes}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; ready once subscribed. It can be run again afterwards.

        Raises:
            BrokenError: the consumer failed for good.
        """
        client = self._context.client
        in_hand = IN_HAND.labels(client.principal)
        async with client.subscribe(list(self._routes), group=f"flux.{client.principal}") as subscription:
            try:
                async with trio.open_nursery() as nursery:
                    work = _Run(self._context, self._rejected, self._routes, subscription, nursery)
                    task_status.started()
                    while True:
                        for record in await subscription.receive():
                            await work.take(record)
            finally:
                in_hand.set(0)


@define
class _Run:
    """The lanes of one run, and what they share; nothing of it outlives the subscription."""

    context: ServiceContext
    rejected: Topic
    routes: dict[str, Route]
    subscription: Subscription
    nursery: trio.Nursery
    lanes: dict[_LaneKey, _Lane] = field(factory=dict)
    room: trio.Semaphore = field(init=False)
    fetches: trio.Semaphore = field(init=False)
    delivery: Delivery = field(init=False)
    stamp: Stamp = field(init=False)
    in_hand: Gauge = field(init=False)

    def __attrs_post_init__(self) -> None:
        context, limits = self.context, self.context.limits
        self.room = trio.Semaphore(limits.in_hand)
        self.fetches = trio.Semaphore(limits.fetches)
        self.delivery = Delivery(context.client, limits, context.rng)
        self.stamp = Stamp(context.client.principal, context.now, context.rng)
        self.in_hand = IN_HAND.labels(context.client.principal)

    async def take(self, record: Received) -> None:
        """Put a record into its lane; waits while too many are in hand."""
        await self.room.acquire()
        self.in_hand.inc()
        job = self._read(record)
        key: _LaneKey = (record.topic, job.query.key if job.query else None)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = _Lane()
            self.nursery.start_soon(self._drain, key, lane)
        lane.jobs.append(job)

    def _read(self, record: Received) -> _Job:
        """Return what a record asks, or why it is refused."""
        try:
            query = read_command(record, self.routes[record.topic], limit=self.context.limits.command_bytes)
        except RemoteError as error:
            return _Job(record, None, str(error))
        except Exception as bug:
            # Reading is pure: it would fail again each time.
            CRASHES.labels(record.topic).inc()
            log.exception("command could not be read", topic=record.topic, partition=record.partition,
                          offset=record.offset)  # fmt: skip
            return _Job(record, None, _internal(bug))
        return _Job(record, query)

    async def _drain(self, key: _LaneKey, lane: _Lane) -> None:
        """Serve what is in a lane, and what comes meanwhile; the lane ends when it is empty."""
        while lane.jobs:
            if lane.jobs[0].query is None:
                job = lane.jobs.popleft()
                await self._reject([job], job.reason)
            else:
                await self._serve(self.routes[key[0]], lane)
        del self.lanes[key]

    async def _serve(self, route: Route, lane: _Lane) -> None:
        """Answer every command of a lane with one fetch, tried again where it crashes."""
        topic, limits = route.command.topic.name, self.context.limits
        attempts = 1 if lane.gave_up else limits.attempts
        jobs: list[_Job] = []
        attempt = 1
        while True:
            try:
                async with self.fetches:
                    if not jobs:  # only now: what came while the fetch had to wait is answered, too
                        jobs = list(lane.jobs)
                        lane.jobs.clear()
                    answer = await self._ask(route, jobs[-1])
                break
            except Exception as bug:
                CRASHES.labels(topic).inc()
                if attempt == 1 and not lane.gave_up:
                    position = {"partition": jobs[-1].record.partition, "offset": jobs[-1].record.offset}
                    log.exception("command crashed", topic=topic, **position, attempts=attempts)
                if attempt >= attempts:
                    await self._give_up(lane, jobs, bug)
                    return
            await trio.sleep(limits.retry.delay(attempt, self.context.rng))
            attempt += 1
        lane.gave_up = False
        await self._finish(topic, jobs, answer)

    async def _ask(self, route: Route, newest: _Job) -> _Answer:
        """Make one attempt at an answer."""
        feed, query = route.command.answer, newest.query
        assert query is not None  # noqa: S101 - refused jobs have a lane of their own
        outcome, message = "answered", ""
        try:
            fetched = await self._fetch(route, query)
            event = feed.payload("success", fetched.data, fetched.source, iso_time(self.context.now()))
        except UnknownPlaceError as error:
            return _Answer("rejected", None, str(error))
        except ProviderError as error:
            outcome, message = "failed", str(error)
            timestamp = iso_time(self.context.now())
            event = feed.payload("error", None, route.source, timestamp, message, **query.on_error)
            # A source that is down is one line in the log, not one for each command.
            tell = log.debug if error.known else log.warning
            tell("fetch failed", topic=route.command.topic.name, key=query.key, source=route.source,
                 reason=message)  # fmt: skip
        record = self.stamp.record(feed.topic.name, encode(event), key=query.key, cause=newest.record)
        return _Answer(outcome, record, message)

    async def _finish(self, topic: str, jobs: Sequence[_Job], answer: _Answer) -> None:
        """Deliver an answer, then mark as done what it answers."""
        if answer.event is None:
            await self._reject(jobs, answer.message)
            return
        try:
            await self.delivery.deliver(answer.event)
        except LocalError as error:
            # No broker will take it, however often: too large, say.
            await self._reject(jobs, f"the answer could not be published: {error}")
            return
        COMMANDS.labels(topic, answer.outcome).inc()
        COMMANDS.labels(topic, "coalesced").inc(len(jobs) - 1)
        self._done(jobs)

    async def _give_up(self, lane: _Lane, jobs: Sequence[_Job], bug: Exception) -> None:
        """Reject the command that was tried, and put back those that only waited for its answer."""
        tried = jobs[-1].query
        lane.jobs.extendleft(reversed([job for job in jobs if job.query is not tried]))
        lane.gave_up = True
        await self._reject([job for job in jobs if job.query is tried], _internal(bug))

    async def _fetch(self, route: Route, query: Query) -> Fetched[Any]:
        """Return what the provider has; raises `ProviderError` also where it takes too long."""
        deadline = self.context.limits.fetch_deadline
        with FETCH_SECONDS.labels(route.command.topic.name).time(), trio.move_on_after(deadline):
            return await query.fetch()
        raise ProviderError(f"{route.source} did not answer within {deadline:g} s")

    async def _reject(self, jobs: Sequence[_Job], reason: str) -> None:
        limit = self.context.limits.command_bytes
        for job in jobs:
            record = job.record
            log.warning(
                "command rejected",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                reason=reason,
            )
            fact = rejection(record, reason, self.rejected.name, self.stamp, limit=limit)
            try:
                await self.delivery.deliver(fact)
            except LocalError as error:
                # A broker with a smaller bound than ours; the headers say where the original stands.
                log.warning("rejection without its value", topic=record.topic, reason=str(error))
                await self.delivery.deliver(evolve(fact, value=None))
            COMMANDS.labels(record.topic, "rejected").inc()
            self._done([job])

    def _done(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            self.subscription.done(job.record)
            self.in_hand.dec()
            self.room.release()


def _internal(bug: Exception) -> str:
    """Return a bug as a reason fit for people; its text, which is not for strangers, is in the log."""
    return f"an internal error ({type(bug).__name__}); it is logged, and not the sender's fault"
