"""Engine.IO's settings: cookies, header hooks, bounds, several servers on one door, and no Socket.IO."""

import importlib.util
import time
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import trio
from ports import free_port
from transport_peers import POLL, Http, Polling, Ws, ask, joined, served, until, upgraded, watched
from trio.testing import MockClock

from flux.errors import LocalError
from flux.transport.door import Door
from flux.transport.engine_io import Client, Cookie, EngineServer, message
from flux.transport.http import Request
from flux.transport.socket_io import Server

EXAMPLES = Path(__file__).parents[2] / "examples"
ORIGIN = "http://localhost"


def header_of(ws: Ws, name: str) -> str | None:
    """Return a header of a WebSocket's handshake."""
    for line in ws.head.split("\r\n")[1:]:
        key, _, value = line.partition(": ")
        if key.lower() == name:
            return value
    return None


async def test_a_cookie_names_the_session_over_both_transports() -> None:
    """Off by default; set at the handshake alone."""
    async with served(Server()) as address:
        assert "set-cookie" not in (await ask(address, "GET", POLL))[1]
    async with served(Server(cookie="io")) as address:
        status, headers, body = await ask(address, "GET", POLL)
        sid = body.split(b'"')[3].decode()
        assert status == 200
        assert headers["set-cookie"] == f"io={sid}; Path=/; HttpOnly; SameSite=Lax"
        ws = await Ws.connect(address)
        hello = str(await ws.receive())
        cookie = header_of(ws, "set-cookie")
        assert cookie is not None
        assert cookie.partition(";")[0].removeprefix("io=") in hello


async def test_later_responses_set_no_cookie() -> None:
    """Neither polls nor upgrades."""
    server = Server(cookie="io")
    async with served(server) as address:
        poll = await joined(address)
        server.emit("n", 1)
        http = await Http.connect(address)
        assert "set-cookie" not in (await http.ask("GET", poll.target))[1]
        await http.stream.aclose()
        assert header_of(await upgraded(address, poll), "set-cookie") is None


def test_a_cookie_may_be_shaped() -> None:
    """And one that a browser would misread is refused when it is configured."""
    cookie = Cookie("sid", path="/app", http_only=False, same_site="None", secure=True, max_age=60)
    assert cookie.header("x") == ((b"set-cookie", b"sid=x; Path=/app; Max-Age=60; Secure; SameSite=None"),)
    for wrong in ({"name": "a b"}, {"name": ""}, {"name": "a;b"}, {"path": "app"}, {"path": "/a;Secure"}):
        with pytest.raises(LocalError):
            Cookie(**wrong)  # type: ignore[arg-type]


async def test_hooks_add_headers_to_the_handshake_and_to_all_responses() -> None:
    """Over both transports; the refused and the preflight get the general ones."""
    server = Server(
        initial_headers=lambda request: {"X-First": request.peer[0]},
        headers=lambda request: {"X-All": request.method},
    )
    async with served(server) as address:
        _, headers, body = await ask(address, "GET", POLL)
        assert (headers["x-first"], headers["x-all"]) == ("127.0.0.1", "GET")
        poll = await joined(address)
        server.emit("n", 1)
        http = await Http.connect(address)
        _, headers, body = await http.ask("GET", poll.target)
        assert (body, headers["x-all"]) == (b'42["n",1]', "GET")
        assert "x-first" not in headers
        _, headers, _ = await http.ask("POST", poll.target, body=b"3")
        assert headers["x-all"] == "POST"
        _, headers, _ = await http.ask("OPTIONS", POLL)
        assert headers["x-all"] == "OPTIONS"
        status, headers, _ = await http.ask("GET", "/socket.io/?EIO=4&transport=carrot")
        assert (status, headers["x-all"]) == (400, "GET")
        await http.stream.aclose()
        ws = await Ws.connect(address)
        assert (header_of(ws, "x-first"), header_of(ws, "x-all")) == ("127.0.0.1", "GET")
        assert str(await ws.receive()).startswith("0{")


