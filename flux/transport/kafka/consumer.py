"""The thread that owns a Consumer: polls, drains, hands batches to trio, and is told what to do by its plan.

librdkafka's calls on one Consumer share an unfair lock, so only this thread ever touches it; what trio
wants of it (a commit, the end) it does between two polls.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter as Tally
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from operator import methodcaller
from typing import Any

import anyio
import anyio.to_thread
import structlog
import trio
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, Message
from prometheus_client import Counter

from flux.errors import BrokenError, ClosedError
from flux.messages import Received
from flux.metrics import REGISTRY
from flux.transport.kafka.config import KafkaConfig
from flux.transport.kafka.handover import Arrival, Handover
from flux.transport.kafka.link import Link
from flux.transport.kafka.offsets import TopicPartition

log = structlog.get_logger("flux.kafka")

CONSUMED = Counter("flux_kafka_consumed", "Records handed to a reader.", ["topic"], registry=REGISTRY)
SKIPPED = Counter(
    "flux_kafka_skipped", "Offsets that were gone before they were read.", ["topic"], registry=REGISTRY
)
OPENED = Counter(
    "flux_kafka_consumers_opened", "Consumers opened; past the first, restarts.", ["group"], registry=REGISTRY
)
BROKEN = Counter("flux_kafka_consumers_broken", "Consumers that failed.", ["group"], registry=REGISTRY)

MAX_BATCH = 500
POLL_SECONDS = 0.05
CLOSE_SECONDS = 4.0
"""How long leaving a group may take; past it the thread is left behind to end by itself."""

STALL_SECONDS = 60.0
"""After so long without credits the partitions are paused and polled, well within the 5 minutes
(`max.poll.interval.ms`) after which the group throws a member out. Pausing earlier drops the prefetch."""

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

    generation: int = 0
    """How many rebalances have taken partitions away so far."""

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
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_thread, scope)
            try:
                yield
            except BaseException as error:  # noqa: BLE001 - raised again behind the nursery
                failure = error
            finally:
                self._closing = True
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
            log.warning("consumer not closed in time", group=self._group, seconds=CLOSE_SECONDS)

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
            now = time.monotonic()
            self._plan.tick(consumer, now)
            credit = credit or self._handover.wait_credit(POLL_SECONDS)
            if not credit and now - polled > STALL_SECONDS:
                credit = self._stall(consumer)
                polled = now
            if not credit:
                continue
            polled = now
            first = consumer.poll(POLL_SECONDS)
            if first is not None:
                credit = not self._hand_over([first, *consumer.consume(MAX_BATCH - 1, 0)])
            if self._fatal is not None:
                raise KafkaException(self._fatal)

    def _stall(self, consumer: Consumer) -> bool:
        """Stay in the group while the reader stands still; return True once it goes on, with a credit."""
        log.warning("reader stands still; consumer paused", group=self._group, seconds=STALL_SECONDS)
        credit = False
        held: list[Message] = []
        while not self._closing and not credit:
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
        records: list[Received] = []
        reached: list[tuple[TopicPartition, int]] = []
        for message in messages:
            error = message.error()
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                    self._on_error(error)
                elif topic is not None and self._handover.wants_reached:
                    reached.append(((topic, partition or 0), offset or 0))
            elif topic is not None and partition is not None and offset is not None:
                self._count_skipped(topic, partition, offset)
                kind, milliseconds = message.timestamp()
                records.append(
                    Received(
                        topic,
                        partition,
                        offset,
                        0 if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds,
                        message.value(),
                        message.key(),
                        _headers(message),
                    )
                )
        if records:
            self._trouble = None
            for name, count in Tally(record.topic for record in records).items():
                CONSUMED.labels(name).inc(count)
        if records or reached:
            self._handover.put(Arrival(records, generation=self._plan.generation, reached=tuple(reached)))
        return bool(records)

    def _count_skipped(self, topic: str, partition: int, offset: int) -> None:
        if self._generation != self._plan.generation:
            self._generation = self._plan.generation
            self._next_offsets.clear()
        expected = self._next_offsets.get((topic, partition), offset)
        self._next_offsets[topic, partition] = offset + 1
        # A hole of one is a transaction's marker, should anyone produce in transactions.
        if offset > expected + 1:
            SKIPPED.labels(topic).inc(offset - expected)
            log.warning("records were gone before they were read", topic=topic, partition=partition,
                        count=offset - expected)  # fmt: skip

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


_read_headers = methodcaller("headers")
"""Reads a message's headers through a call that looks at the error state.

For a name that is not UTF-8, confluent-kafka returns a list with a hole in it and leaves the error set. A
direct call, once the interpreter has specialised it, hands that list on: the error comes up somewhere later,
or the hole is read.
"""


def _headers(message: Message) -> tuple[tuple[str, bytes], ...]:
    try:
        headers: Any = _read_headers(message)
    except (UnicodeDecodeError, SystemError):
        log.warning(
            "headers with a name that is not utf-8 left out",
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
        )
        return ()
    # A header's value may be null.
    return tuple((name, raw if raw is not None else b"") for name, raw in headers) if headers else ()
