"""The catalogue: which topics exist, and who may produce to and consume from them, for every bus alike."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from flux.errors import LocalError
from flux.messages import Record
from flux.transport.kafka.bus import OwnershipError, Topic

OPERATOR = "operator"
"""A person at a terminal: may consume every topic (to watch it), and produce to none."""

MAX_VALUE_BYTES = 1_000_000
"""The default bound of a record's value; Kafka's own for a batch is 1 MiB (`message.max.bytes`)."""

MAX_KEY_BYTES = 4096
MAX_HEADERS_BYTES = 65_536
"""Bounds of a key and of all headers of a record; both are small by design, so these only stop mistakes."""


class Catalog(Mapping[str, Topic]):
    """The declared topics by name, with the checks that stand before every use of them.

    Args:
        topics: the declarations; a name may come once.
        max_value_bytes: how large a record's value may be.

    Raises:
        LocalError: a name came twice, or a topic has no partitions.
    """

    def __init__(self, topics: Iterable[Topic], *, max_value_bytes: int = MAX_VALUE_BYTES) -> None:
        self.max_value_bytes = max_value_bytes
        self._topics: dict[str, Topic] = {}
        for topic in topics:
            if topic.name in self._topics:
                raise LocalError(f"topic {topic.name} is declared twice")
            if topic.partitions < 1:
                raise LocalError(f"topic {topic.name} needs at least one partition, not {topic.partitions}")
            self._topics[topic.name] = topic

    def __getitem__(self, name: str) -> Topic:
        return self._topics[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._topics)

    def __len__(self) -> int:
        return len(self._topics)

    def check_produce(self, principal: str, record: Record) -> Topic:
        """Return the record's topic, if that principal may produce this record to it.

        Raises:
            OwnershipError: the topic belongs to another principal.
            LocalError: unknown topic, or the value, key or headers are too large.
        """
        topic = self._known(record.topic)
        if topic.producer != principal:
            raise OwnershipError(f"{principal} may not produce to {topic.name}; only {topic.producer} may")
        if record.value is not None and len(record.value) > self.max_value_bytes:
            raise LocalError(
                f"a value of {len(record.value)} bytes for {topic.name}"
                f" passes the bound of {self.max_value_bytes}"
            )
        if record.key is not None and len(record.key) > MAX_KEY_BYTES:
            raise LocalError(
                f"a key of {len(record.key)} bytes for {topic.name} passes the bound of {MAX_KEY_BYTES}"
            )
        headers = 0
        for name, raw in record.headers:
            headers += len(name) + len(raw)
        if headers > MAX_HEADERS_BYTES:
            raise LocalError(
                f"headers of {headers} bytes for {topic.name} pass the bound of {MAX_HEADERS_BYTES}"
            )
        return topic

    def check_consume(self, principal: str, names: Sequence[str]) -> list[Topic]:
        """Return the topics of these names, if that principal may consume them all.

        Raises:
            OwnershipError: a topic is for another principal to consume.
            LocalError: no topic was named, or one is unknown.
        """
        if not names:
            raise LocalError("name at least one topic to consume")
        topics = [self._known(name) for name in dict.fromkeys(names)]
        for topic in topics:
            if principal not in (topic.consumer, OPERATOR):
                raise OwnershipError(f"{principal} may not consume {topic.name}; only {topic.consumer} may")
        return topics

    def _known(self, name: str) -> Topic:
        topic = self._topics.get(name)
        if topic is None:
            raise LocalError(f"unknown topic {name}; declare it in the domain's contract")
        return topic


def check_replay(replay: int) -> None:
    """Refuse a negative count of records to read again.

    Raises:
        LocalError: it is negative.
    """
    if replay < 0:
        raise LocalError(f"replay must be 0 or more, not {replay}")
