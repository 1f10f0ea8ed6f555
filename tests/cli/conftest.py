"""A running Flux, and its commands as a person runs them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from program import Program

Flux = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A whole Flux on the embedded broker, without a scheduler: nothing happens that a test does not do."""
    program = Program(
        ("run", "--port", "0", "--no-scheduler"),
        tmp_path_factory.mktemp("run"),
        {"SIMULATION__TICKER_RATE": "1"},
    )
    program.start().wait_open().wait_ready()
    yield program
    program.kill()


@pytest.fixture
def flux(tmp_path: Path) -> Flux:
    """Runs a command to its end, in a runtime directory where nothing runs unless a test names another."""

    def run(*arguments: str, directory: Path = tmp_path, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FLUX_")}
        ours = {"RUNTIME_DIR": str(directory)} | settings
        return subprocess.run(
            [sys.executable, "-m", "flux", *arguments],
            env=environment | {f"FLUX_{name}": value for name, value in ours.items()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
