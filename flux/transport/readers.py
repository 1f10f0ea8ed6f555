"""Readers: one wait for all sockets that are read.

trio asks epoll anew for each wait, and each read costs a step of its task. Here the sockets stay in an epoll
of our own; one task waits for it, reads what has come, and hands it over. The task that reads a socket wakes
only for what it wants to see itself.
"""

import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import structlog
import trio
from attrs import define

from flux.errors import BrokenError

log = structlog.get_logger("flux.readers")

SIZE = 64 * 1024
"""Bytes of one read at most."""
BURST = 128
"""Sockets that are read before other tasks get their turn."""

T = TypeVar("T")

Take = Callable[[bytes], T | None]
"""Takes what has come (``b""`` is the peer's end), at once; None asks for more. Plain, must not block."""


async def read_alone(sock: socket.socket, take: Take[T]) -> T:
    """Read in this task until `take` returns something; see `Readers.read`."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            data = sock.recv(SIZE)
        except (BlockingIOError, InterruptedError):
            continue
        except OSError as error:
            raise _broken(error) from error
        taken = take(data)
        del data  # an idle connection must not keep its last bytes
        if taken is not None:
            return taken


@define(eq=False)
class _Reader:
    recv: Callable[[int], bytes]
    take: Take[Any]
    task: trio.lowlevel.Task
    taken: Any = None
    error: Exception | None = None


class Readers:
    """Reads sockets for their tasks while `run` runs; else they read alone. Needs epoll (`AVAILABLE`)."""

    def __init__(self) -> None:
        self._readers: dict[int, _Reader | None] = {}  # all that epoll watches, by file descriptor
        self._epoll: Any = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read until cancelled; whoever waits by then must be cancelled, too."""
        with select.epoll() as epoll:
            self._epoll = epoll
            task_status.started()
            try:
                while True:
                    await trio.lowlevel.wait_readable(epoll.fileno())
                    self._read_ready()
            finally:
                self._epoll = None
                self._readers.clear()

    async def read(self, sock: socket.socket, take: Take[T]) -> T:
        """Read until `take` returns something, and return that.

        `take` is called in this task's context, but while the task waits. Its exceptions are raised here.
        Cancellation loses nothing: what was read was taken.

        Raises:
            BrokenError: the connection broke.
            trio.ClosedResourceError: the socket was forgotten meanwhile.
            trio.BusyResourceError: another task reads it.
        """
        if self._epoll is None:
            return await read_alone(sock, take)
        number = sock.fileno()
        if self._readers.get(number) is not None:
            raise trio.BusyResourceError("another task reads this socket")
        if number not in self._readers:
            self._epoll.register(number, select.EPOLLIN)
        reader = self._readers[number] = _Reader(sock.recv, take, trio.lowlevel.current_task())

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            if self._readers.get(number) is reader:
                self._readers[number] = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if reader.error is not None:
            try:
                raise reader.error
            finally:
                del reader, abort  # no cycle of the error and this frame
        taken: T = reader.taken
        return taken

    def forget(self, sock: socket.socket) -> None:
        """Take note that a socket is about to be closed; who reads it gets `trio.ClosedResourceError`."""
        number = sock.fileno()
        reader = self._readers.get(number)
        self._unregister(number)
        if reader is not None:
            reader.error = trio.ClosedResourceError("closed by another task")
            trio.lowlevel.reschedule(reader.task)

    def _read_ready(self) -> None:
        for number, _ in self._epoll.poll(0, BURST):
            reader = self._readers.get(number)
            if reader is None:  # its task has something else to do; what has come stays in the kernel
                self._unregister(number)
            else:
                self._read(number, reader)

    def _read(self, number: int, reader: _Reader) -> None:
        taken: Any = None
        failure: Exception | None = None
        try:
            data = reader.recv(SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            failure = _broken(error)
        else:
            try:
                taken = reader.task.context.run(reader.take, data)
            except Exception as error:  # noqa: BLE001 - it is the task's
                failure = error
            else:
                if taken is None:
                    return
        if self._readers.get(number) is reader:
            reader.taken, reader.error = taken, failure
            self._readers[number] = None
            trio.lowlevel.reschedule(reader.task)
        elif failure is not None:  # what was taken ended the wait, by closing or cancelling
            log.error("reader failed", reason="while it was ended", exc_info=failure)

    def _unregister(self, number: int) -> None:
        if number in self._readers:
            del self._readers[number]
            with suppress(OSError):  # closed already
                self._epoll.unregister(number)


AVAILABLE = sys.platform == "linux"
"""Whether this system has what `Readers` needs; without it each task reads its own (`read_alone`)."""


def _broken(error: OSError) -> BrokenError:
    broken = BrokenError(f"connection broke: {error.strerror}")
    broken.__cause__ = error
    return broken
