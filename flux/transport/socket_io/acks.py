"""Acks asked of many clients: asking, giving up at a time, gathering the answers."""

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

import trio

from flux.transport.engine_io import Outgoing
from flux.transport.socket_io.socket import Socket
from flux.transport.socket_io.types import AckTimeoutError
from flux.transport.timers import Timers

OnAck = Callable[[Socket, list[Any] | None], None]
"""Gets who answered and the ack's arguments; None for one who left or did not answer in time."""

Asked = list[tuple[Socket, int]]
"""Whom was asked, with the ids of the acks."""


def value_of(args: list[Any]) -> Any:
    """Return an ack's only argument; None for none, a tuple for several."""
    return args[0] if len(args) == 1 else tuple(args) or None


def ask(
    sockets: Collection[Socket],
    on_ack: OnAck,
    pack: Callable[[int], Outgoing],
    send: Callable[[Socket, Outgoing], None],
) -> Asked:
    """Send an event to sockets, each with the id of its own ack.

    Args:
        sockets: whom; taken as they are now.
        on_ack: called once for each, unless it is forgotten before.
        pack: makes the packet with an id; called once for each id, and many sockets have the same next one.
        send: sends it.
    """
    packets: dict[int, Outgoing] = {}
    asked = []
    for socket in list(sockets):
        number = socket.expect_ack(partial(on_ack, socket))
        packet = packets.get(number)
        if packet is None:
            packet = packets[number] = pack(number)
        asked.append((socket, number))
        send(socket, packet)
    return asked


def give_up_at(timers: Timers, when: float, asked: Asked, on_ack: OnAck) -> None:
    """Forget at a time of trio's clock the acks that have not come, and tell so."""

    def give_up() -> None:
        for socket, number in asked:
            if socket.forget_ack(number):
                on_ack(socket, None)

    if asked:
        timers.call_at(when, give_up)


class Gathering:
    """Answers of several clients.

    Args:
        sids: who is asked.

    Attributes:
        done: set once nobody is left who may answer.
    """

    def __init__(self, sids: Iterable[str]) -> None:
        self._waiting = dict.fromkeys(sids)
        self._gone: list[str] = []
        self._answers: dict[str, Any] = {}
        self.done = trio.Event()
        if not self._waiting:
            self.done.set()

    def take(self, socket: Socket, args: list[Any] | None) -> None:
        """Take an answer, or None from one who left."""
        if args is None:
            self._gone.append(socket.sid)
        else:
            self._answers[socket.sid] = value_of(args)
        self._waiting.pop(socket.sid, None)
        if not self._waiting:
            self.done.set()

    def result(self, event: str) -> dict[str, Any]:
        """Return the answers by sid.

        Raises:
            AckTimeoutError: some are missing; it has the others.
        """
        missing = (*self._gone, *self._waiting)
        if missing:
            raise AckTimeoutError(
                f"no ack for {event!r} from {len(missing)} of {len(missing) + len(self._answers)} clients",
                self._answers,
                missing,
            )
        return self._answers
