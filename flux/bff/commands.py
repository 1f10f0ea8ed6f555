"""Commands: intent onto Kafka, through a bounded queue, with a bounded wait for each report."""

from collections import deque
from collections.abc import Callable
from datetime import datetime

import structlog
import trio
from attrs import define, field
from prometheus_client import Counter

from flux.bff.options import BffOptions
from flux.domains.domain import CommandTopic, location_command_data
from flux.domains.location import Location
from flux.errors import FluxError
from flux.messages import Command, Record, Stamp, encode, iso_time
from flux.metrics import REGISTRY
from flux.transport.kafka.bus import BusStatus, Client

COMMANDS = Counter(
    "flux_bff_commands", "Commands by what became of them.", ["topic", "result"], registry=REGISTRY
)

log = structlog.get_logger("flux.bff")

_GRACE = 0.5  # seconds after a report's deadline in which its publisher may still settle it


@define(eq=False)
class Report:
    """What became of one command: settled once, by the delivery report, an error, or the deadline.

    Args:
        deadline: on trio's clock; past it the command counts as failed.
        failed: called with the message for people, if it fails.
    """

    deadline: float
    failed: Callable[[str], None] | None = None
    _message: str = field(default="", init=False)
    _settled: trio.Event = field(factory=trio.Event, init=False)

    @property
    def settled(self) -> bool:
        """Whether the outcome is known."""
        return self._settled.is_set()

    def settle(self, message: str = "") -> bool:
        """Settle it: delivered, or failed with a message for people.

        Returns:
            Whether this settled it; only the first call does.
        """
        if self._settled.is_set():
            return False
        self._message = message
        self._settled.set()
        if message and self.failed is not None:
            self.failed(message)
        return True

    async def wait(self, otherwise: str) -> str:
        """Wait for the outcome, at most until shortly after the deadline.

        Args:
            otherwise: the message it is settled with if nobody else settles it in time.

        Returns:
            "" if it was delivered, else the message for people. Cancellation: the command goes its way.
        """
        with trio.move_on_at(self.deadline + _GRACE):
            await self._settled.wait()
        self.settle(otherwise)
        return self._message


@define
class _Job:
    command: CommandTopic
    record: Record
    report: Report


class Commands:
    """Publishes commands from a bounded queue; what a client asked for goes out also if the client leaves.

    Args:
        client: the bus as the BFF.
        stamp: makes its records.
        now: the wall clock, aware.
        options: the queue's bound, the publishers' number, the time-outs.
        bus_status: whether the broker is known to be away.
    """

    def __init__(
        self,
        client: Client,
        stamp: Stamp,
        now: Callable[[], datetime],
        options: BffOptions,
        bus_status: Callable[[], BusStatus],
    ) -> None:
        self._client = client
        self._stamp = stamp
        self._now = now
        self._options = options
        self._bus_status = bus_status
        # trio wakes tasks of one tick in any order, so the channel carries turns, not jobs: whichever
        # publisher wakes first takes the oldest, and commands about one city stay in order.
        self._jobs: deque[_Job] = deque()
        self._turns, self._next_turn = trio.open_memory_channel[None](options.publish_queue)
        self._failing = False

    def submit(
        self,
        command: CommandTopic,
        *,
        location: Location | None = None,
        user: str | None = None,
        reason: str | None = None,
        failed: Callable[[str], None] | None = None,
    ) -> Report:
        """Queue a command; never waits.

        Args:
            command: which.
            location: what a located command is about.
            user: who asked, where a user did.
            reason: why, for people reading the topic.
            failed: called with the message for people if it fails (perhaps before this returns).
        """
        timeout = (
            self._options.publish_timeout
            if self._bus_status().connected
            else self._options.publish_timeout_away
        )
        envelope = Command(
            event=command.event,
            data={} if location is None else location_command_data(location),
            timestamp=iso_time(self._now()),
            userId=user,
            reason=reason,
        )
        key = command.key("" if location is None else location.city)
        report = Report(trio.current_time() + timeout, failed)
        record = self._stamp.record(command.topic.name, encode(envelope), key=key)
        try:
            self._turns.send_nowait(None)
        except trio.WouldBlock:
            COMMANDS.labels(command.topic.name, "refused").inc()
            report.settle("too many requests are waiting; please try again")
        else:
            self._jobs.append(_Job(command, record, report))
        return report

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish what is queued until cancelled; what still waits then stays for the next run."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._options.publishers):
                nursery.start_soon(self._publisher)
            task_status.started()

    async def _publisher(self) -> None:
        while True:
            await self._next_turn.receive()
            job = self._jobs.popleft()
            try:
                await self._publish(job)
            finally:
                # Only a cancelled or crashed publisher leaves it open; nobody may wait for it in vain.
                job.report.settle(unreachable(job.command))

    async def _publish(self, job: _Job) -> None:
        topic = job.command.topic.name
        reason = "no delivery report in time"
        try:
            with trio.move_on_at(job.report.deadline) as scope:
                if trio.current_time() < scope.deadline:  # else it may go out and be reported as failed
                    await self._client.publish(job.record)
                    self._published(job)
                    return
        except FluxError as error:
            reason = str(error)
        COMMANDS.labels(topic, "failed").inc()
        if not self._failing:
            self._failing = True
            log.warning("commands cannot be published", topic=topic, reason=reason)
        job.report.settle(unreachable(job.command))

    def _published(self, job: _Job) -> None:
        COMMANDS.labels(job.command.topic.name, "published").inc()
        if self._failing:
            self._failing = False
            log.info("commands are published again", topic=job.command.topic.name)
        job.report.settle()


def unreachable(command: CommandTopic) -> str:
    """Return the message for people whose request could not be passed on."""
    return f"the {command.topic.consumer} service cannot be reached at the moment; please try again"
