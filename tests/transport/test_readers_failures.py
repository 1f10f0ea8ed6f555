"""Readers: what fails is one connection's alone, leaves nothing behind, and nobody waits for good."""

import errno
import gc
import select
import socket
import struct
import weakref
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import structlog
import trio
import trio.testing

from flux.errors import BrokenError, RemoteError
from flux.transport import readers as module
from flux.transport.readers import AVAILABLE, Readers, read_alone

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="needs epoll")

Pair = tuple[socket.socket, socket.socket]


class Owner:
    """What a connection keeps alive."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def take(self, data: bytes) -> bytes:
        """Take a read, or fail."""
        if self.error is not None:
            raise self.error
        return data


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Only reference counts free what is not needed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def reset_pair() -> socket.socket:
    """Return a socket that its peer has reset."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    return ours


def exhausted(*_: object) -> NoReturn:
    """Fail as the system does where it has nothing left."""
    raise OSError(errno.ENOSPC, "nothing left")


def whole(data: bytes) -> bytes:
    """Take the first read, whatever it is."""
    return data


async def test_a_reset_leaves_nothing_for_the_cyclic_collector(readers: Readers, uncollected: None) -> None:
    """What took the reads is free once the error is handled."""
    owner = Owner()
    kept = weakref.ref(owner)
    with reset_pair() as sock:
        try:
            await readers.read(sock, owner.take)
        except BrokenError:
            failed = True
        readers.forget(sock)
    del owner
    assert failed
    assert kept() is None


async def test_what_take_raises_leaves_nothing_for_the_cyclic_collector(
    readers: Readers, pair: Pair, uncollected: None
) -> None:
    """The error's traceback does not lead back to itself."""
    owner = Owner()
    kept = weakref.ref(owner)
    pair[1].send(b"x")
    try:
        owner.error = ValueError("not this")
        await readers.read(pair[0], owner.take)
    except ValueError:
        owner.error = None
        failed = True
    del owner
    assert failed
    assert kept() is None


async def test_an_error_that_is_kept_keeps_no_other_connection(
    readers: Readers, pair: Pair, uncollected: None
) -> None:
    """Two sockets are ready at once; the first one's error holds on to nothing of the second."""
    errors: list[Exception] = []
    others = socket.socketpair()
    others[0].setblocking(False)
    other = Owner()
    kept = weakref.ref(other)

    async def fail() -> None:
        try:
            await readers.read(pair[0], Owner(ValueError("not this")).take)
        except ValueError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        nursery.start_soon(readers.read, others[0], other.take)
        del other
        await trio.testing.wait_all_tasks_blocked()
        pair[1].send(b"x")
        others[1].send(b"x")
    readers.forget(others[0])
    for sock in others:
        sock.close()
    assert len(errors) == 1
    assert kept() is None


async def test_a_read_that_fails_unexpectedly_is_that_connections_alone(readers: Readers, pair: Pair) -> None:
    """The one who reads gets the error, and others are read on."""

    class Full(socket.socket):
        def recv(self, *_: Any) -> NoReturn:
            raise MemoryError

    left, right = socket.socketpair()
    with Full(fileno=left.detach()) as full, right:
        full.setblocking(False)
        right.send(b"x")
        with pytest.raises(MemoryError):
            await readers.read(full, whole)
        readers.forget(full)
    pair[1].send(b"y")
    assert await readers.read(pair[0], whole) == b"y"


async def test_who_waits_when_the_readers_end_goes_on_alone(pair: Pair, nursery: trio.Nursery) -> None:
    """Nothing is lost, and nobody hangs."""
    made = Readers()
    read: list[bytes] = []

    async def reading() -> None:
        read.append(await made.read(pair[0], whole))

    async with trio.open_nursery() as running:
        await running.start(made.run)
        nursery.start_soon(reading)
        await trio.testing.wait_all_tasks_blocked()
        running.cancel_scope.cancel()
    pair[1].send(b"behind")
    with trio.fail_after(1):
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert read == [b"behind"]


