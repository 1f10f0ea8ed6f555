"""The Engine.IO v4 server: handshakes, sessions by sid, transports, heartbeats; a mount of the door.

Answers to bad requests follow the reference server: a JSON body with a code (`Refusal`). Every failure of a
    peer ends
in its own session with a reason; none leaves its connection's task.
"""

import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Protocol

import msgspec
import structlog
import trio
from engineio.packet import PING, PONG
from prometheus_client import Counter, Gauge

from flux.errors import LocalError
from flux.metrics import REGISTRY
from flux.transport.engine_io.client import (
    PARSE_ERROR,
    SHUTTING_DOWN,
    TRANSPORT_CLOSE,
    TRANSPORT_ERROR,
    Client,
)
from flux.transport.engine_io.codec import (
    MAX_PACKETS,
    OPEN_PREFIX,
    Outgoing,
    Packet,
    PacketError,
    decode_payload,
    decode_text,
)
from flux.transport.engine_io.cookie import Cookie
from flux.transport.engine_io.cors import Origins
from flux.transport.engine_io.hooks import HeaderHook, ask, render
from flux.transport.engine_io.polling import NO_STORE, TEXT
from flux.transport.engine_io.refusal import Refusal, refuse, turn_away
from flux.transport.engine_io.session import Ended, Session, State
from flux.transport.engine_io.websocket import linger, read_messages
from flux.transport.forwarded import site_of
from flux.transport.http import Headers, Request, Response
from flux.transport.http_mount import Exchange, Takeover
from flux.transport.quota import Quota
from flux.transport.timers import Timers
from flux.transport.websocket import MAX_FRAGMENTS, HandshakeError, accept, is_upgrade
from flux.transport.websocket_deflate import Deflate, negotiate
from flux.transport.wire import Wire

log = structlog.get_logger("flux.engine_io")

SESSIONS = Gauge("flux_engineio_sessions", "Open sessions, by transport", ["transport"], registry=REGISTRY)
OPENED = Counter("flux_engineio_sessions_opened_total", "Sessions opened", ["transport"], registry=REGISTRY)
CLOSED = Counter(
    "flux_engineio_sessions_closed_total", "Sessions closed, by reason", ["reason"], registry=REGISTRY
)
APP_ERRORS = Counter(
    "flux_engineio_application_errors_total", "Exceptions at a session's end", registry=REGISTRY
)
UPGRADES = Counter("flux_engineio_upgrades_total", "Upgrades, by outcome", ["outcome"], registry=REGISTRY)

TRANSPORTS = ("polling", "websocket")
SLICE = 256
"""Packets of one POST that are worked off before other tasks get their turn."""


_Run = Callable[[bytes, Deflate | None, Wire, bytes], Awaitable[None]]
"""Speaks on a WebSocket: the head of its 101 response, its compression, the wire, what came behind."""


class Application(Protocol):
    """What sessions carry messages for; its plain functions run where it is read and must not block.

    They run in the connection's context, but not in a task of their own: what trio binds to the task that
    asks for it (`trio.Lock`, `trio.CapacityLimiter`) has no place in them.
    """

    def opened(self, client: Client, request: Request) -> None:
        """Meet a new client."""

    def message(self, client: Client, data: str | bytes) -> trio.Event | None:
        """Take a message; an event in return stops the reading until it is set.

        Raises:
            PacketError: the client broke the application's protocol; it is closed.
        """

    def closed(self, client: Client, reason: str) -> None:
        """Learn that a client is gone: once for each that was opened, also where `opened` raised."""

    async def drained(self) -> None:
        """Wait until all work for clients is done; an ordered stop calls it, up to its deadline."""


