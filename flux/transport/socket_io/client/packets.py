"""Messages of a server in, whole Socket.IO packets out; pure."""

from flux.transport.engine_io.codec import PacketError
from flux.transport.socket_io.codec import CONNECT, CONNECT_ERROR, Decoder, Packet


class ServerPackets:
    """The decoder of what a server sends.

    A server may send what a client must not, CONNECT_ERROR, and the reverse; the rest of the grammar and
    its bounds are the server's own `Decoder`.

    Args:
        max_bytes: of all attachments of one packet together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._decoder = Decoder(max_bytes)

    def feed(self, message: str | bytes) -> Packet | None:
        """Take a message.

        Returns:
            The packet that it completes, or None while attachments are missing. CONNECT and CONNECT_ERROR
            have a dict as data.

        Raises:
            PacketError: no packet, or over a bound.
        """
        refusal = isinstance(message, str) and message[:1] == str(CONNECT_ERROR)
        if refusal:  # the same grammar as CONNECT
            message = f"{CONNECT}{message[1:]}"  # type: ignore[str-bytes-safe] # it is text
        packet = self._decoder.feed(message)
        if packet is None or packet.kind != CONNECT:
            return packet
        if packet.data is None:
            packet.data = {}
        if refusal:
            packet.kind = CONNECT_ERROR
        elif not isinstance(packet.data.get("sid"), str):
            raise PacketError("CONNECT without a sid")
        return packet
