"""What can go wrong for a client, besides `AckTimeoutError`: refused, cut off, too much waiting, too slow."""

from typing import Any

from flux.errors import BrokenError, LocalError


class ConnectError(BrokenError):
    """The server cannot be reached, or it refused the client.

    Args:
        message: for people; the server's own where it refused.
        data: what the server's refusal carried (`ConnectionRefusedError.data` there), else None.
        namespace: that was refused; None where no connection came about.
    """

    def __init__(self, message: str, data: Any = None, namespace: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data
        self.namespace = namespace


class DisconnectedError(BrokenError):
    """The connection was lost before the server answered, or the client has ended."""


class BufferFullError(LocalError):
    """More was emitted than may wait; nothing of this emit was sent. See `Client.drained`."""


class LaggedError(LocalError):
    """An iterator did not keep up with the events; those after its buffer was full are lost to it."""
