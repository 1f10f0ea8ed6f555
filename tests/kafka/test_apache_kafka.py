"""The real Kafka that other tests use: it never outlives the test run."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """\
import sys, time
from pathlib import Path
from apache_kafka import ApacheKafka
print(ApacheKafka(Path(sys.argv[1]), Path(sys.argv[2])).start().port, flush=True)
time.sleep(60)
"""


@pytest.mark.kafka
def test_a_node_ends_with_a_test_run_that_is_killed(kafka_jars: Path, tmp_path: Path) -> None:
    """Also when no fixture gets to stop it."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(kafka_jars), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # the helpers' folders are on it
    ) as run:
        assert run.stdout is not None
        address = ("127.0.0.1", int(run.stdout.readline()))
        socket.create_connection(address, 5).close()
        run.kill()
    deadline = time.monotonic() + 10
    with pytest.raises(ConnectionRefusedError):  # noqa: PT012 - until it is gone
        while time.monotonic() < deadline:
            socket.create_connection(address, 5).close()
            time.sleep(0.05)