async def test_a_socket_closed_right_behind_the_readers_end_is_not_read(
    pair: Pair, nursery: trio.Nursery
) -> None:
    """Who reads it is awake by then, and hears of the close all the same."""
    made = Readers()
    heard: list[str] = []

    async def reading() -> None:
        try:
            await made.read(pair[0], whole)
        except trio.ClosedResourceError as error:
            heard.append(str(error))

    async def run() -> None:
        with ending:
            await made.run()
        made.forget(pair[0])
        trio.lowlevel.notify_closing(pair[0])
        pair[0].close()

    ending = trio.CancelScope()
    nursery.start_soon(run)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(reading)
    await trio.testing.wait_all_tasks_blocked()
    ending.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert heard == ["closed by another task"]


async def test_without_an_epoll_of_its_own_each_task_reads_alone(
    pair: Pair, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of file descriptors the readers say so, and whoever started them goes on."""
    monkeypatch.setattr(select, "epoll", exhausted)
    made = Readers()
    with structlog.testing.capture_logs() as logs:
        await nursery.start(made.run)
        await trio.testing.wait_all_tasks_blocked()
    assert [entry["event"] for entry in logs] == ["each task reads alone"]
    pair[1].send(b"x")
    assert await made.read(pair[0], whole) == b"x"


async def test_a_socket_that_cannot_be_watched_is_a_broken_connection(
    readers: Readers, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's bound on watched files is hit; what the readers have is read on."""

    class Full:
        register = exhausted

    own = readers._epoll
    readers._epoll = Full()
    with pytest.raises(BrokenError, match="nothing left"):
        await readers.read(pair[0], whole)
    readers._epoll = own
    pair[1].send(b"x")
    assert await readers.read(pair[0], whole) == b"x"


async def test_who_cannot_wait_alone_has_a_broken_connection(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bound, met by trio."""
    monkeypatch.setattr(trio.lowlevel, "wait_readable", exhausted)
    with pytest.raises(BrokenError, match="nothing left"):
        await read_alone(pair[0], whole)


async def test_a_peers_mistake_behind_the_close_is_not_logged(readers: Readers, pair: Pair) -> None:
    """Two messages in one read: the first one's answer closed the connection, the second is malformed."""

    def take(_data: bytes) -> None:
        readers.forget(pair[0])
        raise RemoteError("malformed")

    pair[1].send(b"x")
    with structlog.testing.capture_logs() as logs, pytest.raises(trio.ClosedResourceError):
        await readers.read(pair[0], take)
    assert logs == []


async def test_a_reader_is_shown_without_what_it_reads_for() -> None:
    """A traceback with variables does not spread a whole connection's state."""
    reader = module._Reader(whole, whole, trio.lowlevel.current_task())  # type: ignore[arg-type] # no recv
    assert "whole" not in repr(reader)


async def test_who_asks_for_more_behind_the_end_has_a_broken_connection(readers: Readers, pair: Pair) -> None:
    """Asking again and again for what cannot come would take all of the time."""
    pair[1].close()
    with trio.fail_after(1), pytest.raises(BrokenError, match="ended"):
        await readers.read(pair[0], lambda _data: None)
    with trio.fail_after(1), pytest.raises(BrokenError, match="ended"):
        await read_alone(pair[0], lambda _data: None)


async def test_who_closes_at_the_end_and_asks_for_more_hears_of_the_close(readers: Readers) -> None:
    """It is closed, not broken, whoever reads."""
    for read in (readers.read, read_alone):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        def take(data: bytes, ours: socket.socket = ours) -> None:
            assert data == b"last"
            readers.forget(ours)
            ours.close()

        theirs.send(b"last")
        with theirs, trio.fail_after(1), pytest.raises(trio.ClosedResourceError):
            await read(ours, take)
