"""Transport: how bytes and records come in and go out; it knows nothing of Flux's domains.

The layers, bottom up:

* ``wire``: one socket; writes never wait.
* ``tally``: counters for hot paths.
* ``timers``: one task for every deadline of a server.
* ``http``, ``http_guard``, ``http_mount``, ``http_connection``, ``door``: HTTP/1.1; a mount takes its
  path, an app all others.
* ``websocket``: frames out, messages in; ``websocket_reader``: for clients, which are trio-websocket's.
* ``readers``: one wait for all sockets that are read.
* ``engine_io``: Engine.IO v4 sessions over HTTP long-polling and WebSocket; a mount of the door.
* ``socket_io``: the Socket.IO v5 server over it: namespaces, events, acks, rooms.
* ``kafka``: the bus.
"""
