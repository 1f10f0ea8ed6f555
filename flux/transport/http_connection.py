"""One HTTP/1.1 connection: requests in by h11, responses out, and the hand-over to a WebSocket.

One task runs it and is the only one to receive. A response may be written by someone else
(`Exchange.respond`): a long-poll is answered by whoever has something for the client, while this task goes on
waiting for the peer, so that an aborted poll is noticed at once.
"""

import time
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from functools import partial
from typing import Any

import h11
import structlog
import trio
from attrs import evolve
from prometheus_client import Counter

from flux.errors import BrokenError, ClosedError
from flux.metrics import REGISTRY
from flux.transport import http_quick
from flux.transport.deadline import Deadline
from flux.transport.forwarded import TrustedProxies, site_of
from flux.transport.http import App, Request, RequestError, Response
from flux.transport.http_compression import accepts_gzip, compress
from flux.transport.http_guard import check_head, check_request
from flux.transport.http_mount import Exchange, Limits, Mount, Takeover
from flux.transport.quota import Quota
from flux.transport.tally import TallyBy
from flux.transport.timers import Timers
from flux.transport.wire import Wire

log = structlog.get_logger("flux.door")

REQUESTS = TallyBy("flux_http_requests_total", "Requests answered, by status", "status")
HANDLER_ERRORS = Counter("flux_http_handler_errors_total", "Exceptions in the door's app", registry=REGISTRY)
REFUSED = Counter(
    "flux_http_refused_total", "Requests that broke HTTP or a bound", ["status"], registry=REGISTRY
)

REJECTED = Counter(
    "flux_door_connections_rejected_total", "Connections refused, by the bound", ["bound"], registry=REGISTRY
)

BUSY = Response(
    503, b"Too many connections\n", ((b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"5"))
)
BODYLESS = (204, 304)
PIECE = 64 * 1024
"""Bytes of a response body between two looks at whether the client still takes them."""


TINY = 16
TINY_CHUNKS = 4096
"""Chunks of less than so many bytes on average that one body may have: each costs 10 µs, a million 10 s."""


class Phase(Enum):
    """What a connection is doing."""

    IDLE = auto()
    READING = auto()
    ANSWERING = auto()


