"""Engine.IO handshakes: what is let in, and with which answer all else is refused."""

import json
from typing import Any

import pytest
from transport_peers import POLL, Polling, Ws, ask, served

from flux.transport.socket_io import Server


async def test_the_handshake_tells_the_parameters() -> None:
    """By polling, with and without the slash."""
    async with served(Server(ping_interval=3, ping_timeout=2, max_payload=1234)) as address:
        for path in ("/socket.io/", "/socket.io"):
            poll = await Polling.open(address, path)
            assert poll.hello == {
                "sid": poll.sid,
                "upgrades": ["websocket"],
                "pingInterval": 3000,
                "pingTimeout": 2000,
                "maxPayload": 1234,
            }


async def test_upgrades_lists_only_what_is_enabled() -> None:
    """Nothing after a WebSocket handshake, nor where upgrades are off."""
    async with served(Server()) as address:
        ws = await Ws.connect(address)
        assert json.loads(str(await ws.receive())[1:])["upgrades"] == []
    for options in ({"allow_upgrades": False}, {"transports": ("polling",)}):
        async with served(Server(**options)) as address:
            poll = await Polling.open(address)
            assert poll.hello["upgrades"] == []
            ws = await Ws.connect(address, f"/socket.io/?EIO=4&transport=websocket&sid={poll.sid}")
            assert ws.head.startswith("HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [
        ("GET", "EIO=4", 0),
        ("GET", "EIO=4&transport=__proto__", 0),
        ("GET", "EIO=4&transport=polling&sid=unknown", 1),
        ("POST", "EIO=4&transport=polling", 2),
        ("GET", "EIO=4&transport=websocket", 3),
        ("GET", "EIO=3&transport=polling", 5),
        ("GET", "EIO=abc&transport=polling", 5),
        ("GET", "transport=polling", 5),
    ],
)
async def test_bad_handshakes_get_their_code(method: str, query: str, code: int) -> None:
    """The reference server's bodies."""
    messages = {
        0: "Transport unknown",
        1: "Session ID unknown",
        2: "Bad handshake method",
        3: "Bad request",
        5: "Unsupported protocol version",
    }
    async with served(Server()) as address:
        status, headers, body = await ask(address, method, f"/socket.io/?{query}")
        assert status == 400
        assert headers["content-type"] == "application/json"
        assert json.loads(body) == {"code": code, "message": messages[code]}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("EIO=3&transport=websocket", 5),
        ("EIO=4&transport=websocket&sid=no", 1),
        ("EIO=4&transport=polling", 3),
    ],
)
async def test_bad_websocket_handshakes_are_refused(query: str, code: int) -> None:
    """As plain HTTP responses."""
    async with served(Server()) as address:
        ws = await Ws.connect(address, f"/socket.io/?{query}")
        assert ws.head.startswith("HTTP/1.1 400 ")


async def test_a_hook_may_refuse_a_handshake() -> None:
    """403 and code 4, over both transports."""
    async with served(Server(allow_request=lambda request: "token" in request.query)) as address:
        status, _, body = await ask(address, "GET", POLL)
        assert (status, json.loads(body)["code"]) == (403, 4)
        assert (await Ws.connect(address)).head.startswith("HTTP/1.1 403 ")
        assert (await ask(address, "GET", POLL + "&token=1"))[0] == 200


@pytest.mark.parametrize(
    ("allowed", "origin", "let_in"),
    [
        (None, "http://localhost", True),
        (None, "https://localhost", True),
        (None, "http://localhost:81", False),
        (None, "http://evil.com", False),
        (None, "null", False),
        ("*", "http://evil.com", True),
        (["http://good.com"], "http://good.com", True),
        (["http://good.com"], "http://good.com.evil", False),
        (["http://good.com"], "null", False),
        ("http://good.com", "http://good.com", True),
    ],
)
async def test_origins_are_checked_on_both_transports(allowed: Any, origin: str, let_in: bool) -> None:
    """A foreign page gets 403, and no header that would let it read anything."""
    async with served(Server(cors_origins=allowed)) as address:
        status, headers, _ = await ask(address, "GET", POLL, Origin=origin)
        assert status == (200 if let_in else 403)
        assert headers.get("access-control-allow-origin") == (origin if let_in else None)
        ws = await Ws.connect(address, headers=f"Origin: {origin}\r\n")
        assert ws.head.startswith("HTTP/1.1 101 " if let_in else "HTTP/1.1 403 ")
        status, headers, _ = await ask(
            address, "OPTIONS", POLL, Origin=origin, Access_Control_Request_Method="POST"
        )
        assert status == 204
        assert ("access-control-allow-origin" in headers) is let_in
        if let_in:
            assert headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
            assert headers["access-control-allow-credentials"] == "true"
            assert "access-control-max-age" in headers
            assert "access-control-allow-headers" in headers
