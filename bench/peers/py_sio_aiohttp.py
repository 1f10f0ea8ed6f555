"""python-socketio on aiohttp with uvloop. Takes a port."""

import sys

import socketio
import uvloop
from aiohttp import web
from py_common import register

if __name__ == "__main__":
    sio = socketio.AsyncServer(async_mode="aiohttp")
    register(sio)
    app = web.Application()
    sio.attach(app)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        backlog=4096,
        loop=uvloop.new_event_loop(),
    )
