"""The load generator: building it, running it on its core, reading what it says."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.servers import Running

CORE = 1
"""Where the generator runs; the servers run on core 0."""
HERE = Path(__file__).parent


class LoadError(Exception):
    """A run failed: a client could not connect, or something was lost; its figures do not count."""


def compiled(source: Path, target: Path, *libraries: str) -> Path:
    """Compile a C program with the machine's compiler.

    Raises:
        LoadError: there is no compiler, or it refused.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise LoadError("a C compiler (cc) is needed")
    command = [compiler, "-O2", "-Wall", "-o", str(target), str(source), *libraries]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our source
    if answer.returncode:
        raise LoadError(f"cannot compile {source.name}: {answer.stderr.strip()}")
    return target


class Generator:
    """The compiled load generator.

    Args:
        folder: where the program is put.

    Raises:
        LoadError: it cannot be compiled.
    """

    def __init__(self, folder: Path) -> None:
        self._program = compiled(HERE / "sioload" / "sioload.c", folder / "sioload", "-lm")

    def run(self, server: Running, options: Sequence[str], seconds: float) -> dict[str, Any]:
        """Load a server; return the generator's figures (see the head of ``sioload.c``).

        Args:
            server: what to load.
            options: of the generator.
            seconds: after which the run has failed.

        Raises:
            LoadError: events were lost or doubled, connections dropped, or it took too long.
        """
        command = [
            *(str(self._program), "--quiet", "--port", str(server.port), "--server-pid", str(server.pid)),
            *("--timeout", str(seconds), *options),
        ]
        try:
            answer = subprocess.run(  # noqa: S603 - the program built above
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + 20,
                preexec_fn=lambda: os.sched_setaffinity(0, {CORE}),
            )
        except subprocess.TimeoutExpired:
            raise LoadError(f"no end after {seconds + 20:.0f} s") from None
        if answer.returncode or not answer.stdout:
            figures = answer.stdout.strip() or "no figures"
            raise LoadError(f"{answer.stderr.strip()} ({figures}); exit code {answer.returncode}")
        said: dict[str, Any] = json.loads(answer.stdout)
        return said
