"""The producer of a process: records in from trio, delivery reports back, and a watch on the broker."""

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import structlog
import trio
from attrs import define, field
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from prometheus_client import Counter

from flux.errors import BrokenError, FluxError, LocalError
from flux.messages import Record
from flux.metrics import REGISTRY
from flux.transport.kafka.broker_watch import STRANDED, BrokerWatch
from flux.transport.kafka.bus import Position
from flux.transport.kafka.config import KafkaConfig
from flux.transport.kafka.link import Link, call_soon
from flux.transport.kafka.produce_errors import delivery_error

log = structlog.get_logger("flux.kafka")

PRODUCED = Counter("flux_kafka_produced", "Records that Kafka confirmed.", ["topic"], registry=REGISTRY)
FAILED = Counter(
    "flux_kafka_produce_failed", "Records that were not delivered.", ["topic"], registry=REGISTRY
)
QUEUE_FULL = Counter(
    "flux_kafka_queue_full_waits", "Waits because the producer's queue was full.", registry=REGISTRY
)
FATAL = Counter(
    "flux_kafka_producers_broken", "Producers that failed for good and were replaced.", registry=REGISTRY
)

POLL_SECONDS = 0.1
QUEUE_FULL_SECONDS = 0.002
"""How long to wait before a full queue is tried again; it drains thousands of records in that time."""

PROBE_CONNECTED_SECONDS = 10.0
PROBE_SILENT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
RETRY_ANSWER_SECONDS = 0.5
"""How long a probe waits: longer while connected, so that a broker's pause is not taken for its end."""

FLUSH_SECONDS = 5.0
PURGE_SECONDS = 1.0
"""How long the reports of what was not delivered are waited for at the end; they are there at once."""

FAILURE_LINES_A_SECOND = 20
"""How many undelivered records are logged one by one; a broker that is away fails thousands of them."""


@define(eq=False)
class _Report:
    """A delivery report that someone waits for."""

    arrived: trio.Event = field(factory=trio.Event)
    position: Position | None = None
    error: FluxError | None = None


