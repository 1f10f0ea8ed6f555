"""Flux as a program: started as its users start it, watched through its door, its log and its exit code."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import trio
from attrs import define, field, frozen
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 30.0
"""Seconds for a process to open its door on a loaded machine; it takes about one."""


@frozen
class Answer:
    """What the door answered to a GET.

    Args:
        status: the HTTP status.
        body: the whole body, as text.
    """

    status: int
    body: str

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@frozen
class Ended:
    """How a process ended.

    Args:
        code: its exit code.
        seconds: from the signal to its end.
    """

    code: int
    seconds: float


@define(eq=False)
class Program:
    """One Flux process.

    Args:
        arguments: of the command line, after ``flux``.
        directory: for its log and the runtime file; processes that share it find each other.
        settings: environment variables without their ``FLUX_``.
        interpreted: what Python runs, before the arguments.
    """

    arguments: tuple[str, ...]
    directory: Path
    settings: Mapping[str, str] = field(factory=dict)
    interpreted: tuple[str, ...] = ("-m", "flux")
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    bootstrap_servers: str = ""

    @property
    def log_path(self) -> Path:
        """Where its standard error goes."""
        return self.directory / ("-".join(a.strip("-") for a in self.arguments) + ".log")

    def start(self) -> "Program":
        """Start the process; does not wait."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLUX_")}
        ours = {"RUNTIME_DIR": str(self.directory), **self.settings}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.interpreted, *self.arguments],
                cwd=ROOT,
                env=inherited | {f"FLUX_{name}": value for name, value in ours.items()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def wait_open(self) -> "Program":
        """Wait until the door is open, and learn its address.

        Raises:
            AssertionError: the process ended, or the door stays closed; the text has the log.
        """
        assert self.process is not None
        runtime_file = self.directory / "flux.json"
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"{self.arguments} ended with {self.process.returncode}:\n{self.tail()}")
            if runtime_file.exists():
                running = json.loads(runtime_file.read_bytes())
                if running["pid"] == self.process.pid:
                    self.url, self.bootstrap_servers = running["url"], running["bootstrap_servers"]
                    return self
            time.sleep(0.01)
        raise AssertionError(f"{self.arguments} opened no door within {START_TIMEOUT:g} s:\n{self.tail()}")

    def wait_at(self, url: str) -> "Program":
        """Wait until the door is open at an address that was chosen, for a second door beside another."""
        self.url = url
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self.get("/livez")
            except OSError:
                assert time.monotonic() < deadline, self.tail()
                time.sleep(0.02)
            else:
                return self

    def wait_ready(self) -> "Program":
        """Wait until ``/readyz`` says 200."""
        deadline = time.monotonic() + START_TIMEOUT
        while (answer := self.get("/readyz")).status != 200:
            assert time.monotonic() < deadline, f"not ready: {answer.body}\n{self.tail()}"
            time.sleep(0.02)
        return self

    def get(self, path: str) -> Answer:
        """Ask the door."""
        try:
            with urllib.request.urlopen(self.url.rstrip("/") + path, timeout=10) as response:  # noqa: S310 - our own door
                return Answer(response.status, response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode())

    def send_signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout: float = 15.0) -> Ended:
        """Send a signal and wait for the end; killed if it does not come.

        Raises:
            AssertionError: it did not end by itself in time.
        """
        assert self.process is not None
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.arguments} still runs {timeout:g} s after {number.name}") from None
        return Ended(code, time.monotonic() - began)

    def kill(self) -> None:
        """End the process whatever it does; no error if it has ended."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def text(self) -> str:
        """Return all that it wrote."""
        return self.log_path.read_text("utf-8", "replace")

    def tail(self) -> str:
        """Return the last of what it wrote."""
        return self.text()[-4000:]

    def log(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Return its log's lines, each a JSON object; a line that is none fails the test.

        Args:
            after: as `mark` gave it.
        """
        with self.log_path.open("rb") as file:
            file.seek(after)
            whole = file.read().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]

    def mark(self) -> int:
        """Return a place in the log, for `log`."""
        return self.log_path.stat().st_size

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Give every sample of ``/metrics``: name, labels, value."""
        for family in text_string_to_metric_families(self.get("/metrics").body):
            for sample in family.samples:
                yield sample.name, sample.labels, sample.value

    def counted(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of that name with those labels; 0 where there is none."""
        return sum(
            value
            for found, carried, value in self.samples()
            if found == name and labels.items() <= carried.items()
        )

    async def logged(
        self,
        matches: Any,
        *,
        after: int = 0,
        timeout: float = 10.0,  # noqa: ASYNC109 - the failure shows the log
    ) -> dict[str, Any]:
        """Wait for a log line that matches, and return it."""
        with trio.move_on_after(timeout):
            while True:
                for line in self.log(after=after):
                    if matches(line):
                        return line
                await trio.sleep(0.02)
        raise AssertionError(f"no such log line; the log has {self.log(after=after)[-8:]}")

    async def reaches(self, target: float, name: str, *, timeout: float = 10.0, **labels: str) -> None:  # noqa: ASYNC109 - see logged
        """Wait until a counter is at least that high."""
        with trio.move_on_after(timeout):
            while await trio.to_thread.run_sync(lambda: self.counted(name, **labels)) < target:  # noqa: ASYNC110
                await trio.sleep(0.02)  # another process sets no event
            return
        family = [s for s in self.samples() if s[0].startswith(name[:9])]
        raise AssertionError(f"{name}{labels} did not reach {target:g}; there are {family}")
