"""The packets that clients may have missed: one log for all, bounded in count, bytes and time; pure."""

import math
from collections import deque
from collections.abc import Mapping

from attrs import frozen

from flux.transport.engine_io.codec import Outgoing


@frozen
class Entry:
    """A packet that was sent.

    Args:
        position: its number, from 1.
        when: the time it was sent, seconds.
        namespace: where.
        rooms: who got it: sids and rooms; None is all of the namespace.
        skip: the sids and rooms that did not.
        text, attachments: the packet's own. The packet itself would also hold its frames.
    """

    position: int
    when: float
    namespace: str
    rooms: tuple[str, ...] | None
    skip: tuple[str, ...]
    text: bytes
    attachments: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Bytes of the packet."""
        return len(self.text) + sum(map(len, self.attachments))

    def concerns(self, namespace: str, joined: Mapping[str, int]) -> bool:
        """Whether a client was to get it.

        Args:
            namespace: the client's.
            joined: the position at which it entered each of its rooms, its own sid one of them.
        """
        if self.namespace != namespace:
            return False
        if self.rooms is not None and not any(self._within(room, joined) for room in self.rooms):
            return False
        return not any(self._within(room, joined) for room in self.skip)

    def _within(self, room: str, joined: Mapping[str, int]) -> bool:
        return joined.get(room, self.position) < self.position


class PacketLog:
    """The latest packets.

    Args:
        max_packets: how many.
        max_bytes: of them all together.
        max_age: seconds.

    Attributes:
        head: the position of the latest; 0 if there was none yet.
        size: bytes of all packets.
    """

    def __init__(self, max_packets: int, max_bytes: int, max_age: float) -> None:
        self.head = 0
        self.size = 0
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._entries: deque[Entry] = deque()
        self._dropped_when = -math.inf

    def __len__(self) -> int:
        return len(self._entries)

    def append(
        self,
        when: float,
        namespace: str,
        rooms: tuple[str, ...] | None,
        skip: tuple[str, ...],
        packet: Outgoing,
    ) -> None:
        """Take the packet of position ``head + 1``; the oldest make room for it."""
        self.head += 1
        entry = Entry(self.head, when, namespace, rooms, skip, packet.text, packet.attachments)
        self._entries.append(entry)
        self.size += entry.size
        while self._entries and (len(self._entries) > self._max_packets or self.size > self._max_bytes):
            self._drop()
        self.expire(when)

    def expire(self, now: float) -> None:
        """Drop the packets that are too old."""
        while self._entries and self._entries[0].when < now - self._max_age:
            self._drop()

    def sent_by(self, when: float) -> int:
        """Return the position of the latest packet that was sent by then; 0 if it is not known any more."""
        for entry in reversed(self._entries):
            if entry.when <= when:
                return entry.position
        return self._dropped if when >= self._dropped_when else 0

    def since(
        self, position: int, namespace: str, joined: Mapping[str, int], limit: int
    ) -> list[Outgoing] | None:
        """Return what a client missed, in order.

        Args:
            position: of the latest packet that it has got, for it or for others.
            namespace: the client's.
            joined: see `Entry.concerns`.
            limit: bytes that it may have missed.

        Returns:
            The packets; None if some are not to be had any more, or it is more than the limit.
        """
        if not self.reaches(position):
            return None
        missed: list[Outgoing] = []
        size = 0
        for entry in reversed(self._entries):
            if entry.position <= position:
                break
            if entry.concerns(namespace, joined):
                missed.append(Outgoing(entry.text, entry.attachments))
                size += entry.size
                if size > limit:
                    return None
        missed.reverse()
        return missed

    def reaches(self, position: int) -> bool:
        """Whether every packet behind that position is still there."""
        return position >= self._dropped

    @property
    def _dropped(self) -> int:
        """The position of the latest packet that was dropped."""
        return self.head - len(self._entries)

    def _drop(self) -> None:
        entry = self._entries.popleft()
        self.size -= entry.size
        self._dropped_when = entry.when
