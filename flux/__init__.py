"""Flux: live weather, crypto, news and stock data, from Kafka to web clients, on trio.

The layers, top down; a module imports only from its own package or from below
(``tests/test_layers.py`` asserts it):

* ``flux.__main__``, ``flux.cli``: the commands ``run``, ``bff``, ``service``, ``topics``,
  ``tail``, ``replay``, ``doctor``.
* ``flux.doctor``: what Flux needs, checked one by one, with what to do about each failure.
* ``flux.app``: the composition root: which services run in this process, in which order.
* ``flux.site``, ``flux.inspection``: what the door serves besides Socket.IO; topics as people see them.
* ``flux.settings``: every setting with its default and unit.
* ``flux.bff``: the backend for the frontend: client events in, Kafka events out to rooms.
* ``flux.domains``: weather, crypto, news, stock: descriptors, providers, services, views.
* ``flux.transport``: the Socket.IO server on trio (``socket_io`` over ``engine_io``), the bus (``kafka``).
* ``flux.nurseries``: supervision: services, restarts, readiness, ordered stop, signals.
* ``flux.messages``, ``flux.errors``, ``flux.metrics``, ``flux.logs``: what all of them share.

``flux.transport`` and ``flux.nurseries`` know nothing of Flux's domains and can be used alone.
"""

__version__ = "0.1.0"