@pytest.mark.parametrize("name", ["X: a\r\nY", "Content-Length", "", "a b", "Sec-WebSocket-Accept"])
async def test_a_hook_that_fails_costs_its_headers_alone(name: str) -> None:
    """The response goes out, and the log says why; no header can be smuggled in."""
    with structlog.testing.capture_logs() as logs:
        async with served(Server(headers=lambda _: {name: "1"})) as address:
            assert (await ask(address, "GET", POLL))[0] == 200
            ws = await Ws.connect(address)
            assert str(await ws.receive()).startswith("0{")
    assert [entry["event"] for entry in logs].count("header hook failed") == 2


async def test_a_hooks_value_cannot_end_its_line() -> None:
    """CR and LF are refused."""
    with structlog.testing.capture_logs() as logs:
        async with served(Server(headers=lambda _: {"X": "1\r\nSet-Cookie: a=b"})) as address:
            ws = await Ws.connect(address)
            assert header_of(ws, "set-cookie") is None
    assert "header hook failed" in [entry["event"] for entry in logs]


async def test_sessions_are_bounded_in_all() -> None:
    """Over both transports 503; one that ends makes room."""
    server, _ = watched(max_sessions=2)
    async with served(server) as address:
        first, _second = await Polling.open(address), await Ws.connect(address)
        with structlog.testing.capture_logs() as logs:
            assert (await ask(address, "GET", POLL))[0] == 503
            assert (await Ws.connect(address)).head.startswith("HTTP/1.1 503 ")
        assert [entry["event"] for entry in logs] == ["session refused"] * 2
        assert (await first.post(b"1"))[0] == 200
        assert (await Ws.connect(address)).head.startswith("HTTP/1.1 101 ")
        assert server.engine._quota.held == 2
    assert server.engine._quota.held == 0


async def test_sessions_of_one_address_are_bounded(nursery: trio.Nursery) -> None:
    """The real one, behind a trusted proxy."""
    server = Server(max_sessions_per_address=1)
    door = Door(mounts={server.path: server.engine}, trusted_proxies=["127.0.0.0/8"])
    await door.listen("127.0.0.1", 0)
    await nursery.start(door.serve)
    for client, status in ((7, 200), (7, 503), (8, 200), (8, 503)):
        answer = await ask(door.addresses[0], "GET", POLL, X_Forwarded_For=f"192.0.2.{client}")
        assert answer[0] == status
    await door.close()
    assert server.engine._quota._held == {}


async def test_packets_of_a_post_are_bounded_by_a_setting() -> None:
    """One more than the bound closes the session."""
    server, _ = watched(max_packets=3)
    async with served(server) as address:
        poll = await joined(address)
        assert (await poll.post(b"3\x1e3\x1e3"))[0] == 200
        assert (await poll.post(b"3\x1e3\x1e3\x1e3"))[0] == 400
        assert server.engine.clients == {}


async def test_fragments_of_a_message_are_bounded_by_a_setting() -> None:
    """As many are joined; one more fails the connection as a policy violation."""
    server, _ = watched(max_fragments=3)
    async with served(server) as address:
        for count, fine in ((3, True), (4, False)):
            ws = await Ws.connect(address)
            await ws.receive()
            pieces = [Ws.frame("40"[n : n + 1], 0 if n else 1, fin=False) for n in range(count)]
            await ws.stream.send_all(b"".join(pieces) + Ws.frame("", 0))
            if fine:
                assert str(await ws.receive()).startswith("40{")
            else:
                assert await ws.closed() == 1008


async def test_who_never_polls_dies_whatever_it_posts(loopback_clock: MockClock) -> None:
    """Pongs for pings that were not fetched do not count, and nothing of the session stays."""
    server, reasons = watched()
    async with served(server) as address:
        began = trio.current_time()
        poll = await joined(address)
        while poll.sid in server.engine.clients:
            assert trio.current_time() - began < 60
            await poll.post(b"3")
            await trio.sleep(5)
        assert reasons == ["ping timeout"]
        assert server.engine._quota.held == 0


async def test_a_session_that_is_opened_and_left_dies(loopback_clock: MockClock) -> None:
    """Without a single poll, after interval and time-out at most."""
    server, _ = watched(connect_timeout=1000)
    async with served(server) as address:
        await Polling.open(address)
        await trio.sleep(46)
        assert server.engine.clients == {}


