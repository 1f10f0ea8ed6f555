"""The command line as a person meets it: help, one-line errors, topics, tail."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from confluent_kafka import Producer
from program import Program
from systems import delete_topics

from flux.domains.registry import ALL_TOPICS

Flux = Callable[..., subprocess.CompletedProcess[str]]
NEWS = "news.service.event.updated"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--help",),
        ("run", "-h"),
        ("bff", "-h"),
        ("service", "-h"),
        ("topics", "-h"),
        ("tail", "-h"),
        ("replay", "-h"),
        ("doctor", "-h"),
    ],
)
def test_help_explains_every_command(flux: Flux, arguments: tuple[str, ...]) -> None:
    """Each command says what it does and what its options mean."""
    answer = flux(*arguments)
    text = answer.stdout + answer.stderr
    assert "Usage:" in text
    assert len(text.splitlines()) > 5
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "settings", "expected"),
    [
        (("run", "--port", "99999"), {}, "http.port = 99999"),
        (("run",), {"HTTP__PROT": "1"}, "FLUX_HTTP__PORT"),
        (("run",), {"SIMULATION__TICKER_RATE": "fast"}, "simulation.ticker_rate = fast"),
        (("run", "--bootstrap-servers", "nowhere"), {}, "kafka.bootstrap_servers = 'nowhere'"),
        (("run", "--config", "missing.toml"), {}, "missing.toml"),
        (("run", "--providers", "reel"), {}, "'auto'"),
        (("run",), {"PROVIDERS__FINNHUB_KEY_FILE": "/missing"}, "/missing: No such file"),
        (("service", "sports"), {}, "weather"),
        (("tail", NEWS, "--from", "yesterday"), {}, "ISO time"),
        (("tail", NEWS, "--from", "100001"), {}, "100000"),
        (("replay", NEWS, "--limit", "0"), {}, "--limit"),
        (("replay", NEWS, "--to", "nowhere"), {}, "host:port"),
        (("replay", NEWS, "--to", ""), {}, "host:port"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    flux: Flux, arguments: tuple[str, ...], settings: dict[str, str], expected: str
) -> None:
    """The line names the setting, its value and what is allowed; there is no traceback."""
    answer = flux(*arguments, **settings)
    assert answer.returncode == 2
    assert expected in answer.stderr
    assert len([line for line in answer.stderr.splitlines() if line.startswith("Error")]) == 1
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("command", [("topics",), ("tail", NEWS), ("replay", NEWS)])
def test_where_nothing_runs_the_error_says_what_to_start(flux: Flux, command: tuple[str, ...]) -> None:
    """One line, exit code 1."""
    answer = flux(*command)
    assert answer.returncode == 1
    assert (
        answer.stderr.strip()
        == "Error: no Flux runs on this machine; start `flux run`, or give --bootstrap-servers"
    )


def test_topics_lists_every_declared_topic(flux: Flux, running: Program) -> None:
    """Owner, consumer and partitions of all 15, from the running Flux's broker."""
    answer = flux("topics", "--json", directory=running.directory)
    rows = {row["topic"]: row for row in map(json.loads, answer.stdout.splitlines())}
    assert set(rows) == {topic.name for topic in ALL_TOPICS}
    for topic in ALL_TOPICS:
        row = rows[topic.name]
        assert (row["producer"], row["consumer"]) == (topic.producer, topic.consumer)
        assert (row["partitions"], row["exists"]) == (topic.partitions, True)


def test_topics_for_people_cuts_no_name(flux: Flux, running: Program) -> None:
    """A pipe has no width; every name stands whole."""
    text = flux("topics", directory=running.directory).stdout
    assert all(topic.name in text for topic in ALL_TOPICS)


def test_topics_acls_needs_no_kafka(flux: Flux) -> None:
    """The commands come from the descriptors alone, with the servers that were given."""
    lines = flux("topics", "acls", "--bootstrap-servers", "kafka:9092").stdout.splitlines()
    assert len(lines) == 2 * len(ALL_TOPICS) + 5
    assert all(line.startswith("kafka-acls.sh --bootstrap-server kafka:9092 --add ") for line in lines)


@pytest.mark.kafka
def test_topics_create_makes_those_that_are_missing(flux: Flux, request: pytest.FixtureRequest) -> None:
    """On a Kafka that has none: all are missing, then all are created, and a second time none is."""
    kafka = request.getfixturevalue("apache_kafka")
    delete_topics(kafka.bootstrap_servers)
    common = ("--json", "--bootstrap-servers", kafka.bootstrap_servers)

    def count(field: str, *arguments: str) -> int:
        answer = flux(*arguments, *common)
        assert answer.returncode == 0, answer.stderr
        return sum(json.loads(line)[field] for line in answer.stdout.splitlines())

    assert count("exists", "topics") == 0
    assert count("created", "topics", "create") == len(ALL_TOPICS)
    assert count("created", "topics", "create") == 0


def test_tail_shows_the_last_records_in_order(flux: Flux, running: Program) -> None:
    """The asked-for number of records, oldest first, and then it ends if it is not to follow."""
    produce(running, *(f'{{"status":"success","data":[],"n":{n}}}'.encode() for n in range(5)))
    answer = flux("tail", NEWS, "--from", "3", "--no-follow", "--json", directory=running.directory)
    assert [json.loads(line)["value"]["n"] for line in answer.stdout.splitlines()] == [2, 3, 4]


def test_tail_shows_rubbish_without_harm_to_the_terminal(flux: Flux, running: Program) -> None:
    """Control characters and bad UTF-8 are replaced; a tombstone is named."""
    produce(running, b"\x1b[2J\xff\n", None)
    answer = flux("tail", NEWS, "--from", "2", "--no-follow", directory=running.directory)
    first, second = answer.stdout.splitlines()
    assert first.endswith("\ufffd[2J\ufffd\ufffd")
    assert second.endswith("(tombstone)")


def test_tail_of_an_unknown_topic_says_where_the_names_are(flux: Flux, running: Program) -> None:
    """One line that points to `flux topics`."""
    answer = flux("tail", "no.such.topic", directory=running.directory)
    assert (answer.returncode, answer.stderr.strip()) == (
        1,
        "Error: there is no topic 'no.such.topic'; `flux topics` lists them",
    )


def test_tail_follows_until_it_is_interrupted(running: Program) -> None:
    """What comes is shown as it comes; Ctrl-C ends it without a traceback."""
    environment = os.environ | {"FLUX_RUNTIME_DIR": str(running.directory)}
    with subprocess.Popen(
        [sys.executable, "-m", "flux", "tail", "crypto.ticker.event.updated", "--from", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert '"type":"ticker"' in process.stdout.readline()
        process.send_signal(2)
        assert process.wait(10) == 130
        assert "Traceback" not in process.stderr.read()


def produce(program: Program, *values: bytes | None) -> None:
    """Put records into the news topic, past every check."""
    producer = Producer({"bootstrap.servers": program.bootstrap_servers})
    for value in values:
        producer.produce(NEWS, value)
    assert producer.flush(10) == 0
