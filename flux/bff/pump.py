"""The pump: Kafka's events onto the snapshots and the rooms, in the order in which they come."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec
import structlog
import trio
from prometheus_client import Counter

from flux.bff.delivery import Delivery
from flux.bff.options import BffOptions
from flux.bff.poison import PoisonLog
from flux.bff.ports import SocketServer
from flux.bff.single_flight import SingleFlight
from flux.bff.snapshots import Snapshots
from flux.bff.strict_json import PoisonError
from flux.bff.views import State, read_rejection, read_state, read_tick
from flux.domains.domain import Domain, SnapshotFeed, StreamFeed
from flux.messages import Received
from flux.metrics import REGISTRY
from flux.transport.kafka.bus import Batch, Client, Follower

EVENTS = Counter("flux_bff_events", "Events by what became of them.", ["topic", "result"], registry=REGISTRY)
REJECTED = Counter(
    "flux_bff_commands_rejected", "Commands that a service rejected.", ["topic"], registry=REGISTRY
)

log = structlog.get_logger("flux.bff")

T = TypeVar("T")

_STATES, _LIVE = "states", "live"  # the two followers


class Pump:
    """Reads every event topic; storing and showing a state is one step, so updates and hydration keep order.

    Two followers: one reads the last records of the snapshot topics again and rebuilds the cache; the other
    takes streams and rejected commands only as they come, since those are of the moment.

    Args:
        client: the bus as the BFF.
        server: only to batch what one batch of records emits.
        domains: whose events.
        delivery, snapshots, flights: where events go.
        now: the wall clock, aware.
        options: how much to replay.
    """

    def __init__(
        self,
        client: Client,
        server: SocketServer,
        domains: Iterable[Domain],
        *,
        delivery: Delivery,
        snapshots: Snapshots,
        flights: SingleFlight,
        now: Callable[[], datetime],
        options: BffOptions,
    ) -> None:
        domains = tuple(domains)
        feeds = [feed for domain in domains for feed in domain.feeds]
        self._client = client
        self._server = server
        self._delivery = delivery
        self._snapshots = snapshots
        self._flights = flights
        self._now = now
        self._skew = timedelta(seconds=options.future_skew)
        self._replay = options.replay
        self._states = {f.topic.name: f for f in feeds if isinstance(f, SnapshotFeed)}
        self._streams = {f.topic.name: f for f in feeds if isinstance(f, StreamFeed)}
        self._relayed = {topic: EVENTS.labels(topic, "relayed") for topic in self._streams}
        self._rejected = {d.rejected.name: {c.topic.name: c for c in d.commands} for d in domains}
        self._poison = PoisonLog()
        self._begun = now()
        self._pending: set[str] = set()
        self._unshown: dict[tuple[SnapshotFeed, str], None] = {}
        self._caught_up = trio.Event()

    @property
    def caught_up(self) -> bool:
        """Whether what stood in the topics when this run began has been read."""
        return self._caught_up.is_set()

    async def wait_caught_up(self) -> None:
        """Return once what stood in the topics when this run began has been read."""
        await self._caught_up.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Pump until cancelled; ready at once, also when Kafka is away: see `caught_up`.

        It may be run again after a crash: what is known already is not shown a second time.

        Raises:
            BrokenError: a consumer failed for good (in an `ExceptionGroup`).
        """
        self._caught_up = trio.Event()
        self._begun = self._now()
        plans: list[tuple[str, list[str], int, Callable[[Batch], None]]] = [
            (_STATES, list(self._states), self._replay, self._on_states),
            (_LIVE, [*self._streams, *self._rejected], 0, self._on_live),
        ]
        plans = [plan for plan in plans if plan[1]]
        self._pending = {name for name, *_ in plans}
        async with trio.open_nursery() as nursery:
            for plan in plans:
                nursery.start_soon(self._follow, *plan)
            task_status.started()

    async def _follow(
        self, name: str, topics: list[str], replay: int, handle: Callable[[Batch], None]
    ) -> None:
        async with self._client.follow(topics, replay=replay) as follower, trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, name, follower)
            while True:
                batch = await follower.receive()
                with self._server.batch():
                    handle(batch)

    async def _watch(self, name: str, follower: Follower) -> None:
        """Note when a follower has caught up; when the states have, show what the replay changed."""
        await follower.caught_up()
        self._pending.discard(name)
        if name == _STATES:
            with self._server.batch():
                for feed, key in self._unshown:
                    self._delivery.show(feed, key)
            self._unshown.clear()
        if not self._pending:
            self._caught_up.set()
            log.info(
                "caught up", snapshots=sum(self._snapshots.count(feed) for feed in self._states.values())
            )

    def _on_states(self, batch: Batch) -> None:
        for record in batch:
            self._on_state(record)

    def _on_state(self, record: Received) -> None:
        feed = self._states[record.topic]
        state = self._read(record, lambda: read_state(feed, record, now=self._now(), skew=self._skew))
        if state is None:
            return
        EVENTS.labels(record.topic, self._take(feed, state)).inc()

    def _take(self, feed: SnapshotFeed, state: State) -> str:
        """Put a state where it belongs, and return what became of it."""
        if state.status == "success":
            if not self._snapshots.store(feed, state.key, state.version, state.payload):
                return "late"
        elif state.status == "error" and not self._snapshots.fail(
            feed, state.key, state.version, state.message
        ):
            return "late"
        if state.status != "loading":
            self._flights.end((feed, state.key))
        if _STATES not in self._pending:
            self._show(feed, state)
        elif state.status == "success":
            # Old states in quick succession are of no use to anyone; the last one is shown after the replay.
            self._unshown[feed, state.key] = None
        elif state.version.time >= self._begun:
            self._show(feed, state)
        return state.status

    def _show(self, feed: SnapshotFeed, state: State) -> None:
        if state.status == "success":
            self._delivery.show(feed, state.key)
        else:
            self._delivery.broadcast(feed, state.key, msgspec.Raw(state.payload))

    def _on_live(self, batch: Batch) -> None:
        values = batch.values
        for topic, stretch in batch.stretches:
            feed = self._streams.get(topic)
            if feed is None:
                for index in stretch:
                    self._on_rejected(batch[index])
                continue
            relayed = 0
            try:
                for index in stretch:
                    relayed += self._relay(feed, batch, index, values[index])
            finally:
                # One by one, the metric would take a tenth of a tick's time.
                self._relayed[topic].inc(relayed)

    def _relay(self, feed: StreamFeed, batch: Batch, index: int, value: bytes | None) -> bool:
        """Hand a tick on, of which only the value is looked at; return whether it is one."""
        try:
            tick = read_tick(feed, value)
        except Exception as error:  # noqa: BLE001 - as in _read, without a closure for each of many ticks
            self._skip(batch[index], error)
            return False
        self._delivery.broadcast(feed, feed.domain, tick.payload, conflate=f"{feed.event}:{tick.key}")
        return True

    def _on_rejected(self, record: Received) -> None:
        rejection = self._read(record, lambda: read_rejection(self._rejected[record.topic], record))
        if rejection is None:
            return
        feed, topic = rejection.command.answer, rejection.command.topic.name
        REJECTED.labels(topic).inc()
        log.info("command rejected", topic=topic, reason=rejection.message)
        self._flights.end((feed, rejection.key))
        self._delivery.refuse(feed, rejection.key, rejection.message)

    def _read(self, record: Received, read: Callable[[], T]) -> T | None:
        """Return what a record says, or None if it is poison, which is skipped."""
        try:
            return read()
        except Exception as error:  # noqa: BLE001 - a view that stumbles over one record must not stop the others
            self._skip(record, error)
        return None

    def _skip(self, record: Received, error: Exception) -> None:
        reason = str(error) if isinstance(error, PoisonError) else f"{type(error).__name__}: {error}"
        self._poison.skipped(record, reason, trio.current_time())
