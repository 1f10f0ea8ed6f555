"""One client's state machine: which packets it may send in which namespace; pure.

::

    (none) --CONNECT--> pending --accepted--> joined --DISCONNECT, either side--> left --CONNECT--> pending
                           +------refused----> (none)

An EVENT or ACK before CONNECT, and a second CONNECT, break the protocol; behind a DISCONNECT they are
ignored, for they may have crossed it on the way.
"""

import math
from collections.abc import Callable

from flux.transport.engine_io.codec import PacketError
from flux.transport.socket_io.codec import ACK, CONNECT, DISCONNECT, EVENT, Decoder, Packet
from flux.transport.socket_io.parser import PacketDecoder
from flux.transport.socket_io.socket import Socket
from flux.transport.socket_io.throttle import Throttle

MAX_NAMESPACES = 64


class Connection:
    """A client's namespaces.

    Args:
        max_bytes: of a packet's attachments.
        environ: the packed handshake request.
        decoder: the parser's.
        max_namespaces: that the client may be in at a time.
        throttle: counts its packets.

    Attributes:
        sockets: by namespace; None where the client has left.
    """

    __slots__ = ("_decoder", "_max_namespaces", "environ", "sockets", "throttle")

    def __init__(
        self,
        max_bytes: int,
        environ: bytes,
        decoder: Callable[[int], PacketDecoder] = Decoder,
        max_namespaces: int = MAX_NAMESPACES,
        throttle: Throttle | None = None,
    ) -> None:
        self._decoder = decoder(max_bytes)
        self._max_namespaces = max_namespaces
        self.throttle = throttle or Throttle(math.inf, 1, 0.0)
        self.environ = environ
        self.sockets: dict[str, Socket | None] = {}

    def receive(self, message: str | bytes) -> Packet | None:
        """Take a message.

        Returns:
            A packet that the client may send now; None if there is none yet, or it is to be ignored.

        Raises:
            PacketError: the connection must close.
        """
        packet = self._decoder.feed(message)
        if packet is None:
            return None
        socket = self.sockets.get(packet.namespace)
        kind = packet.kind
        if kind in (EVENT, ACK):
            if socket is None:
                if packet.namespace in self.sockets:
                    return None
                raise PacketError("packet before CONNECT")
            if not socket.joined:
                raise PacketError("packet before CONNECT was answered")
        elif kind == CONNECT:
            if socket is not None:
                raise PacketError("second CONNECT")
            if len(self.sockets) >= self._max_namespaces and not self._forget_one():
                raise PacketError("too many namespaces")
        elif kind == DISCONNECT and socket is None:
            return None
        return packet

    def _forget_one(self) -> bool:
        """Make room by one of the namespaces that the client has left."""
        for name, socket in self.sockets.items():
            if socket is None:
                del self.sockets[name]
                return True
        return False

    def enter(self, socket: Socket) -> None:
        """Note a pending socket."""
        self.sockets[socket.namespace] = socket

    def refuse(self, socket: Socket) -> None:
        """Note that a pending socket was refused; the client may try again."""
        if self.sockets.get(socket.namespace) is socket:
            del self.sockets[socket.namespace]

    def leave(self, socket: Socket) -> None:
        """Note that a socket has left."""
        if self.sockets.get(socket.namespace) is socket:
            self.sockets[socket.namespace] = None
