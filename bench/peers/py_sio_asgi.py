"""python-socketio on uvicorn with uvloop and httptools. Takes a port."""

import sys

import socketio
import uvicorn
from py_common import register

if __name__ == "__main__":
    sio = socketio.AsyncServer(async_mode="asgi")
    register(sio)
    uvicorn.run(
        socketio.ASGIApp(sio),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="websockets",
        log_level="warning",
        backlog=4096,
    )
