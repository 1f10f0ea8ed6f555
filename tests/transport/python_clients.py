"""Drives python-socketio's own clients against a server: python_clients.py <url>; JSON to stdout."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import engineio.payload
import socketio
import socketio.exceptions

# By default python-engineio's client breaks off a poll of more than 16 packets, whoever the server is.
engineio.payload.Payload.max_decode_packets = 1000

TRANSPORTS: dict[str, list[str] | None] = {
    "default": None,
    "websocket": ["websocket"],
    "polling": ["polling"],
}
WAIT = 5
"""Seconds for any one answer."""


async def upgraded(client: socketio.AsyncClient, transport: str) -> str:
    """Wait for the upgrade where there is one, and return the transport's name."""
    for _ in range(500):
        if client.transport() == transport:
            break
        await asyncio.sleep(0.01)
    return str(client.transport())


async def events(client: socketio.AsyncClient) -> dict[str, Any]:
    """Acks both ways, with text, JSON and binary; order."""
    seen: list[int] = []
    client.on("question", lambda value: (value + 1, "yes"))
    client.on("number", seen.append)
    blob = asyncio.get_running_loop().create_future()
    client.on("blob", lambda *args: blob.set_result(args))
    deep = await client.call("echo", ({"deep": [b"\x00\x1e\xff"]}, b"\x07" * 70_000), timeout=WAIT)
    await client.emit("send me a blob")
    data, text = await asyncio.wait_for(blob, WAIT)
    counted = await client.call("count to", 200, timeout=WAIT)
    await client.call("echo", 1, timeout=WAIT)
    return {
        "echoed": await client.call("echo", (1, "é\U0001f600", {"a": [None, True]}), timeout=WAIT),
        "called": await client.call("ask me", 41, timeout=WAIT),
        "slow": await client.call("slow echo", "x", timeout=WAIT),
        "deep": deep[0]["deep"][0].hex(),
        "long": deep[1] == b"\x07" * 70_000,
        "blob": data["data"].hex() + text,
        "counted": counted,
        "ordered": seen == list(range(300, 500)),
    }


async def ends(client: socketio.AsyncClient) -> dict[str, Any]:
    """The server throws it out."""
    gone = asyncio.get_running_loop().create_future()
    client.on("disconnect", gone.set_result)
    await client.emit("throw me out")
    return {"reason": await asyncio.wait_for(gone, WAIT)}


async def namespaces(url: str, transports: list[str] | None) -> dict[str, Any]:
    """One refuses with data, one lets in, one is unknown."""
    answers: dict[str, Any] = {}
    client = socketio.AsyncClient(reconnection=False)
    client.on("connect_error", lambda data: answers.update(refused=data), namespace="/private")
    client.on("connect_error", lambda data: answers.update(unknown=data), namespace="/nowhere")
    try:
        await client.connect(
            url,
            auth={"token": "wrong"},
            namespaces=["/", "/private", "/nowhere"],
            transports=transports,
            wait_timeout=WAIT,
        )
    except socketio.exceptions.ConnectionError:
        answers["raised"] = True
    await client.disconnect()
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(url, auth={"token": "right"}, namespaces=["/", "/private"], transports=transports)
    answers["where"] = await client.call("where", namespace="/private", timeout=WAIT)
    await client.disconnect()
    return answers


async def drive(url: str, kind: str) -> dict[str, Any]:
    """Run AsyncClient through everything."""
    transports = TRANSPORTS[kind]
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(url, transports=transports)
    seen = {"transport": await upgraded(client, "polling" if kind == "polling" else "websocket")}
    steps: list[Callable[[socketio.AsyncClient], Awaitable[dict[str, Any]]]] = [events, ends]
    for step in steps:
        seen |= await step(client)
    await client.disconnect()
    return seen | await namespaces(url, transports)


def drive_simple(url: str, kind: str) -> dict[str, Any]:
    """Run the blocking SimpleClient."""
    with socketio.SimpleClient(reconnection=False) as client:
        client.connect(url, transports=TRANSPORTS[kind])
        called = client.call("echo", (1, b"\x00\xff"), timeout=WAIT)
        client.emit("send me a blob")
        name, blob, _ = client.receive(timeout=WAIT)
        return {"echoed": [called[0], called[1].hex()], "received": name + blob["data"].hex()}


def main() -> None:
    """Print what each client saw over each choice of transports."""
    url = sys.argv[1]
    seen = {
        "AsyncClient": {kind: asyncio.run(drive(url, kind)) for kind in TRANSPORTS},
        "SimpleClient": {kind: drive_simple(url, kind) for kind in TRANSPORTS},
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
