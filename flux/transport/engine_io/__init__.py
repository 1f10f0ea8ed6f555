"""Engine.IO v4: sessions over HTTP long-polling and WebSocket, upgrades, heartbeats.

* ``codec``: packets and payloads; ``session``: the state machine; ``cors``: origins. Pure.
* ``polling``, ``client``: what is sent, and how it waits.
* ``server``: the mount for the door.
"""

from flux.transport.engine_io.client import Client
from flux.transport.engine_io.codec import Outgoing, PacketError
from flux.transport.engine_io.server import Application, EngineServer

__all__ = ["Application", "Client", "EngineServer", "Outgoing", "PacketError"]
