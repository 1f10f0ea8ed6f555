"""What fault tests share: a Kafka to break, programs to kill, clients, and the figures at the end."""

import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from apache_kafka import ApacheKafka
from attrs import asdict
from driver import JS, JS_PACKAGES, PYTHON, ClientProcess, Driver, attached
from fault_load import Note, Start, Watching
from kafka_watch import KafkaWatch
from ledger import Figures
from program import Program
from stage import Stage
from systems import delete_topics

FIGURES = pytest.StashKey[dict[str, Figures]]()

SESSION = {"session.timeout.ms": "1500", "heartbeat.interval.ms": "200"}
"""A killed member is out of its group after the session time-out."""

PROGRAMS = {
    "SIMULATION__SEED": "1",
    "SIMULATION__TICKER_RATE": "5",
    "SIMULATION__FETCH_DELAY": "0.02",  # so that there is something in hand whenever a fault comes
}


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the figures."""
    config.stash[FIGURES] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what the faults cost."""
    noted = config.stash[FIGURES]
    if noted:
        terminalreporter.section("fault ledger")
        for name, figures in noted.items():
            terminalreporter.write_line(f"{name}: {figures.line()}")
        if target := os.environ.get("FLUX_FAULTS_JSON"):
            Path(target).write_text(json.dumps({n: asdict(f) for n, f in noted.items()}, indent=1))


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """Keeps a test's figures for the summary."""

    def note(figures: Figures) -> None:
        request.config.stash[FIGURES][request.node.name] = figures

    return note


@pytest.fixture(scope="session")
def breakable(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A real node that fault tests break; whatever they do to it, it is stopped at the end."""
    node = ApacheKafka(kafka_jars, tmp_path_factory.mktemp("breakable"))
    yield node
    node.stop()


@pytest.fixture
def kafka(breakable: ApacheKafka) -> ApacheKafka:
    """The breakable node, up and without topics."""
    if breakable.pid is None:
        breakable.start()
    breakable.thaw()
    delete_topics(breakable.bootstrap_servers)
    return breakable


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs that share a runtime directory; whatever still runs at the end is killed."""
    programs: list[Program] = []

    def start(*arguments: str, **settings: str) -> Program:
        programs.append(Program(arguments, tmp_path, PROGRAMS | settings).start())
        return programs[-1]

    yield start
    for program in programs:
        program.kill()


@pytest.fixture
def on_kafka(kafka: ApacheKafka) -> dict[str, str]:
    """Settings of programs over the breakable node."""
    return {"KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "KAFKA__CONFIG": json.dumps(SESSION)}


@pytest.fixture
async def watching() -> AsyncIterator[Watching]:
    """Starts onlookers on a Kafka; they end with the test."""
    watches: list[KafkaWatch] = []

    def watching(bootstrap_servers: str) -> KafkaWatch:
        watches.append(KafkaWatch(bootstrap_servers).start())
        return watches[-1]

    yield watching
    for watch in watches:
        await trio.to_thread.run_sync(watch.stop)


@pytest.fixture(scope="session")
def fault_clients() -> Iterator[ClientProcess]:
    """A process of the official client where there is Node.js, else of python-socketio's."""
    official = shutil.which("node") and (JS_PACKAGES / "node_modules" / "socket.io-client").is_dir()
    process = ClientProcess(JS if official else PYTHON)
    yield process
    process.stop()


@pytest.fixture
async def driver(fault_clients: ClientProcess) -> AsyncIterator[Driver]:
    """The client process, attached for one test."""
    async with attached(fault_clients) as driver:
        yield driver


@pytest.fixture
def stage(
    kafka: ApacheKafka,
    driver: Driver,
    note: Note,
    on_kafka: dict[str, str],
    start: Start,
    watching: Watching,
) -> Stage:
    """All of these, for a test of programs over the breakable node."""
    return Stage(kafka, driver, note, on_kafka, start, watching)
