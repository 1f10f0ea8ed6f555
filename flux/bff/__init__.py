"""The backend for the frontend: client events become Kafka commands, Kafka events become socket events.

It is written against the domain descriptors and names no domain. The modules, bottom up:

* ``options``, ``ports``: its settings, and what it needs of a Socket.IO server.
* ``identity``, ``dedupe``, ``seats``, ``single_flight``, ``versions``, ``snapshots``: pure state.
* ``strict_json``, ``views``: pure readings: Kafka record -> state, tick or rejection.
* ``delivery``: cached state and errors onto the server's rooms. ``commands``: commands onto Kafka.
* ``gateway``: client events. ``pump``: Kafka events. ``scheduler``: refreshes by the clock.
* ``bff``: the composition, one supervised service.
"""

from flux.bff.bff import Bff, BffStatus
from flux.bff.options import BffOptions
from flux.bff.ports import SocketServer

__all__ = ["Bff", "BffOptions", "BffStatus", "SocketServer"]