async def test_cors_without_credentials() -> None:
    """A page of another origin may ask, but not as its user."""
    async with served(Server(cors_origins="*", cors_credentials=False)) as address:
        for method in ("GET", "OPTIONS"):
            _, headers, _ = await ask(address, method, POLL, Origin="http://other.test")
            assert headers["access-control-allow-origin"] == "http://other.test"
            assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    ("allowed", "origin", "fine"),
    [
        (None, ORIGIN, True),
        (None, "null", False),
        (None, "http://localhost.evil.test", False),
        (None, "http://evil.test/localhost", False),
        (None, "http://localhost@evil.test", False),
        (["https://good.com"], "https://good.com", True),
        (["https://good.com"], "https://good.com.evil", False),
        (["https://good.com"], "http://good.com", False),
        (["https://good.com"], "https://GOOD.com", False),
        (["https://good.com"], "null", False),
        (["https://good.com"], "https://good.com/", False),
        (["null"], "null", True),
        ("*", "null", True),
    ],
)
async def test_a_preflight_tells_good_origins_alone(allowed: Any, origin: str, fine: bool) -> None:
    """204 with origin, methods, headers, credentials and max-age; to the others nothing."""
    asked = {"Access-Control-Request-Headers": "content-type,x-a", "Access-Control-Request-Method": "POST"}
    async with served(Server(cors_origins=allowed)) as address:
        status, headers, body = await ask(address, "OPTIONS", POLL, Origin=origin, **asked)
        told = {name: value for name, value in headers.items() if name.startswith("access-control-")}
        assert (status, body) == (204, b"")
        assert told == (
            {
                "access-control-allow-origin": origin,
                "access-control-allow-credentials": "true",
                "access-control-allow-methods": "GET, POST, OPTIONS",
                "access-control-allow-headers": "content-type,x-a",
                "access-control-max-age": "600",
            }
            if fine
            else {}
        )
        status, headers, _ = await ask(address, "GET", POLL, Origin=origin)
        assert status == (200 if fine else 403)
        assert headers.get("access-control-allow-origin") == (origin if fine else None)
        ws = await Ws.connect(address, headers=f"Origin: {origin}\r\n")
        assert ws.head.split(" ")[1] == ("101" if fine else "403")


class Recorder:
    """An Engine.IO application that notes and echoes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.notes: list[Any] = []

    def opened(self, client: Client, request: Request) -> None:
        """Greet by the server's name."""
        client.send(message(self.name))
        self.notes.append(request.path)

    def message(self, client: Client, data: str | bytes) -> None:
        """Echo."""
        self.notes.append(data)
        client.send(message(data))

    def closed(self, client: Client, reason: str) -> None:
        """Note the reason."""
        client.send(message("too late"))
        self.notes.append(reason)

    async def drained(self) -> None:
        """Nothing to wait for."""


async def test_servers_share_a_door_at_any_path(nursery: trio.Nursery) -> None:
    """Each with its own sessions; a sid of one is unknown to the others."""
    apps = {path: Recorder(path) for path in ("/", "/a", "/a/b/", "/engine.io")}
    door = Door(mounts={path: EngineServer(app) for path, app in apps.items()})
    await door.listen("127.0.0.1", 0)
    await nursery.start(door.serve)
    address = door.addresses[0]
    polls = [await Polling.open(address, path) for path in ("/", "/a", "/a/", "/a/b", "/a/b/", "/engine.io")]
    assert [await poll.get() for poll in polls] == [
        b"4/",
        b"4/a",
        b"4/a",
        b"4/a/b/",
        b"4/a/b/",
        b"4/engine.io",
    ]
    assert (await ask(address, "GET", f"/a?EIO=4&transport=polling&sid={polls[0].sid}"))[0] == 400
    assert (await ask(address, "GET", "/b?EIO=4&transport=polling"))[0] == 404


