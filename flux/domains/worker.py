"""The command worker that every domain's service runs: commands in, events out, at least once.

Commands of one key are served in order by one task, its lane; keys are served side by side. A lane that is
about to fetch takes every command that waits in it: one fetch answers them all.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import structlog
import trio
from attrs import define, field, frozen
from prometheus_client import Counter, Gauge, Histogram

from flux.domains.commands import Query, Route, read_command, rejection
from flux.domains.delivery import Delivery
from flux.domains.domain import ServiceContext
from flux.domains.providers import ProviderError, UnknownPlaceError
from flux.errors import RemoteError
from flux.messages import Received, Stamp, encode, iso_time
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


_LaneKey = tuple[str, str | None]  # topic and query key; None: what is refused


class CommandWorker:
    """Serves a domain's command topics in the consumer group ``flux.<principal>``.

    A record is done only once its event (or rejection) is delivered, so a crash or a cancellation between
    makes it come again. An exception that is neither the provider's nor the sender's fault is a bug: it ends
    the worker, and its supervisor starts it anew. A command that crashes the worker each time comes again
    each time, within the supervisor's restart intensity; setting such a one aside is not done here.

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
    lanes: dict[_LaneKey, deque[_Job]] = field(factory=dict)
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
        try:
            query = read_command(record, self.routes[record.topic], limit=self.context.limits.command_bytes)
            job = _Job(record, query)
            key: _LaneKey = (record.topic, query.key)
        except RemoteError as error:
            job = _Job(record, None, str(error))
            key = (record.topic, None)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = deque()
            self.nursery.start_soon(self._drain, key, lane)
        lane.append(job)

    async def _drain(self, key: _LaneKey, lane: deque[_Job]) -> None:
        """Serve what is in a lane, and what comes meanwhile; the lane ends when it is empty."""
        while lane:
            if lane[0].query is None:
                job = lane.popleft()
                await self._reject([job], job.reason)
            else:
                await self._answer(self.routes[key[0]], lane)
        del self.lanes[key]

    async def _answer(self, route: Route, lane: deque[_Job]) -> None:
        """Answer every command of a lane with one fetch."""
        topic, feed = route.command.topic.name, route.command.answer
        async with self.fetches:
            jobs = list(lane)  # only now: what came while the fetch had to wait is answered, too
            lane.clear()
            newest = jobs[-1]
            query = newest.query
            assert query is not None  # noqa: S101 - refused jobs have a lane of their own
            try:
                data = await self._fetch(route, query)
            except UnknownPlaceError as error:
                outcome, message, event = "rejected", str(error), None
            except ProviderError as error:
                outcome, message = "failed", str(error)
                timestamp = iso_time(self.context.now())
                event = feed.payload("error", None, route.source, timestamp, message, **query.on_error)
            else:
                outcome, message = "answered", ""
                event = feed.payload("success", data, route.source, iso_time(self.context.now()))
        if event is None:
            await self._reject(jobs, message)
            return
        if message:
            log.warning("fetch failed", topic=topic, key=query.key, source=route.source, reason=message)
        record = self.stamp.record(feed.topic.name, encode(event), key=query.key, cause=newest.record)
        await self.delivery.deliver(record)
        COMMANDS.labels(topic, outcome).inc()
        COMMANDS.labels(topic, "coalesced").inc(len(jobs) - 1)
        self._done(jobs)

    async def _fetch(self, route: Route, query: Query) -> Any:
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
            await self.delivery.deliver(
                rejection(record, reason, self.rejected.name, self.stamp, limit=limit)
            )
            COMMANDS.labels(record.topic, "rejected").inc()
            self._done([job])

    def _done(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            self.subscription.done(job.record)
            self.in_hand.dec()
            self.room.release()
