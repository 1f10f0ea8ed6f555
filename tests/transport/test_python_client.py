"""python-socketio's own clients, asyncio and blocking, work unchanged over each choice of transports."""

import json
import sys
from pathlib import Path
from typing import Any

import trio
from test_js_client import make_server
from transport_peers import served

DRIVER = Path(__file__).with_name("python_clients.py")
KINDS = ("default", "websocket", "polling")

ASYNC: dict[str, Any] = {
    "echoed": [1, "é\U0001f600", {"a": [None, True]}],
    "called": [42, "yes"],
    "slow": "x",
    "deep": "001eff",
    "long": True,
    "blob": "001efftext",
    "counted": 200,
    "ordered": True,
    "reason": "server disconnect",
    "raised": True,
    "refused": {"message": "not you", "data": {"code": 7}},
    "unknown": {"message": "Invalid namespace"},
    "where": "private",
}


async def test_python_socketios_clients_see_what_they_expect() -> None:
    """The blocking client needs requests and websocket-client, the other one aiohttp."""
    async with served(make_server(), leave=False) as (host, port):
        with trio.fail_after(60):
            done = await trio.run_process(
                [sys.executable, "-X", "dev", str(DRIVER), f"http://{host}:{port}"], capture_stdout=True
            )
    seen = json.loads(done.stdout)
    for kind in KINDS:
        transport = "polling" if kind == "polling" else "websocket"
        assert seen["AsyncClient"][kind] == {**ASYNC, "transport": transport}
        assert seen["SimpleClient"][kind] == {"echoed": [1, "00ff"], "received": "blob001eff"}
