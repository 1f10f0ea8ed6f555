"""What both python-socketio servers do; its handlers are registered on whichever server is given."""

import asyncio
import time
from typing import Any

import socketio


def register(sio: socketio.AsyncServer) -> None:
    """Register the benchmark's handlers."""

    async def run(count: int, size: int, rate: float, batch: int) -> None:
        pad = "x" * size
        start = time.monotonic()
        for first in range(0, count, batch):
            if rate:
                await asyncio.sleep(max(0.0, start + first / batch / rate - time.monotonic()))
            for i in range(first, min(first + batch, count)):
                await sio.emit("tick", {"ts": time.time_ns() // 1000, "i": i, "pad": pad}, room="room")
            if not rate:
                await asyncio.sleep(0)

    @sio.event
    async def join(sid: str) -> None:
        await sio.enter_room(sid, "room")

    @sio.event
    async def echo(sid: str, number: Any) -> None:
        await sio.emit("echo", number, to=sid)

    @sio.event
    async def go(_sid: str, count: int, size: int, rate: float, batch: int = 1) -> None:
        sio.start_background_task(run, count, size, rate, batch)
