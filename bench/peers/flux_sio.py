"""Flux's own server as it is served: door, metrics and every bound at its default. Takes a port."""

import sys
import time
from typing import Any

import trio
from prometheus_client import generate_latest

from flux.metrics import REGISTRY
from flux.transport.door import Door
from flux.transport.http import Request, Response
from flux.transport.socket_io import Server

server = Server()


async def run(count: int, size: int, rate: float, batch: int) -> None:
    """Emit `count` events to the room, `batch` at a time."""
    pad = "x" * size
    start = trio.current_time()
    for first in range(0, count, batch):
        if rate:
            await trio.sleep_until(start + first / batch / rate)
        else:
            await trio.lowlevel.checkpoint()
        if batch == 1:
            server.emit("tick", {"ts": time.time_ns() // 1000, "i": first, "pad": pad}, room="room")
            continue
        with server.batch():
            for i in range(first, min(first + batch, count)):
                server.emit("tick", {"ts": time.time_ns() // 1000, "i": i, "pad": pad}, room="room")


@server.on("join")
def join(sid: str) -> None:
    """Put the client into the room."""
    server.enter_room(sid, "room")


@server.on("echo")
def echo(sid: str, number: Any) -> None:
    """Answer from a plain handler, which runs in the connection's reader."""
    server.emit("echo", number, to=sid)


@server.on("aecho")
async def aecho(sid: str, number: Any) -> None:
    """Answer from an async handler, which is a task."""
    server.emit("aecho", number, to=sid)


@server.on("go")
async def go(_sid: str, count: int, size: int, rate: float, batch: int = 1) -> None:
    """Begin to emit; ends with the client that asked for it."""
    await run(count, size, rate, batch)


def metrics(_request: Request) -> Response:
    """Answer with the metrics of the process."""
    return Response(200, generate_latest(REGISTRY))


async def main(port: int) -> None:
    """Serve until killed."""
    door = Door(mounts={server.path: server.engine}, app=metrics)
    await door.listen("127.0.0.1", port)
    await door.serve()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
