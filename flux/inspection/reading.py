"""Reading a topic from a start: which records are asked of Kafka, and which of them are kept."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from flux.domains.registry import TOPICS
from flux.errors import BrokenError, FluxError, LocalError
from flux.inspection.backlog import Backlog
from flux.inspection.start import MOST, Start
from flux.nurseries.failures import leaves
from flux.transport.kafka.bus import Batch, Follower
from flux.transport.kafka.catalog import OPERATOR
from flux.transport.kafka.confluent import ConfluentBus

ANSWER_SECONDS = 10.0
"""How long a command waits for Kafka before it says that there is none."""


@contextmanager
def patience(option: str = "--bootstrap-servers") -> Iterator[None]:
    """Bound the wait for Kafka's answer.

    Args:
        option: what told which Kafka.

    Raises:
        BrokenError: it did not answer; the text says what to check.
    """
    with trio.move_on_after(ANSWER_SECONDS) as scope:
        yield
    if scope.cancelled_caught:
        raise BrokenError(f"kafka did not answer within {ANSWER_SECONDS:g} s; check {option}")


@contextmanager
def one_error() -> Iterator[None]:
    """Raise Flux's error alone where a nursery has wrapped it: a person wants the line, not the group."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors = list(leaves(group))
        if all(isinstance(error, FluxError) for error in errors):
            raise errors[0] from None
        raise


def known(name: str) -> str:
    """Return the name of a topic, if it is declared.

    Raises:
        LocalError: there is no such topic.
    """
    if name not in TOPICS:
        raise LocalError(f"there is no topic {name!r}; `flux topics` lists them")
    return name


async def check_exists(bus: ConfluentBus, name: str, option: str = "--bootstrap-servers") -> None:
    """Make sure that Kafka has the topic.

    Raises:
        BrokenError: Kafka did not answer, or the topic does not exist there yet.
    """
    with patience(option):
        info = (await bus.list_topics())[name]
    if not info.exists:
        raise BrokenError(f"topic {name} does not exist yet; run `flux topics create`")


@asynccontextmanager
async def following(bus: ConfluentBus, name: str, start: Start) -> AsyncIterator[Follower]:
    """Follow a topic from a start, or a little before it; what is too old is for `stood` to leave out.

    Raises:
        LocalError: there is no such topic.
        BrokenError: Kafka did not answer, or the topic does not exist there yet.
    """
    await check_exists(bus, known(name))
    replay = sys.maxsize if start.last is None else start.last
    if start.since is not None:
        with patience():
            replay = await bus.records_since(name, start.since)
    with one_error():
        async with bus.client(OPERATOR).follow([name], replay=replay) as follower:
            yield follower


async def stood(follower: Follower, start: Start, *, oldest: int | None = None) -> Backlog:
    """Return what stood in the topic when the follower began.

    Args:
        follower: nobody has received from it yet.
        start: where it began.
        oldest: where the start names no count: keep that many from there on; else the newest `MOST`.
    """
    if start.last is not None:
        backlog = Backlog(start.last, newest=True)
    else:
        backlog = Backlog(MOST, newest=True) if oldest is None else Backlog(oldest, newest=False)
    since = start.since or 0
    # What stands in the topic comes partition by partition; people want it by time.
    with one_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_collect, follower.receive, backlog, since)
            await follower.caught_up()
            nursery.cancel_scope.cancel()
    return backlog


async def _collect(receive: Callable[[], Awaitable[Batch]], backlog: Backlog, since: int) -> None:
    while True:
        backlog.add(record for record in await receive() if record.timestamp >= since)