class HttpConnection:
    """A connection that speaks HTTP.

    Args:
        wire: the connection.
        peer: address and port, for requests.
        route: gives the mount that takes a path, or None.
        app: answers the other paths.
        limits: bounds.
        timers: watch the deadlines.
        proxies: where the peer is one of them; its word on its clients counts.
        clients: counts the proxies' clients.
        compression: bytes from which a response is compressed; None is never.

    Attributes:
        client: the proxy's client that is counted in `clients`; who takes the connection over gives it back.
    """

    def __init__(
        self,
        wire: Wire,
        peer: tuple[str, int],
        route: Callable[[str], Mount | None],
        app: App,
        limits: Limits,
        timers: Timers,
        *,
        proxies: TrustedProxies | None = None,
        clients: Quota | None = None,
        compression: int | None = None,
    ) -> None:
        self._wire = wire
        self._peer = peer
        self._who = peer[0]
        self._route = route
        self._app = app
        self._limits = limits
        self._proxies = proxies
        self._clients = clients
        self.client: str | None = None
        self._compression = compression
        self._asked: Request | None = None
        self._parser: h11.Connection | None = None
        self._quick = False
        self._early = b""
        self._closing = False
        self._scope = trio.CancelScope()
        self._deadline = Deadline(timers, self._scope.cancel)
        self._phase = Phase.IDLE
        self._head = bytearray()
        self._bodyless = False
        self._last = False

    def stop(self) -> None:
        """End the connection: at once if no request is being answered, else after its response."""
        self._last = True
        if self._phase is Phase.IDLE:
            self._scope.cancel()

    def release(self) -> None:
        """Give back what the proxy's client holds: its request is answered."""
        if self.client is not None and self._clients is not None:
            self._clients.give_back(self.client)
            self.client = None

    async def run(self) -> Callable[[], Awaitable[None]] | None:
        """Serve requests until the end.

        Returns:
            What to run next in this task if the connection left HTTP, else None (the wire wants closing).
        """
        self._deadline.set(self._limits.head_seconds)
        try:
            with self._scope:
                while not self._last:
                    request = await self._receive_request()
                    if request is None:
                        return None
                    takeover = await self._answer(request)
                    if takeover is not None:
                        trailing = self._early if self._quick else self._http.trailing_data[0]
                        return partial(takeover.run, self._wire, trailing)
                    self.release()
                    if self._finished():
                        await self._linger()
                        return None
                    self._next_cycle()
                return None
            # Only a deadline or `stop` leads here.
            if self._phase is Phase.READING:
                await self._refuse(RequestError(408, "the request took too long"))
        except RequestError as error:
            await self._refuse(error)
        except (BrokenError, ClosedError):
            pass  # the peer is gone, or someone else closed the wire: nothing more to say
        return None

    @property
    def _http(self) -> h11.Connection:
        # Most connections never need it: what is common goes by `http_quick`.
        if self._parser is None:
            self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes)
        return self._parser

    def _finished(self) -> bool:
        if self._quick:
            return self._closing
        return self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE

    def _next_cycle(self) -> None:
        self._who = self._peer[0]
        self._asked = None
        if not self._quick:
            self._http.start_next_cycle()
            self._head = bytearray(self._http.trailing_data[0])
        if self._head:
            self._phase = Phase.READING
            self._deadline.set(self._limits.head_seconds)
        else:
            self._phase = Phase.IDLE

    async def _receive_request(self) -> Request | None:
        """Wait for a whole request; None is the peer's orderly end.

        Raises:
            RequestError: it breaks HTTP or a bound.
        """
        self._quick = False
        if not self._head:
            data = self._early or await self._wire.receive()
            self._early = b""
            if not data:
                return None
            request = self._read_quickly(data)
            if request is not None:
                self._phase = Phase.ANSWERING
                self._deadline.clear()
                return request
            self._receive(data)
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        check_head(bytes(self._head), self._limits.head_bytes)
        check_request(head)
        self._head = bytearray()
        self._bodyless = head.method == b"HEAD"
        request = Request(
            method=head.method.decode("ascii"),
            target=origin_form(head.target.decode("ascii")),
            headers=tuple(head.headers),
            peer=self._peer,
            http_version=head.http_version.decode("ascii"),
        )
        request = self._asked = self._resolved(request)
        mount, bound = self._bound(request)
        self._deadline.set(self._limits.body_seconds)
        body = await self._receive_body(request, bound)
        if body is None:
            over = Response.text(413) if mount is None else mount.overflow(request)
            raise RequestError(413, "the body is too large", over)
        self._phase = Phase.ANSWERING
        self._deadline.clear()
        return evolve(request, body=body) if body else request

    def _read_quickly(self, data: bytes) -> Request | None:
        quick = http_quick.read(data, self._limits.head_bytes)
        if quick is None:
            return None
        body = data[quick.body : quick.end]
        request = Request(quick.method, quick.target, quick.headers, body, self._peer)
        if body and len(body) > self._bound(request)[1]:
            return None
        self._quick = True
        self._bodyless = False
        self._early = data[quick.end :]
        request = self._asked = self._resolved(request)
        return request

    def _bound(self, request: Request) -> tuple[Mount | None, int]:
        mount = self._route(request.raw_path)
        return mount, self._limits.body_bytes if mount is None else mount.max_body

    def _resolved(self, request: Request) -> Request:
        if self._proxies is not None:
            request = self._proxies.resolve(request)
            self._who = request.peer[0]
            self._count(self._who)
        return request

    def _count(self, host: str) -> None:
        if self._clients is None or not self._clients.per_owner:
            return
        site = site_of(host)
        if self._clients.take(site) is not None:
            REJECTED.labels("address").inc()
            raise RequestError(503, "too many connections from this address", BUSY)
        self.client = site

    async def _receive_body(self, request: Request, bound: int) -> bytes | None:
        """Return the body, or None as soon as it is known to be larger than `bound` bytes."""
        length = request.header(b"content-length")
        if length is not None and (len(length) > 18 or int(length) > bound):
            return None
        if self._http.they_are_waiting_for_100_continue:
            self._wire.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        body = bytearray()  # no list of pieces: a chunk may be two bytes, and an object for it forty
        count = 0
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                if len(body) + len(event.data) > bound:
                    return None
                body += event.data
                count += 1
                if count > TINY_CHUNKS and len(body) < TINY * count:
                    raise RequestError(400, "the body comes in tiny chunks")
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)
            else:
                raise RequestError(400, "the body ended early")

    async def _next_event(self) -> Any:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise RequestError(error.error_status_hint, str(error)) from error
            if event is not h11.NEED_DATA:
                return event
            self._receive(await self._wire.receive())

    def _receive(self, data: bytes) -> None:
        if self._http.their_state is h11.IDLE:
            if self._phase is Phase.IDLE and data:
                self._phase = Phase.READING
                self._deadline.set(self._limits.head_seconds)
            self._head += data
        self._http.receive_data(data)

    async def _answer(self, request: Request) -> Takeover | None:
        mount = self._route(request.raw_path)
        if mount is None:
            await self._send(await self._ask_app(request))
            return None
        exchange = Exchange(self)
        try:
            answer = await mount.handle(request, exchange)
        except RequestError as error:
            answer = error.response
        except Exception:
            HANDLER_ERRORS.inc()
            log.exception("mount failed", path=request.raw_path)
            answer = Response.text(500)
        if isinstance(answer, Takeover):
            return answer
        if answer is not None:
            exchange.respond(answer)
        elif not exchange.answered:
            await self._wait_answered(exchange)
        return None

    async def _wait_answered(self, exchange: Exchange) -> None:
        """Wait until someone else responds, watching the peer meanwhile."""
        reason = "transport close"
        try:
            data = await self._wire.receive()
            if data or exchange.answered:
                # A pipelined request waits until this one is answered; reading on would let it grow.
                if self._quick:
                    self._early += data
                else:
                    self._http.receive_data(data)
                await exchange.wait_answered()
        except BrokenError:
            reason = "transport error"
            raise
        finally:
            exchange.abort(reason)
        if not data:
            self._last = True

    async def _ask_app(self, request: Request) -> Response:
        try:
            answer = self._app(request)
            return answer if isinstance(answer, Response) else await answer
        except RequestError as error:
            return error.response
        except Exception:
            HANDLER_ERRORS.inc()
            log.exception("app failed", method=request.method, path=request.raw_path)
            return Response.text(500)

    async def _send(self, response: Response) -> None:
        """Write a response; a large body in pieces, as the client takes them."""
        response = self._compressed(response)
        if len(response.body) <= PIECE or self._bodyless:
            self._write(response)
            return
        self._wire.write(self._head_of(response))
        for start in range(0, len(response.body), PIECE):
            self._deadline.set(self._limits.keep_alive_seconds)
            self._wire.write(self._piece(response.body[start : start + PIECE]))
            await self._wire.drain()
        self._wire.write(self._end())
        self._responded()

    def respond(self, response: Response) -> None:
        """Write a whole response at once; what does not go out now is bounded by the wire's outbox."""
        self._write(self._compressed(response))

    def _compressed(self, response: Response) -> Response:
        if self._compression is None or len(response.body) < self._compression:
            return response
        accepted = self._asked is not None and accepts_gzip(self._asked)
        return compress(response, self._compression, accepted=accepted)

    def _write(self, response: Response) -> None:
        data = self._head_of(response)
        if not self._bodyless and response.status not in BODYLESS:
            data += self._piece(response.body)
        self._wire.write(data + self._end())
        self._responded()

    def _piece(self, data: bytes) -> bytes:
        return data if self._quick else self._http.send(h11.Data(data=data)) or b""

    def _end(self) -> bytes:
        return b"" if self._quick else self._http.send(h11.EndOfMessage()) or b""

    def _head_of(self, response: Response) -> bytes:
        REQUESTS.values[response.status] += 1
        date = http_quick.date(int(time.time()))
        if self._quick:
            self._closing = self._last
            length = response.status not in BODYLESS
            return http_quick.head(response, date, length=length, close=self._last)
        headers = [(b"date", date), *response.headers]
        if response.status not in BODYLESS:
            headers.append((b"content-length", b"%d" % len(response.body)))
        if self._last:
            headers.append((b"connection", b"close"))
        head = h11.Response(
            status_code=response.status, headers=headers, reason=http_quick.phrase(response.status)
        )
        return self._http.send(head) or b""

    def _responded(self) -> None:
        # From here the client has this long to take the response and send the next request.
        self._deadline.set(self._limits.keep_alive_seconds)
        if self._closing if self._quick else self._http.our_state is h11.MUST_CLOSE:
            self._deadline.set(self._limits.linger_seconds)
            self._wire.finish()
        elif not self._last:
            self._phase = Phase.IDLE

    async def _refuse(self, error: RequestError) -> None:
        REFUSED.labels(error.status).inc()
        log.info("request refused", status=error.status, reason=error.reason, peer=self._who)
        self._last = True
        if self._quick or self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.respond(error.response)
        await self._linger()

    async def _linger(self) -> None:
        """Close as TCP wants it: end our side, read on, so that no reset overtakes the response."""
        self._wire.finish()
        with trio.move_on_after(self._limits.linger_seconds):
            try:
                while await self._wire.receive():
                    pass
            except (BrokenError, ClosedError):
                pass


def origin_form(target: str) -> str:
    """Return a request target as path and query (RFC 9112, 3.2); an absolute URI loses scheme and host."""
    if target.startswith("/") or target == "*":
        return target
    return "/" + target.partition("://")[2].partition("/")[2]
