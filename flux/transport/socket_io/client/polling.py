"""The long-polling transport of a client, by httpx."""

import ssl
from collections.abc import Sequence
from typing import Self

import httpx
import trio
from engineio.packet import CLOSE

from flux.transport.engine_io.codec import SEPARATOR, Outgoing, Packet, PacketError, decode_payload
from flux.transport.socket_io.client.errors import ConnectError
from flux.transport.socket_io.client.transport import Target, TransportError, decode_hello, refusal
from flux.transport.socket_io.types import DisconnectReason

FAREWELL_SECONDS = 0.5
"""What the close packet may take; half of what the link gives to the whole closing."""


class _Body(httpx.AsyncByteStream):
    """A request's body in one piece.

    httpx's own is an asynchronous generator, which a cancellation while its piece is sent leaves open.
    """

    def __init__(self, body: bytes) -> None:
        self._left = [body] if body else []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class Polling:
    """An Engine.IO session over requests: one GET and one POST at a time; see `Transport`.

    Args:
        target: the server.
        ssl_context: None is the system's default.
        limit: bytes of the largest payload taken in.
    """

    name = "polling"

    def __init__(self, target: Target, ssl_context: ssl.SSLContext | None, limit: int) -> None:
        self._http = httpx.AsyncClient(
            headers=dict(target.headers),
            timeout=None,  # noqa: S113 - the link has the deadlines: a poll lasts until there is something
            verify=ssl_context if ssl_context is not None else target.secure,
            trust_env=False,  # WebSocket knows no proxies either
        )
        self._target = target
        self._limit = limit
        self._url = ""
        self._waiting: list[Packet] = []
        self._broken = False

    async def open(self) -> None:
        """Do the handshake.

        Raises:
            ConnectError: the server cannot be reached, or refused.
            PacketError: it does not speak Engine.IO.
        """
        root = f"{'https' if self._target.secure else 'http'}://{self._target.authority}"
        try:
            status, body = await self._request("GET", root + self._target.resource("polling"))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ConnectError(f"cannot connect to {self._target.authority}: {_cause(error)}") from error
        if status != 200:
            raise ConnectError(refusal(status, body))
        packets = list(decode_payload(body))
        self.hello = decode_hello(packets[0])
        self.batch_bytes = self.hello.max_payload
        self._waiting = packets[1:]
        self._url = root + self._target.resource("polling", self.hello.sid)

    async def receive(self) -> Sequence[Packet]:
        """Poll; see `Transport`."""
        if self._waiting:
            packets, self._waiting = self._waiting, []
            return packets
        return list(decode_payload(await self._ask("GET", b"")))

    async def send(self, packets: Sequence[Outgoing]) -> None:
        """Post; see `Transport`."""
        await self._ask("POST", SEPARATOR.join([packet.payload for packet in packets]))

    async def close(self) -> None:
        """Send the close packet, and close the connections."""
        try:
            if self._url and not self._broken:
                with trio.move_on_after(FAREWELL_SECONDS):
                    await self._ask("POST", b"%d" % CLOSE)
        except TransportError:
            pass
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """Close the connections without a word: the session goes on elsewhere, or is gone."""
        with trio.move_on_after(FAREWELL_SECONDS, shield=True):
            await self._http.aclose()

    async def _ask(self, method: str, body: bytes) -> bytes:
        try:
            status, answer = await self._request(method, self._url, body)
        except httpx.HTTPError as error:
            self._broken = True
            raise TransportError(DisconnectReason.TRANSPORT_ERROR, _cause(error)) from error
        if status != 200:
            self._broken = True
            raise TransportError(DisconnectReason.TRANSPORT_ERROR, refusal(status, answer))
        return answer

    async def _request(self, method: str, url: str, body: bytes = b"") -> tuple[int, bytes]:
        headers = {"content-type": "text/plain;charset=UTF-8"} if method == "POST" else {}
        request = self._http.build_request(method, url, content=body or None, headers=headers)
        request.stream = _Body(body)
        received = bytearray()
        # A body is broken off by cancellation, for an exception here would leave httpx's iterators open.
        with trio.CancelScope() as scope:
            response = await self._http.send(request, stream=True)
            try:
                async for chunk in response.aiter_bytes():
                    if len(received) + len(chunk) > self._limit:
                        scope.cancel()
                    if not scope.cancel_called:
                        received += chunk
            finally:
                await response.aclose()
        if scope.cancel_called:
            raise PacketError("payload is too large")
        return response.status_code, bytes(received)


def _cause(error: BaseException) -> str:
    """Return the text of the innermost error that has one: httpx's own are often empty."""
    text = type(error).__name__
    link: BaseException | None = error
    while link is not None:
        text = str(link) or text
        link = link.__cause__ or link.__context__
    return text


async def open_polling(target: Target, ssl_context: ssl.SSLContext | None, limit: int) -> Polling:
    """Open a session; see `Polling`. Cancellation and errors leave nothing open.

    Raises:
        ConnectError: see `Polling.open`.
        PacketError: see `Polling.open`.
    """
    polling = Polling(target, ssl_context, limit)
    try:
        await polling.open()
    except BaseException:
        await polling.abandon()
        raise
    return polling
