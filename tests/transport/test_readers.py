"""Readers: one task reads for all, and hands over in order, without loss, and only while somebody waits."""

import contextvars
import socket
import struct

import pytest
import structlog
import trio
import trio.testing

from flux.errors import BrokenError
from flux.transport import readers as module
from flux.transport.readers import AVAILABLE, Readers

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="needs epoll")

Pair = tuple[socket.socket, socket.socket]


def whole(data: bytes) -> bytes:
    """Take the first read, whatever it is."""
    return data


async def test_what_asks_for_more_is_called_while_the_task_waits(readers: Readers, pair: Pair) -> None:
    """The task wakes once, for what it was waiting for; all came in order."""
    taken: list[bytes] = []
    steps = 0

    def take(data: bytes) -> str | None:
        taken.append(data)
        return "enough" if data == b"3" else None

    class Steps(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal steps
            steps += task is reading

    reading = trio.lowlevel.current_task()
    results: list[str] = []

    async def read() -> None:
        nonlocal reading
        reading = trio.lowlevel.current_task()
        results.append(await readers.read(pair[0], take))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(instrument := Steps())
        for data in (b"1", b"2", b"3"):
            pair[1].send(data)
            await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(instrument)
    assert taken == [b"1", b"2", b"3"]
    assert results == ["enough"]
    assert steps == 1


async def test_what_is_called_finds_the_context_of_its_task(readers: Readers, pair: Pair) -> None:
    """Context variables are those of the task that reads, and stay set there."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    def take(_data: bytes) -> str:
        before = variable.get()
        variable.set("taken")
        return before

    variable.set("mine")
    pair[1].send(b"x")
    assert await readers.read(pair[0], take) == "mine"
    assert variable.get() == "taken"


async def test_an_exception_is_that_of_the_task_that_reads(
    readers: Readers, pair: Pair, nursery: trio.Nursery
) -> None:
    """Others are read on."""

    def fail(_data: bytes) -> None:
        raise ValueError("not this")

    pair[1].send(b"x")
    with pytest.raises(ValueError, match="not this"):
        await readers.read(pair[0], fail)
    pair[1].send(b"y")
    assert await readers.read(pair[0], whole) == b"y"


async def test_the_end_and_a_reset_are_told_apart(readers: Readers) -> None:
    """An orderly end is an empty read; a reset is `BrokenError` with its cause."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for reset in (False, True):
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
            ours.setblocking(False)
            if reset:
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
            with ours:
                if reset:
                    with pytest.raises(BrokenError) as caught:
                        await readers.read(ours, whole)
                    assert isinstance(caught.value.__cause__, ConnectionResetError)
                else:
                    assert await readers.read(ours, whole) == b""
                readers.forget(ours)


async def test_cancellation_loses_nothing(readers: Readers, pair: Pair) -> None:
    """What comes after the wait was given up is there for the next one."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await readers.read(pair[0], whole)
    pair[1].send(b"later")
    await trio.testing.wait_all_tasks_blocked()
    assert await readers.read(pair[0], whole) == b"later"


async def test_a_socket_that_nobody_reads_costs_nothing(readers: Readers, pair: Pair) -> None:
    """What waits in the kernel, even the peer's end, does not keep the readers' task busy."""
    pair[1].send(b"1")
    assert await readers.read(pair[0], whole) == b"1"
    pair[1].send(b"2")
    pair[1].close()
    await trio.testing.wait_all_tasks_blocked()
    passes = 0

    class Passes(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's
            nonlocal passes
            passes += 1

    trio.lowlevel.add_instrument(instrument := Passes())
    await trio.sleep(0.05)
    trio.lowlevel.remove_instrument(instrument)
    assert passes <= 3
    assert await readers.read(pair[0], whole) == b"2"


async def test_who_reads_a_socket_that_is_closed_hears_of_it(
    readers: Readers, pair: Pair, nursery: trio.Nursery
) -> None:
    """The number of the file is free for another socket at once."""

    async def closed() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await readers.read(pair[0], whole)

    async with trio.open_nursery() as reading:
        reading.start_soon(closed)
        await trio.testing.wait_all_tasks_blocked()
        number = pair[0].fileno()
        readers.forget(pair[0])
        pair[0].close()
    other, peer = socket.socketpair()
    with other, peer:
        assert number in (other.fileno(), peer.fileno())
        other.setblocking(False)
        peer.send(b"new")
        assert await readers.read(other, whole) == b"new"
        readers.forget(other)


async def test_closing_and_failing_in_one_read_is_logged(readers: Readers, pair: Pair) -> None:
    """The task hears of the close; the failure is not lost."""

    def take(_data: bytes) -> None:
        readers.forget(pair[0])
        raise ValueError("behind the close")

    pair[1].send(b"x")
    with structlog.testing.capture_logs() as logs, pytest.raises(trio.ClosedResourceError):
        await readers.read(pair[0], take)
    assert [(entry["event"], str(entry["exc_info"])) for entry in logs] == [
        ("reader failed", "behind the close")
    ]


async def test_one_task_reads_a_socket(readers: Readers, pair: Pair, nursery: trio.Nursery) -> None:
    """A second one is told so, as trio does."""
    nursery.start_soon(readers.read, pair[0], whole)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await readers.read(pair[0], whole)
    nursery.cancel_scope.cancel()


async def test_others_get_their_turn_between_bursts(
    readers: Readers, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """More sockets than two bursts have are read in three, and in the second pass others run, too."""
    monkeypatch.setattr(module, "BURST", 2)
    pairs = [socket.socketpair() for _ in range(5)]
    order: list[str] = []

    async def other() -> None:
        for _ in range(20):
            order.append("other")
            await trio.lowlevel.checkpoint()

    def take(_data: bytes) -> str:
        order.append("read")
        return "done"

    async def one(sock: socket.socket) -> None:
        await readers.read(sock, take)

    for ours, _ in pairs:
        ours.setblocking(False)
        nursery.start_soon(one, ours)
    await trio.testing.wait_all_tasks_blocked()
    for _, theirs in pairs:
        theirs.send(b"x")
    nursery.start_soon(other)
    await trio.testing.wait_all_tasks_blocked()
    assert order.count("read") == 5
    first, last = order.index("read"), len(order) - 1 - order[::-1].index("read")
    assert "other" in order[first:last]
    for ours, theirs in pairs:
        readers.forget(ours)
        ours.close()
        theirs.close()


async def test_without_its_task_a_socket_is_read_alone(pair: Pair) -> None:
    """Before `run` and behind it, as where there is no epoll."""
    made = Readers()
    pair[1].send(b"before")
    assert await made.read(pair[0], whole) == b"before"
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        nursery.cancel_scope.cancel()
    pair[1].send(b"behind")
    assert await made.read(pair[0], whole) == b"behind"


async def test_what_a_take_returns_that_cancels_its_reader_is_lost(readers: Readers, pair: Pair) -> None:
    """The one case in which cancellation loses something; what comes later does not suffer."""
    with trio.CancelScope() as scope:

        def take(data: bytes) -> bytes:
            scope.cancel()
            return data

        pair[1].send(b"lost")
        await readers.read(pair[0], take)
    assert scope.cancelled_caught
    pair[1].send(b"later")
    assert await readers.read(pair[0], whole) == b"later"
