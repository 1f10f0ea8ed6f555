"""What the Socket.IO server shares with its users: errors, reasons and the types of handlers."""

from collections.abc import Callable
from typing import Any, Final

from flux.errors import LocalError, RemoteError

Handler = Callable[..., Any]
"""``def`` (runs inline, must not block) or ``async def`` (runs as a task of the client)."""


class ConnectionRefusedError(RemoteError):  # noqa: A001 - python-socketio's name
    """Raised by a connect handler to refuse a client, which gets CONNECT_ERROR.

    Args:
        message: for people.
        data: anything JSON; the client finds it as ``error.data``.
    """

    def __init__(self, message: str = "Connection rejected by server", data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class UnknownClientError(LocalError):
    """No client with that sid is connected to the namespace."""


class AckTimeoutError(RemoteError):
    """A client did not acknowledge a `Server.call` or `Server.call_all` in time, or left before it did.

    Args:
        message: for people.
        answers: what came in time, by sid.
        missing: the sids of those who did not answer.
    """

    def __init__(
        self, message: str, answers: dict[str, Any] | None = None, missing: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.answers = answers or {}
        self.missing = missing


class DisconnectReason:
    """Why a client went: the disconnect handler's second argument (python-socketio's, and three more)."""

    CLIENT_DISCONNECT: Final = "client disconnect"
    SERVER_DISCONNECT: Final = "server disconnect"
    TRANSPORT_CLOSE: Final = "transport close"
    TRANSPORT_ERROR: Final = "transport error"
    PING_TIMEOUT: Final = "ping timeout"
    PARSE_ERROR: Final = "parse error"
    SERVER_SHUTTING_DOWN: Final = "server shutting down"
    SLOW_CLIENT: Final = "slow client"
