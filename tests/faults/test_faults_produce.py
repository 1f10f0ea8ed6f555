"""Produce requests that the broker answers with errors of every class; records that it finds too large."""

from pathlib import Path
from unittest.mock import patch
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import trio
from apache_kafka import ApacheKafka
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from driver import Driver
from durations import lasting
from fault_load import Asker, Note, Watching, load
from in_process import flux_here, troubled
from kafka_watch import FETCH, WEATHER
from ledger import Ledger, State
from stage import Stage

from flux import app
from flux.transport.kafka.embedded import EmbeddedBroker

PRODUCE = 0

PASSING = (2, 5, 6, 7, 19, 20, 56, -195)
"""What may pass, by Kafka's error codes: corrupt on the wire, no leader, another leader, time-out, too few
replicas before and after, storage; and a cut connection (librdkafka's own number)."""

LASTING = (10, 17, 29, 38, 87, 45, 47, 59)
"""What does not: too large, bad topic, not allowed, bad factor, bad record; and what may be an idempotent
producer's end: out of order, an old epoch, unknown. DUPLICATE_SEQUENCE is left out: it says that the record
is there, which the mock cluster makes a lie."""


async def wait_ready(url: str) -> None:
    """Wait until ``/readyz`` of Flux in this process says 200."""

    def ready() -> bool:
        try:
            with urlopen(url.rstrip("/") + "/readyz", timeout=10) as response:  # noqa: S310 - our own door
                return bool(response.status == 200)
        except HTTPError as error:
            error.close()
            return False

    with trio.fail_after(30):
        while not await trio.to_thread.run_sync(ready):  # noqa: ASYNC110 - a page tells nobody of its change
            await trio.sleep(0.05)


@pytest.mark.parametrize("where", ["command", "answer"])
async def test_every_class_of_produce_error_has_an_end(
    where: str,
    tmp_path: Path,
    driver: Driver,
    watching: Watching,
    note: Note,
    embedded_broker: EmbeddedBroker,
) -> None:
    """One error before each command, or each answer: what may pass passes, of the rest somebody is told.

    One publication at a time: the mock cluster, unlike Kafka, takes a later batch before a refused one.
    """
    codes: list[int] = []

    async def trouble() -> None:
        await trio.lowlevel.checkpoint()
        if codes:
            embedded_broker.push_errors(PRODUCE, [codes.pop()])

    hosted = app.Kafka(embedded_broker.bootstrap_servers, embedded=True, host=embedded_broker)
    quiet = {"simulation__ticker_rate": 0.001, "bff__scheduler": False}
    with patch.object(app, "_hosted", lambda: hosted):
        async with flux_here(tmp_path, troubled(trouble), **quiet) as flux:
            watch = await trio.to_thread.run_sync(watching, embedded_broker.bootstrap_servers)
            client = await driver.open(flux.url, transports=["websocket"])
            asker = Asker(client, Ledger(), trio.Event())
            ends: dict[int, State] = {}
            for code in [*PASSING, *LASTING] * lasting(1, 5):
                if where == "command":
                    embedded_broker.push_errors(PRODUCE, [code])
                else:
                    codes.append(code)
                with trio.fail_after(60):
                    await asker.ask()
                ends[code] = asker.ledger.requests[-1].state
                embedded_broker.clear_errors(PRODUCE)
                await trio.sleep(0.3)  # a producer that failed for good is gone by now, and
                await wait_ready(flux.url)  # the next one there, after the supervisor's backoff
            await asker.ask()
            await watch.caught_up()
    assert {ends[code] for code in PASSING} == {State.ANSWERED}
    assert set(ends.values()) <= {State.ANSWERED, State.REFUSED, State.FAILED}
    assert ends[10] in (State.REFUSED, State.FAILED)  # nothing can make it smaller
    assert asker.ledger.requests[-1].state is State.ANSWERED
    asker.ledger.check(watch.records)
    note(asker.ledger.figures(watch.records))


def bound_records(kafka: ApacheKafka, topic: str, limit: int) -> None:
    """Have a real broker refuse larger records on a topic (MSG_SIZE_TOO_LARGE)."""
    entry = ConfigEntry("max.message.bytes", str(limit), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    for outcome in admin.incremental_alter_configs([resource]).values():
        outcome.result(10)


@pytest.mark.kafka
@pytest.mark.parametrize("topic", [FETCH, WEATHER], ids=["command", "answer"])
async def test_records_that_the_broker_finds_too_large_are_told(topic: str, stage: Stage) -> None:
    """A broker's bound that is too small for a while: requests are refused or fail; then all heals."""
    flux = await stage.ready("run", "--port", "0")
    watch = await stage.watch()
    async with load(stage.driver, flux.url, streamers=0) as work:
        await work.answers(20)
        await trio.to_thread.run_sync(bound_records, stage.kafka, topic, 300)
        await trio.sleep(lasting(1, 20))
        await trio.to_thread.run_sync(bound_records, stage.kafka, topic, 1_000_000)
        await work.answers(20)
    figures = await work.check(watch)
    stage.note(figures)
    assert figures.refused + figures.failed > 0