class EngineServer:
    """Engine.IO over the door.

    Args:
        app: takes the messages.
        ping_interval, ping_timeout: of the heartbeat, seconds.
        max_payload: bytes of the largest message or POST.
        cors_origins: see `Origins`.
        transports: those enabled.
        allow_upgrades: whether polling clients may move to WebSocket.
        upgrade_timeout: seconds from a probe's handshake to its upgrade packet.
        outbox_limit: bytes that may wait for a client.
        allow_request: refuses a handshake (403) by returning False.
        cors_credentials: whether pages of other origins may send their cookies along.
        cookie: set at the handshake to the session's id; a name, or all of it; None: none.
        initial_headers: gives headers for the handshake's response, over both transports.
        headers: gives headers for every response, the handshake's included.
        permessage_deflate: whether WebSocket messages are compressed for clients that offer it.
        max_sessions: open at a time; past it a handshake gets 503. None is no bound.
        max_sessions_per_address: the same for one client's address (IPv6: its /64 network).
        max_packets: of one POST; past it the session closes with ``parse error``.
        max_fragments: frames of one WebSocket message; past it the connection closes with code 1008.

    Raises:
        LocalError: an unknown transport, or a bound below 1.
    """

    def __init__(
        self,
        app: Application,
        *,
        ping_interval: float = 25.0,
        ping_timeout: float = 20.0,
        max_payload: int = 1_000_000,
        cors_origins: str | Collection[str] | None = None,
        transports: Sequence[str] = TRANSPORTS,
        allow_upgrades: bool = True,
        upgrade_timeout: float = 10.0,
        outbox_limit: int = 1 << 20,
        allow_request: Callable[[Request], bool] | None = None,
        cors_credentials: bool = True,
        cookie: Cookie | str | None = None,
        initial_headers: HeaderHook | None = None,
        headers: HeaderHook | None = None,
        permessage_deflate: bool = False,
        max_sessions: int | None = 100_000,
        max_sessions_per_address: int | None = None,
        max_packets: int = MAX_PACKETS,
        max_fragments: int = MAX_FRAGMENTS,
    ) -> None:
        if not transports or not set(transports) <= set(TRANSPORTS):
            raise LocalError(f"transports must be among {TRANSPORTS}, not {tuple(transports)}")
        self.timers = Timers()
        self.max_body = max_payload
        self.clients: dict[str, Client] = {}
        self.nursery: trio.Nursery | None = None
        self._app = app
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._origins = Origins(cors_origins, credentials=cors_credentials)
        self._transports = frozenset(transports)
        self._upgrades = ["websocket"] if allow_upgrades and "websocket" in transports else []
        self._upgrade_timeout = upgrade_timeout
        self._outbox_limit = outbox_limit
        self._allow_request = allow_request
        self._cookie = Cookie.of(cookie)
        self._initial_headers = initial_headers
        self._headers = headers
        self._deflate = permessage_deflate
        self._quota = Quota(max_sessions, max_sessions_per_address)
        self._max_packets = max_packets
        self._max_fragments = max_fragments
        self._stopping = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve timers, and be the parent of the application's tasks (`nursery`), until cancelled."""
        self._stopping = False
        async with trio.open_nursery() as self.nursery:
            await self.nursery.start(self.timers.run)
            task_status.started()
            await trio.sleep_forever()

    async def close(self, *, spread: float = 0.0) -> None:
        """Close all sessions as ``server shutting down``, over `spread` seconds; wait for the application.

        New ones are refused (503).
        """
        self._stopping = True
        clients = list(self.clients.values())
        for client in clients:
            client.close(SHUTTING_DOWN)
            if spread > 0:
                await trio.sleep(spread / len(clients))
        await self._app.drained()

    async def handle(self, request: Request, exchange: Exchange) -> Response | Takeover | None:
        """Answer one request: handshake, poll, post, preflight or WebSocket."""
        added = () if self._headers is None else ask(self._headers, request)
        if request.method == "OPTIONS":
            return Response(204, b"", (*self._origins.preflight(request), *added))
        cors = self._origins.judge(request)
        if cors is None:
            return refuse(Refusal.FORBIDDEN, request, added)
        cors = (*cors, *added)
        query = request.query
        transport = query.get("transport")
        if transport not in self._transports:
            return refuse(Refusal.UNKNOWN_TRANSPORT, request, cors)
        sid = query.get("sid")
        if sid is None:
            return self._open(request, query, cors)
        client = self.clients.get(sid)
        if client is None:
            return refuse(Refusal.UNKNOWN_SID, request, cors)
        if transport == "websocket":
            return self._upgrade(request, client, cors)
        if client.polling is None or is_upgrade(request):
            return refuse(Refusal.BAD_REQUEST, request, cors)
        if request.method == "GET":
            return self._get(request, client, exchange, cors)
        if request.method == "POST":
            return await self._post(request, client, cors)
        return refuse(Refusal.BAD_REQUEST, request, cors)

    def overflow(self, request: Request) -> Response:
        """Answer 413 and close the session that the body was for."""
        client = self.clients.get(request.query.get("sid", ""))
        cors = self._origins.judge(request)
        if client is not None and cors is not None:
            client.close(TRANSPORT_ERROR)
        return Response(413, b"", cors or ())

    def forget(self, client: Client, reason: str) -> None:
        """Take note that a client is closed; called by the client."""
        self.clients.pop(client.sid, None)
        self._quota.give_back(client.site)
        SESSIONS.labels(client.session.transport).dec()
        CLOSED.labels(reason).inc()
        try:
            self._app.closed(client, reason)
        except Exception:  # whoever closes goes on: it may be the timers, or an ordered stop
            APP_ERRORS.inc()
            log.exception("application failed", sid=client.sid)

    def _meet(self, client: Client, request: Request) -> None:
        try:
            self._app.opened(client, request)
        except Exception:  # the application's fault; the door logs it
            client.close(TRANSPORT_ERROR)
            raise

    def _open(self, request: Request, query: dict[str, str], cors: Headers) -> Response | Takeover:
        transport = query["transport"]
        if self._stopping:
            return Response.text(503)
        if request.method != "GET":
            return refuse(Refusal.BAD_METHOD, request, cors)
        if (transport == "websocket") is not is_upgrade(request):
            return refuse(Refusal.BAD_REQUEST, request, cors)
        if query.get("EIO") != "4":
            return refuse(Refusal.BAD_VERSION, request, cors)
        if self._allow_request is not None and not self._allow_request(request):
            return refuse(Refusal.FORBIDDEN, request, cors)
        site = site_of(request.peer[0]) if self._quota.per_owner else ""
        bound = self._quota.refusal(site)
        if bound is not None:
            return turn_away(bound, request, cors)
        sid = secrets.token_urlsafe(15)
        if self._cookie is not None:
            cors = (*cors, *self._cookie.header(sid))
        if self._initial_headers is not None:
            cors = (*cors, *ask(self._initial_headers, request))
        if transport == "websocket":
            return self._take_over(request, cors, partial(self._run_websocket, request, sid, site))
        client = self._new_client(transport, sid, site)
        hello = self._hello(client).payload
        self._meet(client, request)
        return Response(200, hello, (TEXT, NO_STORE, *cors))

    def _take_over(self, request: Request, headers: Headers, run: _Run) -> Response | Takeover:
        try:
            head = accept(request)
        except HandshakeError as error:
            return error.response
        deflate = negotiate(request) if self._deflate else None
        if deflate is not None:
            headers = (*headers, (b"sec-websocket-extensions", deflate.header))
        return Takeover(partial(run, head[:-2] + render(headers) + b"\r\n" if headers else head, deflate))

    def _new_client(self, transport: str, sid: str, site: str) -> Client:
        session = Session(self._ping_interval, self._ping_timeout, trio.current_time(), transport)
        client = Client(sid, self, session, self._outbox_limit)
        client.site = site
        self._quota.take(site)
        self.clients[client.sid] = client
        OPENED.labels(transport).inc()
        SESSIONS.labels(transport).inc()
        client.start_heartbeat()
        return client

    def _hello(self, client: Client) -> Outgoing:
        return Outgoing(
            OPEN_PREFIX
            + msgspec.json.encode(
                {
                    "sid": client.sid,
                    "upgrades": self._upgrades if client.session.transport == "polling" else [],
                    "pingInterval": round(self._ping_interval * 1000),
                    "pingTimeout": round(self._ping_timeout * 1000),
                    "maxPayload": self.max_body,
                }
            )
        )

    def _upgrade(self, request: Request, client: Client, cors: Headers) -> Response | Takeover:
        if (
            client.polling is None
            or client.probe is not None
            or not self._upgrades
            or not is_upgrade(request)
        ):
            return refuse(Refusal.BAD_REQUEST, request, cors)
        return self._take_over(request, cors, partial(self._run_probe, client))

    def _get(self, request: Request, client: Client, exchange: Exchange, cors: Headers) -> Response | None:
        polling = client.polling
        if polling is None or polling.exchange is not None:
            client.close(TRANSPORT_ERROR)
            return refuse(Refusal.BAD_REQUEST, request, cors)
        exchange.on_abort = client.close
        polling.wait(exchange, cors)
        if client.session.state is State.UPGRADING:
            polling.release()
        return None

    async def _post(self, request: Request, client: Client, cors: Headers) -> Response:
        polling = client.polling
        if polling is None or polling.posting:
            client.close(TRANSPORT_ERROR)
            return refuse(Refusal.BAD_REQUEST, request, cors)
        if (request.header(b"content-type") or b"").startswith(b"application/octet-stream"):
            self._parse_error(client, PacketError("binary body"))
            return refuse(Refusal.BAD_REQUEST, request, cors)
        polling.posting = True
        try:
            for number, packet in enumerate(decode_payload(request.body, self._max_packets), 1):
                # A pong for a ping that was not fetched is none: who never polls must not live.
                early = packet.kind == PONG and polling.ping_waits
                pressure = None if early else self._take(client, packet)
                if pressure is not None:
                    await pressure.wait()
                elif number % SLICE == 0:
                    await trio.lowlevel.checkpoint()
                if client.closed:
                    break
        except PacketError as error:
            self._parse_error(client, error)
            return refuse(Refusal.BAD_REQUEST, request, cors)
        except Exception:  # the application's fault; the door logs it
            client.close(TRANSPORT_ERROR)
            raise
        finally:
            polling.posting = False
        return Response(200, b"ok", ((b"content-type", b"text/html"), NO_STORE, *cors))

    def _take(self, client: Client, packet: Packet) -> trio.Event | None:
        received = client.session.receive(packet, trio.current_time())
        if received is None:
            return None
        if isinstance(received, Ended):
            client.leave()
            return None
        return self._app.message(client, received)

    def _parse_error(self, client: Client, error: PacketError) -> None:
        log.info("client broke the protocol", sid=client.sid, reason=str(error))
        client.close(PARSE_ERROR)

    async def _run_websocket(
        self,
        request: Request,
        sid: str,
        site: str,
        head: bytes,
        deflate: Deflate | None,
        wire: Wire,
        trailing: bytes,
    ) -> None:
        client = self._new_client("websocket", sid, site)
        client.wire = wire
        wire.write(head + self._hello(client).frames)
        self._meet(client, request)
        del request  # a connection may live for hours
        await self._read(client, wire, deflate, trailing)

    async def _run_probe(
        self, client: Client, head: bytes, deflate: Deflate | None, wire: Wire, trailing: bytes
    ) -> None:
        wire.write(head)
        client.probe = wire
        client.call_at(trio.current_time() + self._upgrade_timeout, partial(_expire_probe, wire))
        await self._read(client, wire, deflate, trailing)

    async def _read(self, client: Client, wire: Wire, deflate: Deflate | None, data: bytes) -> None:
        """Read a WebSocket until its end, then close what belongs to it: the probe, or the client."""
        wire.limit = self._outbox_limit
        extensions = None
        if deflate is not None:
            deflate.write_through(wire)
            extensions = (deflate.extension,)
        reason = TRANSPORT_CLOSE
        try:
            take = partial(self._receive, client, wire)
            reason = await read_messages(wire, data, take, self.max_body, self._max_fragments, extensions)
        finally:
            self._end_websocket(client, wire, reason)
        await linger(wire)

    def _receive(self, client: Client, wire: Wire, message: str | bytes) -> trio.Event | None:
        if client.wire is wire:
            if isinstance(message, bytes):
                return self._app.message(client, message)
            if message[:1] == "4":  # nearly all packets: spares the packet object
                return self._app.message(client, message[1:])
            return self._take(client, decode_text(message))
        if client.probe is wire:
            if isinstance(message, bytes):
                raise PacketError("binary message on a probe")
            packet = decode_text(message)
            if packet.kind == PING:
                client.answer_probe(packet, wire)
            else:
                client.switch(packet, wire)
                SESSIONS.labels("polling").dec()
                SESSIONS.labels("websocket").inc()
                UPGRADES.labels("done").inc()
        return None  # the session is closed: what still comes is ignored

    def _end_websocket(self, client: Client, wire: Wire, reason: str) -> None:
        if client.wire is wire:
            client.close(reason)
        elif client.probe is wire:
            client.probe = None
            client.session.abandon_upgrade()
            UPGRADES.labels("abandoned").inc()


def _expire_probe(wire: Wire, client: Client) -> None:
    if client.probe is wire:
        wire.abort("upgrade timeout")
