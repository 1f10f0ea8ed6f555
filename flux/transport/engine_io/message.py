"""A message as a packet, for who uses Engine.IO without Socket.IO."""

from engineio.packet import MESSAGE

from flux.transport.engine_io.codec import Outgoing


def message(data: str | bytes) -> Outgoing:
    """Return the packet of a message, to be sent to one client or many (`Client.send`).

    Args:
        data: text, or bytes for a binary message.

    Raises:
        UnicodeEncodeError: the text has a lone surrogate.
    """
    return Outgoing(b"%d" % MESSAGE + data.encode()) if isinstance(data, str) else Outgoing(b"", (data,))