async def test_messages_without_socket_io_over_both_transports(nursery: trio.Nursery) -> None:
    """Text and bytes, through an upgrade, to the end."""
    app = Recorder("hi")
    door = Door(mounts={"/e": EngineServer(app)})
    await door.listen("127.0.0.1", 0)
    await nursery.start(door.serve)
    poll = await Polling.open(door.addresses[0], "/e")
    assert await poll.get() == b"4hi"
    assert (await poll.post("4h\u00e9\x1ebAQI=".encode()))[0] == 200
    assert await poll.get() == "4h\u00e9\x1ebAQI=".encode()
    ws = await Ws.connect(door.addresses[0], f"/e?EIO=4&transport=websocket&sid={poll.sid}")
    await ws.send("2probe")
    assert await ws.receive() == "3probe"
    await ws.send("5", "4x", b"\3")
    assert [await ws.receive(), await ws.receive()] == ["4x", b"\3"]
    await ws.send("1")
    await ws.closed()
    assert app.notes == ["/e", "h\u00e9", b"\1\2", "x", b"\3", "transport close"]
    await ws.stream.aclose()


async def test_the_example_echoes(nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]) -> None:
    """``examples/echo_engine.py``, in under 40 lines."""
    path = EXAMPLES / "echo_engine.py"
    assert len(path.read_text().splitlines()) < 40
    spec = importlib.util.spec_from_file_location("echo_engine", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    port = free_port()
    nursery.start_soon(example.main, port)
    with trio.fail_after(5):
        while True:
            try:
                ws = await Ws.connect(("127.0.0.1", port), "/engine.io/?EIO=4&transport=websocket")
                break
            except OSError:
                await trio.sleep(0.01)
    assert str(await ws.receive()).startswith("0{")
    assert await ws.receive() == "4hello 127.0.0.1"
    await ws.send("4again", b"\1")
    assert [await ws.receive(), await ws.receive()] == ["4again", b"\1"]
    await ws.stream.aclose()
    await until(lambda: "left: transport" in capsys.readouterr().out)


class Faulty(Recorder):
    """An application that fails where it is told to."""

    def __init__(self, where: str) -> None:
        super().__init__("x")
        self.where = where

    def opened(self, client: Client, request: Request) -> None:
        """Fail, or go on."""
        super().opened(client, request)
        if self.where == "opened":
            raise ValueError

    def message(self, client: Client, data: str | bytes) -> None:
        """Fail, or go on."""
        super().message(client, data)
        if self.where == "message":
            raise ValueError

    def closed(self, client: Client, reason: str) -> None:
        """Fail, or go on."""
        super().closed(client, reason)
        if self.where == "closed":
            raise ValueError


@pytest.mark.parametrize("where", ["opened", "message", "closed"])
async def test_an_application_that_raises_loses_that_session_alone(nursery: trio.Nursery, where: str) -> None:
    """At once and with a log line, over both transports; the door serves on, and stops as ever."""
    app = Faulty(where)
    engine = EngineServer(app)
    door = Door(mounts={"/e": engine})
    await door.listen("127.0.0.1", 0)
    await nursery.start(door.serve)
    address = door.addresses[0]
    with structlog.testing.capture_logs() as logs:
        if where == "opened":
            assert (await ask(address, "GET", "/e?EIO=4&transport=polling"))[0] == 500
        else:
            poll = await Polling.open(address, "/e")
            status = (await poll.post(b"4a" if where == "message" else b"1"))[0]
            assert status == (500 if where == "message" else 200)
        assert not engine.clients
        ws = await Ws.connect(address, "/e?EIO=4&transport=websocket")
        await ws.send("4a" if where == "message" else "1")
        await ws.closed()
        await until(lambda: not engine.clients)
        assert len([note for note in app.notes if str(note).startswith("transport ")]) == 2
        again = await Ws.connect(address, "/e?EIO=4&transport=websocket")
        assert again.head.startswith("HTTP/1.1 101 ")
        await door.close()
    assert [entry["log_level"] for entry in logs].count("error") >= 2
    await ws.stream.aclose()
    await again.stream.aclose()


async def test_pongs_that_nobody_asked_for_cost_little(loopback_clock: MockClock) -> None:
    """Thousands of them in one POST, while thousands of packets wait behind an unfetched ping."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        await trio.sleep(26)
        for number in range(20_000):
            server.emit("n", number)
        began = time.process_time()
        assert (await poll.post(b"\x1e".join([b"3"] * 16_000)))[0] == 200
        assert time.process_time() - began < 2
        await trio.sleep(20)
        assert reasons == ["ping timeout"]
