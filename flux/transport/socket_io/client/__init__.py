"""The Socket.IO client on trio: protocol revision 5 over Engine.IO 4, with python-socketio's names.

Example:
    ::

        async with connect("http://127.0.0.1:8080", auth={"token": "..."}) as client:
            client.emit("subscribe", "BTC")
            print(await client.call("getPrice", "BTC"))
            async for event in client.events("price"):
                print(event.args)

With handlers, which must be in place before the connection is::

        client = Client("http://127.0.0.1:8080")

        @client.event
        def price(symbol: str, value: float) -> None: ...

        async with running(client):  # or: await nursery.start(client.run)
            await client.wait()

What never waits is a plain ``def`` (`Client.emit`, `Client.disconnect`); `Client.call`, `Client.join`,
`Client.drained` and `Client.wait` wait. All tasks live in `Client.run`; lost connections come back with the
JavaScript client's pauses (`Reconnection`).

* ``reconnection``, ``packets``, ``outbox``, ``events``, ``socket``: pure parts.
* ``transport``, ``websocket``, ``polling``, ``upgrade``: the ways to the server.
* ``link``: one connection; ``dispatch``: handlers; ``conversation``, ``client``, ``block``: the public face.
"""

from flux.transport.socket_io.client.block import connect, running
from flux.transport.socket_io.client.client import Client
from flux.transport.socket_io.client.errors import (
    BufferFullError,
    ConnectError,
    DisconnectedError,
    LaggedError,
)
from flux.transport.socket_io.client.events import Event, Events
from flux.transport.socket_io.client.reconnection import Reconnection
from flux.transport.socket_io.types import AckTimeoutError, DisconnectReason

__all__ = [
    "AckTimeoutError",
    "BufferFullError",
    "Client",
    "ConnectError",
    "DisconnectReason",
    "DisconnectedError",
    "Event",
    "Events",
    "LaggedError",
    "Reconnection",
    "connect",
    "running",
]
