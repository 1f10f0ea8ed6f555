"""The thread that owns a Consumer: polls, drains, hands batches to trio, and is told what to do by its plan.

librdkafka's calls on one Consumer share an unfair lock, so only this thread ever touches it; what trio
wants of it (a commit, the end) it does between two polls.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import anyio
import anyio.to_thread
import structlog
import trio
from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from prometheus_client import Counter

from flux.errors import BrokenError, ClosedError
from flux.metrics import REGISTRY
from flux.transport.kafka.batches import MessageBatch, Run
from flux.transport.kafka.broker_watch import STRANDED, BrokerWatch
from flux.transport.kafka.config import KafkaConfig, LibraryLog
from flux.transport.kafka.handover import Arrival, Handover
from flux.transport.kafka.link import Link
from flux.transport.kafka.offsets import TopicPartition
from flux.transport.kafka.watchdog import LagWatch, StuckError, watch_thread

log = structlog.get_logger("flux.kafka")

CONSUMED = Counter("flux_kafka_consumed", "Records handed to a reader.", ["topic"], registry=REGISTRY)
SKIPPED = Counter(
    "flux_kafka_skipped", "Offsets that were gone before they were read.", ["topic"], registry=REGISTRY
)
OPENED = Counter(
    "flux_kafka_consumers_opened", "Consumers opened; past the first, restarts.", ["group"], registry=REGISTRY
)
BROKEN = Counter("flux_kafka_consumers_broken", "Consumers that failed.", ["group"], registry=REGISTRY)
STUCK = Counter(
    "flux_kafka_consumers_stuck",
    "Consumers given up, as they made no progress: their thread hung, records did not come, or no broker was"
    " left to ask.",
    ["group", "cause"],
    registry=REGISTRY,
)

MAX_BATCH = 500
POLL_SECONDS = 0.05
CLOSE_SECONDS = 4.0
"""How long leaving a group may take; past it the thread is left behind to end by itself."""

STALL_SECONDS = 60.0
"""After so long without credits the partitions are paused and polled, well within the 5 minutes
(`max.poll.interval.ms`; of a shorter one, after a third of it) after which the group throws a member out.
Pausing earlier drops the prefetch."""

MAX_POLL_SHARE = 1 / 3
_MAX_POLL_MS = 300_000  # librdkafka's default

_FATAL_CODES = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError._FATAL,  # noqa: SLF001 - librdkafka's own codes begin so
    }
)


class Plan(ABC):
    """What a consumer is for; every method runs in the consumer's thread and may raise KafkaException."""

    topics: Sequence[str]
    """Full names."""

    generation: int = 0
    """How many rebalances have taken partitions away so far."""

    lost: Mapping[TopicPartition, int] = MappingProxyType({})
    """The last generation that began with a partition's loss, of those that were lost."""

    @abstractmethod
    def begin(self, consumer: Consumer) -> None:
        """Start to consume."""

    @abstractmethod
    def tick(self, consumer: Consumer, now: float) -> None:
        """Do what is due; called between polls with the monotonic time in seconds."""

    @abstractmethod
    def end(self, consumer: Consumer) -> None:
        """Do what must precede the close."""