class KafkaProducer:
    """One idempotent producer: `produce` is called in trio, a thread of `run` serves the reports.

    Args:
        config: how to reach the broker.
        link: what learns whether the broker answers.
        probe_topic: a topic to ask the broker for; None asks for all.
    """

    def __init__(self, config: KafkaConfig, link: Link, *, probe_topic: str | None = None) -> None:
        self._config = config
        self._link = link
        self._probe_topic = probe_topic
        self._limiter = anyio.CapacityLimiter(1)
        self._producer: Producer | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._waiting: set[_Report] = set()
        self._settling: deque[tuple[_Report, KafkaError | None, Message]] = deque()
        self._settle_is_due = False
        self._produced: dict[str, Counter] = {}
        self._stopping = False
        self._answering = False  # the thread's view of the link
        self._fatal: str | None = None
        self._failures_second = self._failures_logged = self._failures_unlogged = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve delivery reports until cancelled, then flush with a deadline.

        Raises:
            LocalError: it runs already, or librdkafka refused a setting.
            BrokenError: librdkafka failed for good; running again makes a new producer.
        """
        if self._producer is not None:
            raise LocalError("this producer runs already")
        settings = self._config.producer()
        brokers = BrokerWatch.over(settings)
        settings["error_cb"] = self._on_error
        try:
            self._producer = Producer(settings)
        except KafkaException as error:
            raise LocalError(f"kafka settings: {error.args[0].str()}") from error
        self._token = trio.lowlevel.current_trio_token()
        self._stopping, self._answering, self._fatal = False, False, None
        self._settling.clear()
        self._settle_is_due = False
        ended = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_thread, self._producer, brokers, ended)
                task_status.started()
                try:
                    await ended.wait()
                finally:
                    self._stopping = True
        finally:
            self._producer = None
            self._link.stopped()
            for report in self._waiting:
                report.error = BrokenError("the producer ended before the delivery report")
                report.arrived.set()
            self._waiting.clear()
        self._check_fatal()

    def _check_fatal(self) -> None:
        if self._fatal is not None:
            FATAL.inc()
            raise BrokenError(f"the producer failed for good: {self._fatal}")

    async def send(self, record: Record) -> None:
        """Queue a record, waiting while the queue is full; see `Client.send`."""
        await self._queue(record, partial(self._on_delivery, record))
        # The record is queued: a cancellation must not say that it is not.
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def publish(self, record: Record) -> Position:
        """Queue a record and wait for its report; see `Client.publish`."""
        report = _Report()

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            self._on_delivery(record, error, message)
            self._settling.append((report, error, message))
            # One call settles all reports that come until it runs: a call for each wakes trio for each.
            if not self._settle_is_due:
                self._settle_is_due = True
                self._tell(self._settle_all)

        self._waiting.add(report)
        try:
            await self._queue(record, on_delivery)
            await report.arrived.wait()
        finally:
            self._waiting.discard(report)
        if report.error is not None:
            raise report.error
        if report.position is None:
            raise BrokenError(f"{record.topic}: the delivery report had no position")
        return report.position

    async def _queue(self, record: Record, on_delivery: Callable[..., None]) -> None:
        """Queue a record; from the moment when it is queued this does not wait."""
        await trio.lowlevel.checkpoint_if_cancelled()
        deadline: float | None = None  # set once the queue is found full
        while True:
            if self._producer is None or self._stopping:
                raise BrokenError(f"{record.topic}: the bus does not run")
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers) or None,
                    on_delivery=on_delivery,
                )
            except BufferError:
                QUEUE_FULL.inc()
                if deadline is None:
                    deadline = trio.current_time() + self._config.message_timeout
                elif trio.current_time() >= deadline:
                    FAILED.labels(record.topic).inc()
                    raise BrokenError(
                        f"{record.topic}: the producer's queue stayed full for"
                        f" {self._config.message_timeout:g} s"
                    ) from None
                await trio.sleep(QUEUE_FULL_SECONDS)
            except KafkaException as error:
                FAILED.labels(record.topic).inc()
                raise delivery_error(record.topic, error.args[0]) from error
            else:
                return

    def _settle_all(self) -> None:
        self._settle_is_due = False  # before the look: what comes after it makes a call of its own
        while self._settling:
            self._settle(*self._settling.popleft())

    def _settle(self, report: _Report, error: KafkaError | None, message: Message) -> None:
        topic, partition, offset = message.topic() or "", message.partition(), message.offset()
        if error is not None:
            report.error = delivery_error(topic, error)
        elif partition is not None and offset is not None:
            report.position = Position(topic, partition, offset)
        report.arrived.set()

    # From here on: in the thread.

    async def _run_thread(self, producer: Producer, brokers: BrokerWatch, ended: trio.Event) -> None:
        # Never abandoned: it ends within a poll, a probe and the flush deadline once `_stopping` is set.
        with trio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._serve, producer, brokers, limiter=self._limiter)
        ended.set()

    def _serve(self, producer: Producer, brokers: BrokerWatch) -> None:
        next_probe = 0.0
        while not self._stopping and self._fatal is None:
            suspected = self._link.take_suspicion() and self._answering
            if suspected or time.monotonic() >= next_probe:
                self._probe(producer)
                wait = PROBE_CONNECTED_SECONDS if self._answering else PROBE_SILENT_SECONDS
                next_probe = time.monotonic() + wait
            self._poll(producer.poll, POLL_SECONDS)
            if brokers.stranded:
                self._fatal = self._fatal or STRANDED
        # A producer that failed for good delivers nothing more.
        self._poll(producer.flush, FLUSH_SECONDS if self._answering and self._fatal is None else 0)
        # What is left gets its report now, as purged, and so is logged and counted. One poll does not do: it
        # ends where the fatal error comes up, and leaves the reports behind that unserved.
        producer.purge()
        deadline = time.monotonic() + PURGE_SECONDS
        while len(producer) and time.monotonic() < deadline:
            self._poll(producer.poll, QUEUE_FULL_SECONDS)

    def _poll(self, serve: Callable[[float], object], timeout: float) -> None:
        """Serve callbacks; a fatal error comes up here as an exception."""
        try:
            serve(timeout)
        except (KafkaException, SystemError) as raised:
            # SystemError: confluent-kafka called back while the fatal error's exception was set already.
            error = raised if isinstance(raised, KafkaException) else raised.__cause__
            if not isinstance(error, KafkaException):
                raise
            self._fatal = self._fatal or error.args[0].str()

    def _probe(self, producer: Producer) -> None:
        timeout = ANSWER_SECONDS if self._answering else RETRY_ANSWER_SECONDS
        try:
            if self._probe_topic is None:
                producer.list_topics(timeout=timeout)
            else:
                producer.list_topics(self._probe_topic, timeout=timeout)
        except KafkaException as error:
            self._answering = False
            reason = error.args[0]
            quiet = reason.code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT)  # noqa: SLF001 - its codes
            self._tell(self._link.silent, f"no answer within {timeout:g} s" if quiet else reason.str())
        else:
            self._heard()

    def _heard(self) -> None:
        if not self._answering:
            self._answering = True
            self._tell(self._link.answered)

    def _tell(self, call: Callable[..., object], *args: Any) -> None:
        if self._token is not None:
            call_soon(self._token, call, *args)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - librdkafka's own code
            self._fatal = error.str()
        self._link.on_error(error)

    def _on_delivery(self, record: Record, error: KafkaError | None, _: Message) -> None:
        if error is None:
            counter = self._produced.get(record.topic)
            if counter is None:
                counter = self._produced[record.topic] = PRODUCED.labels(record.topic)
            counter.inc()
            self._heard()
            return
        FAILED.labels(record.topic).inc()
        self._link.on_error(error)
        self._log_failure(record, error.str())

    def _log_failure(self, record: Record, reason: str) -> None:
        """Log an undelivered record; of many in a second the first ones, with a count of the rest later."""
        second = int(time.monotonic())
        if second != self._failures_second:
            self._failures_second, self._failures_logged = second, 0
        if self._failures_logged >= FAILURE_LINES_A_SECOND:
            self._failures_unlogged += 1
            return
        self._failures_logged += 1
        unlogged, self._failures_unlogged = self._failures_unlogged, 0
        log.warning(
            "record not delivered",
            topic=record.topic,
            ce_id=_ce_id(record),
            reason=reason,
            unlogged_before=unlogged,
        )


def _ce_id(record: Record) -> str | None:
    """Return the record's CloudEvents id, which a delivery report does not carry."""
    return next((raw.decode("utf-8", "replace") for name, raw in record.headers if name == "ce_id"), None)
