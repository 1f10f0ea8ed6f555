"""Brokers for every test that needs one: the embedded one, and a real Apache Kafka."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flux.transport.kafka.embedded import EmbeddedBroker

sys.path.insert(0, str(Path(__file__).parent / "kafka"))  # test folders are not packages

from apache_kafka import ApacheKafka, Unavailable, resolve_jars  # from tests/kafka


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of tests that need a real Kafka."""
    config.addinivalue_line("markers", "kafka: needs a real Apache Kafka (java, and mvn the first time)")


@pytest.fixture
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """A fresh embedded broker, without topics."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """The folder with Kafka's jars, for tests that start (and break) a node of their own.

    Where they cannot be had the test is skipped; in CI, which must have them, it fails.
    """
    try:
        return resolve_jars()
    except Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no real Kafka in CI: {reason}")
        pytest.skip(f"no real Kafka: {reason}")


@pytest.fixture(scope="session")
def apache_kafka(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """One real node for the whole session; tests use topics of their own."""
    with ApacheKafka(kafka_jars, tmp_path_factory.mktemp("kafka")) as node:
        yield node
