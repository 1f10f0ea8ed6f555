"""The composition root: which services run in this process, in which order.

A role is composition only: ``flux run`` is the whole tree, ``flux bff`` and ``flux service NAME`` are parts
of it. Services start in the order in which they are listed here, each once the one before it is ready, and
stop in reverse: the door first, the broker last.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from attrs import frozen

import flux
from flux.banner import Banner, modes
from flux.bff import Bff
from flux.domains.domain import BFF, Domain, ServiceContext
from flux.domains.registry import ALL_TOPICS, DOMAINS, domain_named
from flux.domains.sources import Board
from flux.errors import BrokenError
from flux.nurseries import Child, Intensity, Kind, Supervisor, run_root
from flux.runtime import Running, default_runtime_dir, find
from flux.services import Announcement, DoorService, LocalBroker, TopicCreation
from flux.settings import Settings
from flux.site import Check, Site
from flux.transport.door import Door
from flux.transport.http_mount import Limits
from flux.transport.kafka.bus import Topic
from flux.transport.kafka.confluent import ConfluentBus
from flux.transport.kafka.embedded import EmbeddedBroker
from flux.transport.socket_io import Server
from flux.web import load_page


async def run_all(settings: Settings) -> int:
    """Run everything in this process until a signal; return the exit code.

    Raises:
        PortError: the door cannot listen where the settings say.
    """
    return await _run_door(settings, _given(settings), DOMAINS)


async def run_bff(settings: Settings) -> int:
    """Run the BFF and its door until a signal; host the embedded broker where no other Kafka is known.

    Raises:
        PortError: the door cannot listen where the settings say.
    """
    return await _run_door(settings, _given(settings) or _local(settings), ())


async def run_service(settings: Settings, name: str) -> int:
    """Run one domain's service until a signal, over the settings' Kafka or the one of this machine."""
    domain = domain_named(name)
    board = Board()

    def parts(kafka: Kafka) -> Supervisor:
        bus = _bus(settings, kafka, domain.topics)
        return Supervisor(
            "flux", [*_kafka_children(bus, kafka), *_domain_children(settings, bus, [domain], board)]
        )

    given = _given(settings)
    if given is not None:
        return await _run(settings, parts(given))
    here = LocalBroker(_runtime_dir(settings), lambda running: parts(Kafka.of(running)))
    return await _run(settings, Supervisor("flux", [Child(name, here)], intensity=Intensity(crashes=None)))


def bus_of_this_machine(settings: Settings) -> ConfluentBus:
    """Return a bus, not running, to the settings' Kafka or the one that runs on this machine.

    Raises:
        BrokenError: neither is known; the text says what to start.
    """
    kafka = _given(settings) or _local(settings)
    if kafka is None:
        raise BrokenError("no Flux runs on this machine; start `flux run`, or give --bootstrap-servers")
    return _bus(settings, kafka, ALL_TOPICS)


def running_here(settings: Settings) -> Running | None:
    """Return the Flux that runs on this machine, if it has a door and this user may know."""
    return find(_runtime_dir(settings))


def bus_at(settings: Settings, bootstrap_servers: str) -> ConfluentBus:
    """Return a bus, not running, to another Kafka, which is reached as the settings' one (TLS, SASL)."""
    return _bus(settings, Kafka(bootstrap_servers), ALL_TOPICS)


@frozen
class Kafka:
    """The Kafka of a process.

    Args:
        bootstrap_servers: ``host:port[,host:port]``.
        embedded: it is librdkafka's mock cluster, of this process or another of this machine.
        host: the broker, where this process hosts it.
    """

    bootstrap_servers: str
    embedded: bool = False
    host: EmbeddedBroker | None = None

    @classmethod
    def of(cls, running: Running) -> "Kafka":
        """Return the Kafka that another process uses."""
        return cls(running.bootstrap_servers, running.embedded)


def _given(settings: Settings) -> Kafka | None:
    servers = settings.kafka.bootstrap_servers
    return Kafka(servers) if servers else None


def _local(settings: Settings) -> Kafka | None:
    running = running_here(settings)
    return Kafka.of(running) if running else None


