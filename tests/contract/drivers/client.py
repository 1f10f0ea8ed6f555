"""python-socketio's AsyncClient behind the driver protocol: JSON lines in, JSON lines out (see driver.py)."""

import asyncio
import json
import sys
import time
from typing import Any

import socketio

clients: dict[str, socketio.AsyncClient] = {}
tasks: set[asyncio.Task[None]] = set()


def say(**line: Any) -> None:
    """Write one line to the test."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def started(work: Any) -> None:
    """Run a coroutine beside the reader, and keep it from the garbage collector."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def open_client(request: dict[str, Any]) -> None:  # noqa: C901 - the complexity is that of its handlers, two lines each
    """Start connecting a client; what comes of it is told by its log lines."""
    name, options = request["client"], dict(request["options"])
    sio = socketio.AsyncClient(
        reconnection=options.pop("reconnection", True),
        # The official client's delays are in milliseconds.
        reconnection_delay=options.pop("reconnectionDelay", 1000) / 1000,
        randomization_factor=options.pop("randomizationFactor", 0.5),
    )
    clients[name] = sio

    def tell(kind: str, **facts: Any) -> None:
        if clients.get(name) is sio:
            say(client=name, kind=kind, at=time.monotonic_ns(), **facts)

    @sio.on("*")
    def any_event(event: str, *args: Any) -> None:
        tell("event", name=event, args=args)

    @sio.on("connect")
    def connected() -> None:
        tell("connect", sid=sio.get_sid(), name=sio.transport())
        if sio.transport() != "websocket":
            started(watch_upgrade())

    @sio.on("connect_error")
    def refused(data: Any = None) -> None:
        tell("connect_error", name=data["message"] if isinstance(data, dict) else str(data))

    @sio.on("disconnect")
    def disconnected(reason: str) -> None:
        tell("disconnect", name=reason)

    async def watch_upgrade() -> None:
        while sio.connected and clients.get(name) is sio:
            if sio.transport() == "websocket":
                tell("upgrade", name="websocket")
                return
            await asyncio.sleep(0.01)

    if request["raw"]:
        # Before the Socket.IO decoder: `data` is the text as it was on the wire.
        decode = sio.eio.handlers["message"]

        async def watched(data: Any) -> None:
            if isinstance(data, str):
                tell("raw", data=data)
            await decode(data)

        sio.eio.handlers["message"] = watched

    async def connect() -> None:
        try:
            await sio.connect(
                request["url"],
                transports=options.get("transports"),
                auth=options.get("auth"),
                retry=options.get("retry", False),
            )
        except socketio.exceptions.ConnectionError as error:
            tell("connect_error", name=str(error))
        else:
            if clients.get(name) is not sio:  # the test was over before the connection stood
                await sio.disconnect()

    started(connect())


async def emit(request: dict[str, Any]) -> Any:
    """Emit one event, with an acknowledgement if asked for; gives its arguments."""
    sio = clients[request["client"]]
    args = tuple(request["args"])
    if not request["ack"]:
        return await sio.emit(request["event"], args)
    answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    await sio.emit(request["event"], args, callback=lambda *got: answer.set_result(list(got)))
    return await asyncio.wait_for(answer, request["timeout"])


async def operate(request: dict[str, Any]) -> Any:
    """Do what one line asks."""
    match request["op"]:
        case "open":
            return await open_client(request)
        case "emit":
            return await emit(request)
        case "close":
            # A disconnect while a POST is under way would never be sent: the library's writer stops at once.
            await clients[request["client"]].eio.queue.join()
            return started(clients[request["client"]].shutdown())
        case "drop":
            # The engine alone goes: the client takes it for an accident and reconnects.
            return await clients[request["client"]].eio.http.close()
        case "reset":
            gone = list(clients.values())
            clients.clear()
            ends = [asyncio.get_running_loop().create_task(sio.shutdown()) for sio in gone]
            tasks.update(ends)
            if ends:  # a client that polls waits for its last poll; the test need not
                await asyncio.wait(ends, timeout=1)
            return None
        case unknown:
            raise ValueError(f"unknown operation {unknown}")


async def serve(line: bytes) -> None:
    """Answer one line."""
    request = json.loads(line)
    try:
        say(reply=request["id"], result=await operate(request))
    except Exception as error:  # noqa: BLE001 - every failure is the test's to judge
        say(reply=request["id"], error=f"{type(error).__name__}: {error}")


async def main() -> None:
    """Serve lines until the test closes the pipe."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        started(serve(line))


asyncio.run(main())
