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

from flux.errors import BrokenError, RemoteError

log = structlog.get_logger("flux.readers")

SIZE = 64 * 1024
"""Bytes of one read at most."""
BURST = 128
"""Sockets that are read before other tasks get their turn."""

_CLOSED = "closed by another task"
_ENDED = "the peer ended the connection"

T = TypeVar("T")

Take = Callable[[bytes], T | None]
"""Takes what has come, at once; plain, must not block. None asks for more.

``b""`` is the peer's end: nothing can follow, so None for that ends the reading with `BrokenError`.
"""


async def read_alone(sock: socket.socket, take: Take[T]) -> T:
    """Read in this task until `take` returns something; see `Readers.read`."""
    while sock.fileno() >= 0:
        try:
            await trio.lowlevel.wait_readable(sock)
            data = sock.recv(SIZE)
        except (BlockingIOError, InterruptedError):
            continue
        except OSError as error:
            if sock.fileno() < 0:  # between the wait's end and now
                break
            raise _broken(error) from error
        taken = take(data)
        if taken is not None:
            return taken
        if not data:
            raise BrokenError(_ENDED)
        del data  # an idle connection must not keep its last bytes
    raise trio.ClosedResourceError(_CLOSED)


@define(eq=False, repr=False)
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
        """Read until cancelled; whoever waits by then goes on alone.

        It ends by itself, with a log line, where the system has nothing left for it (``EMFILE``, ``ENOMEM``).
        """
        task_status.started()
        try:
            with select.epoll() as epoll:
                self._epoll = epoll
                while True:
                    await trio.lowlevel.wait_readable(epoll.fileno())
                    self._read_ready()
        except (OSError, MemoryError) as error:
            log.warning("each task reads alone", reason=str(error))
        finally:
            self._epoll = None
            left, self._readers = self._readers, {}
            for reader in left.values():
                if reader is not None:
                    trio.lowlevel.reschedule(reader.task)

    async def read(self, sock: socket.socket, take: Take[T]) -> T:
        """Read until `take` returns something, and return that.

        `take` is called in this task's context, but by another task, while this one waits. Its exceptions
        are raised here. Cancellation loses nothing: what was read was taken. Only a `take` that cancels its
        own reader loses what it returns.

        Raises:
            BrokenError: the connection broke, or the system cannot watch it.
            trio.ClosedResourceError: the socket was forgotten meanwhile.
            trio.BusyResourceError: another task reads it.
        """
        if self._epoll is None:
            return await read_alone(sock, take)
        number = sock.fileno()
        if self._readers.get(number) is not None:
            raise trio.BusyResourceError("another task reads this socket")
        if number not in self._readers:
            try:
                self._epoll.register(number, select.EPOLLIN)
            except OSError as error:
                raise _broken(error) from error
        reader = self._readers[number] = _Reader(sock.recv, take, trio.lowlevel.current_task())

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            if self._readers.get(number) is reader:
                self._readers[number] = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        failure, reader.error = reader.error, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure, reader, abort  # no cycle of the error and this frame
        taken: T | None = reader.taken
        if taken is None:  # `run` has ended
            return await read_alone(sock, take)
        return taken

    def forget(self, sock: socket.socket) -> None:
        """Take note that a socket is about to be closed; who reads it gets `trio.ClosedResourceError`."""
        number = sock.fileno()
        reader = self._readers.get(number)
        self._unregister(number)
        if reader is not None:
            reader.error = trio.ClosedResourceError(_CLOSED)
            trio.lowlevel.reschedule(reader.task)

    def _read_ready(self) -> None:
        for number, _ in self._epoll.poll(0, BURST):
            self._read(number)  # which finds the reader: an error's traceback keeps this frame's variables

    def _read(self, number: int) -> None:
        reader = self._readers.get(number)
        if reader is None:  # its task has something else to do; what has come stays in the kernel
            self._unregister(number)
            return
        taken: Any = None
        failure: Exception | None = None
        try:
            try:
                data = reader.recv(SIZE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                failure = _broken(error)
            except Exception as error:  # noqa: BLE001 - it is the task's
                failure = error
            else:
                try:
                    taken = reader.task.context.run(reader.take, data)
                except Exception as error:  # noqa: BLE001 - it is the task's
                    failure = error
                else:
                    if taken is None and data:
                        return
            self._hand_over(number, reader, taken, failure)
        finally:
            del failure, reader  # no cycle of the error and this frame

    def _hand_over(self, number: int, reader: _Reader, taken: Any, failure: Exception | None) -> None:
        if self._readers.get(number) is reader:
            if taken is None and failure is None:
                failure = BrokenError(_ENDED)
            reader.taken, reader.error = taken, failure
            self._readers[number] = None
            trio.lowlevel.reschedule(reader.task)
        elif failure is not None and not isinstance(failure, RemoteError):
            # What was taken ended the wait, by closing or cancelling; a peer's later mistake is no news.
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
