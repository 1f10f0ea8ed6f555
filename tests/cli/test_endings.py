"""How commands end when a person ends them: Ctrl-C, and a pipe that nobody reads any more."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from program import Program

NEWS = "news.service.event.updated"


def start(directory: Path, *arguments: str, out: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start a command beside what runs in that directory."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLUX_")}
    return subprocess.Popen(
        [sys.executable, "-m", "flux", *arguments],
        env=inherited | {"FLUX_RUNTIME_DIR": str(directory), "FLUX_HTTP__PORT": "0"},
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",),
        ("doctor", "--json"),
        ("topics",),
        ("topics", "--json"),
        ("topics", "acls"),
        ("tail", NEWS, "--no-follow"),
        ("tail", "crypto.ticker.event.updated", "--from", "0"),
        ("replay", NEWS),
    ],
    ids=" ".join,
)
def test_a_closed_pipe_ends_a_command_in_silence(running: Program, arguments: tuple[str, ...]) -> None:
    """As `flux doctor | head -1`: exit code 0, nothing on standard error."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with start(running.directory, *arguments, out=writer) as process:
            _, complaint = process.communicate(timeout=30)
    finally:
        os.close(writer)
    assert (process.returncode, complaint) == (0, "")


def test_ctrl_c_ends_an_examination_under_way(tmp_path: Path) -> None:
    """Within the time of one check, though Kafka's answer is waited for; 130, and no traceback."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        with start(tmp_path, "doctor", "--bootstrap-servers", server) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ok       settings")
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate(timeout=10)
    assert (process.returncode, complaint) == (130, "")


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_a_host_name_that_cannot_be_one_is_told_in_a_line(tmp_path: Path, command: str) -> None:
    """As the door's address, and as Kafka's."""
    for option in (("--host", "a..b"), ("--bootstrap-servers", "a..b:9092")):
        with start(tmp_path, command, *option) as process:
            answer, complaint = process.communicate(timeout=30)
        assert process.returncode == (1 if command == "doctor" else 2)
        (line,) = (answer + complaint).splitlines()
        assert "http.host" in line or "kafka.bootstrap_servers" in line
