"""The servers under test: how each is built, started on its core, and ended."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

CORE = 0
"""Where the server runs, whichever it is."""
PEERS = Path(__file__).parent / "peers"
START_SECONDS = 20.0
STOP_SECONDS = 3.0

FLUX = "flux"
NODE = "node"
UVICORN = "uvicorn"
AIOHTTP = "aiohttp"
LIMIT_PY = "limit-py"
LIMIT_C = "limit-c"

TITLES = {
    FLUX: "Flux",
    NODE: "Node socket.io",
    UVICORN: "python-socketio, uvicorn",
    AIOHTTP: "python-socketio, aiohttp",
    LIMIT_PY: "limit, plain Python",
    LIMIT_C: "limit, C",
}
"""By name, in the order of the table's columns."""


class ServerError(Exception):
    """A server cannot be built or does not start."""


@frozen
class Running:
    """A server that accepts connections.

    Args:
        pid: of its process.
        port: of 127.0.0.1.
    """

    pid: int
    port: int


def install_node_peer() -> None:
    """Install socket.io beside its server, from the lock file.

    Raises:
        ServerError: npm is missing or failed.
    """
    lock, installed = PEERS / "package-lock.json", PEERS / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise ServerError("npm is needed for the Node server (or leave it out: --servers)")
    answer = subprocess.run([npm, "ci"], cwd=PEERS, capture_output=True, text=True, check=False)  # noqa: S603 - found on PATH
    if answer.returncode:
        raise ServerError(f"npm ci failed: {answer.stderr.strip()}")


def command(name: str, folder: Path, port: int) -> list[str]:
    """Return what starts a server.

    Args:
        name: one of `TITLES`.
        folder: where compiled programs are.
        port: to listen on.
    """
    programs = {
        FLUX: [sys.executable, "-m", "bench.peers.flux_sio"],
        NODE: ["node", str(PEERS / "node_sio.js")],
        UVICORN: [sys.executable, str(PEERS / "py_sio_asgi.py")],
        AIOHTTP: [sys.executable, str(PEERS / "py_sio_aiohttp.py")],
        LIMIT_PY: [sys.executable, str(PEERS / "limit_py.py")],
        LIMIT_C: [str(folder / "limit")],
    }
    return [*programs[name], str(port)]


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Running]:
    """Start a server on its core, and end it with the block.

    Raises:
        ServerError: it does not accept connections in time; with what it said.
    """
    port = free_port()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command(name, folder, port),
            cwd=PEERS.parents[1],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            preexec_fn=lambda: os.sched_setaffinity(0, {CORE}),  # noqa: PLW1509 - no threads here
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    text = said.read()[-2000:].decode(errors="replace").strip()
                    raise ServerError(f"{name} does not start: {text}")
                time.sleep(0.02)
            time.sleep(0.2)  # what it does lazily after the first connection is not its load
            yield Running(process.pid, port)
        finally:
            # Not in order: with thousands of clients gone at once an ordered end only costs time.
            process.kill()
            process.wait(STOP_SECONDS)


def answers(port: int) -> bool:
    """Whether something accepts connections on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
