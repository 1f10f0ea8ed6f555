"""The link to the broker: whether it answers, one log line per change, and who waits for it."""

import threading
from collections.abc import Callable

import structlog
import trio
from confluent_kafka import KafkaError
from prometheus_client import Gauge

from flux.metrics import REGISTRY
from flux.transport.kafka.bus import BusStatus

log = structlog.get_logger("flux.kafka")

CONNECTED = Gauge(
    "flux_kafka_connected", "Whether the Kafka broker answers (1) or not (0).", registry=REGISTRY
)

_TELLING = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001 - librdkafka's own codes begin so
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._SSL,  # noqa: SLF001
        KafkaError._AUTHENTICATION,  # noqa: SLF001
    }
)
"""Errors whose text says why there is no connection; the others only say that there is none."""


class Link:
    """What this process knows of the broker. The state belongs to trio; suspicions come from any thread."""

    def __init__(self) -> None:
        self._status = BusStatus(connected=False, reason="not connected yet")
        self._connected = trio.Event()
        self._suspected = threading.Event()
        self._last_error = ""
        self._warned = False

    @property
    def status(self) -> BusStatus:
        """Whether the broker answers, and if not, why."""
        return self._status

    async def wait_connected(self) -> None:
        """Return once the broker answers."""
        await self._connected.wait()

    def answered(self) -> None:
        """Note that the broker answered (in trio's thread)."""
        self._last_error = ""
        self._warned = False
        if not self._status.connected:
            log.info("kafka answers")
            CONNECTED.set(1)
            self._status = BusStatus(connected=True)
            self._connected.set()

    def silent(self, reason: str) -> None:
        """Note that the broker did not answer (in trio's thread)."""
        reason = self._last_error or reason
        if not self._warned:
            self._warned = True
            log.warning(
                "kafka does not answer; going on without it until it does",
                reason=reason,
                hint="does the broker run, and are the bootstrap servers right?",
            )
        self._set_disconnected(reason)

    def stopped(self) -> None:
        """Note that nobody asks the broker any more (in trio's thread)."""
        self._set_disconnected("the bus does not run")

    def _set_disconnected(self, reason: str) -> None:
        if self._status.connected:
            self._connected = trio.Event()
        CONNECTED.set(0)
        self._status = BusStatus(connected=False, reason=reason)

    def on_error(self, error: KafkaError) -> None:
        """Take an error that concerns a whole client: librdkafka's ``error_cb``, in any thread.

        A broker that is away causes some ten a second, so this neither logs nor changes the state: it makes
        the producer's thread ask the broker.
        """
        if error.code() in _TELLING:
            self._last_error = error.str()
        self._suspected.set()

    def take_suspicion(self) -> bool:
        """Return whether an error came since the last call."""
        suspected = self._suspected.is_set()
        self._suspected.clear()
        return suspected


def call_soon(token: trio.lowlevel.TrioToken, call: Callable[..., object], *args: object) -> None:
    """Run a call in trio's thread soon; nothing if trio has ended meanwhile."""
    try:
        token.run_sync_soon(call, *args)
    except trio.RunFinishedError:
        log.debug("trio has ended", call=call.__name__)
