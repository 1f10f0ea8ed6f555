"""The WebSocket transport of a client, by trio-websocket."""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog
import trio
from engineio.packet import MESSAGE
from trio_websocket import ConnectionClosed, ConnectionRejected

from flux.errors import BrokenError
from flux.transport.engine_io.codec import Outgoing, Packet, decode_text
from flux.transport.socket_io.client.errors import ConnectError
from flux.transport.socket_io.client.transport import Target, TransportError, decode_hello, refusal
from flux.transport.socket_io.types import DisconnectReason
from flux.transport.websocket_reader import WebSocketReader, shake_hands

log = structlog.get_logger("flux.socket_io.client")

OpenStream = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Opens a TCP connection, or what stands for one, to a host and port."""

_OUR_FAULT_CODES = frozenset((1002, 1007, 1009))


async def open_tcp(host: str, port: int) -> trio.abc.Stream:
    """Open a TCP connection without Nagle's delay (trio's default)."""
    return await trio.open_tcp_stream(host, port)


class WebSocket:
    """An open WebSocket; see `Transport`."""

    name = "websocket"
    batch_bytes = 0

    def __init__(self, connection: Any, stream: trio.abc.Stream, reader: WebSocketReader) -> None:
        self._connection = connection
        self._stream = stream
        self._reader = reader
        self._sending = False

    async def greet(self) -> None:
        """Wait for the open packet."""
        self.hello = decode_hello((await self.receive())[0])

    async def receive(self) -> Sequence[Packet]:
        """Wait for a packet; see `Transport`."""
        try:
            message: str | bytes = await self._connection.get_message()
        except ConnectionClosed as closed:
            raise _ended(closed) from None
        return (decode_text(message) if isinstance(message, str) else Packet(MESSAGE, message),)

    async def send(self, packets: Sequence[Outgoing]) -> None:
        """Send packets; see `Transport`."""
        self._sending = True
        try:
            for packet in packets:
                await self._connection.send_message(packet.text.decode())
                for attachment in packet.attachments:
                    await self._connection.send_message(attachment)
        except ConnectionClosed as closed:
            raise _ended(closed) from None
        self._sending = False

    async def close(self) -> None:
        """Send a close frame, unless a frame was cut in half, and wait for the server's."""
        try:
            if not self._sending:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._connection.aclose()
        finally:
            await self.abort()

    async def abort(self) -> None:
        """Close without a word, and without waiting; it is done when cancelled, too."""
        self._reader.stop()
        await trio.aclose_forcefully(self._stream)


async def open_websocket(
    nursery: trio.Nursery,
    target: Target,
    ssl_context: ssl.SSLContext | None,
    limit: int,
    opener: OpenStream,
    sid: str | None = None,
) -> WebSocket:
    """Connect, and wait for the open packet of a new session. Cancellation and errors leave nothing open.

    Args:
        nursery: in which the connection is read; it outlives the transport.
        target: the server.
        ssl_context: None is the system's default.
        limit: bytes of the largest message taken in.
        opener: of the TCP connection.
        sid: of a session that is to be upgraded; None is a new one.

    Raises:
        ConnectError: the server cannot be reached, or refused.
        PacketError: it does not speak Engine.IO.
        TransportError: it closed before the open packet.
    """
    try:
        stream = await opener(target.host, target.port)
    except OSError as error:
        raise ConnectError(f"cannot connect to {target.authority}: {error}") from error
    reader = WebSocketReader(nursery)
    try:
        if target.secure:
            stream = await _secured(stream, target.host, ssl_context)
        connection = await _handshake(reader, target, stream, limit, sid)
        websocket = WebSocket(connection, stream, reader)
        if sid is None:
            await websocket.greet()
    except BaseException:
        reader.stop()
        await trio.aclose_forcefully(stream)  # never waits, so that it is done when cancelled, too
        raise
    return websocket


async def _secured(stream: trio.abc.Stream, host: str, context: ssl.SSLContext | None) -> trio.abc.Stream:
    context = context or ssl.create_default_context()
    secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        raise ConnectError(f"the TLS handshake failed: {error.__cause__ or error}") from error
    return secured


async def _handshake(
    reader: WebSocketReader, target: Target, stream: trio.abc.Stream, limit: int, sid: str | None
) -> Any:
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in target.headers]
    resource = target.resource("websocket", sid)
    connection = await shake_hands(reader, stream, target.authority, resource, headers=headers, limit=limit)
    if connection is None:
        raise _refused(reader.error)
    return connection


def _refused(error: Exception | None) -> BrokenError:
    if not isinstance(error, ConnectionRejected):
        return ConnectError(f"the WebSocket handshake failed: {error or 'connection closed'}")
    message = refusal(error.status_code, error.body or b"")
    return ConnectError(message)


def _ended(closed: ConnectionClosed) -> TransportError:
    code = closed.reason.code if closed.reason is not None else 1006
    if code in _OUR_FAULT_CODES:
        return TransportError(DisconnectReason.TRANSPORT_ERROR, f"close code {code}")
    return TransportError(DisconnectReason.TRANSPORT_CLOSE, f"close code {code}")
