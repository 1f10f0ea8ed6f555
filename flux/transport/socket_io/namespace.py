"""A namespace: its sockets, rooms and handlers."""

from collections.abc import Collection, Iterable

from flux.transport.socket_io.handlers import EMPTY, Layer, Table
from flux.transport.socket_io.room import Room
from flux.transport.socket_io.socket import Socket


class Namespace:
    """The sockets of one namespace by sid and by room.

    Args:
        name: ``/`` or with a leading slash.
        table: the handlers that count here.
        family: what was registered for the pattern or predicate that let it in.

    Attributes:
        sockets: all, by sid, pending ones included.
        leaving: those whose disconnecting or disconnect handler still runs.
        generation: changes whenever some room's members do.
    """

    def __init__(self, name: str, table: Table = EMPTY, family: Layer | None = None) -> None:
        self.name = name
        self.table = table
        self.family = family
        self._all = Room()
        self.sockets = self._all.sockets
        self.leaving: dict[str, Socket] = {}
        self.generation = 0
        self._rooms: dict[str, Room] = {}

    def add(self, socket: Socket) -> None:
        """Take a socket in."""
        self._all.add(socket)
        self.generation += 1

    def remove(self, socket: Socket) -> bool:
        """Take a socket out of the namespace and its rooms, whose list it keeps. False if it was not in."""
        if self.sockets.get(socket.sid) is not socket:  # a recovered one may have its sid
            return False
        self._all.remove(socket)
        for room in socket.rooms or ():
            self._drop(room, socket)
        self.generation += 1
        return True

    def enter(self, socket: Socket, room: str) -> None:
        """Put a socket into a room; again is no error."""
        if socket.rooms is None:
            socket.rooms = {}
        socket.rooms[room] = None
        if socket.identity is not None:
            socket.identity.entered(room)
        members = self._rooms.get(room)
        if members is None:
            members = self._rooms[room] = Room()
        members.add(socket)
        self.generation += 1

    def leave(self, socket: Socket, room: str) -> None:
        """Take a socket out of a room; if it is not in, nothing happens."""
        if socket.rooms is not None and room in socket.rooms:
            del socket.rooms[room]
            if socket.identity is not None:
                socket.identity.left(room)
            self._drop(room, socket)
            self.generation += 1

    def close_room(self, room: str) -> None:
        """Take all sockets out of a room."""
        for socket in list(self._rooms.get(room, ())):
            self.leave(socket, room)

    def members(self, room: str) -> Collection[str]:
        """Return the sids in a room: a view that follows its changes; a sid is a room of its own."""
        if room in self.sockets:
            return (room,)
        return self._rooms[room].sockets.keys() if room in self._rooms else ()

    def rooms(self) -> Collection[str]:
        """Return the names of all rooms that have members."""
        return self._rooms.keys()

    def select(self, rooms: Iterable[str] | None, skip: Collection[str]) -> Collection[Socket]:
        """Return the sockets in any of the rooms (None: all), each once, without those skipped.

        What is skipped is a sid, or a room.
        """
        found: list[Collection[Socket]] = (
            [self._all] if rooms is None else [self._find(room) for room in rooms]
        )
        if len(found) == 1 and not skip:
            return found[0]
        chosen = {socket.sid: socket for members in found for socket in members}
        if skip:
            out = set().union(*(self.members(room) for room in skip))
            return [socket for sid, socket in chosen.items() if sid not in out]
        return chosen.values()

    def _find(self, room: str) -> Collection[Socket]:
        socket = self.sockets.get(room)
        return self._rooms.get(room, ()) if socket is None else (socket,)

    def _drop(self, room: str, socket: Socket) -> None:
        members = self._rooms.get(room)
        if members is not None:
            members.remove(socket)
            if not members:
                del self._rooms[room]
