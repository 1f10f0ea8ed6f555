"""Brokers for every test that needs one (the embedded one, a real Apache Kafka), fake web sites, logs."""

import logging
import math
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from fake_site import FakeSite, open_site  # from tests/sources
from trio.testing import MockClock

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


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is reached without the proxies of this machine."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
async def site(no_proxies: None) -> AsyncIterator[FakeSite]:
    """A fake web site in the test's loop."""
    async with open_site() as site:
        yield site


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a self-signed certificate for the loopback address; its key is in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True, timeout=30)
    both = folder / "both.pem"
    both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return both


@pytest.fixture
async def tls_site(certificate: Path, no_proxies: None) -> AsyncIterator[FakeSite]:
    """A fake web site over TLS, whose certificate is trusted only by those who name `certificate`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with open_site(context) as site:
        yield site


@pytest.fixture
def loopback_clock(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """Virtual time that waits for loopback traffic: it jumps once nothing has happened for 30 ms.

    It stands still while a worker thread works, of which trio's clock knows nothing.
    """
    idle = 0.03
    clock = MockClock(autojump_threshold=idle)
    in_thread, working = trio.to_thread.run_sync, 0

    async def run_sync(*args: Any, **options: Any) -> Any:
        nonlocal working
        working += 1
        clock.autojump_threshold = math.inf
        try:
            return await in_thread(*args, **options)
        finally:
            working -= 1
            if not working:
                clock.autojump_threshold = idle

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    return clock


@pytest.fixture
def restored_logs() -> Iterator[None]:
    """Leave logging as it was, whatever the test does to it."""
    root = logging.getLogger()
    before, level, config = list(root.handlers), root.level, structlog.get_config()
    yield
    for handler in [handler for handler in root.handlers if handler not in before]:
        root.removeHandler(handler)
    root.setLevel(level)
    structlog.configure(**config)
