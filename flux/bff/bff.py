"""The BFF: gateway, pump and scheduler around one state, as one supervised service."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime

import trio
from attrs import frozen

from flux.bff.commands import Commands, Report
from flux.bff.dedupe import Dedupe
from flux.bff.delivery import Delivery
from flux.bff.gateway import Gateway
from flux.bff.identity import Identities
from flux.bff.options import BffOptions
from flux.bff.ports import SocketServer
from flux.bff.pump import Pump
from flux.bff.scheduler import Scheduler
from flux.bff.seats import Seats
from flux.bff.single_flight import SingleFlight
from flux.bff.snapshots import Snapshots
from flux.domains.domain import BFF, Domain
from flux.messages import Stamp, wall_clock
from flux.transport.kafka.bus import BusStatus, Client


@frozen
class BffStatus:
    """Whether the BFF can serve.

    Args:
        running: it is in its run, not between two.
        caught_up: its snapshots are those of Kafka.
        bus: whether the broker answers.
    """

    running: bool
    caught_up: bool
    bus: BusStatus

    @property
    def ready(self) -> bool:
        """Whether new clients may be sent here."""
        return self.running and self.caught_up and self.bus.connected


def _connected() -> BusStatus:
    return BusStatus(connected=True)


class Bff:
    """The backend for the frontend.

    The handlers are registered on the server at once, so clients are served from the first connection on,
    also between two runs; seats and snapshots live as long as this object.

    Args:
        server: the Socket.IO server, which someone else runs.
        client: the bus as the BFF.
        domains: what it serves.
        options: how.
        rng: for identities, record ids and jitter; by default seeded by the operating system.
        now: the wall clock, aware.
        bus_status: whether the broker answers (``bus.status``); while it is away clients hear of it sooner.
    """

    def __init__(
        self,
        server: SocketServer,
        client: Client,
        domains: Sequence[Domain],
        options: BffOptions | None = None,
        *,
        rng: random.Random | None = None,
        now: Callable[[], datetime] = wall_clock,
        bus_status: Callable[[], BusStatus] = _connected,
    ) -> None:
        options = BffOptions() if options is None else options
        rng = random.SystemRandom() if rng is None else rng
        self._options = options
        self._bus_status = bus_status
        self._running = False
        self.seats = Seats(feed for domain in domains for feed in domain.feeds)
        self.snapshots = Snapshots(options.snapshot_limit)
        flights = SingleFlight(options.single_flight)
        delivery = Delivery(server, self.seats, self.snapshots, now)
        self._commands = Commands(client, Stamp(BFF, now, rng), now, options, bus_status)
        dedupe: Dedupe[Report] = Dedupe(window=options.dedupe_window, limit=options.dedupe_limit)
        self._gateway = Gateway(
            server,
            domains,
            seats=self.seats,
            identities=Identities(rng),
            dedupe=dedupe,
            flights=flights,
            delivery=delivery,
            commands=self._commands,
        )
        self._gateway.register()
        self._pump = Pump(
            client,
            server,
            domains,
            delivery=delivery,
            snapshots=self.snapshots,
            flights=flights,
            now=now,
            options=options,
        )
        self._scheduler = Scheduler(self._commands, self.seats, domains, options, rng)

    @property
    def status(self) -> BffStatus:
        """Whether the BFF can serve, for readiness probes."""
        caught_up = self._running and self._pump.caught_up
        return BffStatus(self._running, caught_up, self._bus_status())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; may be run again after a crash.

        Ready once the snapshots are rebuilt, or after ``options.ready_wait`` seconds: Kafka may be away, and
        the door must open.

        Raises:
            ExceptionGroup: with `BrokenError` where a consumer failed for good.
        """
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(self._commands.run)
                await nursery.start(self._pump.run)
                self._running = True
                with trio.move_on_after(self._options.ready_wait):
                    await self._pump.wait_caught_up()
                task_status.started()
                await self._pump.wait_caught_up()
                await self._scheduler.run()
                await trio.sleep_forever()
            finally:
                self._running = False
