"""An Engine.IO server without Socket.IO: it echoes. Run it, and connect engine.io-client to port 8001."""

from typing import Any

import trio

from flux.transport.door import Door
from flux.transport.engine_io import Client, EngineServer, message
from flux.transport.http import Request


class Echo:
    """An application of `EngineServer`."""

    def opened(self, client: Client, request: Request) -> None:
        """Meet a new client."""
        client.send(message(f"hello {request.peer[0]}"))

    def message(self, client: Client, data: str | bytes) -> None:
        """Send back what came."""
        client.send(message(data))

    def closed(self, client: Client, reason: str) -> None:
        """Learn that a client is gone."""
        print(client.sid, "left:", reason)

    async def drained(self) -> None:
        """There is no work that outlives a message."""


async def main(port: int = 8001, **options: Any) -> None:
    """Serve until interrupted."""
    door = Door(mounts={"/engine.io": EngineServer(Echo(), **options)})
    await door.listen("127.0.0.1", port)
    await door.serve()


if __name__ == "__main__":
    trio.run(main)
