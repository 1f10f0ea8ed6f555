"""A web site on loopback that answers as it is told, also badly: sources are tested against it.

    async with open_site() as site:
        site.script("/v1/forecast", answer_json({"temperature": 3.5}), status(503), SILENCE)
        ...  # ask site.url + "/v1/forecast": the answers in turn, the last one from then on
        assert site.requests[0].params == {"latitude": "52.52"}

An answer is a `Reply`, or a function that makes one from the `Request`. A path without a script gets a 404.
`open_site` serves in the test's own loop, so its pauses are those of the test's clock; `site_in_thread`
serves from a thread, for tests that wait for a program without letting the loop run.
"""

import gzip
import json
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import trio
from attrs import define, evolve, field, frozen
from own_thread import serving_in_thread
from ports import free_port  # from tests/machine

HOST = "127.0.0.1"
HEAD_LIMIT = 64 << 10


@frozen
class Request:
    """What the site was asked.

    Args:
        method: GET.
        path: without the query.
        params: of the query; of a name given twice, the last.
        headers: names in lower case.
    """

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]


@frozen(kw_only=True)
class Reply:
    """What the site does with a request.

    Args:
        status: of HTTP; 0: nothing at all is sent, only `end` happens.
        headers: beside Content-Length.
        body: as it goes over the wire.
        length: the Content-Length that is claimed; None: the true one; -1: none, the body ends with the
            connection.
        before: seconds before the first byte.
        pause: seconds after each byte (a trickle); 0: all at once.
        end: what happens after the body: ``keep`` the connection, ``close`` it, ``reset`` it, or say nothing
            more and ``hang``.
    """

    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""
    length: int | None = None
    before: float = 0.0
    pause: float = 0.0
    end: str = "keep"


Answering = Reply | Callable[[Request], Reply]

SILENCE = Reply(status=0, end="hang")
"""The request is taken, and nothing comes back."""

RESET = Reply(status=0, end="reset")
"""The connection is reset before anything came."""

HANG_UP = Reply(status=0, end="close")
"""The connection is closed before anything came."""


def answer(body: bytes | str, media: str, status: int = 200, **headers: str) -> Reply:
    """Return an answer; header names are given with underscores."""
    data = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, headers={"content-type": media, **named}, body=data)


def answer_json(data: Any, status: int = 200, **headers: str) -> Reply:
    """Return an answer in JSON."""
    return answer(json.dumps(data), "application/json", status, **headers)


def status(code: int, body: str = "", media: str = "text/plain", **headers: str) -> Reply:
    """Return a refusal: ``status(503)``, ``status(429, retry_after="7")``."""
    return answer(body, media, code, **headers)


def redirect(location: str, code: int = 302) -> Reply:
    """Return a redirect."""
    return Reply(status=code, headers={"location": location})


def gzipped(reply: Reply) -> Reply:
    """Return the same answer compressed."""
    return evolve(
        reply, headers={**reply.headers, "content-encoding": "gzip"}, body=gzip.compress(reply.body)
    )


def truncated(reply: Reply, left: int) -> Reply:
    """Return the same answer, closed after so many bytes of its body."""
    return evolve(reply, body=reply.body[:left], length=len(reply.body), end="close")


def trickling(reply: Reply, pause: float) -> Reply:
    """Return the same answer, a byte each so many seconds."""
    return evolve(reply, pause=pause)


def late(reply: Reply, seconds: float) -> Reply:
    """Return the same answer, so much later."""
    return evolve(reply, before=seconds)


def gzip_bomb(size: int, media: str = "application/json") -> Reply:
    """Return an answer of so many spaces, compressed to about a thousandth."""
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    piece = b" " * (1 << 20)
    packed = b"".join(packer.compress(piece) for _ in range(size >> 20)) + packer.flush()
    return Reply(headers={"content-type": media, "content-encoding": "gzip"}, body=packed)


@define
class _Script:
    answers: tuple[Answering, ...]
    given: int = 0


