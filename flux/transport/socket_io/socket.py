"""A socket: one client in one namespace; its rooms, its acks, its session data."""

from collections.abc import Callable
from typing import Any

from flux.transport.engine_io import Client, Outgoing
from flux.transport.socket_io.calls import Calls
from flux.transport.socket_io.recovery import Identity

MAX_ACKS = 4096
"""Acks awaited from one client; the oldest is given up, so that one who never answers costs a bounded sum."""

OnAck = Callable[[list[Any] | None], None]
"""Gets the ack's arguments, or None when the client has gone."""


class Held:
    """Stands in for a client until its connect handler has decided: packets wait, for CONNECT comes first.

    Their bound is that of the client's outbox; past it the client is closed as a slow one.

    Args:
        engine: the client's session.
    """

    wire = None
    writable = False

    def __init__(self, engine: Client) -> None:
        self._engine = engine
        self._packets: list[Outgoing] = []
        self._latest: dict[str, Outgoing] = {}
        self._size = 0
        self._overflowed = False

    @property
    def packets(self) -> list[Outgoing]:
        """Those that wait, in order; the conflated ones last."""
        return [*self._packets, *self._latest.values()]

    def send(self, packet: Outgoing) -> None:
        """Keep a packet."""
        if self._fits(_size(packet)):
            self._packets.append(packet)

    def send_latest(self, key: str, packet: Outgoing) -> None:
        """Keep a packet, and of each key only the latest."""
        old = self._latest.get(key)
        if self._fits(_size(packet) - (0 if old is None else _size(old))):
            self._latest[key] = packet

    def _fits(self, size: int) -> bool:
        # One packet of any size is taken while none waits, as on a wire.
        if self._overflowed or (self._size and self._size + size > self._engine.limit):
            if not self._overflowed:
                self._overflowed = True
                self._packets.clear()
                self._latest.clear()
                self._engine.overflow()
            return False
        self._size += size
        return True


def _size(packet: Outgoing) -> int:
    return len(packet.text) + sum(map(len, packet.attachments))


class Socket:
    """One client in one namespace.

    Args:
        sid: the socket's id, not the session's.
        namespace: its name.
        engine: the client's session.

    Attributes:
        client: where packets go: `Held` until joined, then the engine's client.
        rooms: names, in order of joining; without the one of its own sid.
        joined: whether the connect handler has let it in.
        identity: what makes it recoverable, if the server has that.
    """

    __slots__ = (
        "_acks",
        "_number",
        "_session",
        "calls",
        "client",
        "engine",
        "identity",
        "joined",
        "namespace",
        "rooms",
        "sid",
    )

    def __init__(self, sid: str, namespace: str, engine: Client) -> None:
        self.sid = sid
        self.namespace = namespace
        self.engine = engine
        self.client: Client | Held = Held(engine)
        self.joined = False
        self.rooms: dict[str, None] | None = None
        self.calls: Calls | None = None
        self.identity: Identity | None = None
        self._session: dict[str, Any] | None = None
        self._acks: dict[int, OnAck] | None = None
        self._number = 0

    @property
    def recovered(self) -> bool:
        """Whether it came back as the one it was."""
        return self.identity is not None and self.identity.recovered

    @property
    def session(self) -> dict[str, Any]:
        """What the user keeps of this client."""
        if self._session is None:
            self._session = {}
        return self._session

    @session.setter
    def session(self, value: dict[str, Any]) -> None:
        self._session = value

    def join(self, hello: Outgoing) -> None:
        """Let the client in: send CONNECT, then what was emitted meanwhile."""
        held, self.client = self.client, self.engine
        self.joined = True
        self.engine.send(hello)
        if isinstance(held, Held):
            for packet in held.packets:
                self.engine.send(packet)

    def expect_ack(self, on_ack: OnAck) -> int:
        """Return the id to ask for an ack with."""
        if self._acks is None:
            self._acks = {}
        elif len(self._acks) >= MAX_ACKS:
            self._acks.pop(next(iter(self._acks)))(None)
        self._number += 1
        self._acks[self._number] = on_ack
        return self._number

    def forget_ack(self, number: int) -> bool:
        """Stop waiting for an ack; a late one is ignored. False if it was not waited for any more."""
        return self._acks is not None and self._acks.pop(number, None) is not None

    def acknowledge(self, number: int, args: list[Any]) -> None:
        """Take an ack; one that nobody waits for is ignored."""
        on_ack = self._acks.pop(number, None) if self._acks is not None else None
        if on_ack is not None:
            on_ack(args)

    def end(self, *, cancel: bool) -> None:
        """Give up the acks and, with `cancel`, the handlers."""
        if cancel and self.calls is not None:
            self.calls.cancel()
        acks, self._acks = self._acks, None
        for on_ack in (acks or {}).values():
            on_ack(None)
