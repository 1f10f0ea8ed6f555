"""A real Kafka that asks for TLS and a password: settings are passed through, a wrong one is explained."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_kafka import PASSWORD, USER, ApacheKafka
from program import Program

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def secure_kafka(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A node of its own with a second, secure port."""
    with ApacheKafka(kafka_jars, tmp_path_factory.mktemp("secure"), secure=True) as kafka:
        yield kafka


def program(kafka: ApacheKafka, directory: Path, password: str) -> Program:
    """`flux run` that reaches it by a settings file; the password comes by the environment."""
    (directory / "flux.toml").write_text(f"""
        [kafka]
        bootstrap_servers = "{kafka.secure_servers}"
        """)
    config = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": USER,
        "sasl.password": password,
        "ssl.ca.location": str(kafka.certificate),
    }
    settings = {"SETTINGS": str(directory / "flux.toml"), "KAFKA__CONFIG": json.dumps(config)}
    return Program(("run", "--port", "0"), directory, settings)


def test_flux_runs_on_a_kafka_with_tls_and_a_password(secure_kafka: ApacheKafka, tmp_path: Path) -> None:
    """Every client of the process gets the settings: topics are created, commands and events flow."""
    flux = program(secure_kafka, tmp_path, PASSWORD)
    try:
        flux.start().wait_open().wait_ready()
        assert flux.stop().code == 0
    finally:
        flux.kill()
    assert PASSWORD not in flux.text()


def test_a_wrong_password_is_named_and_stops_nothing(secure_kafka: ApacheKafka, tmp_path: Path) -> None:
    """The door is open, readiness says why it is not ready, and no password is in the log."""
    flux = program(secure_kafka, tmp_path, "not-the-password")
    try:
        flux.start().wait_open()
        answer = flux.get("/readyz")
        assert answer.status == 503
        assert "uthentication failed" in answer.json()["checks"]["kafka"]["reason"]
        assert flux.stop().code == 0
    finally:
        flux.kill()
    assert "not-the-password" not in flux.text()
