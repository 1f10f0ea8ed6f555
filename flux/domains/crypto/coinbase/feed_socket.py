"""A WebSocket to a feed, by trio-websocket, of which nothing is left open however it ends."""

import ssl
from contextlib import suppress
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected

import flux
from flux.domains.crypto.coinbase.messages import TITLE, FeedError
from flux.domains.sources.authorities import authorities
from flux.transport.websocket_reader import WebSocketReader, shake_hands

CONNECT_SECONDS = 10.0
"""For the name, TCP, TLS and the handshake together."""

CLOSE_SECONDS = 0.5
"""For the closing handshake, when Flux stops."""

MESSAGE_LIMIT = 1 << 16
"""Bytes of a message; ticks have about 500, and the confirmation of 41 products 2,000."""


class FeedSocket:
    """An open WebSocket; make one with `open`, and `close` it in ``finally``."""

    def __init__(self, connection: Any, stream: trio.abc.Stream, reader: WebSocketReader) -> None:
        self._connection = connection
        self._stream = stream
        self._reader = reader

    @classmethod
    async def open(cls, nursery: trio.Nursery, url: str, tls: ssl.SSLContext | None = None) -> Self:
        """Connect. Cancellation and errors leave nothing open.

        Args:
            nursery: in which the connection is read; it outlives the socket.
            url: ``ws`` or ``wss``.
            tls: None is that of the HTTP clients.

        Raises:
            FeedError: no WebSocket within 10 s.
        """
        with trio.move_on_after(CONNECT_SECONDS):
            return await cls._open(nursery, urlsplit(url), tls)
        raise FeedError(f"{TITLE} did not take the connection within {CONNECT_SECONDS:g} s", reached=False)

    @classmethod
    async def _open(cls, nursery: trio.Nursery, url: SplitResult, tls: ssl.SSLContext | None) -> Self:
        host, secure = url.hostname or "", url.scheme == "wss"
        try:
            stream: trio.abc.Stream = await trio.open_tcp_stream(host, url.port or (443 if secure else 80))
        except (OSError, UnicodeError):  # of a name that cannot be one
            raise FeedError(f"{TITLE} cannot be reached", reached=False) from None
        reader = WebSocketReader(nursery)
        try:
            if secure:
                stream = trio.SSLStream(
                    stream, tls or _authorities(), server_hostname=host, https_compatible=True
                )
                await _secure(stream)
            return cls(await _upgrade(reader, url, stream), stream, reader)
        except BaseException:
            reader.stop()
            await trio.aclose_forcefully(stream)  # never waits, so that it is done when cancelled, too
            raise

    async def receive(self) -> str:
        """Wait for a message.

        Raises:
            FeedError: the connection ended, or the message is binary.
        """
        try:
            message: str | bytes = await self._connection.get_message()
        except ConnectionClosed as closed:
            raise FeedError(f"{TITLE} {_how(closed)}") from None
        if isinstance(message, bytes):
            raise FeedError(f"{TITLE} sent a binary message")
        return message

    async def send(self, text: str) -> None:
        """Send a message.

        Raises:
            FeedError: the connection ended.
        """
        try:
            await self._connection.send_message(text)
        except ConnectionClosed as closed:
            raise FeedError(f"{TITLE} {_how(closed)}") from None

    async def close(self) -> None:
        """Close in order where that is quick, and for certain."""
        try:
            with (
                trio.move_on_after(CLOSE_SECONDS, shield=True),
                suppress(trio.BrokenResourceError, trio.ClosedResourceError),
            ):
                await self._connection.aclose()
        finally:
            self._reader.stop()
            await trio.aclose_forcefully(self._stream)


def _authorities() -> ssl.SSLContext:
    try:
        return authorities()
    except (OSError, ValueError) as error:
        what = f"the certificates that the environment names are of no use ({type(error).__name__})"
        raise FeedError(f"{TITLE} cannot be asked: {what}") from None


async def _secure(stream: trio.SSLStream[Any]) -> None:
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message.partition(",")[0]  # behind it come names and addresses
            raise FeedError(f"the certificate of {TITLE} is not valid: {why}", reached=False) from None
        raise FeedError(f"no TLS connection to {TITLE}", reached=False) from None


async def _upgrade(reader: WebSocketReader, url: SplitResult, stream: trio.abc.Stream) -> Any:
    """Return the WebSocket connection over a stream."""
    resource = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = [(b"user-agent", f"flux/{flux.__version__}".encode())]
    connection = await shake_hands(reader, stream, url.netloc, resource, headers=headers, limit=MESSAGE_LIMIT)
    if connection is not None:
        return connection
    if isinstance(reader.error, ConnectionRejected):
        raise FeedError(f"{TITLE} answered the handshake with status {reader.error.status_code}")
    raise FeedError(f"{TITLE} broke off the handshake")


def _how(closed: ConnectionClosed) -> str:
    """Return in words how the connection ended; a server's own words are not repeated."""
    code = closed.reason.code if closed.reason is not None else 1006
    if code == 1006:  # never on the wire: there was no close frame (RFC 6455, section 7.1.5)
        return "broke off the connection"
    if code == 1009:
        return f"sent a message of more than {MESSAGE_LIMIT} bytes"
    return f"closed the connection (code {code})"
