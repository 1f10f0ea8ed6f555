"""`flux doctor` as a person meets it: a line a check, what to do about each failure, the exit code."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port  # from tests/machine
from program import Program

from flux.domains.registry import ALL_TOPICS

Flux = Callable[..., subprocess.CompletedProcess[str]]

LOCAL = ["settings", "page", "port", "kafka", "topics"]


def findings(answer: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The findings by the name of their check, in order; nothing else is written."""
    assert answer.stderr == ""
    return {row["check"]: row for row in map(json.loads, answer.stdout.splitlines())}


@pytest.fixture
def stranger() -> Iterator[int]:
    """The port of a program that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


def test_where_nothing_runs_all_is_well(flux: Flux) -> None:
    """Without Kafka, keys or network the defaults work, and it says what starting would do."""
    answer = flux("doctor", "--json", "--port", str(free_port()))
    found = findings(answer)
    assert answer.returncode == 0
    assert [*found][: len(LOCAL)] == LOCAL
    assert {row["verdict"] for row in found.values()} == {"ok"}
    assert "starts its own broker" in found["kafka"]["found"]
    for domain in ("weather", "crypto", "news", "stock"):
        assert "simulated" in found[domain]["found"]


def test_beside_a_running_flux_it_finds_its_broker_and_its_door(flux: Flux, running: Program) -> None:
    """The broker and the topics are those of the running Flux, and its port is no stranger's."""
    port = running.url.rpartition(":")[2].strip("/")
    found = findings(flux("doctor", "--json", "--port", port, directory=running.directory))
    assert running.process is not None
    assert found["kafka"]["verdict"] == "ok"
    assert running.bootstrap_servers in found["kafka"]["found"]
    assert "embedded" in found["kafka"]["found"]
    assert found["kafka"]["seconds"] > 0
    assert f"all {len(ALL_TOPICS)} are there" in found["topics"]["found"]
    assert f"Flux itself, process {running.process.pid}" in found["port"]["found"]
    assert found["port"]["verdict"] == "ok"


def test_a_flux_that_the_runtime_file_does_not_name_is_known_by_its_answer(
    flux: Flux, running: Program
) -> None:
    """Another user's Flux on the port is a warning, not a failure."""
    port = running.url.rpartition(":")[2].strip("/")
    answer = flux("doctor", "--json", "--port", port)
    assert answer.returncode == 0
    assert findings(answer)["port"]["verdict"] == "warning"
    assert "another Flux" in findings(answer)["port"]["found"]


def test_a_port_of_another_program_is_a_failure_with_advice(flux: Flux, stranger: int) -> None:
    """It says so within seconds, though the other program never answers, and exits with 1."""
    answer = flux("doctor", "--json", "--port", str(stranger))
    row = findings(answer)["port"]
    assert answer.returncode == 1
    assert row["verdict"] == "failed"
    assert "another program" in row["found"]
    assert "--port" in row["advice"]


def test_an_address_that_this_machine_does_not_have_is_a_failure(flux: Flux) -> None:
    """TEST-NET-1 is nobody's (RFC 5737)."""
    row = findings(flux("doctor", "--json", "--host", "192.0.2.1"))["port"]
    assert (row["verdict"], row["found"]) == ("failed", "this machine has no address 192.0.2.1")
    assert "--host" in row["advice"]


def test_a_kafka_that_is_not_there_is_a_failure_at_once(flux: Flux) -> None:
    """Nothing listens: the reason is the machine's own, not a time-out."""
    server = f"127.0.0.1:{free_port()}"
    answer = flux("doctor", "--json", "--port", "0", "--bootstrap-servers", server)
    row = findings(answer)["kafka"]
    assert answer.returncode == 1
    assert row["verdict"] == "failed"
    assert "connection refused" in row["found"]
    assert "--bootstrap-servers" in row["advice"]
    assert row["seconds"] < 3


def test_a_wrong_setting_is_a_finding_and_no_other_check_runs(flux: Flux) -> None:
    """The finding is the loader's line: the setting, where it came from, what is allowed."""
    answer = flux("doctor", "--json", HTTP__PROT="1")
    assert answer.returncode == 1
    assert list(findings(answer)) == ["settings"]
    assert "FLUX_HTTP__PORT" in findings(answer)["settings"]["found"]


def test_settings_are_told_with_their_origin_and_secrets_only_as_set_or_not(
    flux: Flux, tmp_path: Path
) -> None:
    """From a file, a variable and an option; no key is shown, and no value of kafka.config."""
    config = tmp_path / "my.toml"
    config.write_text('[simulation]\nseed = 5\n[kafka]\nconfig = { "sasl.password" = "canary-2" }\n')
    answer = flux(
        *("doctor", "--json", "--config", str(config), "--port", "0"), PROVIDERS__FINNHUB_KEY="canary-1"
    )
    found = findings(answer)["settings"]["found"]
    assert f"simulation.seed (from {config})" in found
    assert "http.port (from the command line)" in found
    assert "providers.finnhub_key (from FLUX_PROVIDERS__FINNHUB_KEY)" in found
    assert "secrets set: kafka.config, providers.finnhub_key; not set: providers.coingecko_key" in found
    assert "canary" not in answer.stdout + answer.stderr


def test_for_people_it_is_a_line_a_check(flux: Flux) -> None:
    """Verdict first, advice last; a pipe gets no colours."""
    answer = flux("doctor", "--port", "0", "--bootstrap-servers", f"127.0.0.1:{free_port()}")
    lines = {line.split()[1]: line for line in answer.stdout.splitlines()}
    assert lines["port:"] == "ok       port: 0: Flux takes any that is free"
    assert lines["kafka:"].startswith("failed   kafka: nothing answers at 127.0.0.1:")
    assert " -> start Kafka there" in lines["kafka:"]
    assert "\x1b" not in answer.stdout
