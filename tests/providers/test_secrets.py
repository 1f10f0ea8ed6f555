"""Keys stay where they belong, however a source fails and whatever it says back."""

import itertools
import json
import signal
from collections.abc import Callable

import trio
from driver import Driver  # from tests/contract
from fake_site import (
    HANG_UP,
    RESET,
    Reply,
    Request,
    answer,
    answer_json,
    redirect,
    status,
    truncated,
)
from fake_world import CALM, CITY, PATHS, FakeWorld, every
from kafka_watch import KafkaWatch  # from tests/contract
from program import Program

Start = Callable[..., Program]

CANARY = "canary-5f1e0c"
KEYED = ("weatherapi", "coingecko", "newsdata", "finnhub")
KEYS = {f"PROVIDERS__{name.upper()}_KEY": f"{CANARY}-{name}" for name in KEYED}


def echo(request: Request) -> str:
    """All that was sent, keys included."""
    return json.dumps({"path": request.path, "params": dict(request.params), **request.headers})


SHAPES: tuple[Callable[[Request], Reply], ...] = (
    lambda request: answer_json({"error": {"code": 2006, "message": echo(request)}}, 401),
    lambda request: answer_json({"error": f"Invalid API key: {echo(request)}"}, 401),
    lambda request: answer_json({"error": f"You don't have access: {echo(request)}"}, 403),
    lambda request: answer_json({"error": echo(request)}, 403),
    lambda request: answer_json({"status": "error", "results": {"message": echo(request), "code": "x"}}),
    lambda request: answer_json({"status": "error", "results": {"message": "", "code": echo(request)}}),
    lambda request: answer_json({"status": {"error_code": 10_010, "error_message": echo(request)}}, 429),
    lambda request: status(500, echo(request)),
    lambda request: redirect(f"http://127.0.0.1:9/?{echo(request)}"),
    lambda _: redirect(f"ftp://{CANARY}"),
    lambda request: answer(f"<html>{echo(request)}</html>", "text/html"),
    lambda request: answer(echo(request), "application/json"),
    lambda request: answer_json([{"id": echo(request), "c": echo(request)}]),
    lambda request: answer_json({"c": echo(request)}),
    lambda request: truncated(answer(echo(request), "application/json"), 5),
    lambda _: RESET,
    lambda _: HANG_UP,
)
"""How a source fails, saying the key back wherever it can."""


async def test_no_key_is_told_however_a_source_fails(world: FakeWorld, start: Start, driver: Driver) -> None:
    """Not in the log at its most talkative, metrics, readiness, Kafka, nor anything a client gets."""
    for name in KEYED:
        turn = itertools.count()
        world.site.script(PATHS[name], lambda request, turn=turn: SHAPES[next(turn) % len(SHAPES)](request))
    chosen = {"PROVIDERS__WEATHER_SOURCE": "weatherapi", "PROVIDERS__NEWS_SOURCE": "newsdata"}
    program = start(
        *("--providers", "real", "--log-level", "debug"),
        **{"jump": 1_000, **world.settings, **KEYS, **chosen, **every(1), **CALM},
    )
    client = await driver.open(program.url, transports=["websocket"])
    await client.emit("userLocationUpdate", CITY)
    with trio.fail_after(60):
        while min(world.asked(name) for name in KEYED) < len(SHAPES) + 1:
            await trio.sleep(0.1)
            program.send_signal(signal.SIGUSR1)
    told = {
        "log": program.text(),
        "metrics": program.get("/metrics").body,
        "readiness": program.get("/readyz?verbose").body,
        "client": repr(client.log),
        "Kafka": await everything(program),
    }
    assert all(name in told["readiness"] for name in KEYED)
    assert '"status":"error"' in told["Kafka"]
    assert "'status': 'error'" in told["client"]
    sent = "".join(map(echo, world.site.requests))
    assert all(key in sent for key in KEYS.values()), "the sources never got their keys"
    assert [where for where, text in told.items() if CANARY in text] == []


async def everything(program: Program) -> str:
    """All that stands on Kafka: values, keys and headers."""
    watch = KafkaWatch(program.bootstrap_servers).start()
    try:
        await watch.caught_up()
    finally:
        watch.stop()
    return "\n".join(f"{r.value!r} {r.key!r} {r.headers!r}" for r in watch.records)
