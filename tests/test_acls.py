"""The access control that Flux asks Kafka for is what the contract says, and nothing more."""

import pytest

from flux.acls import Grant, command, grants
from flux.domains.registry import ALL_TOPICS, DOMAINS

GRANTS = grants(DOMAINS)


def test_each_topic_has_one_writer_and_one_reader() -> None:
    """The producer writes, the consumer reads, nobody else appears."""
    for topic in ALL_TOPICS:
        found = {(g.principal, g.operations) for g in GRANTS if (g.kind, g.name) == ("topic", topic.name)}
        assert found == {(topic.producer, ("Write", "Describe")), (topic.consumer, ("Read", "Describe"))}


@pytest.mark.parametrize("role", [d.name for d in DOMAINS])
def test_a_service_has_its_own_group_alone(role: str) -> None:
    """No service can commit in the name of another."""
    assert [g.name for g in GRANTS if g.principal == role and g.kind == "group"] == [f"flux.{role}"]


def test_nobody_may_create_or_administer() -> None:
    """Creating topics is a person's business."""
    assert {operation for g in GRANTS for operation in g.operations} == {"Read", "Write", "Describe"}


def test_a_grant_is_a_command_of_kafkas_own_tool() -> None:
    """The line can be pasted as it is."""
    grant = Grant("weather", "topic", "weather.service.event.updated", ("Write", "Describe"))
    assert command(grant, "kafka:9092") == (
        "kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:flux-weather"
        " --operation Write --operation Describe --topic weather.service.event.updated"
    )
