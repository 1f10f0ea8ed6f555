"""The services of a process that belong to no layer below: topic creation, the door, the announcement."""

import errno
import sys
from collections.abc import Callable
from pathlib import Path

import structlog
import trio
from attrs import define, field
from rich.console import Console

from flux.banner import Banner
from flux.errors import BrokenError, FluxError
from flux.nurseries import Node, State, Supervisor
from flux.runtime import Running, announce, find, withdraw
from flux.transport.door import Door
from flux.transport.kafka.bus import Bus

log = structlog.get_logger("flux.app")

BROKER_GRACE = 3.0
"""Seconds that the start waits for Kafka before it goes on without it."""

RUNTIME_POLL = 0.5
"""Seconds between two looks at the runtime file."""


class PortError(FluxError):
    """The door cannot listen where it was told to."""


class BrokerMovedError(BrokenError):
    """The broker of this machine is gone, or another one has taken its place."""


@define(eq=False)
class TopicCreation:
    """Creates the declared topics that are missing, then ends (a transient child).

    Ready once they are there, or once the broker has had its chance: a Kafka that is away holds nothing up.

    Args:
        bus: knows the topics; says in the log when the broker is away.
        grace: seconds the broker has.
    """

    bus: Bus
    grace: float = BROKER_GRACE

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Create the topics as soon as the broker answers.

        Raises:
            BrokenError: it answered and refused; a restart tries again.
        """
        with trio.move_on_after(self.grace) as patience:
            await self._create()
        task_status.started()
        if patience.cancelled_caught:
            await self._create()

    async def _create(self) -> None:
        await self.bus.wait_connected()
        await self.bus.create_topics()


@define(eq=False)
class DoorService:
    """The door as a child: it listens before the tree starts, and a restart opens a new one on the same port.

    Args:
        host: name or address to listen on.
        port: 0 takes a free one, and keeps it over restarts.
        make: makes a door that does not listen yet.
    """

    host: str
    port: int
    make: Callable[[], Door]
    _door: Door | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the door."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.port}"

    async def listen(self) -> None:
        """Take the port.

        Raises:
            PortError: it cannot be had; the text says what to do.
        """
        door = self.make()
        try:
            await door.listen(self.host, self.port)
        except OSError as error:
            raise PortError(port_problem(self.host, self.port, error)) from None
        except UnicodeError:
            raise PortError(f"{self.host!r} is no host name; choose another with --host") from None
        self.port = door.addresses[0][1]
        self._door = door

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; then the door stops in order."""
        if self._door is None:
            await self.listen()
        assert self._door is not None  # noqa: S101 - listen() made it or raised
        try:
            await self._door.serve(task_status=task_status)
        finally:
            self._door = None


def port_problem(host: str, port: int, error: OSError) -> str:
    """Return why a door cannot listen there, and, behind a semicolon, what to do."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} on {host} is taken; stop the other program or choose another with --port"
        case errno.EACCES:
            return f"port {port} needs more rights than this user has; choose one above 1023 with --port"
        case errno.EADDRNOTAVAIL:
            return f"this machine has no address {host}; choose another with --host"
        case _:
            return f"cannot listen on {host}:{port}: {error.strerror or error}; see --host and --port"


@define(eq=False)
class Announcement:
    """Tells people and other processes that this one is up, and takes it back when it stops.

    Another process's announcement is left alone: the first on a machine is the one that others find.

    Args:
        directory: of the runtime file.
        running: what it says.
        banner: what people read.
    """

    directory: Path
    running: Running
    banner: Banner
    up: bool = field(default=False, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Announce, wait until cancelled, withdraw."""
        if find(self.directory) is None:
            try:
                announce(self.directory, self.running)
            except OSError as error:
                log.warning(
                    "runtime file not written; other processes will not find this one",
                    directory=str(self.directory),
                    reason=error.strerror,
                )
        self.up = True
        if sys.stderr.isatty():
            self.banner.show(Console(stderr=True))
        else:
            log.info("flux is running", **{label.lower(): fact for label, fact in self.banner.lines})
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.up = False
            withdraw(self.directory)


@define(eq=False)
class LocalBroker:
    """Runs a supervisor over whichever broker this machine's runtime file names, and moves when that moves.

    Args:
        directory: of the runtime file.
        make: makes the supervisor, from what runs.
    """

    directory: Path
    make: Callable[[Running], Supervisor]
    _parts: Supervisor | None = field(default=None, init=False)

    async def __call__(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Wait for a broker, then run on it.

        Raises:
            BrokerMovedError: it went; a restart waits for the next one.
        """
        task_status.started()
        running = find(self.directory)
        if running is None:
            log.warning(
                "no broker on this machine yet; waiting for `flux run` or `flux bff`",
                hint="or give --bootstrap-servers",
            )
            while (running := find(self.directory)) is None:  # noqa: ASYNC110 - a file tells nobody of its coming
                await trio.sleep(RUNTIME_POLL)
        self._parts = self.make(running)
        log.info("broker found", bootstrap_servers=running.bootstrap_servers)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._parts)
                while find(self.directory) == running:  # noqa: ASYNC110 - as above
                    await trio.sleep(RUNTIME_POLL)
                nursery.cancel_scope.cancel()
        finally:
            self._parts = None
        raise BrokerMovedError(f"the broker at {running.bootstrap_servers} is gone; waiting for another")

    def tree(self) -> Node:
        """Return a snapshot of what runs on the broker."""
        return self._parts.tree() if self._parts else Node("waiting for a broker", State.STARTING)
