"""The Engine.IO v4 server: handshakes, sessions by sid, transports, heartbeats; a mount of the door.

Answers to bad requests follow the reference server: a JSON body with a code (`Refusal`). Every failure of a
    peer ends
in its own session with a reason; none leaves its connection's task.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from functools import partial
from typing import Protocol

import msgspec
import structlog
import trio
from engineio.packet import PING
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
    OPEN_PREFIX,
    Outgoing,
    Packet,
    PacketError,
    decode_payload,
    decode_text,
)
from flux.transport.engine_io.cors import Origins
from flux.transport.engine_io.polling import NO_STORE, TEXT
from flux.transport.engine_io.session import Ended, Session, State
from flux.transport.engine_io.websocket import linger, read_messages
from flux.transport.http import Headers, Request, Response
from flux.transport.http_mount import Exchange, Takeover
from flux.transport.timers import Timers
from flux.transport.websocket import HandshakeError, accept, is_upgrade
from flux.transport.wire import Wire

log = structlog.get_logger("flux.engine_io")

SESSIONS = Gauge("flux_engineio_sessions", "Open sessions, by transport", ["transport"], registry=REGISTRY)
OPENED = Counter("flux_engineio_sessions_opened_total", "Sessions opened", ["transport"], registry=REGISTRY)
CLOSED = Counter(
    "flux_engineio_sessions_closed_total", "Sessions closed, by reason", ["reason"], registry=REGISTRY
)
UPGRADES = Counter("flux_engineio_upgrades_total", "Upgrades, by outcome", ["outcome"], registry=REGISTRY)
REFUSALS = Counter("flux_engineio_refusals_total", "Requests refused, by code", ["code"], registry=REGISTRY)

TRANSPORTS = ("polling", "websocket")
SLICE = 256
"""Packets of one POST that are worked off before other tasks get their turn."""


class Refusal(Enum):
    """Why a request is refused: the reference server's codes and texts."""

    UNKNOWN_TRANSPORT = (0, "Transport unknown")
    UNKNOWN_SID = (1, "Session ID unknown")
    BAD_METHOD = (2, "Bad handshake method")
    BAD_REQUEST = (3, "Bad request")
    FORBIDDEN = (4, "Forbidden")
    BAD_VERSION = (5, "Unsupported protocol version")


