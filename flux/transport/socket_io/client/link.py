"""One connection of a client, from the opening of its transport to its end."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio
from engineio.packet import CLOSE, MESSAGE, NOOP, PING, PONG

from flux.transport.engine_io.codec import Outgoing, Packet, PacketError
from flux.transport.socket_io.client.errors import ConnectError
from flux.transport.socket_io.client.outbox import Outbox
from flux.transport.socket_io.client.transport import Transport, TransportError
from flux.transport.socket_io.types import DisconnectReason

OpenTransport = Callable[[trio.Nursery], Awaitable[Transport]]

CLOSE_SECONDS = 1.0
"""What a farewell may take: the last packets, and the closing handshake."""


class Owner(Protocol):
    """What a link needs of its client.

    Attributes:
        closing: set when the connection is to end once all is sent.
    """

    closing: trio.Event

    def opened(self, transport: Transport) -> None:
        """Learn that a transport is open; ask for the namespaces."""

    def message(self, data: str | bytes) -> trio.Event | None:
        """Take a message; an event in return stops the reading."""

    def settled(self) -> bool:
        """Whether every namespace has been answered."""

    def active(self) -> bool:
        """Whether there is a namespace left to be connected for."""


class Link:
    """A connection.

    Args:
        owner: the client.
        outbox: what it has to send.
        timeout: seconds for the opening, and again for the joining of the namespaces.
    """

    def __init__(self, owner: Owner, outbox: Outbox, timeout: float) -> None:
        self._owner = owner
        self._outbox = outbox
        self._timeout = timeout
        self._reason: str | None = None
        self._settled = False
        self._scope = trio.CancelScope()

    async def run(self, open_transport: OpenTransport) -> str:
        """Connect, and serve to the end.

        Cancellation: the transport is closed in order, within `CLOSE_SECONDS`; what waits is not sent.

        Returns:
            The reason of the end.

        Raises:
            ConnectError: no connection came about, or a namespace was not answered in time.
        """
        failure: Exception | None = None
        # Two levels: the inner tasks end first, for the outer ones carry the closing handshake.
        async with trio.open_nursery() as carrier:
            try:
                transport = await self._open(open_transport, carrier)
                try:
                    await self._serve(transport)
                finally:
                    with trio.move_on_after(CLOSE_SECONDS, shield=True):
                        await transport.close()
            except Exception as error:  # noqa: BLE001 - raised below, outside the nursery that would wrap it
                failure = error
            carrier.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return self._reason or DisconnectReason.TRANSPORT_ERROR

    async def _open(self, open_transport: OpenTransport, carrier: trio.Nursery) -> Transport:
        with trio.move_on_after(self._timeout):
            try:
                return await open_transport(carrier)
            except PacketError as error:
                raise ConnectError(f"the server does not speak Engine.IO 4: {error}") from error
            except TransportError as error:
                raise ConnectError(f"the server closed the connection: {error}") from error
        raise ConnectError(f"no connection in {self._timeout:g} s")

    async def _serve(self, transport: Transport) -> None:
        self._owner.opened(transport)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._write, transport)
            tasks.start_soon(self._watch_farewell)
            await self._read(transport)
            tasks.cancel_scope.cancel()
        if self._reason is None and not self._settled:
            raise ConnectError(f"a namespace was not answered in {self._timeout:g} s")
        if self._reason is None:
            self._reason = DisconnectReason.PING_TIMEOUT

    def _end(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
        self._scope.cancel()

    async def _read(self, transport: Transport) -> None:
        scope = self._scope
        patience = transport.hello.patience
        joining = trio.current_time() + self._timeout
        with scope:
            while True:
                self._settled = self._settled or self._owner.settled()
                silence = trio.current_time() + patience
                scope.deadline = silence if self._settled else min(silence, joining)
                try:
                    packets = await transport.receive()
                    pressure = self._take(packets)
                except TransportError as error:
                    return self._end(error.reason)
                except PacketError:
                    return self._end(DisconnectReason.PARSE_ERROR)
                if not self._owner.active():
                    return self._end(DisconnectReason.SERVER_DISCONNECT)
                if pressure is not None:
                    scope.deadline = float("inf")
                    await pressure.wait()

    def _take(self, packets: Sequence[Packet]) -> trio.Event | None:
        pressure = None
        for packet in packets:
            if packet.kind == MESSAGE:
                pressure = self._owner.message(packet.data) or pressure
            elif packet.kind == PING:
                self._outbox.put_urgent(Outgoing(b"%d" % PONG))
            elif packet.kind == CLOSE:
                raise TransportError(DisconnectReason.TRANSPORT_CLOSE)
            elif packet.kind != NOOP:
                raise PacketError("unexpected packet type")
        return pressure

    async def _write(self, transport: Transport) -> None:
        try:
            while True:
                await transport.send(await self._outbox.take(transport.batch_bytes))
        except TransportError as error:
            self._end(error.reason)

    async def _watch_farewell(self) -> None:
        await self._owner.closing.wait()
        await self._outbox.until_idle()
        self._end(DisconnectReason.CLIENT_DISCONNECT)
