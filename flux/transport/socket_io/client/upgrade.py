"""A transport that begins with long-polling and moves to WebSocket (Engine.IO protocol, "Upgrade")."""

from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio
from engineio.packet import PING, PONG, UPGRADE

from flux.errors import FluxError
from flux.transport.engine_io.codec import Outgoing, Packet, PacketError
from flux.transport.socket_io.client.polling import Polling
from flux.transport.socket_io.client.websocket import WebSocket

log = structlog.get_logger("flux.socket_io.client")

PROBE_SECONDS = 10.0
"""For the whole upgrade; the reference server gives up after as long."""


class Upgrading:
    """Polls, until the WebSocket is ready; see `Transport`. If it never is, it polls on.

    Nothing is lost or overtaken: the polls and posts that are under way end first, and no new ones begin.

    Args:
        polling: open.
        dial: opens the WebSocket of the session.
    """

    def __init__(self, polling: Polling, dial: Callable[[], Awaitable[WebSocket]]) -> None:
        self.hello = polling.hello
        self.name = polling.name
        self.batch_bytes = polling.batch_bytes
        self._polling = polling
        self._dial = dial
        self._websocket: WebSocket | None = None
        self._requests = 0
        self._pausing = False
        self._closed = False
        self._changed = trio.Event()

    async def receive(self) -> Sequence[Packet]:
        """Wait for packets; see `Transport`."""
        transport = await self._current()
        if transport is not self._polling:
            return await transport.receive()
        self._requests += 1
        try:
            return await transport.receive()
        finally:
            self._requests -= 1
            self._wake()

    async def send(self, packets: Sequence[Outgoing]) -> None:
        """Send packets; see `Transport`."""
        transport = await self._current()
        if transport is not self._polling:
            return await transport.send(packets)
        self._requests += 1
        try:
            await transport.send(packets)
        finally:
            self._requests -= 1
            self._wake()

    async def close(self) -> None:
        """Close whichever is in use; see `Transport`."""
        self._closed = True
        if self._websocket is None:
            await self._polling.close()
        else:
            await self._websocket.close()

    async def upgrade(self) -> None:
        """Try once. Cancellation leaves the session where it is, and the probe closed."""
        websocket: WebSocket | None = None
        try:
            with trio.move_on_after(PROBE_SECONDS):
                websocket = await self._dial()
                await websocket.send([Outgoing(b"%dprobe" % PING)])
                for answer in await websocket.receive():
                    if (answer.kind, answer.data) != (PONG, "probe"):
                        raise PacketError("no answer to the probe")
                self._pausing = True
                while self._requests:
                    await self._changed.wait()
                await websocket.send([Outgoing(b"%d" % UPGRADE)])
                if not self._closed:
                    self._websocket = websocket
                    self.name = websocket.name
                    self.batch_bytes = websocket.batch_bytes
        except FluxError as error:
            log.debug("no upgrade", reason=str(error))
        finally:
            self._pausing = False
            self._wake()
            if self._websocket is None and websocket is not None:
                await websocket.abort()
        if self._websocket is not None:
            await self._polling.abandon()

    async def _current(self) -> Polling | WebSocket:
        while self._pausing:
            await self._changed.wait()
        return self._websocket or self._polling

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
