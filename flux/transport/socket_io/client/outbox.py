"""What a client has still to send: bounded, kept over a loss of the connection."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

import trio
from attrs import frozen

from flux.transport.engine_io.codec import Outgoing
from flux.transport.socket_io.client.errors import BufferFullError


class Sender(Protocol):
    """Whose packets wait."""

    joined: bool


@frozen(eq=False)
class Entry:
    """A packet that waits until its sender is in its namespace.

    Args:
        sender: a namespace's socket.
        packet: encoded.
        number: of the ack that it asks for.
        transient: means nothing to the server after a new connection.
    """

    sender: Sender
    packet: Outgoing
    number: int | None = None
    transient: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.packet.text) + sum(map(len, self.packet.attachments))


class _Anyone:
    joined = True


ANYONE: Sender = _Anyone()
"""The sender of packets that need no namespace."""


class Outbox:
    """A queue for one writer. Per sender the order holds.

    Args:
        max_packets: that may wait.
        max_bytes: that may wait.
    """

    def __init__(self, max_packets: int, max_bytes: int) -> None:
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._urgent: deque[Outgoing] = deque()
        self._size = 0
        self._in_flight = False
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and nothing could be sent now."""
        return not self._in_flight and not self._urgent and not any(e.sender.joined for e in self._entries)

    def put(self, entry: Entry, *, force: bool = False) -> None:
        """Add a packet.

        Args:
            entry: the packet.
            force: past the bounds, too.

        Raises:
            BufferFullError: no room.
        """
        size = entry.size
        full = len(self._entries) >= self._max_packets or self._size + size > self._max_bytes
        if full and not force:
            raise BufferFullError(f"{len(self._entries)} packets ({self._size} bytes) wait to be sent")
        self._entries.append(entry)
        self._size += size
        self.wake()

    def put_urgent(self, packet: Outgoing) -> None:
        """Add a packet of the connection itself: first out, and gone with it."""
        self._urgent.append(packet)
        self.wake()

    def withdraw(self, sender: Sender, number: int | None = None) -> None:
        """Drop what a sender has waiting: all, or the packet that asks for an ack."""
        self._keep([e for e in self._entries if e.sender is not sender or number not in (None, e.number)])

    def connection_lost(self) -> None:
        """Drop what was meant for this connection only."""
        self._urgent.clear()
        self._in_flight = False
        self._keep([entry for entry in self._entries if not entry.transient])

    def waiting(self, sender: Sender) -> Iterator[Entry]:
        """Yield what a sender has waiting."""
        return (entry for entry in self._entries if entry.sender is sender)

    def wake(self) -> None:
        """Have the waiters look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def take(self, batch_bytes: int) -> Sequence[Outgoing]:
        """Wait for packets that can be sent, and take them: one, or more while they stay below a size.

        What was taken before counts as sent. Cancellation takes nothing.
        """
        self._in_flight = False
        self.wake()
        while not (packets := self._next(batch_bytes)):
            await self._changed.wait()
        self._in_flight = True
        return packets

    async def drained(self) -> None:
        """Wait until nothing is left, on its way or waiting."""
        while self._entries or self._urgent or self._in_flight:
            await self._changed.wait()

    async def until_idle(self) -> None:
        """Wait until `idle`."""
        while not self.idle:
            await self._changed.wait()

    def _next(self, batch_bytes: int) -> list[Outgoing]:
        if self._urgent:
            packets = list(self._urgent)
            self._urgent.clear()
            return packets
        chosen: list[Entry] = []
        size = 0
        for entry in self._entries:
            if not entry.sender.joined:
                continue
            size += entry.size + len(entry.packet.attachments) + 1
            if chosen and size > batch_bytes:
                break
            chosen.append(entry)
            if not batch_bytes:
                break
        if len(chosen) == 1 and chosen[0] is self._entries[0]:  # the usual case
            self._size -= self._entries.popleft().size
        elif chosen:
            taken = set(chosen)
            self._keep([entry for entry in self._entries if entry not in taken])
        return [entry.packet for entry in chosen]

    def _keep(self, entries: list[Entry]) -> None:
        self._entries = deque(entries)
        self._size = sum(entry.size for entry in entries)
        self.wake()
