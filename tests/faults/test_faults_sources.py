"""A weather source that fails, crashes its service, or hangs: every n-th time, under load."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from apache_kafka import ApacheKafka
from driver import Driver
from durations import lasting
from fault_load import Note, Watching, load
from in_process import Trouble, flux_here, troubled
from ledger import State

from flux.domains.providers import ProviderError

pytestmark = pytest.mark.kafka

EVERY = 10


def fails_every_tenth() -> Trouble:
    """Return a source's trouble: it says that it failed."""
    numbers = itertools.count(1)

    async def trouble() -> None:
        await trio.lowlevel.checkpoint()
        if next(numbers) % EVERY == 0:
            raise ProviderError("the source is out of order")

    return trouble


def crashes_every_tenth() -> Trouble:
    """Return a source's trouble: it raises what nobody expects."""
    numbers = itertools.count(1)

    async def trouble() -> None:
        await trio.lowlevel.checkpoint()
        if next(numbers) % EVERY == 0:
            raise RuntimeError("a bug")

    return trouble


def hangs_every_tenth() -> Trouble:
    """Return a source's trouble: it does not come back."""
    numbers = itertools.count(1)

    async def trouble() -> None:
        await trio.lowlevel.checkpoint()
        if next(numbers) % EVERY == 0:
            await trio.sleep_forever()

    return trouble


@pytest.mark.parametrize(
    ("trouble", "told"),
    [(fails_every_tenth, True), (crashes_every_tenth, False), (hangs_every_tenth, True)],
    ids=["fails", "crashes", "hangs"],
)
async def test_a_source_in_trouble_leaves_no_request_without_an_end(
    trouble: Callable[[], Trouble],
    told: bool,
    kafka: ApacheKafka,
    tmp_path: Path,
    driver: Driver,
    watching: Watching,
    note: Note,
) -> None:
    """A failure and a time-out are told to who asked; after a crash the command is tried again."""
    async with flux_here(
        tmp_path, troubled(trouble()), kafka__bootstrap_servers=kafka.bootstrap_servers
    ) as flux:
        watch = await trio.to_thread.run_sync(watching, kafka.bootstrap_servers)
        async with load(driver, flux.url) as work:
            await work.answers(lasting(60, 1000), timeout=120)
        figures = await work.check(watch)
    note(figures)
    if told:
        assert figures.failed > 0
    else:  # tried again; a command that crashes on each try is rejected, once in a thousand here
        assert figures.failed <= figures.answered / 50
    assert figures.answered > figures.failed
    assert not [request for request in work.ledger.requests if request.state is State.REFUSED]
