"""A wire's writes never wait, its outbox is bounded, and its reader learns of every end."""

import errno
import socket
import struct
from collections.abc import Iterator
from typing import NoReturn

import pytest
import trio
import trio.testing

from flux.errors import BrokenError, ClosedError
from flux.transport.readers import AVAILABLE, Readers
from flux.transport.wire import BROKEN, SLOW, Wire

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected sockets with small kernel buffers, ours non-blocking."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


async def read(sock: socket.socket, size: int) -> bytes:
    """Read exactly that many bytes, or up to the end."""
    data = b""
    while len(data) < size:
        await trio.lowlevel.wait_readable(sock)
        chunk = sock.recv(min(65536, size - len(data)))
        if not chunk:
            break
        data += chunk
    return data


def lag(wire: Wire) -> int:
    """Write until something is queued; return how many bytes were written."""
    written = 0
    while wire.writable:
        wire.write(b"." * 1000)
        written += 1000
    return written


async def test_a_write_goes_out_at_once(pair: Pair, nursery: trio.Nursery) -> None:
    """While nothing is queued the bytes are sent within the call."""
    wire = Wire(pair[0], start=nursery.start_soon)
    wire.write(b"abc")
    assert pair[1].recv(10) == b"abc"
    assert wire.writable
    assert wire.queued == 0


async def test_what_the_kernel_does_not_take_follows_in_order(pair: Pair, nursery: trio.Nursery) -> None:
    """A backlog is flushed in order, and the flusher ends with it."""
    wire = Wire(pair[0], start=nursery.start_soon)
    data = bytes(range(256)) * 4000
    wire.write(data)
    wire.write(b"end")
    assert not wire.writable
    assert await read(pair[1], len(data) + 3) == data + b"end"
    await wire.drain()
    assert wire.writable
    await trio.testing.wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_an_outbox_over_its_bound_aborts_the_wire(pair: Pair, nursery: trio.Nursery) -> None:
    """The reader gets the reason, and later writes vanish."""
    wire = Wire(pair[0], start=nursery.start_soon, limit=5000)
    lag(wire)
    for _ in range(6):
        wire.write(b"." * 1000)
    assert wire.closed
    with pytest.raises(ClosedError, match=SLOW):
        await wire.receive()
    wire.write(b"more")
    assert wire.queued == 0


async def test_one_large_message_is_taken_while_the_outbox_is_empty(
    pair: Pair, nursery: trio.Nursery
) -> None:
    """The bound is on the backlog, not on a message."""
    wire = Wire(pair[0], start=nursery.start_soon, limit=1000)
    wire.write(b"x" * 100_000)
    assert not wire.closed
    assert len(await read(pair[1], 100_000)) == 100_000


async def test_conflated_data_keeps_the_latest_of_each_key(pair: Pair, nursery: trio.Nursery) -> None:
    """They follow the backlog, in the order in which their keys were first kept."""
    wire = Wire(pair[0], start=nursery.start_soon)
    wire.write_latest("a", b"direct")
    written = lag(wire)
    for number in range(100):
        wire.write_latest("b", b"b%02d" % number)
        wire.write_latest("a", b"a%02d" % number)
    wire.write(b"regular")
    data = await read(pair[1], 6 + written + 7 + 6)
    assert data.endswith(b"regularb99a99")
    assert data.startswith(b"direct.")


async def test_conflated_data_counts_towards_the_bound(pair: Pair, nursery: trio.Nursery) -> None:
    """Many keys cannot take more memory than the outbox may."""
    wire = Wire(pair[0], start=nursery.start_soon, limit=5000)
    lag(wire)
    for _ in range(10):
        wire.write_latest("same", b"." * 1000)
    assert not wire.closed
    for number in range(10):
        wire.write_latest(str(number), b"." * 1000)
    assert wire.failure == SLOW


async def test_finish_ends_our_side_behind_the_backlog(pair: Pair, nursery: trio.Nursery) -> None:
    """The peer gets everything, then the end; what is written later is not sent."""
    wire = Wire(pair[0], start=nursery.start_soon)
    written = lag(wire)
    wire.finish()
    wire.write(b"late")
    data = await read(pair[1], written + 100)
    assert len(data) == written
    pair[1].send(b"still read")
    assert await wire.receive() == b"still read"


async def test_abort_wakes_the_reader_and_the_flusher(pair: Pair, nursery: trio.Nursery) -> None:
    """Nobody waits on a closed socket."""
    wire = Wire(pair[0], start=nursery.start_soon)
    lag(wire)
    with pytest.RaisesGroup(pytest.RaisesExc(ClosedError, match="enough")):
        async with trio.open_nursery() as inner:
            inner.start_soon(wire.receive)
            await trio.testing.wait_all_tasks_blocked()
            wire.abort("enough")
    await trio.testing.wait_all_tasks_blocked()
    assert not nursery.child_tasks
    with pytest.raises(ClosedError):
        await wire.receive()


async def test_what_the_peer_sent_before_it_went_is_read_though_writes_fail(
    pair: Pair, nursery: trio.Nursery
) -> None:
    """A failing write does not hide the peer's last words."""
    wire = Wire(pair[0], start=nursery.start_soon)
    pair[1].send(b"bye")
    pair[1].close()
    wire.write(b"into the void")
    wire.write(b"into the void")
    assert await wire.receive() == b"bye"


async def test_a_reset_is_a_broken_connection(nursery: trio.Nursery) -> None:
    """A reset by the peer is told apart from an orderly end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    wire = Wire(ours, start=nursery.start_soon)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    with pytest.raises(BrokenError):
        await wire.receive()
    wire.abort()


async def test_a_cancelled_drain_leaves_the_backlog_alone(pair: Pair, nursery: trio.Nursery) -> None:
    """Waiting for the outbox can be given up without loss."""
    wire = Wire(pair[0], start=nursery.start_soon)
    written = lag(wire)
    with trio.move_on_after(0):
        await wire.drain()
    assert len(await read(pair[1], written)) == written


@pytest.mark.parametrize(
    "alone", [True, pytest.param(False, marks=pytest.mark.skipif(not AVAILABLE, reason="needs epoll"))]
)
async def test_a_closed_resource_of_the_application_is_not_the_wires_end(
    pair: Pair, nursery: trio.Nursery, alone: bool
) -> None:
    """What `take` raises is raised, also where it looks like the wire's own; only a closed wire says so."""
    readers = None if alone else Readers()
    if readers is not None:
        await nursery.start(readers.run)
    wire = Wire(pair[0], start=nursery.start_soon, readers=readers)

    def take(_data: bytes) -> NoReturn:
        raise trio.ClosedResourceError("a channel of the application")

    pair[1].send(b"x")
    with pytest.raises(trio.ClosedResourceError, match="a channel of the application"):
        await wire.receive_until(take)
    pair[1].send(b"y")
    assert await wire.receive() == b"y"

    def close(_data: bytes) -> None:
        wire.abort("enough")

    pair[1].send(b"z")
    with pytest.raises(ClosedError, match="enough"):
        await wire.receive_until(close)
    nursery.cancel_scope.cancel()


async def test_a_socket_that_cannot_be_watched_for_writing_is_aborted(
    pair: Pair, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's bound on watched files is that connection's alone: whoever started the flusher goes on."""

    async def exhausted(_sock: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "nothing left")

    monkeypatch.setattr(trio.lowlevel, "wait_writable", exhausted)
    wire = Wire(pair[0], start=nursery.start_soon)
    lag(wire)
    with pytest.raises(ClosedError, match=BROKEN):
        await wire.receive()
    assert wire.queued == 0
