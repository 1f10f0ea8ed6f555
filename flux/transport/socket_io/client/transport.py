"""What a client needs of a transport, and the server's first words on it."""

import re
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import msgspec
from attrs import field, frozen
from engineio.packet import OPEN

from flux.errors import BrokenError, LocalError
from flux.transport.engine_io.codec import Outgoing, Packet, PacketError

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_SCHEMES = {"http": False, "ws": False, "https": True, "wss": True}


class TransportError(BrokenError):
    """The transport has ended.

    Args:
        reason: one of `DisconnectReason`.
        detail: for people.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


class Hello(msgspec.Struct, frozen=True, rename="camel"):
    """The open packet (Engine.IO protocol, "Handshake"): intervals in milliseconds, sizes in bytes."""

    sid: str
    ping_interval: float
    ping_timeout: float
    max_payload: int = 1_000_000
    upgrades: list[str] = []

    @property
    def patience(self) -> float:
        """Seconds of silence after which the server is taken for dead."""
        return (self.ping_interval + self.ping_timeout) / 1000


def decode_hello(packet: Packet) -> Hello:
    """Decode the open packet.

    Raises:
        PacketError: it is none, or its values make no sense.
    """
    if packet.kind != OPEN:
        raise PacketError("no open packet")
    try:
        hello = msgspec.json.decode(packet.data, type=Hello)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise PacketError("bad open packet") from None
    if not (hello.ping_interval > 0 and hello.ping_timeout > 0 and hello.max_payload > 0):
        raise PacketError("bad open packet")
    return hello


@frozen
class Target:
    """Where the server is.

    Args:
        host: a name or an address.
        port: TCP.
        secure: whether TLS is spoken.
        path: of the mount, with a trailing slash.
        query: of the user's URL, as given; may be empty.
        headers: sent with every request.
    """

    host: str
    port: int
    secure: bool
    path: str = "/socket.io/"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # they may hold secrets

    @classmethod
    def parse(cls, url: str, path: str, headers: dict[str, str]) -> "Target":
        """Take a URL apart.

        Raises:
            LocalError: it is not http, https, ws or wss, has no host, or has a path; a bad header.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise LocalError(f"bad URL: {error}") from None
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise LocalError(f"an http, https, ws or wss URL is needed, not {url!r}")
        if parts.path not in ("", "/"):
            raise LocalError("the URL has no path: namespaces and path are arguments of their own")
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise LocalError(f"header {name!r} cannot be sent")
        secure = _SCHEMES[parts.scheme]
        path = f"/{path.strip('/')}/"
        port = port or (443 if secure else 80)
        return cls(parts.hostname, port, secure, path, parts.query, tuple(headers.items()))

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def resource(self, transport: str, sid: str | None = None) -> str:
        """Return path and query of a request."""
        fields = {"EIO": "4", "transport": transport}
        if sid is not None:
            fields["sid"] = sid
        user = f"&{self.query}" if self.query else ""
        return f"{self.path}?{urlencode(fields)}{user}"


class Transport(Protocol):
    """An open transport.

    Attributes:
        name: as in `transports`.
        hello: the server's open packet.
        batch_bytes: how much is worth sending in one go; 0 is one packet at a time.
    """

    name: str
    hello: Hello
    batch_bytes: int

    async def receive(self) -> Sequence[Packet]:
        """Wait for packets, at least one.

        Raises:
            TransportError: it has ended.
            PacketError: the server sent no packet.
        """

    async def send(self, packets: Sequence[Outgoing]) -> None:
        """Send packets, in order. Cancellation leaves the transport unusable.

        Raises:
            TransportError: it has ended.
        """

    async def close(self) -> None:
        """Close in order; the caller sets the deadline."""


def refusal(status: int, body: bytes) -> str:
    """Return the message of a refused handshake: Engine.IO's ``{"code", "message"}`` if it is one."""
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        answer = {}
    return f"the server refused the handshake: {answer.get('message') or 'no reason given'} (HTTP {status})"
