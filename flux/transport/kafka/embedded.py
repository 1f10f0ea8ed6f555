"""The embedded broker: librdkafka's mock cluster, in this process and in memory, reached by ctypes.

It speaks Kafka's protocol on a random port of 127.0.0.1, so other processes can use it too; it ends with its
owner. It keeps about 5 MiB a partition and knows no access control: made for one machine and for tests.
The functions used are those of librdkafka's ``rdkafka_mock.h``, which the wheel's library exports.
"""

import ctypes
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

import anyio.to_thread
import structlog
import trio
from confluent_kafka import Producer, cimpl

from flux.errors import BrokenError, ClosedError, LocalError
from flux.transport.kafka.bus import Topic

log = structlog.get_logger("flux.kafka")

_BROKER_ID = 1
_RD_KAFKA_PRODUCER = 0
_TOPIC_ALREADY_EXISTS = 36  # Kafka protocol guide, error codes


class EmbeddedBroker:
    """One broker in this process; `start` it (3 ms), use `bootstrap_servers`, and `stop` it, or `run` it.

    Where the library does not export its mock API, the broker still runs, but cannot be told anything: topics
    have 4 partitions, and the fault hooks raise LocalError.
    """

    def __init__(self) -> None:
        self._library: ctypes.CDLL | None = None
        self._handle: int | None = None  # rd_kafka_t *
        self._cluster: int | None = None  # rd_kafka_mock_cluster_t *
        self._fallback: Producer | None = None
        self._bootstrap_servers = ""

    @property
    def bootstrap_servers(self) -> str:
        """``host:port``, as other clients take it.

        Raises:
            ClosedError: the broker does not run.
        """
        if not self._bootstrap_servers:
            raise ClosedError("the embedded broker does not run; start it first")
        return self._bootstrap_servers

    @property
    def creates_topics(self) -> bool:
        """Whether topics are created with their own number of partitions."""
        return self._cluster is not None

    def start(self) -> Self:
        """Start the broker; it accepts clients at once. Does nothing if it runs.

        Raises:
            BrokenError: the library refused.
        """
        if self._bootstrap_servers:
            return self
        library = load_mock_api()
        if library is None:
            self._start_without_mock_api()
        else:
            self._library = library
            self._start_with(library)
        log.info("embedded broker started", bootstrap_servers=self._bootstrap_servers)
        return self

    def stop(self) -> None:
        """Stop the broker and drop its data; blocks for a millisecond. Does nothing if it does not run."""
        if self._library is not None and self._cluster is not None:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._handle)
        self._cluster = self._handle = self._library = None
        self._fallback = None
        self._bootstrap_servers = ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the broker if need be, and stop it when cancelled: a service."""
        self.start()
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            # Bounded by itself: the broker's thread only drops its sockets.
            with trio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self.stop)

    def create_topics(self, topics: Iterable[Topic]) -> list[str]:
        """Create those of the topics that are missing, with their partitions.

        Returns:
            The names that were created; none without the mock API, where asking for a topic makes it.

        Raises:
            LocalError: the broker does not run.
            BrokenError: the broker refused.
        """
        if self._fallback is not None:
            for topic in topics:
                self._fallback.list_topics(topic.name, timeout=5)  # asking for it makes it
            return []
        library, cluster = self._mock_api()
        created = []
        for topic in topics:
            code = library.rd_kafka_mock_topic_create(cluster, topic.name.encode(), topic.partitions, 1)
            if code == 0:
                created.append(topic.name)
            elif code != _TOPIC_ALREADY_EXISTS:
                text = library.rd_kafka_err2str(code).decode()
                raise BrokenError(f"the embedded broker did not create {topic.name}: {text}")
        return created

    # Faults, for tests and rehearsals.

    def set_down(self) -> None:
        """Close every connection and the port; the data stays."""
        library, cluster = self._mock_api()
        library.rd_kafka_mock_broker_set_down(cluster, _BROKER_ID)

    def set_up(self) -> None:
        """Listen again on the same port, with the same data."""
        library, cluster = self._mock_api()
        library.rd_kafka_mock_broker_set_up(cluster, _BROKER_ID)

    def set_round_trip(self, seconds: float) -> None:
        """Delay every answer by that long."""
        library, cluster = self._mock_api()
        library.rd_kafka_mock_broker_set_rtt(cluster, _BROKER_ID, round(seconds * 1000))

    def push_errors(self, api_key: int, codes: Sequence[int]) -> None:
        """Answer the next requests of a kind with errors, one each.

        Args:
            api_key: the request's number in the Kafka protocol (0 Produce, 1 Fetch, 3 Metadata, ...).
            codes: Kafka error codes, in order; a negative one is librdkafka's own (-195 cuts the connection).
        """
        library, cluster = self._mock_api()
        array = (ctypes.c_int * len(codes))(*codes)
        library.rd_kafka_mock_push_request_errors_array(cluster, api_key, len(codes), array)

    def clear_errors(self, api_key: int) -> None:
        """Forget the errors that were pushed for that kind of request."""
        library, cluster = self._mock_api()
        library.rd_kafka_mock_clear_request_errors(cluster, api_key)

    def _mock_api(self) -> tuple[ctypes.CDLL, int]:
        if self._library is None or self._cluster is None:
            raise LocalError("the embedded broker does not run, or has no mock api")
        return self._library, self._cluster

    def _start_with(self, library: ctypes.CDLL) -> None:
        text = ctypes.create_string_buffer(512)
        conf = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set_log_cb(conf, None)
        self._handle = library.rd_kafka_new(_RD_KAFKA_PRODUCER, conf, text, len(text))
        if not self._handle:
            library.rd_kafka_conf_destroy(conf)
            raise BrokenError(f"the embedded broker did not start: {text.value.decode('utf-8', 'replace')}")
        self._cluster = library.rd_kafka_mock_cluster_new(self._handle, 1)
        if not self._cluster:
            library.rd_kafka_destroy(self._handle)
            self._handle = None
            raise BrokenError("the embedded broker did not start: no port, or no memory")
        # One member joins at a time here; waiting for others would only delay the first record by 3 s.
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self._bootstrap_servers = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def _start_without_mock_api(self) -> None:
        log.warning("the embedded broker has no mock api", consequence="topics have 4 partitions")
        config = {"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 0}
        producer = Producer(config)
        brokers = producer.list_topics(timeout=5).brokers
        self._fallback = producer
        self._bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers.values())


def load_mock_api() -> ctypes.CDLL | None:
    """Return librdkafka as the extension module has loaded it, or None if it does not export the mock API.

    A symbol is looked up in the module and in what it depends on (dlsym(3)), so the library's path, which
    differs between wheels, distributions and systems, is not needed.
    """
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    signatures: dict[str, tuple[type | None, list[type]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_destroy": (None, [pointer]),
        "rd_kafka_conf_set_log_cb": (None, [pointer, pointer]),
        "rd_kafka_new": (pointer, [integer, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_err2str": (text, [integer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, integer]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (integer, [pointer, text, integer, integer]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_down": (integer, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (integer, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_rtt": (integer, [pointer, ctypes.c_int32, integer]),
        "rd_kafka_mock_clear_request_errors": (None, [pointer, ctypes.c_int16]),
        "rd_kafka_mock_push_request_errors_array": (
            None,
            [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(integer)],
        ),
    }
    try:
        library = ctypes.CDLL(cimpl.__file__)
        for name, (result, arguments) in signatures.items():
            function = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        log.debug("librdkafka's mock api not found", reason=str(error))
        return None
    return library
