"""The registry: every domain of Flux, and the check that they fit together."""

from collections import Counter
from collections.abc import Iterable, Sequence

from flux.domains.crypto import CRYPTO
from flux.domains.domain import BFF, CommandTopic, Domain, Feed, SnapshotFeed
from flux.domains.news import NEWS
from flux.domains.stock import STOCK
from flux.domains.weather import WEATHER
from flux.errors import LocalError
from flux.transport.kafka.bus import Topic

DOMAINS: tuple[Domain, ...] = (
    WEATHER,
    CRYPTO,
    NEWS,
    STOCK,
)


def check(domains: Sequence[Domain]) -> None:
    """Check that domains can live side by side.

    Args:
        domains: the descriptors.

    Raises:
        LocalError: two of them claim the same name, topic, room, or socket event; a topic has the wrong
            owner; a command is answered, or a request asks, on a feed that is not the domain's; a snapshot
            goes stale before its second refresh.
    """
    _unique("domain name", [*(d.name for d in domains), BFF])
    _unique("topic", (t.name for d in domains for t in d.topics))
    _unique("event", (e for d in domains for e in _socket_events(d)))
    rooms = {(d.name, room) for d in domains for room in {f.room for f in d.feeds}}
    _unique("room", (room for _, room in rooms))
    for domain in domains:
        _check_domain(domain)
        for feed in domain.feeds:
            if feed.located:
                others = (room for name, room in rooms if name != domain.name)
                _check_prefix(feed.room, others)
                own_and_others = (e for d in domains for e in _socket_events(d) if e != feed.event)
                _check_prefix(feed.event, own_and_others)


def _socket_events(domain: Domain) -> list[str]:
    return [*(f.event for f in domain.feeds), *(r.event for r in domain.requests)]


def _unique(what: str, names: Iterable[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise LocalError(f"{what} {twice[0]} is declared twice")


def _check_prefix(located: str, others: Iterable[str]) -> None:
    # A city is a stranger's text: whatever begins like the located name, some city could spell.
    prefix = located.partition("{city}")[0]
    for other in others:
        if not prefix or other.startswith(prefix):
            raise LocalError(f"{other} could be a city's {located}")


def _check_domain(domain: Domain) -> None:
    name = domain.name
    for command in domain.commands:
        _check_command(name, command, domain.feeds)
    for topic in (*(f.topic for f in domain.feeds), domain.rejected):
        if (topic.producer, topic.consumer) != (name, BFF):
            raise LocalError(f"event topic {topic.name} must go from {name} to {BFF}")
    for feed in domain.feeds:
        if ("{city}" in feed.event) != feed.located:
            raise LocalError(f"{feed.event} and {feed.room} must both be about a city, or neither")
    for request in domain.requests:
        _check_feed(domain, request.event, request.feed)
        if request.refresh is not None and request.refresh not in domain.commands:
            raise LocalError(f"{request.event} refreshes by a command that is not {name}'s")


def _check_command(name: str, command: CommandTopic, feeds: Sequence[Feed]) -> None:
    if (command.topic.producer, command.topic.consumer) != (BFF, name):
        raise LocalError(f"command topic {command.topic.name} must go from {BFF} to {name}")
    if command.answer not in feeds:
        raise LocalError(f"{command.topic.name} is answered on a feed that is not {name}'s")
    if command.located != command.answer.located:
        raise LocalError(f"{command.topic.name} and its answer must both be about a city, or neither")
    if command.answer.ttl < 2 * command.interval:
        raise LocalError(f"{command.topic.name}: the snapshot goes stale before its second refresh")


def _check_feed(domain: Domain, event: str, feed: SnapshotFeed) -> None:
    if feed not in domain.feeds or feed.located:
        raise LocalError(f"{event} must ask for a feed of {domain.name} that has one room")


check(DOMAINS)

ALL_TOPICS: tuple[Topic, ...] = tuple(topic for domain in DOMAINS for topic in domain.topics)
"""Every Kafka topic of Flux."""

TOPICS: dict[str, Topic] = {topic.name: topic for topic in ALL_TOPICS}
"""The same by name."""

OWNERS: dict[str, Domain] = {topic.name: domain for domain in DOMAINS for topic in domain.topics}
"""The domain of each topic, by the topic's name."""


def domain_named(name: str) -> Domain:
    """Return the domain of that name.

    Raises:
        LocalError: there is none; the text lists those there are.
    """
    for domain in DOMAINS:
        if domain.name == name:
            return domain
    raise LocalError(f"there is no domain {name!r}; there are {', '.join(d.name for d in DOMAINS)}")
