"""Delivery for certain: tried again until Kafka reports it, always the same record."""

import random
from typing import Any

from trio.testing import MockClock

from flux.domains.delivery import Delivery
from flux.domains.limits import WorkerLimits
from flux.errors import BrokenError
from flux.messages import Record, Stamp, wall_clock
from flux.transport.kafka.bus import Client, Position


class LosesReports(Client):
    """A bus that takes every record, but whose first two delivery reports are lost."""

    principal = "weather"

    def __init__(self) -> None:
        self.taken: list[Record] = []

    async def publish(self, record: Record) -> Position:
        """Take a record."""
        self.taken.append(record)
        if len(self.taken) < 3:
            raise BrokenError("the report was lost")
        return Position(record.topic, 0, len(self.taken))

    async def send(self, record: Record) -> None:
        """Not used here."""
        raise NotImplementedError

    def subscribe(self, *args: Any, **options: Any) -> Any:
        """Not used here."""
        raise NotImplementedError

    follow = subscribe


async def test_a_record_whose_report_was_lost_is_published_again_as_it_was(autojump_clock: MockClock) -> None:
    """All have one ce_id, so that a reader can tell them for one."""
    client = LosesReports()
    record = Stamp("weather", wall_clock, random.Random(1)).record("t", b"{}", key="delhi")
    await Delivery(client, WorkerLimits(), random.Random(1)).deliver(record)
    assert client.taken == [record] * 3
    assert "ce_id" in dict(record.headers)
