"""The scheduler: refreshes by the clock, jittered, one round at the start; each watched city in its turn."""

import random
from collections.abc import Iterable

import trio

from flux.bff.commands import Commands, Report, unreachable
from flux.bff.options import BffOptions
from flux.bff.seats import Seats
from flux.domains.domain import CommandTopic, Domain

_AT_ONCE = (
    32  # commands of one round whose reports are awaited together, so that a round leaves room for clients
)


class Scheduler:
    """Publishes every domain's commands again and again. A failed one is tried again in its next round.

    Several BFFs may do so side by side: the services coalesce.

    Args:
        commands: publishes, counts and logs failures.
        seats: which cities are watched.
        domains: whose commands.
        options: whether at all; intervals and jitter.
        rng: varies the intervals, so that replicas and commands spread.
    """

    def __init__(
        self,
        commands: Commands,
        seats: Seats,
        domains: Iterable[Domain],
        options: BffOptions,
        rng: random.Random,
    ) -> None:
        self._commands = commands
        self._seats = seats
        self._topics = (
            [command for domain in domains for command in domain.commands] if options.scheduler else []
        )
        self._options = options
        self._rng = rng

    async def run(self) -> None:
        """Publish rounds until cancelled; returns at once if the scheduler is off."""
        async with trio.open_nursery() as nursery:
            for command in self._topics:
                nursery.start_soon(self._rounds, command)

    async def _rounds(self, command: CommandTopic) -> None:
        interval = self._options.intervals.get(command.topic.name, command.interval)
        reason = "start"
        while True:
            await self._round(command, reason)
            reason = "schedule"
            await trio.sleep(interval * self._rng.uniform(1 - self._options.jitter, 1 + self._options.jitter))

    async def _round(self, command: CommandTopic, reason: str) -> None:
        if not command.located:
            await self._all([self._commands.submit(command, reason=reason)], command)
            return
        locations = self._seats.watched()
        for first in range(0, len(locations), _AT_ONCE):
            some = [place for place in locations[first : first + _AT_ONCE] if self._seats.watches(place)]
            await self._all(
                [self._commands.submit(command, location=p, reason=reason) for p in some], command
            )

    async def _all(self, reports: list[Report], command: CommandTopic) -> None:
        for report in reports:
            await report.wait(unreachable(command))
