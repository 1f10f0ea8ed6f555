"""A wire: one non-blocking socket whose writes never wait.

`Wire.write` sends at once while nothing is queued; the rest waits in the outbox, and a flusher task lives
only as long as there is something in it. So a fan-out is a plain loop, and a client that does not read costs
its own outbox's bytes and nobody's time.
"""

import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import trio
from prometheus_client import Counter

from flux.errors import ClosedError
from flux.metrics import REGISTRY
from flux.transport.readers import Readers, Take, read_alone

OVERFLOWS = Counter(
    "flux_wire_overflows_total", "Connections closed because their outbox passed its bound", registry=REGISTRY
)
OVERFLOW_BYTES = Counter(
    "flux_wire_overflow_bytes_total", "Bytes thrown away with overflowing outboxes", registry=REGISTRY
)

SLOW = "slow client"
BROKEN = "transport error"
"""The reason where the system cannot watch the socket; Engine.IO's name for what is not the peer's doing."""
_RESET = struct.pack("ii", 1, 0)
SEND_SIZE = 256 * 1024
"""Bytes offered to one `socket.send` of queued data; about what a default Linux send buffer takes."""

Start = Callable[..., Any]
"""Starts a task: a nursery's ``start_soon``."""

T = TypeVar("T")


class Wire:
    """One connected stream socket.

    One task may receive; anyone may write. What is written after the end (`abort`, `finish`, or the peer's
    reset)
    vanishes: the reader learns of the end, and it alone cleans up.

    Args:
        sock: non-blocking and connected; owned from now on.
        start: starts the flusher.
        limit: bytes that may wait in the outbox. One message of any size is taken while it is empty.
        readers: reads for whoever receives; None: who receives reads.

    Attributes:
        failure: why this side aborted; None before.
        limit: as given; may be changed.
    """

    __slots__ = (
        "_drained",
        "_finishing",
        "_latest",
        "_latest_bytes",
        "_outbox",
        "_readers",
        "_send",
        "_socket",
        "_start",
        "failure",
        "limit",
    )

    def __init__(
        self, sock: socket.socket, *, start: Start, limit: int = 1 << 20, readers: Readers | None = None
    ) -> None:
        self._socket = sock
        self._readers = readers
        self._send: Callable[[Any], int] = sock.send
        self._start = start
        self.limit = limit
        self._outbox: bytearray | None = None
        self._latest: dict[str, bytes] | None = None
        self._latest_bytes = 0
        self._finishing = False
        self._drained: trio.Event | None = None
        self.failure: str | None = None

    @property
    def writable(self) -> bool:
        """Whether nothing is queued."""
        return self._outbox is None

    @property
    def closed(self) -> bool:
        """Whether the socket is closed."""
        return self.failure is not None

    @property
    def queued(self) -> int:
        """Bytes that wait, conflated ones included."""
        return (0 if self._outbox is None else len(self._outbox)) + self._latest_bytes

    def write(self, data: bytes) -> None:
        """Send, or queue what the kernel does not take; never waits.

        Past the bound the wire is aborted as a slow client.
        """
        if self._outbox is None:
            send = self._send  # not called as a method, which for a slot is slower
            try:
                sent = send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._mute()
                return
            if sent != len(data):
                self._keep(data, sent)
        elif not self._finishing:
            if self.queued + len(data) > self.limit:
                self._overflow(len(data))
            else:
                self._outbox += data

    def write_latest(self, key: str, data: bytes) -> None:
        """Send, or while something is queued keep only the latest data of each key.

        The kept ones follow once the outbox is empty, in the order in which their keys were first kept.
        """
        if self._outbox is None:
            self.write(data)
        elif not self._finishing:
            latest = self._latest
            if latest is None:
                latest = self._latest = {}
            self._latest_bytes += len(data) - len(latest.get(key, b""))
            latest[key] = data
            if self.queued > self.limit:
                self._overflow(0)

    async def receive(self) -> bytes:
        """Wait for bytes; ``b""`` is the peer's end. Cancellation loses nothing.

        Raises:
            ClosedError: this side aborted the wire; the text is `failure`.
            BrokenError: the connection broke.
        """
        return await self.receive_until(_whatever)

    async def receive_until(self, take: Take[T]) -> T:
        """Hand over what comes until `take` returns something, and return that. Cancellation loses nothing.

        Args:
            take: a plain function, called with each read, ``b""`` for the peer's end; None asks for more.
                Maybe not called by this task, but in its context and while it waits. What it returns is lost
                if it cancels this task.

        Raises:
            ClosedError: this side aborted the wire; the text is `failure`.
            BrokenError: the connection broke, or `take` asked for more behind the end.
            Exception: what `take` raises.
        """
        if self.failure is None:
            try:
                if self._readers is None:
                    return await read_alone(self._socket, take)
                return await self._readers.read(self._socket, take)
            except trio.ClosedResourceError:
                if self.failure is None:  # `take` raised it
                    raise
        raise ClosedError(self.failure)

    async def drain(self) -> None:
        """Wait until nothing is queued, or the wire has ended. Cancellation loses nothing."""
        await trio.lowlevel.checkpoint()
        if self._outbox is not None:
            if self._drained is None:
                self._drained = trio.Event()
            await self._drained.wait()

    def finish(self) -> None:
        """End the sending side once all is sent; the reader goes on until the peer's end or `abort`."""
        if self._finishing or self.failure is not None:
            return
        self._finishing = True
        if self._outbox is None:
            self._half_close()

    def abort(self, reason: str = "closed") -> None:
        """Close the socket at once; what is queued is lost. The reader gets `ClosedError`."""
        if self.failure is not None:
            return
        self.failure = reason
        if self._outbox is not None:
            # Cut off in the middle: with a reset the kernel, too, gives its buffer (up to 4 MiB) free at
            # once. After an orderly end a peer that keeps its window shut could hold that for as long as it
            # likes.
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._mute()
        if self._readers is not None:
            self._readers.forget(self._socket)
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()

    def _keep(self, data: bytes, sent: int) -> None:
        self._outbox = bytearray(memoryview(data)[sent:])
        self._start(self._flush)

    def _overflow(self, extra: int) -> None:
        OVERFLOWS.inc()
        OVERFLOW_BYTES.inc(self.queued + extra)
        self.abort(SLOW)

    def _mute(self) -> None:
        # From now on everything "is sent": a peer that reset still may have sent something worth reading.
        self._send = len
        self._latest = None
        self._latest_bytes = 0
        self._empty()

    def _empty(self) -> None:
        self._outbox = None
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def _half_close(self) -> None:
        self._mute()
        with suppress(OSError):  # the peer was faster
            self._socket.shutdown(socket.SHUT_WR)

    async def _flush(self) -> None:
        while self._outbox is not None:
            try:
                await trio.lowlevel.wait_writable(self._socket)
            except trio.ClosedResourceError:
                return
            except OSError:  # the system cannot watch it
                self.abort(BROKEN)
                return
            self._send_queued()

    def _send_queued(self) -> None:
        outbox = self._outbox
        if outbox is None:
            return
        try:
            with memoryview(outbox) as view, view[:SEND_SIZE] as part:
                sent = self._send(part)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._mute()
            return
        del outbox[:sent]
        if outbox:
            return
        if self._latest:
            self._outbox = bytearray(b"".join(self._latest.values()))
            self._latest = None
            self._latest_bytes = 0
            return
        self._empty()
        if self._finishing:
            self._half_close()


def write_all(wires: Iterable[Wire], data: bytes) -> Sequence[Wire]:
    """Write the same to all wires that nothing is queued on; return the others.

    It is `Wire.write` in a loop, without its call where all of it is sent.
    """
    size = len(data)
    lagging = []
    for wire in wires:
        if wire._outbox is None:  # noqa: SLF001 - of this module
            send = wire._send  # noqa: SLF001 - of this module
            try:
                sent = send(data)
            except OSError:
                wire.write(data)  # finds the same, and knows what to do
                continue
            if sent != size:
                wire._keep(data, sent)  # noqa: SLF001 - of this module
        else:
            lagging.append(wire)
    return lagging


def _whatever(data: bytes) -> bytes:
    return data
