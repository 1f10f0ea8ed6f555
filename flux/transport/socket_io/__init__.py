"""The Socket.IO server on trio: protocol revision 5 over Engine.IO 4, with python-socketio's names.

Example:
    ::

        server = Server()

        @server.on("getUserId")
        def get_user_id(sid: str) -> str:
            server.emit("userUniqueId", "...", to=sid)

        door = Door(mounts={server.path: server.engine}, app=app)
        await door.listen("127.0.0.1", 8080)
        await nursery.start(door.serve)

What never waits is a plain ``def`` (`Server.emit`, `Server.enter_room`, `Server.disconnect`); only
`Server.call`, `Server.call_all` and `Server.close` wait. ``def`` handlers run inline in the connection's
reader, ``async def`` handlers as tasks that end with the client.
"""

from flux.transport.socket_io.class_namespace import Namespace
from flux.transport.socket_io.clients import SocketView
from flux.transport.socket_io.limits import ClientLimits
from flux.transport.socket_io.recovery import Recovery
from flux.transport.socket_io.server import Server
from flux.transport.socket_io.types import (
    AckTimeoutError,
    ConnectionRefusedError,  # noqa: A004 - python-socketio's name
    DisconnectReason,
    UnknownClientError,
)

__all__ = [
    "AckTimeoutError",
    "ClientLimits",
    "ConnectionRefusedError",
    "DisconnectReason",
    "Namespace",
    "Recovery",
    "Server",
    "SocketView",
    "UnknownClientError",
]
