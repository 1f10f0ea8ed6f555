"""Clients by their sids: rooms, sessions, views, and disconnecting, one at a time or a whole audience."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import trio
from attrs import field, frozen

from flux.transport.engine_io import Client, Outgoing
from flux.transport.engine_io.codec import SEPARATOR
from flux.transport.socket_io.codec import DISCONNECT
from flux.transport.socket_io.connection import Connection
from flux.transport.socket_io.environ import unpack
from flux.transport.socket_io.router import Router
from flux.transport.socket_io.socket import Socket
from flux.transport.socket_io.types import (
    ConnectionRefusedError,  # noqa: A004 - ours
    DisconnectReason,
    UnknownClientError,
)

Names = str | Iterable[str]

FAREWELL_SECONDS = 1.0
"""How long a client that is between two polls may take to hear that its connection closes."""


def _close(engine: Client) -> None:
    engine.close(DisconnectReason.SERVER_DISCONNECT)


def names_of(names: Names | None) -> tuple[str, ...]:
    """Return one name, several or none as a tuple."""
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)


@frozen
class SocketView:
    """A client as it was when `Clients.fetch_sockets` was asked.

    Args:
        sid: its id; what is known by then may be gone.
        namespace: where.
        rooms: its rooms, the one of its own sid first.
        session: a copy of the dict that is kept for it.
    """

    sid: str
    namespace: str
    rooms: tuple[str, ...]
    session: dict[str, Any]
    _environ: bytes = field(repr=False)

    @property
    def handshake(self) -> dict[str, Any]:
        """The handshake request as a WSGI-style dict, a new one each time."""
        return unpack(self._environ)


class Clients:
    """The part of the server that knows its clients. Nothing here waits.

    Where an audience is asked for, `to` is a sid or a room, or several (None is all of the namespace), and
    `skip_sid` names the sids or rooms that are left out: it is Node's ``except`` as well.
    """

    _router: Router

    def enter_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Put a client into a room.

        Raises:
            UnknownClientError: no such client.
        """
        self._router.namespace(namespace).enter(self._socket(sid, namespace), room)

    def leave_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Take a client out of a room."""
        space = self._router.namespace(namespace)
        socket = space.sockets.get(sid)
        if socket is not None:
            space.leave(socket, room)

    def close_room(self, room: str, namespace: str = "/") -> None:
        """Take all clients out of a room."""
        self._router.namespace(namespace).close_room(room)

    def rooms(self, sid: str, namespace: str = "/") -> list[str]:
        """Return a client's rooms, its own sid first.

        Raises:
            UnknownClientError: no such client.
        """
        return [sid, *(self._socket(sid, namespace, leaving=True).rooms or ())]

    def members(self, room: str, namespace: str = "/") -> Collection[str]:
        """Return the sids in a room: a live view, sized and iterable; copy it before anything is awaited."""
        return self._router.namespace(namespace).members(room)

    def occupied_rooms(self, namespace: str = "/") -> Collection[str]:
        """Return the names of the rooms that have members: a live view."""
        return self._router.namespace(namespace).rooms()

    def connected(self, sid: str, namespace: str = "/") -> bool:
        """Whether that client is connected: not yet in its connect handler, not in its disconnect handler."""
        socket = self._router.namespace(namespace).sockets.get(sid)
        return socket is not None and socket.joined

    def recovered(self, sid: str, namespace: str = "/") -> bool:
        """Whether a client came back as the one it was, with its rooms and session; see `Recovery`.

        Known from the connect handler on.

        Raises:
            UnknownClientError: no such client.
        """
        return self._socket(sid, namespace, leaving=True).recovered

    def get_session(self, sid: str, namespace: str = "/") -> dict[str, Any]:
        """Return the dict that is kept for a client; changes to it stay.

        Raises:
            UnknownClientError: no such client.
        """
        return self._socket(sid, namespace, leaving=True).session

    def save_session(self, sid: str, session: dict[str, Any], namespace: str = "/") -> None:
        """Replace the dict that is kept for a client.

        Raises:
            UnknownClientError: no such client.
        """
        self._socket(sid, namespace, leaving=True).session = session

    @contextmanager
    def session(self, sid: str, namespace: str = "/") -> Iterator[dict[str, Any]]:
        """Give a client's dict to a ``with`` block.

        Raises:
            UnknownClientError: no such client.
        """
        yield self.get_session(sid, namespace)

    def get_environ(self, sid: str, namespace: str = "/") -> dict[str, Any]:
        """Return the handshake request as a WSGI-style dict, a new one each time.

        Raises:
            UnknownClientError: no such client.
        """
        return unpack(self._socket(sid, namespace, leaving=True).engine.app.environ)

    def transport(self, sid: str, namespace: str = "/") -> str:
        """Return ``polling`` or ``websocket``: what a client is on now.

        Raises:
            UnknownClientError: no such client.
        """
        return self._socket(sid, namespace, leaving=True).engine.session.transport

    def fetch_sockets(
        self, to: Names | None = None, *, skip_sid: Names | None = None, namespace: str = "/"
    ) -> list[SocketView]:
        """Return views of an audience's clients, in order of joining; those not yet let in are left out."""
        return [
            SocketView(
                socket.sid,
                namespace,
                (socket.sid, *(socket.rooms or ())),
                dict(socket.session),
                socket.engine.app.environ,
            )
            for socket in self._audience(to, skip_sid, namespace)
            if socket.joined
        ]

    def sockets_join(
        self, rooms: Names, to: Names | None = None, *, skip_sid: Names | None = None, namespace: str = "/"
    ) -> None:
        """Put an audience's clients into rooms."""
        space = self._router.namespace(namespace)
        for socket in self._audience(to, skip_sid, namespace):
            for room in names_of(rooms):
                space.enter(socket, room)

    def sockets_leave(
        self, rooms: Names, to: Names | None = None, *, skip_sid: Names | None = None, namespace: str = "/"
    ) -> None:
        """Take an audience's clients out of rooms."""
        space = self._router.namespace(namespace)
        for socket in self._audience(to, skip_sid, namespace):
            for room in names_of(rooms):
                space.leave(socket, room)

    def disconnect_sockets(
        self,
        to: Names | None = None,
        *,
        skip_sid: Names | None = None,
        namespace: str = "/",
        close: bool = False,
    ) -> None:
        """Disconnect an audience's clients; see `disconnect`."""
        for socket in self._audience(to, skip_sid, namespace):
            self.disconnect(socket.sid, namespace, close=close)

    def disconnect(self, sid: str, namespace: str = "/", *, close: bool = False) -> None:
        """Disconnect a client from the namespace; its disconnect handler is called, or started if async.

        Args:
            sid: which; nothing happens if there is none.
            namespace: which.
            close: leave no namespace, and close the connection behind it.
        """
        socket = self._router.namespace(namespace).sockets.get(sid)
        if socket is None:
            if self._router.recoverer is not None:
                self._router.recoverer.forget(sid, namespace)
            return
        if not close:
            self._leave(socket)
            return
        engine = socket.engine
        connection: Connection = engine.app
        members = [member for member in connection.sockets.values() if member is not None]
        farewell = [self._goodbye(member) for member in members if member.joined]
        waits = engine.polling is not None and not engine.writable
        if engine.polling is None or waits:
            for packet in farewell:
                engine.send(packet)
        elif farewell:  # its poll is answered once, so with all of them
            engine.send(Outgoing(SEPARATOR.join([packet.payload for packet in farewell])))
        for member in members:
            self._leave(member, told=True)
        if waits:  # it is to hear of it by its next poll
            engine.call_at(trio.current_time() + FAREWELL_SECONDS, _close)
        else:
            _close(engine)

    def _goodbye(self, socket: Socket) -> Outgoing:
        return self._router.parser.encode(DISCONNECT, socket.namespace)

    def _leave(self, socket: Socket, *, told: bool = False) -> None:
        if socket.joined:
            if not told:
                socket.engine.send(self._goodbye(socket))
            self._router.leave(socket, DisconnectReason.SERVER_DISCONNECT)
        else:  # its connect handler still runs
            self._router.refuse(socket, ConnectionRefusedError())

    def _audience(self, to: Names | None, skip_sid: Names | None, namespace: str) -> list[Socket]:
        rooms = None if to is None else names_of(to)
        return list(self._router.namespace(namespace).select(rooms, names_of(skip_sid)))

    def _socket(self, sid: str, namespace: str, *, leaving: bool = False) -> Socket:
        space = self._router.namespace(namespace)
        socket = space.sockets.get(sid)
        if socket is None and leaving:
            socket = space.leaving.get(sid)
        if socket is None:
            raise UnknownClientError(f"no client {sid!r} in namespace {namespace!r}")
        return socket
