"""Systems under test: a Flux in one of its shapes over one of its brokers; one is up at a time."""

import itertools
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from confluent_kafka.admin import AdminClient
from kafka_watch import TOPICS, KafkaWatch
from program import Program

EMBEDDED, KAFKA = "embedded", "kafka"
RUN, ROLES, ALONE = "run", "roles", "alone"
SERVICES = ("weather", "crypto", "news", "stock")

SIMULATION = {"SIMULATION__SEED": "1", "SIMULATION__TICKER_RATE": "20"}
"""Settings of every system: the simulated providers repeat themselves, and the ticker is heard well."""


@define(eq=False)
class System:
    """A running Flux, and the onlooker on its Kafka.

    Args:
        broker: embedded or kafka.
        shape: run (one process), roles (five), or alone (the BFF, scheduler off; tests play the services).
        programs: its processes; the first has the door.
        watch: sees every record.
    """

    broker: str
    shape: str
    programs: list[Program]
    watch: KafkaWatch

    @property
    def bff(self) -> Program:
        """The process with the door."""
        return self.programs[0]

    @property
    def url(self) -> str:
        """Of the door."""
        return self.bff.url

    def stop(self) -> None:
        """End everything, the services first, as an operator would."""
        self.watch.stop()
        for program in reversed(self.programs):
            if program.process is not None and program.process.poll() is None:
                program.send_signal(signal.SIGTERM)
        for program in reversed(self.programs):
            try:
                program.stop()
            finally:
                program.kill()


@define(eq=False)
class Systems:
    """Starts systems; at most one is up, as all of them use the contract's topic names."""

    directory: Path
    bootstrap_servers: Callable[[], str]
    _numbers: Any = field(factory=itertools.count)
    _up: System | None = None

    def shared(self, broker: str, shape: str) -> System:
        """Return the running system of that kind, or start it."""
        up = self._up
        if up is None or (up.broker, up.shape) != (broker, shape):
            return self.fresh(broker, shape)
        # A test may have left a process dead; the next one gets a whole system all the same.
        alive = all(p.process is not None and p.process.poll() is None for p in up.programs)
        return up if alive else self.fresh(broker, shape)

    def fresh(self, broker: str, shape: str) -> System:
        """Stop what runs, and start a system whose topics are empty."""
        self.stop()
        directory = self.directory / f"{next(self._numbers)}-{broker}-{shape}"
        directory.mkdir()
        settings = dict(SIMULATION)
        if broker == KAFKA:
            settings["KAFKA__BOOTSTRAP_SERVERS"] = self.bootstrap_servers()
            delete_topics(self.bootstrap_servers())
        programs: list[Program] = []
        try:
            if shape == RUN:
                programs.append(Program(("run", "--port", "0"), directory, settings).start())
            else:
                door = settings | ({"BFF__SCHEDULER": "false"} if shape == ALONE else {})
                programs.append(Program(("bff", "--port", "0"), directory, door).start())
            programs[0].wait_open()
            if shape == ROLES:
                programs.extend(Program(("service", name), directory, settings).start() for name in SERVICES)
            programs[0].wait_ready()
            watch = KafkaWatch(programs[0].bootstrap_servers).start()
        except BaseException:
            for program in programs:
                program.kill()
            raise
        self._up = System(broker, shape, programs, watch)
        return self._up

    def stop(self) -> None:
        """Stop what runs."""
        if self._up is not None:
            system, self._up = self._up, None
            system.stop()


def delete_topics(bootstrap_servers: str) -> None:
    """Make a real Kafka as new: without any of the contract's topics."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    deadline = time.monotonic() + 30
    while there := [t for t in TOPICS if t in admin.list_topics(timeout=10).topics]:
        assert time.monotonic() < deadline, f"Kafka does not delete {there}"
        for outcome in admin.delete_topics(there).values():
            outcome.exception(10)  # gone already is as good
        time.sleep(0.05)
