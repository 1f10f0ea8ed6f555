"""A room: its sockets by sid, and apart from them the wires that a packet to all of it goes to."""

from collections.abc import Collection, Iterator, Sequence

from flux.transport.socket_io.socket import Socket
from flux.transport.wire import Wire


class Room(Collection[Socket]):
    """Sockets of one namespace, in the order in which they came.

    Attributes:
        sockets: by sid; changed by `add` and `remove` alone.
    """

    __slots__ = ("_others", "_wires", "sockets")

    def __init__(self) -> None:
        self.sockets: dict[str, Socket] = {}
        self._wires: list[Wire] | None = None
        self._others: Sequence[Socket] = ()

    def __len__(self) -> int:
        return len(self.sockets)

    def __iter__(self) -> Iterator[Socket]:
        return iter(self.sockets.values())

    def __contains__(self, socket: object) -> bool:
        return isinstance(socket, Socket) and self.sockets.get(socket.sid) is socket

    def add(self, socket: Socket) -> None:
        """Take a socket in; again is no error."""
        self.sockets[socket.sid] = socket
        self._forget()

    def remove(self, socket: Socket) -> None:
        """Let a socket go; if it is not in, nothing happens."""
        self.sockets.pop(socket.sid, None)
        self._forget()

    def apart(self) -> tuple[Sequence[Wire], Sequence[Socket]]:
        """Return the wires of those that plain bytes can be written to, and the other sockets.

        On the way to a wire there are three objects, which are seldom in the processor's cache by then; so
        the wires are kept until a member comes or goes. A client that has a wire keeps it to its end, and
        what is written behind the end vanishes; one that got its wire later is found among the others.
        """
        wires = self._wires
        if wires is not None:
            for socket in self._others:
                if type(socket.client.wire) is Wire:
                    break
            else:
                return wires, self._others
        wires = []
        others = []
        for socket in self.sockets.values():
            wire = socket.client.wire
            if type(wire) is Wire:  # not one that changes what is written
                wires.append(wire)
            else:
                others.append(socket)
        self._wires, self._others = wires, others
        return wires, others

    def _forget(self) -> None:
        self._wires = None
        self._others = ()
