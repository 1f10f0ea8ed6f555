"""Kafka's access control for Flux (pure): who may do what, as commands of Kafka's own tool.

One principal a role, named ``flux-<role>``. What is granted is exactly what the bus enforces in code; an
idempotent producer needs no more than Write on its topics (Kafka 2.8 and later, KIP-679).
"""

from collections.abc import Iterable

from attrs import frozen

from flux.domains.domain import BFF, Domain
from flux.transport.kafka.bus import Topic


@frozen
class Grant:
    """What one principal may do with one resource.

    Args:
        principal: the role's name: ``bff``, ``weather``.
        kind: ``topic`` or ``group``.
        name: of the resource.
        operations: Kafka's names for them.
    """

    principal: str
    kind: str
    name: str
    operations: tuple[str, ...]


def grants(domains: Iterable[Domain]) -> list[Grant]:
    """Return every grant that Flux needs, by role.

    Topics are created by whoever runs ``flux topics create``, so no role may create any.
    """
    domains = list(domains)
    topics = [topic for domain in domains for topic in domain.topics]
    found = []
    for role in (BFF, *(domain.name for domain in domains)):
        found += [_topic(role, topic) for topic in topics if role in (topic.producer, topic.consumer)]
        # The BFF reads by assignment: its group is only a name, and nothing is committed to it.
        found.append(
            Grant(role, "group", f"flux.{role}.follower" if role == BFF else f"flux.{role}", ("Read",))
        )
    return found


def _topic(role: str, topic: Topic) -> Grant:
    operation = "Write" if topic.producer == role else "Read"
    return Grant(role, "topic", topic.name, (operation, "Describe"))


def command(grant: Grant, bootstrap_servers: str) -> str:
    """Return the command line that makes a grant."""
    operations = " ".join(f"--operation {operation}" for operation in grant.operations)
    return (
        f"kafka-acls.sh --bootstrap-server {bootstrap_servers} --add"
        f" --allow-principal User:flux-{grant.principal} {operations} --{grant.kind} {grant.name}"
    )
