"""The official JavaScript client is lost and recovered, over each transport and with both parsers."""

import json
from typing import Any, Literal

import pytest
import trio
from test_js_client import HERE, KINDS, MODULES, PACKAGES, PARSER, needs_client

from flux.transport.door import Door
from flux.transport.socket_io import Recovery, Server

Parser = Literal["json", "msgpack"]


def make_server(  # noqa: C901 - a list of handlers
    path: str, parser: Parser, recovery: Recovery, nursery: trio.Nursery
) -> Server:
    """Return a server with what the driver's scenarios ask for; it counts in the nursery."""
    server = Server(path=path, parser=parser, recovery=recovery)

    @server.on("enter")
    def enter(sid: str, room: str) -> bool:
        server.enter_room(sid, sid + room)
        server.enter_room(sid, room)
        return True

    @server.on("rooms")
    def rooms(sid: str) -> list[str]:
        return server.rooms(sid)

    @server.on("say")
    def say(sid: str, number: int) -> bool:
        server.emit("n", number, room=sid + "red")
        return True

    @server.on("say volatile")
    def say_volatile(sid: str, text: str) -> bool:
        server.emit("volatile", text, to=sid, volatile=True)
        return True

    @server.on("miss")
    def miss(sid: str, numbers: list[int]) -> bool:
        server.get_session(sid)["miss"] = numbers
        return True

    @server.on("throw me out")
    def throw_out(sid: str) -> None:
        server.disconnect(sid)

    @server.on("disconnect")
    def gone(sid: str) -> None:
        for number in server.get_session(sid).pop("miss", ()):
            server.emit("n", number, room=sid + "red")

    @server.on("count")
    def count(sid: str, numbers: int) -> None:
        nursery.start_soon(count_to, sid + "red", numbers)

    async def count_to(room: str, numbers: int) -> None:
        for number in range(numbers):
            server.emit("n", number, room=room)
            await trio.sleep(0.003)
        server.emit("end", room=room)

    return server


BACK = {"recovered": True, "same": True, "red": True}
NEW = {"recovered": False, "same": False, "red": False}
EXPECTED: dict[str, Any] = {
    "comes_back": {**BACK, "seen": [1, 2, 3, 4, 5]},
    "comes_back_without_having_got_anything": {**BACK, "seen": [1, 2]},
    "comes_back_behind_volatile_texts": {**BACK, "seen": [1, 2]},
    "comes_back_again_and_again": {"ordered": True, "length": 300, "lost": True, "all": True},
    "comes_too_late": {**NEW, "seen": []},
    "misses_too_much": {**NEW, "seen": []},
    "is_somebody_else": {**NEW, "seen": []},
    "is_thrown_out": {"recovered": False, "red": False},
}


@pytest.mark.parametrize("parser", ["json", "msgpack"])
async def test_the_javascript_client_is_recovered(nursery: trio.Nursery, parser: Parser) -> None:
    """What it missed comes once and in order; too late, too much and unknown are new sessions."""
    needs_client(PACKAGES[0])
    needs_client(PARSER)
    servers = [
        make_server("/long", parser, Recovery(), nursery),
        make_server("/short", parser, Recovery(max_duration=0.2), nursery),
        make_server("/small", parser, Recovery(max_packets=3), nursery),
    ]
    door = Door(mounts={server.path: server.engine for server in servers})
    await door.listen("127.0.0.1", 0)
    await nursery.start(door.serve)
    host, port = door.addresses[0]
    command = ["node", str(HERE / "js_recovery.mjs"), str(MODULES), f"http://{host}:{port}"]
    with trio.fail_after(60):
        done = await trio.run_process(
            [*command, PARSER] if parser == "msgpack" else command, capture_stdout=True
        )
    await door.close()
    assert json.loads(done.stdout) == dict.fromkeys(KINDS, EXPECTED)
