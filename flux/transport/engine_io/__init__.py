"""Engine.IO v4: sessions over HTTP long-polling and WebSocket, upgrades, heartbeats.

* ``codec``: packets and payloads; ``session``: the state machine; ``cors``: origins. Pure.
* ``polling``, ``client``: what is sent, and how it waits.
* ``cookie``, ``hooks``: what handshakes' responses carry besides.
* ``server``: the mount for the door; ``message``: packets for who uses it without Socket.IO.
"""

from flux.transport.engine_io.client import Client
from flux.transport.engine_io.codec import Outgoing, PacketError
from flux.transport.engine_io.cookie import Cookie
from flux.transport.engine_io.message import message
from flux.transport.engine_io.options import EngineOptions
from flux.transport.engine_io.server import Application, EngineServer

__all__ = [
    "Application",
    "Client",
    "Cookie",
    "EngineOptions",
    "EngineServer",
    "Outgoing",
    "PacketError",
    "message",
]
