"""Declarations of topics that contradict themselves."""

import pytest
from bus_checker import CONSUMER, PRODUCER

from flux.errors import LocalError
from flux.transport.kafka.bus import Topic
from flux.transport.kafka.catalog import Catalog


def test_a_topic_declared_twice_is_refused() -> None:
    """Two domains cannot own one topic."""
    topic = Topic("things", PRODUCER, CONSUMER)
    with pytest.raises(LocalError, match="declared twice"):
        Catalog([topic, topic])


def test_a_topic_without_partitions_is_refused() -> None:
    """It could hold nothing."""
    with pytest.raises(LocalError, match="at least one partition"):
        Catalog([Topic("things", PRODUCER, CONSUMER, partitions=0)])


def test_topics_named_twice_are_consumed_once() -> None:
    """A caller may join lists of names without looking for doubles."""
    catalog = Catalog([Topic("things", PRODUCER, CONSUMER)])
    assert [topic.name for topic in catalog.check_consume(CONSUMER, ["things", "things"])] == ["things"]