def _hosted() -> Kafka:
    host = EmbeddedBroker().start()
    return Kafka(host.bootstrap_servers, embedded=True, host=host)


async def _run_door(settings: Settings, known: Kafka | None, domains: Sequence[Domain]) -> int:
    """Run a process that has a door: BFF, page, and the services of those domains."""
    server = _server(settings)
    # Half of the whole deadline, so that what stops after the door has time to commit and flush.
    door_stop = settings.supervisor.drain_deadline / 2
    checks: list[Callable[[], Check]] = []
    board = Board()
    site = Site(load_page(), lambda: [check() for check in checks], board.rows)
    door = DoorService(
        settings.http.host,
        settings.http.port,
        lambda: Door(
            app=site,
            mounts={server.path: server.engine},
            limits=Limits(
                stop_seconds=door_stop,
                connections_per_address=settings.http.connections_per_address or None,
            ),
            trusted_proxies=settings.http.trusted_proxies,
        ),
    )
    await door.listen()  # before all else: a taken port is known at once
    kafka = known or _hosted()
    bus = _bus(settings, kafka, ALL_TOPICS)
    bff = Bff(server, bus.client(BFF), DOMAINS, settings.bff, bus_status=lambda: bus.status)
    announcement = Announcement(
        _runtime_dir(settings),
        Running(os.getpid(), door.url, kafka.bootstrap_servers, kafka.embedded),
        Banner(
            version=flux.__version__,
            url=door.url,
            broker=f"{kafka.bootstrap_servers} (embedded, in memory)"
            if kafka.embedded
            else kafka.bootstrap_servers,
            providers=modes(settings.providers, [domain.name for domain in domains]),
            runs=(*(domain.name for domain in domains), BFF),
        ),
    )
    checks += [
        lambda: Check("kafka", bus.status.connected, bus.status.reason),
        lambda: Check("bff", bff.status.caught_up, "its snapshots are not yet rebuilt from Kafka"),
        lambda: Check("serving", announcement.up, "starting or stopping"),
    ]
    tree = Supervisor(
        "flux",
        [
            *_kafka_children(bus, kafka),
            *_domain_children(settings, bus, domains, board),
            Child("bff", bff.run),
            Child("door", door.run, shutdown_deadline=door_stop + 1),
            Child("announcement", announcement.run),
        ],
    )
    return await _run(settings, tree)


async def _run(settings: Settings, tree: Supervisor) -> int:
    return (await run_root(tree, drain_deadline=settings.supervisor.drain_deadline)).code


def _runtime_dir(settings: Settings) -> Path:
    return settings.runtime_dir or default_runtime_dir()


def _bus(settings: Settings, kafka: Kafka, topics: Iterable[Topic]) -> ConfluentBus:
    return ConfluentBus(
        topics,
        bootstrap_servers=kafka.bootstrap_servers,
        config=settings.kafka.config,
        embedded=kafka.embedded,
        broker=kafka.host,
        message_timeout=settings.kafka.message_timeout,
    )


def _server(settings: Settings) -> Server:
    http = settings.http
    return Server(
        ping_interval=http.ping_interval,
        ping_timeout=http.ping_timeout,
        max_payload=http.max_payload,
        cors_origins=http.allowed_origins,
        outbox_limit=http.outbox_limit,
    )


def _kafka_children(bus: ConfluentBus, kafka: Kafka) -> list[Child]:
    return [
        *([Child("broker", kafka.host.run)] if kafka.host else []),
        Child("bus", bus.run),
        Child("topics", TopicCreation(bus).run, kind=Kind.TRANSIENT),
    ]


def _domain_children(
    settings: Settings, bus: ConfluentBus, domains: Sequence[Domain], board: Board
) -> list[Child]:
    if not domains:
        return []
    services = [
        Child(
            domain.name,
            domain.service(
                ServiceContext(
                    client=bus.client(domain.name),
                    simulation=settings.simulation,
                    providers=settings.providers,
                    board=board,
                )
            ),
        )
        for domain in domains
    ]
    # Never given up: a domain that cannot run must not take the others, or the door, with it.
    return [Child("domains", Supervisor("domains", services, intensity=Intensity(crashes=None)))]
