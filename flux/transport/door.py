"""The door: listens, gives every connection a task, and stops in order.

Composition: whoever owns the door supervises `Door.serve` and nothing else; the mounts' background work runs
    inside it::

    door = Door(mounts={server.path: server.engine}, app=app)
    await door.listen(host, port)
    await nursery.start(door.serve)

Cancelling `serve` is the ordered stop: no new connections; each mount tells its clients and waits for their
handlers; the rest is cut at the deadline. Users of a mount unwind before its background work does.
"""

import errno
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress

import structlog
import trio
from prometheus_client import Counter, Gauge

from flux.errors import ClosedError, LocalError
from flux.metrics import REGISTRY
from flux.transport.forwarded import Family, TrustedProxies, site_of
from flux.transport.http import App, Request, Response
from flux.transport.http_connection import REJECTED, HttpConnection
from flux.transport.http_mount import Limits, Mount
from flux.transport.quota import Quota
from flux.transport.readers import AVAILABLE, Readers
from flux.transport.timers import Timers
from flux.transport.wire import Wire

log = structlog.get_logger("flux.door")

CONNECTIONS = Gauge("flux_door_connections", "Open connections", registry=REGISTRY)
ACCEPT_ERRORS = Counter(
    "flux_door_accept_errors_total", "Failed accepts, by error", ["error"], registry=REGISTRY
)
CRASHES = Counter(
    "flux_door_connection_crashes_total", "Connections ended by a fault here", registry=REGISTRY
)

