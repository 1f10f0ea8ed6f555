"""The whole tree in one process: a domain that crashes is restarted, and no client notices; its sources."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import patch

import httpx
import structlog.testing
import trio
from attrs import evolve
from driver import JS, ClientProcess, attached

from flux import app
from flux.domains.domain import Domain, ServiceContext
from flux.domains.registry import DOMAINS
from flux.domains.weather import WEATHER
from flux.nurseries import Service
from flux.runtime import Running, find
from flux.settings import Settings, load_settings


@asynccontextmanager
async def running(
    settings: Settings, directory: Path, domains: tuple[Domain, ...] = DOMAINS
) -> AsyncIterator[Running]:
    """`flux run` in this process."""
    with patch.object(app, "DOMAINS", domains):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.run_all, settings)
            with trio.fail_after(20):
                while (found := find(directory)) is None:  # noqa: ASYNC110 - a file tells nobody of its coming
                    await trio.sleep(0.01)
            yield found
            nursery.cancel_scope.cancel()


def weather_that_crashes(context: ServiceContext) -> Service:
    """The real weather service; it raises 0.2 s after it was ready, until it was started three times."""
    service = WEATHER.service(context)

    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        STARTS.append(trio.current_time())
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda *, task_status: service(task_status=task_status))
            task_status.started()
            if len(STARTS) < 3:
                await trio.sleep(0.2)
                raise RuntimeError("boom")

    return run


STARTS: list[float] = []


async def test_a_crash_in_one_domain_is_restarted_while_clients_stay_connected(tmp_path: Path) -> None:
    """The weather service crashes twice; it comes back with backoff, the log says so, the ticker goes on."""
    STARTS.clear()
    crashing = (evolve(WEATHER, service=weather_that_crashes), *(d for d in DOMAINS if d is not WEATHER))
    settings = load_settings(None, {"http.port": 0, "runtime_dir": tmp_path}, environ={})
    process = ClientProcess(JS)
    try:
        with structlog.testing.capture_logs() as logs:
            async with running(settings, tmp_path, crashing) as flux, attached(process) as driver:
                client = await driver.open(flux.url, transports=["websocket"])
                with trio.fail_after(30):
                    while len(STARTS) < 3:  # noqa: ASYNC110 - the real clock: the client is another process
                        await trio.sleep(0.05)
                ack = await client.call("userLocationUpdate", {"city": "Delhi"})
                assert ack == [{"status": "accepted"}]
                update = await client.event("weather.Delhi.update")
                assert update["status"] == "success"
                before = client.mark()
                await client.event("cryptoTickerResponse", after=before)
                assert not [a for a in client.log if a.kind == "disconnect"]
    finally:
        process.stop()
    crashes = [line for line in logs if line["event"] == "child crashed" and line["child"] == "weather"]
    assert [line["restart"] for line in crashes] == [1, 2]
    assert crashes[0]["delay"] > 0
    assert "boom" in crashes[0]["error"]
    assert [line for line in logs if line["event"] == "child is back" and line["child"] == "weather"]


async def test_readiness_tells_of_the_sources_and_does_not_depend_on_them(tmp_path: Path) -> None:
    """A source that cannot be asked stands in `/readyz?verbose` with the reason; Flux is ready even so."""
    options = {"http.port": 0, "runtime_dir": tmp_path, "providers.stock": "real"}
    settings = load_settings(None, options, environ={})
    async with running(settings, tmp_path) as flux, httpx.AsyncClient(base_url=flux.url) as client:
        with trio.fail_after(20):
            while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - polled over HTTP
                await trio.sleep(0.05)
        answer = (await client.get("/readyz?verbose")).json()
    assert answer["status"] == "ready"
    (row,) = answer["sources"]
    assert (row["name"], row["domain"], row["state"]) == ("finnhub", "stock", "not set up")
    assert "set providers.finnhub_key" in row["reason"]
