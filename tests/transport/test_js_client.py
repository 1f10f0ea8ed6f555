"""The official JavaScript client works unchanged: by default, over WebSocket alone, by polling alone."""

import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
import trio

from flux.transport.door import Door
from flux.transport.socket_io import AckTimeoutError, ConnectionRefusedError, Server  # noqa: A004 - ours

HERE = Path(__file__).parent
MODULES = HERE.parents[1] / "flux" / "web" / "node_modules"
KINDS = ("default", "websocket", "polling")
PACKAGES = ("socket.io-client", "socket.io-client-4.0")
"""The current client, and the first of protocol revision 5 that is still around: npm's alias of 4.0.2."""

PARSER = "socket.io-msgpack-parser"


def needs_client(package: str = PACKAGES[0]) -> None:
    """Skip, or in CI fail, where Node.js or the client is missing."""
    missing = None
    if shutil.which("node") is None:
        missing = "node is not installed"
    elif not (MODULES / package).is_dir():
        missing = f"flux/web/node_modules/{package} is missing: run npm ci in flux/web"
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


def make_server(parser: Literal["json", "msgpack"] = "json") -> Server:  # noqa: C901 - a list of handlers
    """Return a server with what the driver's scenarios ask for."""
    server = Server(namespaces=("/",), parser=parser)

    @server.on("echo")
    def echo(sid: str, *args: Any) -> Any:
        return args[0] if len(args) == 1 else list(args)

    @server.on("slow echo")
    async def slow_echo(sid: str, value: Any) -> Any:
        await trio.sleep(0.05)
        return value

    @server.on("ask me")
    async def ask_me(sid: str, value: int) -> Any:
        return list(await server.call("question", value, to=sid, timeout=5))

    @server.on("send me a blob")
    def blob(sid: str) -> None:
        server.emit("blob", ({"data": b"\x00\x1e\xff"}, "text"), to=sid)

    @server.on("number")
    async def number(sid: str, value: int) -> None:
        server.emit("number", value, to=sid)
        await trio.lowlevel.checkpoint()

    @server.on("count to")
    async def count_to(sid: str, value: int) -> int:
        for n in range(300, 300 + value):
            with server.batch():
                server.emit("number", n, to=sid)
        return value

    @server.on("enter")
    def enter(sid: str, room: str) -> bool:
        server.enter_room(sid, room)
        return True

    @server.on("leave")
    def leave(sid: str, room: str) -> bool:
        server.leave_room(sid, room)
        return True

    @server.on("say")
    def say(sid: str, room: str | None, value: int) -> bool:
        server.emit("news", value, room=room)
        return True

    @server.on("say to others")
    def say_to_others(sid: str, room: str, value: int) -> bool:
        server.emit("news", value, room=room, skip_sid=sid)
        return True

    @server.on("throw me out")
    def throw_out(sid: str) -> None:
        server.disconnect(sid)

    @server.on("watch")
    def watch(sid: str) -> bool:
        server.enter_room(sid, "watchers")
        return True

    @server.on("disconnect")
    def gone(sid: str, reason: str) -> None:
        server.emit("gone", (sid, reason), room="watchers")

    @server.on("connect", namespace="/private")
    async def private(sid: str, environ: dict[str, Any], auth: dict[str, Any] | None) -> None:
        await trio.sleep(0.01)
        if (auth or {}).get("token") != "right":
            raise ConnectionRefusedError("not you", {"code": 7})

    @server.on("where", namespace="/private")
    def where(sid: str) -> str:
        return "private"

    add_families(server)
    add_audiences(server)
    return server


def add_families(server: Server) -> None:
    """Add namespaces by pattern, with middlewares."""
    rooms = server.of(re.compile(r"/room-\d+"))
    rooms.on("where", lambda namespace, _sid: namespace)

    @rooms.use
    async def no_thirteen(namespace: str, sid: str, environ: dict[str, Any], auth: Any) -> None:
        await trio.lowlevel.checkpoint()
        if namespace == "/room-13":
            raise ConnectionRefusedError("unlucky", {"floor": 13, "auth": auth})

    @rooms.use_event
    def no_secrets(event: str, namespace: str, sid: str, args: list[Any]) -> None:
        if event == "secret":
            raise ConnectionRefusedError("secret")


def add_audiences(server: Server) -> None:
    """Add what asks, or throws out, several clients."""

    @server.on("ask all")
    async def ask_all(sid: str, room: str) -> Any:
        try:
            answers = await server.call_all("question", 1, to=room, timeout=0.3)
        except AckTimeoutError as error:
            return {"answers": sorted(error.answers.values()), "missing": len(error.missing)}
        return {"answers": sorted(answers.values()), "missing": 0}

    @server.on("throw out", namespace="/private")
    def throw_out(sid: str) -> None:
        server.disconnect(sid, "/private", close=True)


@pytest.fixture(params=[*((package,) for package in PACKAGES), (PACKAGES[0], PARSER)], ids=" ".join)
async def results(nursery: trio.Nursery, request: pytest.FixtureRequest) -> AsyncIterator[dict[str, Any]]:
    """Run the driver against a server and give what it saw, by transport and scenario."""
    for package in request.param:
        needs_client(package)
    server = make_server("msgpack" if PARSER in request.param else "json")
    door = Door(mounts={server.path: server.engine})
    await door.listen("127.0.0.1", 0)
    await nursery.start(door.serve)
    host, port = door.addresses[0]
    command = ["node", str(HERE / "js_client.mjs"), str(MODULES), f"http://{host}:{port}", *request.param]
    with trio.fail_after(60):
        done = await trio.run_process(command, capture_stdout=True)
    yield json.loads(done.stdout)
    await door.close()


EXPECTED: dict[str, Any] = {
    "acks_both_ways": {"echoed": [1, "é\U0001f600", {"a": [None, True]}], "called": [42, "yes"], "slow": "x"},
    "binary_both_ways": {"deep": "00011eff", "long": True, "blob": "001eff", "text": "text"},
    "rooms": {"a": [1, *range(2, 50), 51], "b": [1, 51], "c": [51]},
    "server_disconnects": {"reason": "io server disconnect"},
    "client_disconnects": {"same": True, "reason": "client disconnect"},
    "connect_errors": {"message": "not you", "data": {"code": 7}, "missing": "Invalid namespace"},
    "namespaces_share_a_connection": {"whoami": "private", "lost": "timeout", "alive": 1},
    "families_of_namespaces": {
        "where": "/room-7",
        "stopped": "timeout",
        "message": "unlucky",
        "data": {"floor": 13, "auth": {"a": 1}},
        "missing": "Invalid namespace",
    },
    "acks_of_many": {
        "all": {"answers": ["a", "b"], "missing": 0},
        "some": {"answers": ["a", "b"], "missing": 1},
    },
    "the_server_closes_the_connection": {"main": "io server disconnect", "priv": "io server disconnect"},
    "many_events_in_order": {"counted": 500, "ordered": True, "length": 800},
}


async def test_the_javascript_client_sees_what_it_expects(results: dict[str, Any]) -> None:
    """Every scenario has the same outcome over each choice of transports."""
    for kind in KINDS:
        seen = results[kind]
        transport = "polling" if kind == "polling" else "websocket"
        assert seen.pop("connects_and_names_its_transport") == {"transport": transport, "sid": True}
        assert seen == EXPECTED
