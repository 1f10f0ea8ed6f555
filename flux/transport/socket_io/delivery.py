"""Delivery: one encoded packet to many sockets, and batches of them as one write a socket.

Sending never calls back (see `flux.transport.engine_io.client`), so the members of a room do not change under
these loops, which therefore run over them without a copy. They are not cut into pieces either: 1,000 members
take about 6 ms, in which nothing else runs.
"""

from collections.abc import Collection, Hashable

from attrs import frozen

from flux.transport.engine_io import Outgoing
from flux.transport.socket_io.room import Room
from flux.transport.socket_io.socket import Socket
from flux.transport.tally import Tally
from flux.transport.wire import write_all

DELIVERIES = Tally("flux_socketio_deliveries_total", "Packets sent to clients, events and acks")


@frozen
class Policy:
    """What becomes of a packet for a client that lags.

    Args:
        volatile: dropped.
        conflate: only the latest packet of this key is kept.
    """

    volatile: bool = False
    conflate: str | None = None


RELIABLE = Policy()


def send(socket: Socket, packet: Outgoing, policy: Policy) -> None:
    """Send a packet to one socket."""
    if policy.conflate is not None:
        socket.client.send_latest(policy.conflate, packet)
    elif not policy.volatile or socket.client.writable:
        socket.client.send(packet)


def broadcast(sockets: Collection[Socket], packet: Outgoing, policy: Policy) -> None:
    """Send a packet to all sockets."""
    DELIVERIES.value += len(sockets)
    others = sockets
    if isinstance(sockets, Room):
        wires, others = sockets.apart()
        for wire in write_all(wires, packet.frames):
            if policy.conflate is not None:
                wire.write_latest(policy.conflate, packet.frames)
            elif not policy.volatile:
                wire.write(packet.frames)
    for socket in others:
        send(socket, packet, policy)


@frozen
class _Entry:
    sockets: Collection[Socket]
    audience: Hashable
    packet: Outgoing
    policy: Policy


class Batch:
    """Packets that are sent together: a socket that does not lag gets all of its own in one write."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def add(self, sockets: Collection[Socket], audience: Hashable, packet: Outgoing, policy: Policy) -> None:
        """Add a packet.

        Args:
            sockets: who gets it; taken as they are now.
            audience: equal for equal sockets.
            packet: as in `broadcast`.
            policy: as in `broadcast`.
        """
        entries = self._entries
        same = bool(entries) and entries[-1].audience == audience
        sockets = entries[-1].sockets if same else list(sockets)
        entries.append(_Entry(sockets, audience, packet, policy))

    def deliver(self) -> None:
        """Send everything."""
        entries, self._entries = self._entries, []
        if not entries:
            return
        DELIVERIES.value += sum(len(entry.sockets) for entry in entries)
        first = entries[0]
        if all(entry.audience == first.audience for entry in entries):
            joined = b"".join([entry.packet.frames for entry in entries])
            for socket in first.sockets:
                _send_joined(socket, joined, entries)
            return
        shares: dict[Socket, list[int]] = {}
        for number, entry in enumerate(entries):
            for socket in entry.sockets:
                shares.setdefault(socket, []).append(number)
        cache: dict[tuple[int, ...], tuple[bytes, list[_Entry]]] = {}
        for socket, numbers in shares.items():
            key = tuple(numbers)
            share = cache.get(key)
            if share is None:
                own = [entries[number] for number in numbers]
                share = cache[key] = (b"".join([entry.packet.frames for entry in own]), own)
            _send_joined(socket, *share)


def _send_joined(socket: Socket, joined: bytes, entries: list[_Entry]) -> None:
    client = socket.client
    wire = client.wire
    if wire is not None and wire.writable:
        wire.write(joined)
        return
    if wire is None and client.writable:
        # One poll response for the whole batch, not one for its first packet.
        packets = [entry.packet for entry in entries]
        client.send(
            Outgoing(b"\x1e".join([packet.payload for packet in packets])) if len(packets) > 1 else packets[0]
        )
        return
    for entry in entries:
        send(socket, entry.packet, entry.policy)