class Application(Protocol):
    """What sessions carry messages for; its plain functions run in a connection's task and must not block."""

    def opened(self, client: Client, request: Request) -> None:
        """Meet a new client."""

    def message(self, client: Client, data: str | bytes) -> trio.Event | None:
        """Take a message; an event in return stops the reading until it is set.

        Raises:
            PacketError: the client broke the application's protocol; it is closed.
        """

    def closed(self, client: Client, reason: str) -> None:
        """Learn that a client is gone."""

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

    Raises:
        LocalError: an unknown transport.
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
        self._origins = Origins(cors_origins)
        self._transports = frozenset(transports)
        self._upgrades = ["websocket"] if allow_upgrades and "websocket" in transports else []
        self._upgrade_timeout = upgrade_timeout
        self._outbox_limit = outbox_limit
        self._allow_request = allow_request
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
        cors = self._origins.headers(request)
        if request.method == "OPTIONS":
            return Response(204, b"", self._origins.preflight(request))
        if not self._origins.allows(request):
            return self._refuse(Refusal.FORBIDDEN, request, cors)
        transport = request.query.get("transport")
        if transport not in self._transports:
            return self._refuse(Refusal.UNKNOWN_TRANSPORT, request, cors)
        sid = request.query.get("sid")
        if sid is None:
            return self._open(request, transport, cors)
        client = self.clients.get(sid)
        if client is None:
            return self._refuse(Refusal.UNKNOWN_SID, request, cors)
        if transport == "websocket":
            return self._upgrade(request, client, cors)
        if client.polling is None or is_upgrade(request):
            return self._refuse(Refusal.BAD_REQUEST, request, cors)
        if request.method == "GET":
            return self._get(request, client, exchange, cors)
        if request.method == "POST":
            return await self._post(request, client, cors)
        return self._refuse(Refusal.BAD_REQUEST, request, cors)

    def overflow(self, request: Request) -> Response:
        """Answer 413 and close the session that the body was for."""
        client = self.clients.get(request.query.get("sid", ""))
        if client is not None and self._origins.allows(request):
            client.close(TRANSPORT_ERROR)
        return Response(413, b"", self._origins.headers(request))

    def forget(self, client: Client, reason: str) -> None:
        """Take note that a client is closed; called by the client."""
        self.clients.pop(client.sid, None)
        SESSIONS.labels(client.session.transport).dec()
        CLOSED.labels(reason).inc()
        self._app.closed(client, reason)

    def _refuse(self, refusal: Refusal, request: Request, cors: Headers) -> Response:
        code, message = refusal.value
        REFUSALS.labels(code).inc()
        log.debug("request refused", code=code, message=message, peer=request.peer[0])
        body = msgspec.json.encode({"code": code, "message": message})
        status = 403 if refusal is Refusal.FORBIDDEN else 400
        return Response(status, body, ((b"content-type", b"application/json"), NO_STORE, *cors))

    def _open(self, request: Request, transport: str, cors: Headers) -> Response | Takeover:
        if self._stopping:
            return Response.text(503)
        if request.method != "GET":
            return self._refuse(Refusal.BAD_METHOD, request, cors)
        if (transport == "websocket") is not is_upgrade(request):
            return self._refuse(Refusal.BAD_REQUEST, request, cors)
        if request.query.get("EIO") != "4":
            return self._refuse(Refusal.BAD_VERSION, request, cors)
        if self._allow_request is not None and not self._allow_request(request):
            return self._refuse(Refusal.FORBIDDEN, request, cors)
        if transport == "websocket":
            try:
                head = accept(request)
            except HandshakeError as error:
                return error.response
            return Takeover(partial(self._run_websocket, request, head))
        client = self._new_client(transport)
        hello = self._hello(client).payload
        self._app.opened(client, request)
        return Response(200, hello, (TEXT, NO_STORE, *cors))

    def _new_client(self, transport: str) -> Client:
        session = Session(self._ping_interval, self._ping_timeout, trio.current_time(), transport)
        client = Client(secrets.token_urlsafe(15), self, session, self._outbox_limit)
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
            return self._refuse(Refusal.BAD_REQUEST, request, cors)
        try:
            head = accept(request)
        except HandshakeError as error:
            return error.response
        return Takeover(partial(self._run_probe, client, head))

    def _get(self, request: Request, client: Client, exchange: Exchange, cors: Headers) -> Response | None:
        polling = client.polling
        if polling is None or polling.exchange is not None:
            client.close(TRANSPORT_ERROR)
            return self._refuse(Refusal.BAD_REQUEST, request, cors)
        exchange.on_abort = client.close
        polling.wait(exchange, cors)
        if client.session.state is State.UPGRADING:
            polling.release()
        return None

    async def _post(self, request: Request, client: Client, cors: Headers) -> Response:
        polling = client.polling
        if polling is None or polling.posting:
            client.close(TRANSPORT_ERROR)
            return self._refuse(Refusal.BAD_REQUEST, request, cors)
        if (request.header(b"content-type") or b"").startswith(b"application/octet-stream"):
            self._parse_error(client, PacketError("binary body"))
            return self._refuse(Refusal.BAD_REQUEST, request, cors)
        polling.posting = True
        try:
            for number, packet in enumerate(decode_payload(request.body), 1):
                pressure = self._take(client, packet)
                if pressure is not None:
                    await pressure.wait()
                elif number % SLICE == 0:
                    await trio.lowlevel.checkpoint()
                if client.closed:
                    break
        except PacketError as error:
            self._parse_error(client, error)
            return self._refuse(Refusal.BAD_REQUEST, request, cors)
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

    async def _run_websocket(self, request: Request, head: bytes, wire: Wire, trailing: bytes) -> None:
        client = self._new_client("websocket")
        client.wire = wire
        wire.write(head + self._hello(client).frames)
        self._app.opened(client, request)
        del request  # a connection may live for hours
        await self._read(client, wire, trailing)

    async def _run_probe(self, client: Client, head: bytes, wire: Wire, trailing: bytes) -> None:
        wire.write(head)
        client.probe = wire
        self.timers.call_at(
            trio.current_time() + self._upgrade_timeout, partial(self._expire_probe, client, wire)
        )
        await self._read(client, wire, trailing)

    def _expire_probe(self, client: Client, wire: Wire) -> None:
        if client.probe is wire:
            wire.abort("upgrade timeout")

    async def _read(self, client: Client, wire: Wire, data: bytes) -> None:
        """Read a WebSocket until its end, then close what belongs to it: the probe, or the client."""
        wire.limit = self._outbox_limit
        reason = TRANSPORT_CLOSE
        try:
            reason = await read_messages(wire, data, partial(self._receive, client, wire), self.max_body)
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