class ConsumerThread:
    """A Consumer with the thread that owns it.

    Args:
        config: how to reach the broker.
        group: the consumer group; for a reader outside of groups a name all the same.
        plan: what to consume.
        handover: where the batches go.
        link: what hears of errors.
        settings: further settings of librdkafka.
    """

    def __init__(
        self,
        config: KafkaConfig,
        group: str,
        plan: Plan,
        handover: Handover,
        link: Link,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self._settings = config.consumer(group) | dict(settings or {})
        self._settings["error_cb"] = self._on_error
        self._library_log = self._settings["logger"] = LibraryLog()
        # The end of a partition is an event: it tells a follower that it has caught up, and the watch that
        # nothing is missing.
        self._settings["enable.partition.eof"] = True
        interval = int(self._settings.get("max.poll.interval.ms", _MAX_POLL_MS)) / 1000
        self._stall_seconds = min(STALL_SECONDS, interval * MAX_POLL_SHARE)
        self._watch = LagWatch()
        self._brokers = BrokerWatch.over(self._settings)
        self._turns = 0
        self._group = group
        self._plan = plan
        self._handover = handover
        self._link = link
        self._closing = False
        self._fatal: KafkaError | None = None
        self._trouble: str | None = None  # the last error logged, so that the same one is not logged again
        self._next_offsets: dict[TopicPartition, int] = {}
        self._generation = 0  # to which these belong

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the thread while the block runs, then close the consumer within `CLOSE_SECONDS`.

        What the block raises passes as it is, not wrapped in an ExceptionGroup: the thread's own failures
        go through the handover.
        """
        failure: BaseException | None = None
        scope = trio.CancelScope(shield=True)
        watching = trio.CancelScope(
            shield=True
        )  # ends with the block, and adds no Cancelled to what that raises
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_thread, scope)
            nursery.start_soon(self._watch_thread, watching)
            try:
                yield
            except BaseException as error:  # noqa: BLE001 - raised again behind the nursery
                failure = error
            finally:
                self._closing = True
                watching.cancel()
                self._handover.end(ClosedError("the consumer was closed"))
                scope.deadline = trio.current_time() + CLOSE_SECONDS
        if failure is not None:
            raise failure

    async def _run_thread(self, scope: trio.CancelScope) -> None:
        # The shield keeps a cancellation away, which would leave the thread behind with records in its hands;
        # only the close deadline ends the wait.
        with scope:
            await anyio.to_thread.run_sync(
                self._own, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )
        if scope.cancelled_caught:
            self._library_log.ended = True
            log.warning("consumer not closed in time", group=self._group, seconds=CLOSE_SECONDS)

    async def _watch_thread(self, scope: trio.CancelScope) -> None:
        with scope:
            await watch_thread(lambda: self._turns, self._hung)

    def _hung(self, seconds: float) -> None:
        STUCK.labels(self._group, "thread").inc()
        self._give_up(f"its thread hangs for {seconds:g} s")

    # From here on: in the thread.

    def _own(self) -> None:
        OPENED.labels(self._group).inc()
        try:
            consumer = Consumer(self._settings)
        except KafkaException as error:
            self._give_up(f"kafka settings: {error.args[0].str()}")
            return
        try:
            self._plan.begin(consumer)
            self._loop(consumer)
        except KafkaException as error:
            self._give_up(error.args[0].str())
        except StuckError as error:
            STUCK.labels(self._group, error.cause).inc()
            self._give_up(str(error))
        except Exception as error:
            # A reader must hear of whatever ended its thread, or it waits for ever.
            log.exception("consumer thread failed", group=self._group)
            self._give_up(repr(error))
        finally:
            self._close(consumer)

    def _give_up(self, reason: str) -> None:
        BROKEN.labels(self._group).inc()
        log.warning("consumer broken", group=self._group, reason=reason)
        self._handover.fail(BrokenError(f"the consumer of {self._group} failed: {reason}"))

    def _close(self, consumer: Consumer) -> None:
        try:
            self._plan.end(consumer)
        except KafkaException as error:
            log.info("last commit failed", group=self._group, reason=error.args[0].str())
        consumer.close()

    def _loop(self, consumer: Consumer) -> None:
        credit = False
        polled = time.monotonic()
        while not self._closing:
            self._turns += 1
            now = time.monotonic()
            self._plan.tick(consumer, now)
            credit = credit or self._handover.wait_credit(POLL_SECONDS)
            if not credit and now - polled > self._stall_seconds:
                credit = self._stall(consumer)
                polled = now
            if not credit:
                self._watch.excuse()
                continue
            polled = now
            first = consumer.poll(POLL_SECONDS)
            if first is not None:
                credit = not self._hand_over([first, *consumer.consume(MAX_BATCH - 1, 0)])
            else:
                self._forget_lost()
                self._watch.check(consumer, self._next_offsets, now)
            if self._fatal is not None:
                raise KafkaException(self._fatal)
            if self._brokers.stranded:
                raise StuckError(STRANDED, cause="brokers")

    def _stall(self, consumer: Consumer) -> bool:
        """Stay in the group while the reader stands still; return True once it goes on, with a credit."""
        log.warning("reader stands still; consumer paused", group=self._group, seconds=self._stall_seconds)
        credit = False
        held: list[Message] = []
        while not self._closing and not credit:
            self._turns += 1
            consumer.pause(consumer.assignment())
            late = consumer.poll(0)
            if late is not None:
                held.append(late)
            self._plan.tick(consumer, time.monotonic())
            credit = self._handover.wait_credit(POLL_SECONDS)
        consumer.resume(consumer.assignment())
        if credit and held:
            credit = not self._hand_over(held)
        return credit

    def _hand_over(self, messages: list[Message]) -> bool:
        """Put what the messages say into the handover; return whether that took the credit."""
        reached: list[tuple[TopicPartition, int]] = []
        self._forget_lost()
        # Never compare a KafkaError with None: it leaves a TypeError set behind the answer.
        if any(map(Message.error, messages)):
            for message in messages:
                if message.error() is not None:
                    self._take_error(message, reached)
            messages = [message for message in messages if message.error() is None]
        batch = MessageBatch(messages, one_topic=len(self._plan.topics) == 1)
        for run in batch.runs:
            expected = self._next_offsets.get(run.partition, run.first)
            # A hole of one is a transaction's marker, should anyone produce in transactions.
            if run.first > expected + 1:
                self._count_skipped(run, run.first - expected)
            self._next_offsets[run.partition] = run.end
        for topic, stretch in batch.stretches:
            CONSUMED.labels(topic).inc(len(stretch))
        if messages:
            self._trouble = None
            if self._handover.wants_reached:
                reached += ((run.partition, run.end) for run in batch.runs)
        if messages or reached:
            self._handover.put(Arrival(batch, generation=self._plan.generation, reached=tuple(reached)))
        return bool(messages)

    def _forget_lost(self) -> None:
        """Note which partitions a rebalance took away in the last calls."""
        generation = self._plan.generation
        if self._generation != generation:
            for partition, since in self._plan.lost.items():
                if since > self._generation:
                    self._watch.forget(partition)
            self._generation = generation
            self._next_offsets.clear()
            self._watch.excuse()

    def _take_error(self, message: Message, reached: list[tuple[TopicPartition, int]]) -> None:
        """Note the end of a partition, which comes as an error, or an error."""
        error: Any = message.error()
        topic = message.topic()
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._on_error(error)
        elif topic is not None:
            partition, offset = (topic, message.partition() or 0), message.offset() or 0
            self._watch.reached(partition, offset)
            if self._handover.wants_reached:
                reached.append((partition, offset))

    def _count_skipped(self, run: Run, count: int) -> None:
        topic, partition = run.partition
        SKIPPED.labels(topic).inc(count)
        log.warning("records were gone before they were read", topic=topic, partition=partition, count=count)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in _FATAL_CODES:
            self._fatal = error
            return
        if error.code() in _LINK_CODES:
            self._link.on_error(error)
            return
        text = error.str()
        if text != self._trouble:
            self._trouble = text
            log.warning("consumer in trouble; it goes on", group=self._group, reason=text)


_LINK_CODES = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - librdkafka's own codes begin so
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._SSL,  # noqa: SLF001
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
    }
)
