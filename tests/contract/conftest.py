"""The contract suite's matrix: which client, which broker, which shape of Flux."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from apache_kafka import ApacheKafka  # from tests/kafka
from driver import JS, PYTHON, Client, ClientProcess, Driver, attached, need_node
from systems import ALONE, EMBEDDED, KAFKA, ROLES, RUN, System, Systems

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def systems(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    """Every system of the session, one at a time."""

    def bootstrap_servers() -> str:
        return str(request.getfixturevalue("apache_kafka").bootstrap_servers)

    systems = Systems(tmp_path_factory.mktemp("contract"), bootstrap_servers)
    yield systems
    systems.stop()


@pytest.fixture(scope="session")
def watched_kafka(apache_kafka: ApacheKafka, systems: Systems) -> Iterator[ApacheKafka]:
    """The session's Apache Kafka; the systems on it end before it does."""
    yield apache_kafka
    systems.stop()


def need(request: pytest.FixtureRequest, broker: str) -> str:
    """Return the broker's name, once it is sure that it can be had (else the test is skipped)."""
    if broker == KAFKA:
        request.getfixturevalue("watched_kafka")
    return broker


@pytest.fixture(params=[(b, s) for b in (EMBEDDED, KAFKA) for s in (RUN, ROLES)], ids="-".join)
def whole(request: pytest.FixtureRequest, systems: Systems) -> System:
    """Flux with all its services, simulated providers and the scheduler on."""
    broker, shape = request.param
    return systems.shared(need(request, broker), shape)


@pytest.fixture(params=[EMBEDDED, KAFKA])
def broker(request: pytest.FixtureRequest) -> str:
    """Which broker."""
    return need(request, request.param)


@pytest.fixture
def alone(broker: str, systems: Systems) -> System:
    """The BFF without services or scheduler; other tests have used it."""
    return systems.shared(broker, ALONE)


@pytest.fixture
def fresh(broker: str, systems: Systems) -> System:
    """The BFF without services or scheduler, its cache and all topics empty."""
    return systems.fresh(broker, ALONE)


@pytest.fixture(scope="session")
def client_processes() -> Iterator[dict[str, ClientProcess]]:
    """The client processes of the session, by kind."""
    processes = {kind: ClientProcess(kind) for kind in (JS, PYTHON)}
    yield processes
    for process in processes.values():
        process.stop()


@pytest.fixture(params=[JS, PYTHON])
def client_kind(request: pytest.FixtureRequest) -> str:
    """Which client library."""
    if request.param == JS:
        need_node()
    return str(request.param)


@pytest.fixture
async def driver(client_kind: str, client_processes: dict[str, ClientProcess]) -> AsyncIterator[Driver]:
    """A client process of that kind."""
    async with attached(client_processes[client_kind]) as driver:
        yield driver


@pytest.fixture
async def spare_driver(client_kind: str) -> AsyncIterator[Driver]:
    """Another client process of that kind, which the test may stop and kill."""
    process = ClientProcess(client_kind)
    async with AsyncExitStack() as stack:
        stack.callback(process.stop)
        yield await stack.enter_async_context(attached(process))


@pytest.fixture
async def client(driver: Driver, request: pytest.FixtureRequest) -> Client:
    """A connected client of whichever system the test uses."""
    names = [name for name in ("whole", "alone", "fresh") if name in request.fixturenames]
    system: System = request.getfixturevalue(names[0])
    return await driver.open(system.url, transports=["websocket"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what shares a system in a row; a system takes seconds to start."""
    places = [i for i, item in enumerate(items) if HERE in item.path.parents]

    def system(item: pytest.Item) -> tuple[int, str]:
        parameters = (
            item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        )
        names = getattr(item, "fixturenames", ())
        kinds = [name for name in ("alone", "fresh", "whole") if name in names]
        if not kinds:
            return (0, "")
        broker, *shape = parameters.get("whole") or [parameters.get("broker", "")]
        return (1 if broker == EMBEDDED else 2, "-".join([kinds[0], *shape]))

    ordered = sorted((items[i] for i in places), key=system)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item
