"""What the tests of the Socket.IO client share."""

from typing import Any

from transport_peers import Address

from flux.transport.socket_io import Server


def url(address: Address, query: str = "") -> str:
    """Return where to connect."""
    return f"http://{address[0]}:{address[1]}{query}"


def echoing(**options: Any) -> tuple[Server, list[str]]:
    """Return a server that acks and emits what it gets, and the list of its clients' disconnect reasons."""
    server = Server(**options)
    reasons: list[str] = []
    server.on("echo", lambda _sid, *args: args)
    server.on("reflect", lambda sid, *args: server.emit("reflected", args, to=sid))
    server.on("disconnect", lambda _sid, reason: reasons.append(reason))
    return server, reasons
