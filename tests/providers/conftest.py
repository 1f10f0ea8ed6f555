"""A fake world, Flux on it, and the official client."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from driver import JS, ClientProcess, Driver, attached, need_node  # from tests/contract
from fake_world import FakeWorld, open_world
from program import Program

Start = Callable[..., Program]


@pytest.fixture
def world() -> Iterator[FakeWorld]:
    """Every source, all of them well."""
    with open_world() as world:
        yield world


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a whole Flux on the embedded broker; it ends with the test."""
    programs: list[Program] = []

    def start(*arguments: str, jump: float | None = None, **settings: str) -> Program:
        program = Program(("run", "--port", "0", *arguments), tmp_path, settings)
        if jump is not None:
            program.interpreted = ("-m", "tests.providers.jumping_flux")
            program.settings = {**settings, "JUMP_SECONDS": f"{jump:g}"}
        programs.append(program.start())
        return program.wait_open().wait_ready()

    yield start
    for program in programs:
        program.kill()


@pytest.fixture(scope="session")
def js_process() -> Iterator[ClientProcess]:
    """The official client's process."""
    need_node()
    process = ClientProcess(JS)
    yield process
    process.stop()


@pytest.fixture
async def driver(js_process: ClientProcess) -> AsyncIterator[Driver]:
    """Opens clients of the official library."""
    async with attached(js_process) as driver:
        yield driver