BACKLOG = 4096
ACCEPT_BURST = 64
"""Accepts in a row before other tasks get their turn."""
ACCEPT_PAUSE = 0.1
"""Seconds without accepting once the process is out of file descriptors; what waits stays in the backlog."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
)


def not_found(_request: Request) -> Response:
    """Answer 404: the app of a door that has none."""
    return Response.text(404)


class Door:
    """Listens, speaks HTTP/1.1, and hands requests to its mounts and its app.

    Args:
        app: answers every path that no mount takes.
        mounts: by path (``/socket.io``), each with and without a trailing slash.
        limits: bounds and deadlines.
        trusted_proxies: addresses and networks of the proxies before this door (``10.0.0.0/8``); what they
            say of their clients' addresses, schemes and hosts counts, and nobody else's word.
        forwarded: the headers that those proxies write, see `TrustedProxies`.
        http_compression: bytes from which a response with text is compressed for clients that take gzip; None
            is never.

    Attributes:
        addresses: (host, port) of each listening socket, once `listen` has returned.

    Raises:
        LocalError: a bound below 1, or a network that is none.
    """

    def __init__(
        self,
        *,
        app: App = not_found,
        mounts: Mapping[str, Mount] | None = None,
        limits: Limits | None = None,
        trusted_proxies: Iterable[str] = (),
        forwarded: Family = "x-forwarded",
        http_compression: int | None = 1024,
    ) -> None:
        self.limits = limits or Limits()
        networks = tuple(trusted_proxies)
        self._proxies = TrustedProxies(networks, forwarded) if networks else None
        self._open = Quota(self.limits.connections, None)
        self._clients = Quota(None, self.limits.connections_per_address)
        self._compression = http_compression
        self.addresses: list[tuple[str, int]] = []
        self._app = app
        self._mounts = dict(mounts or {})
        self._routes: dict[str, Mount] = {}
        for path, mount in self._mounts.items():
            self._routes[path.rstrip("/")] = mount
            self._routes[path.rstrip("/") + "/"] = mount
        self._timers = Timers()
        self._readers = Readers() if AVAILABLE else None
        self._listeners: list[socket.socket] = []
        self._connections: set[HttpConnection] = set()
        self._stopping = trio.Event()
        self._stopped = trio.Event()
        self._spread = self.limits.spread_seconds

    async def listen(self, host: str | None, port: int) -> None:
        """Bind every address of `host`; connections wait in the backlog until `serve`.

        Args:
            host: a name or an address; None or empty is every interface.
            port: 0 picks a free one, the same for every address.

        Raises:
            OSError: the port is taken, or the name is unknown; nothing is left bound.
        """
        infos = await trio.socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        bound: list[socket.socket] = []
        try:
            for family, kind, protocol, _, address in dict.fromkeys(infos):
                if port == 0 and bound:
                    address = (address[0], bound[0].getsockname()[1], *address[2:])  # noqa: PLW2901 - one port for all
                bound.append(_bound(family, kind, protocol, address))
        except OSError:
            for listener in bound:
                listener.close()
            raise
        self._listeners += bound
        self.addresses += [listener.getsockname()[:2] for listener in bound]

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled or closed; ready when connections are accepted.

        Cancellation starts the ordered stop, which takes at most ``limits.stop_seconds``.

        Raises:
            LocalError: `listen` was not called.
            ClosedError: the door was closed before.
        """
        if self._stopping.is_set():
            raise ClosedError("the door is closed")
        if not self._listeners:
            raise LocalError("call listen() before serve()")
        try:
            async with trio.open_nursery() as watch:
                watch.start_soon(self._stop_when_cancelled)
                with trio.CancelScope(shield=True):
                    await self._serve(task_status)
                watch.cancel_scope.cancel()
        finally:
            self._close_listeners()
            self._stopped.set()

    async def close(self, *, spread: float | None = None) -> None:
        """Stop in order, as cancelling `serve` does, and wait until it is done.

        Args:
            spread: seconds over which the mounts' clients are told, instead of the limits' value.
        """
        if spread is not None:
            self._spread = spread
        self._stopping.set()
        await self._stopped.wait()

    async def _stop_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._stopping.set()

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        mounts = list(dict.fromkeys(self._mounts.values()))
        async with trio.open_nursery() as background:
            await background.start(self._timers.run)
            if self._readers is not None:
                await background.start(self._readers.run)
            for mount in mounts:
                await background.start(mount.run)
            with trio.CancelScope() as deadline:
                async with trio.open_nursery() as connections:
                    for listener in self._listeners:
                        connections.start_soon(self._accept, listener, connections, background)
                    task_status.started()
                    log.info("door open", addresses=[f"{host}:{port}" for host, port in self.addresses])
                    await self._stopping.wait()
                    self._close_listeners()
                    deadline.deadline = trio.current_time() + self.limits.stop_seconds + self._spread
                    for mount in mounts:
                        await mount.close(spread=self._spread)
                    for connection in list(self._connections):
                        connection.stop()
            log.info("door closed", in_time=not deadline.cancelled_caught)
            background.cancel_scope.cancel()

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            trio.lowlevel.notify_closing(listener)
            listener.close()
        self._listeners.clear()

    async def _accept(
        self, listener: socket.socket, connections: trio.Nursery, background: trio.Nursery
    ) -> None:
        while True:
            try:
                await trio.lowlevel.wait_readable(listener)
                for _ in range(ACCEPT_BURST):
                    sock, peer = listener.accept()
                    sock.setblocking(False)
                    client = self._admit(sock, peer[0])
                    if client is not None:
                        connections.start_soon(self._connection, sock, peer, client, background)
            except (BlockingIOError, InterruptedError):
                continue
            except (trio.ClosedResourceError, ValueError):
                return
            except OSError as error:
                if listener.fileno() < 0:
                    return
                ACCEPT_ERRORS.labels(errno.errorcode.get(error.errno or 0, "unknown")).inc()
                if error.errno in _EXHAUSTED:
                    log.warning("cannot accept", reason=error.strerror)
                    await trio.sleep(ACCEPT_PAUSE)

    def _admit(self, sock: socket.socket, host: str) -> str | None:
        """Count a connection in; None: a bound is reached, and it is closed.

        Returns:
            Whom it counts for; empty for nobody: a trusted proxy's clients are counted by their requests.
        """
        client = ""
        refusal = self._open.take("")
        if refusal is None and self._clients.per_owner and not self._trusts(host):
            client = site_of(host)
            refusal = self._clients.take(client)
            if refusal is not None:
                self._open.give_back("")
        if refusal is None:
            return client
        REJECTED.labels(refusal).inc()
        log.info("connection refused", reason="too many connections", bound=refusal, peer=host)
        with suppress(OSError):  # the answer is a courtesy: the peer may be gone, or see a reset
            sock.send(_BUSY)
            sock.shutdown(socket.SHUT_WR)
        sock.close()
        return None

    def _trusts(self, host: str) -> bool:
        return self._proxies is not None and self._proxies.trusts(host)

    async def _connection(
        self, sock: socket.socket, peer: tuple[str, int], client: str, background: trio.Nursery
    ) -> None:
        wire = Wire(sock, start=background.start_soon, limit=self.limits.outbox_bytes, readers=self._readers)
        CONNECTIONS.inc()
        try:
            with suppress(OSError):  # a peer that is gone already is noticed by the first read
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            takeover, proxied = await self._speak_http(wire, (peer[0], peer[1]))
            client = client or proxied
            if takeover is not None:
                protocol = takeover()
                del takeover  # it holds the request, and a WebSocket may live for hours
                await protocol
        except Exception:
            CRASHES.inc()
            log.exception("connection failed", peer=peer)
        finally:
            wire.abort()
            CONNECTIONS.dec()
            self._open.give_back("")
            if client:
                self._clients.give_back(client)

    async def _speak_http(
        self, wire: Wire, peer: tuple[str, int]
    ) -> tuple[Callable[[], Awaitable[None]] | None, str]:
        # A function of its own, so that the HTTP machinery is gone while a WebSocket lives on for hours.
        connection = HttpConnection(
            wire,
            peer,
            self._routes.get,
            self._app,
            self.limits,
            self._timers,
            proxies=self._proxies if self._trusts(peer[0]) else None,
            clients=self._clients,
            compression=self._compression,
        )
        self._connections.add(connection)
        takeover = None
        try:
            takeover = await connection.run()
            return takeover, connection.client or ""
        finally:
            self._connections.discard(connection)
            if takeover is None:
                connection.release()


def _bound(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
