"""A chat with rooms: run it, and open http://127.0.0.1:8000/#kitchen in two windows."""

import trio

from flux.transport.door import Door
from flux.transport.http import Response
from flux.transport.socket_io import Server

HTML = ((b"content-type", b"text/html; charset=utf-8"),)
PAGE = b"""<!doctype html><title>Chat</title><form><input autofocus></form><pre></pre><script>
const ws = new WebSocket(`ws://${location.host}/socket.io/?EIO=4&transport=websocket`)
const emit = (...args) => ws.send("42" + JSON.stringify(args)), input = document.querySelector("input")
const join = () => emit("join", location.hash || "#hall", prompt("Your name?"))
const show = json => document.querySelector("pre").append(JSON.parse(json).slice(1).join(": ") + "\\n")
const on = {0: () => ws.send("40"), 2: () => ws.send("3"), 40: join, 42: show}
ws.onmessage = ({data}) => on[data.match(/^(4[0-4]|.)/)[0]]?.(data.slice(2))
document.forms[0].onsubmit = () => { emit("say", input.value); input.value = ""; return false }</script>"""
server = Server()


@server.event
def join(sid: str, room: str, name: str) -> None:  # noqa: D103 - the example is to be short
    server.save_session(sid, {"room": room, "name": name})
    server.enter_room(sid, room)


@server.event
def say(sid: str, text: str) -> None:  # noqa: D103
    server.emit("said", (server.get_session(sid)["name"], text), to=server.get_session(sid)["room"])


async def main(port: int = 8000) -> None:  # noqa: D103
    door = Door(mounts={server.path: server.engine}, app=lambda _: Response(200, PAGE, HTML))
    await door.listen("127.0.0.1", port)
    await door.serve()


if __name__ == "__main__":
    trio.run(main)
