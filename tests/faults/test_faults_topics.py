"""A topic that is deleted under a running Flux, and made anew."""

import sys
import time
from subprocess import run

import pytest
import trio
from apache_kafka import ApacheKafka
from confluent_kafka.admin import AdminClient
from durations import LONG, lasting
from fault_load import Asker, load
from kafka_watch import FETCH, WEATHER
from ledger import Ledger, State, city_of
from stage import Stage

pytestmark = pytest.mark.kafka


def delete(kafka: ApacheKafka, topic: str) -> None:
    """Delete a topic, as a careless operator would."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    for outcome in admin.delete_topics([topic]).values():
        outcome.result(10)
    while topic in admin.list_topics(timeout=10).topics:
        time.sleep(0.02)


def create(kafka: ApacheKafka) -> None:
    """Create what is missing, as the message for operators says."""
    command = [
        sys.executable,
        "-m",
        "flux",
        "topics",
        "create",
        "--bootstrap-servers",
        kafka.bootstrap_servers,
    ]
    run(command, check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("topic", [FETCH, WEATHER] if LONG else [FETCH])
async def test_a_topic_that_was_deleted_and_made_anew_serves_again(topic: str, stage: Stage) -> None:
    """Commands to a missing topic are refused with a reason; once it is there again all is answered."""
    flux = await stage.ready("run", "--port", "0", BFF__PUBLISH_TIMEOUT="2")
    async with load(stage.driver, flux.url, streamers=0) as before:
        await before.answers(20)
    await trio.to_thread.run_sync(delete, stage.kafka, topic)
    await trio.sleep(lasting(1, 10))
    client = await stage.driver.open(flux.url, transports=["websocket"])
    asker = Asker(client, Ledger(), trio.Event())
    if topic == FETCH:
        with trio.fail_after(20):
            await asker.ask()
        assert asker.ledger.requests[-1].state is State.REFUSED
    began = trio.current_time()
    await trio.to_thread.run_sync(create, stage.kafka)
    with trio.fail_after(45):
        while not asker.ledger.having(State.ANSWERED):
            await asker.ask()
    healed = trio.current_time() - began
    watch = await stage.watch()
    async with load(stage.driver, flux.url, streamers=0) as after:
        await after.answers(20)
    await watch.caught_up()
    earlier = {request.city for request in (*before.ledger.requests, *asker.ledger.requests)}
    others = [record for record in watch.records if city_of(record) not in earlier]
    after.ledger.check(others)
    stage.note(after.ledger.figures(others, healed_after=round(healed, 2)))
    assert "Traceback" not in flux.text()
