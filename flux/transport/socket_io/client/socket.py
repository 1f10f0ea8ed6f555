"""A client's place in one namespace: its sid, its handlers, and the acks that it waits for."""

from collections.abc import Callable
from typing import Any

import trio

from flux.transport.socket_io.client.errors import ConnectError
from flux.transport.socket_io.client.outbox import ANYONE, Entry, Outbox
from flux.transport.socket_io.codec import ACK, CONNECT, DISCONNECT, EVENT, encode
from flux.transport.socket_io.handlers import Registered

TakeAck = Callable[[list[Any] | None], None]
"""Gets the arguments of an ack, or None when it will never come."""


class ClientSocket:
    """One namespace.

    Args:
        namespace: ``/`` or with a leading slash.
        outbox: the client's.

    Attributes:
        sid: of the latest joining; None before the first.
        joined: whether the server has let it in on the present connection.
        left: it is not asked for again: the server refused it or turned it out, or its user left.
        handlers: by event.
        pid, offset: for the server's connection state recovery.
        answered: set when the server has answered the latest CONNECT.
        refusal: that answer, if it was one.
        recovered: whether the latest joining restored sid, rooms and missed events.
    """

    def __init__(self, namespace: str, outbox: Outbox) -> None:
        self.namespace = namespace
        self.sid: str | None = None
        self.joined = False
        self.left = False
        self.answered = trio.Event()
        self.refusal: ConnectError | None = None
        self.handlers: dict[str, Registered] = {}
        self.pid: str | None = None
        self.offset: str | None = None
        self.recovered = False
        self._outbox = outbox
        self._acks: dict[int, TakeAck] = {}
        self._next = 0

    @property
    def connected(self) -> bool:
        """Whether it is in its namespace, and means to stay."""
        return self.joined and not self.left

    def ask(self, auth: dict[str, Any] | None) -> None:
        """Have CONNECT sent."""
        self.joined = False
        self.left = False
        self.answered = trio.Event()
        self.refusal = None
        recovery: dict[str, Any] = {}
        if self.pid is not None:
            recovery = {"pid": self.pid} | ({"offset": self.offset} if self.offset is not None else {})
        packet = encode(CONNECT, self.namespace, (recovery | (auth or {})) or None)
        self._outbox.put(Entry(ANYONE, packet, transient=True), force=True)

    def join(self, answer: dict[str, Any]) -> None:
        """Take the server's CONNECT; what waits may be sent now."""
        pid = answer.get("pid")
        self.recovered = pid is not None and pid == self.pid
        self.pid = pid if isinstance(pid, str) else None
        if not self.recovered:
            self.offset = None
        self.sid = answer["sid"]
        self.joined = True
        self.answered.set()
        self._outbox.wake()

    def refuse(self, answer: dict[str, Any]) -> ConnectError:
        """Take the server's CONNECT_ERROR; what waits is dropped."""
        message = answer.get("message")
        text = message if isinstance(message, str) else "connection refused"
        self.refusal = ConnectError(text, answer.get("data"), self.namespace)
        self.end()
        self.answered.set()
        return self.refusal

    def note_offset(self, args: list[Any]) -> None:
        """Remember the offset of an event: the last argument, if it is a string (as the JS client does)."""
        if self.pid is not None and args and isinstance(args[-1], str):
            self.offset = args[-1]

    def send_event(self, data: list[Any], take_ack: TakeAck | None) -> int | None:
        """Have an event sent; return the number of its ack.

        Raises:
            LocalError: it cannot be sent.
            BufferFullError: too much waits.
        """
        number = None
        if take_ack is not None:
            number = self._next
        entry = Entry(self, encode(EVENT, self.namespace, data, number), number)
        self._outbox.put(entry)
        if number is not None and take_ack is not None:
            self._next += 1
            self._acks[number] = take_ack
        return number

    def send_ack(self, number: int, args: list[Any]) -> None:
        """Answer the server; nothing is sent when it cannot know the number any more.

        Raises:
            LocalError: the arguments cannot be sent.
            BufferFullError: too much waits.
        """
        packet = encode(ACK, self.namespace, args, number)
        if self.joined:
            self._outbox.put(Entry(self, packet, transient=True))

    def take_ack(self, number: int, args: list[Any]) -> None:
        """Take the server's ack; an unknown or late one is ignored."""
        take = self._acks.pop(number, None)
        if take is not None:
            take(args)

    def forget_ack(self, number: int) -> None:
        """Ignore an ack from now on; if its event still waits it is not sent."""
        if self._acks.pop(number, None) is not None:
            self._outbox.withdraw(self, number)

    def lose(self) -> None:
        """Leave the namespace with the connection; acks of events that were sent will not come."""
        self.joined = False
        self._fail_acks({entry.number for entry in self._outbox.waiting(self)})

    def leave(self) -> None:
        """Leave for good, behind what waits to be sent."""
        self.left = True
        if self.joined:
            packet = encode(DISCONNECT, self.namespace)
            self._outbox.put(Entry(ANYONE, packet, transient=True), force=True)
        else:
            self._outbox.withdraw(self)
        self._fail_acks(set())

    def end(self) -> None:
        """Be out for good, at once."""
        self.left = True
        self.joined = False
        self._outbox.withdraw(self)
        self._fail_acks(set())

    def _fail_acks(self, but: set[int | None]) -> None:
        for number in [number for number in self._acks if number not in but]:
            self._acks.pop(number)(None)