@define(eq=False)
class FakeSite:
    """A site that answers by script.

    Args:
        port: of 127.0.0.1.
        tls: the server's certificate, for HTTPS.
    """

    port: int = field(factory=free_port)
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(factory=list, init=False)
    connections: int = field(default=0, init=False)
    """Those that were accepted so far."""
    _scripts: dict[str, _Script] = field(factory=dict, init=False)
    _scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _there: trio.Event = field(factory=trio.Event, init=False)
    _gone: trio.Event = field(factory=trio.Event, init=False)
    _back: trio.Event = field(factory=trio.Event, init=False)

    @property
    def url(self) -> str:
        """The base of its addresses, without a slash at the end."""
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.port}"

    def script(self, path: str, *answers: Answering) -> None:
        """Say what a path answers: these in turn, and the last one from then on."""
        self._scripts[path] = _Script(answers)

    def asked(self, path: str) -> list[Request]:
        """Return the requests that a path got so far."""
        return [request for request in self.requests if request.path == path]

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Meanwhile nothing listens at its address, and what was connected is closed."""
        self._back = trio.Event()
        self._scope.cancel()
        await self._gone.wait()
        try:
            yield
        finally:
            self._back.set()
        await self._there.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        while True:
            self._gone = trio.Event()
            try:
                with trio.CancelScope() as self._scope:
                    async with trio.open_nursery() as nursery:
                        serve = partial(trio.serve_tcp, self._accepted, self.port, host=HOST)
                        await nursery.start(serve)
                        self._there.set()
                        task_status.started()
            finally:
                self._there = trio.Event()
                self._gone.set()
            await self._back.wait()
            task_status = trio.TASK_STATUS_IGNORED

    async def _accepted(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        transport: trio.abc.Stream = stream
        if self.tls is not None:
            transport = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
        try:
            async with transport:
                while (request := await _read(transport)) is not None:
                    if isinstance(request, Reply):
                        await _send(transport, request)
                        return
                    self.requests.append(request)
                    reply = self._reply(request)
                    await _send(transport, reply)
                    if reply.end == "hang":
                        await trio.sleep_forever()
                    if reply.end == "reset":
                        # With nothing to linger for, close() sends RST.
                        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        stream.socket.close()
                    if reply.end != "keep" or reply.length is not None:
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # whoever asked is gone

    def _reply(self, request: Request) -> Reply:
        script = self._scripts.get(request.path)
        if script is None:
            return status(404, "no such page")
        answering = script.answers[min(script.given, len(script.answers) - 1)]
        script.given += 1
        return answering if isinstance(answering, Reply) else answering(request)


async def _read(stream: trio.abc.Stream) -> Request | Reply | None:
    """Read a request without a body; None once the connection is closed, a refusal where it is no HTTP."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        data = await stream.receive_some()
        if not data or len(head) > HEAD_LIMIT:
            return None
        head += data
        if not head[:1].isalpha():  # TLS, say
            return status(400)
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    parts = urlsplit(target)
    headers = dict(line.split(": ", 1) for line in lines)
    return Request(
        method,
        parts.path,
        dict(parse_qsl(parts.query, keep_blank_values=True)),
        {name.lower(): value for name, value in headers.items()},
    )


async def _send(stream: trio.abc.Stream, reply: Reply) -> None:
    await trio.sleep(reply.before)
    if not reply.status:
        return
    headers = dict(reply.headers)
    if reply.length != -1:
        headers["content-length"] = str(len(reply.body) if reply.length is None else reply.length)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    await stream.send_all(f"HTTP/1.1 {reply.status} Told so\r\n{head}\r\n".encode())
    if not reply.pause:
        await stream.send_all(reply.body)
        return
    for byte in reply.body:
        await stream.send_all(bytes([byte]))
        await trio.sleep(reply.pause)


@asynccontextmanager
async def open_site(tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeSite]:
    """Serve a site in this loop, until the block ends."""
    site = FakeSite(tls=tls)
    async with trio.open_nursery() as nursery:
        await nursery.start(site.run)
        yield site
        nursery.cancel_scope.cancel()


@contextmanager
def site_in_thread(tls: ssl.SSLContext | None = None) -> Iterator[FakeSite]:
    """Serve a site in a thread of its own, until the block ends; `FakeSite.away` is not for it."""
    site = FakeSite(tls=tls)
    with serving_in_thread(site.run, "fake-site"):
        yield site
