"""What a visit of the page needs: a Flux of its own, and an ear for the browser's complaints."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from confluent_kafka import Producer
from playwright.sync_api import ConsoleMessage, Error, Page

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 30.0
"""Seconds for the door to open on a loaded machine; it takes about one."""


@define(eq=False)
class Flux:
    """One ``flux run`` as a process of its own.

    Args:
        directory: for the runtime file and the log.
        port: the first start takes a free one, further ones the same again.
        settings: variables of the environment, without ``FLUX_``.
    """

    directory: Path
    port: int = 0
    settings: Mapping[str, str] = field(factory=dict)
    url: str = ""
    bootstrap_servers: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait for its door; fails with its log."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLUX_")}
        ours = {"RUNTIME_DIR": str(self.directory), "SIMULATION__SEED": "1", **self.settings}
        log = self.directory / "log"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flux", "run", "--port", str(self.port)],
                cwd=ROOT,
                env=inherited | {f"FLUX_{name}": value for name, value in ours.items()},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while self.process.poll() is None and time.monotonic() < deadline:
            file = self.directory / "flux.json"
            if file.exists() and (running := json.loads(file.read_bytes()))["pid"] == self.process.pid:
                self.url = running["url"].rstrip("/")
                self.port = int(self.url.rpartition(":")[2])
                self.bootstrap_servers = running["bootstrap_servers"]
                return
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"flux run opened no door:\n{log.read_text()[-4000:]}")

    def publish(self, topic: str, *payloads: Mapping[str, Any]) -> None:
        """Put events on its Kafka, as a service of another process would, taken now."""
        producer = Producer({"bootstrap.servers": self.bootstrap_servers, "linger.ms": 0, "log_level": 0})
        for payload in payloads:
            value = {**payload, "timestamp": datetime.now(UTC).isoformat()}
            producer.produce(topic, json.dumps(value).encode(), b"page")
        assert producer.flush(10) == 0

    def stop(self) -> None:
        """Ask it to end; kill it where it does not."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def complaints_of(page: Page) -> list[str]:
    """Return a list that will collect script errors, refused loads and console errors."""
    lines: list[str] = []

    def script_error(error: Error) -> None:
        lines.append(str(error))

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            lines.append(message.text)

    page.on("pageerror", script_error)
    page.on("console", console)
    return lines
