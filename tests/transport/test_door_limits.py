"""The door's bounds on connections, and what it believes of proxies."""

import errno
import resource
import socket
import sys
from typing import Any

import pytest
import structlog.testing
import trio
from transport_peers import Http, Ws, ask, open_ws, raw, until, watched
from trio.testing import MockClock

from flux.metrics import REGISTRY
from flux.transport.door import Door
from flux.transport.http import Request, Response
from flux.transport.http_mount import Limits
from flux.transport.socket_io import Server

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
TRUSTED = ("127.0.0.1",)


def tell(request: Request) -> Response:
    """Answer with what the door knows of the client."""
    host = (request.header(b"host") or b"").decode()
    return Response.text(200, f"{request.peer[0]} {request.scheme} {host}")


def rejected(bound: str) -> float:
    """Return how many connections that bound has refused."""
    return REGISTRY.get_sample_value("flux_door_connections_rejected_total", {"bound": bound}) or 0


async def opened(nursery: trio.Nursery, **options: Any) -> Door:
    """Return a door that serves in the nursery."""
    door = Door(**{"app": tell, **options})
    await door.listen("127.0.0.1", 0)
    await nursery.start(door.serve)
    return door


async def test_connections_are_bounded(nursery: trio.Nursery) -> None:
    """One more is closed at accept with 503; when one goes there is room again."""
    door = await opened(nursery, limits=Limits(connections=2, stop_seconds=1))
    address = door.addresses[0]
    first, second = await Http.connect(address), await Http.connect(address)
    for http in (first, second):
        assert (await http.ask("GET", "/"))[0] == 200
    counted = rejected("total")
    with structlog.testing.capture_logs() as logs, trio.fail_after(5):
        assert (await raw(address, b"")).startswith(b"HTTP/1.1 503 ")
    assert rejected("total") == counted + 1
    assert [(entry["event"], entry["bound"]) for entry in logs] == [("connection refused", "total")]
    assert (await first.ask("GET", "/"))[0] == 200
    await second.stream.aclose()
    await until(lambda: door._open.held == 1)
    assert (await ask(address, "GET", "/"))[0] == 200
    await first.stream.aclose()
    await until(lambda: door._open.held == 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has more than one loopback address unasked")
async def test_connections_of_one_address_are_bounded(nursery: trio.Nursery) -> None:
    """Another address is served still, and websockets count."""
    server = Server()
    door = await opened(
        nursery,
        mounts={"/socket.io": server.engine},
        limits=Limits(connections_per_address=2, stop_seconds=1),
    )
    address = door.addresses[0]
    ws = await open_ws(address)
    http = await Http.connect(address)
    assert (await http.ask("GET", "/"))[0] == 200
    assert (await raw(address, b"")).startswith(b"HTTP/1.1 503 ")
    other = trio.socket.socket()
    await other.bind(("127.0.0.2", 0))
    await other.connect(address)
    async with trio.SocketStream(other) as stream:
        assert (await Http(stream).ask("GET", "/"))[0] == 200
    await ws.stream.aclose()
    await until(lambda: door._clients._held == {"127.0.0.1": 1})
    assert (await ask(address, "GET", "/"))[0] == 200
    await http.stream.aclose()
    await until(lambda: door._clients._held == {})


async def test_a_trusted_proxys_word_counts(nursery: trio.Nursery) -> None:
    """For the address, the scheme and the host."""
    door = await opened(nursery, trusted_proxies=TRUSTED)
    told = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "flux.test"}
    http = await Http.connect(door.addresses[0])
    assert (await http.ask("GET", "/", told))[2] == b"192.0.2.7 https flux.test\n"
    assert (await http.ask("GET", "/"))[2] == b"127.0.0.1 http localhost\n"
    await http.stream.aclose()


async def test_nobody_elses_word_counts(nursery: trio.Nursery) -> None:
    """Neither without proxies nor from beside them; by no header."""
    told = {
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "flux.test",
        "X-Real-IP": "192.0.2.7",
        "Forwarded": "for=192.0.2.7;proto=https;host=flux.test",
    }
    for proxies in ((), ("10.0.0.0/8",)):
        door = await opened(nursery, trusted_proxies=proxies)
        http = await Http.connect(door.addresses[0])
        assert (await http.ask("GET", "/", told))[2] == b"127.0.0.1 http localhost\n"
        await http.stream.aclose()


async def test_the_bound_per_address_holds_behind_a_proxy(nursery: trio.Nursery) -> None:
    """For requests in progress and websockets of the proxy's clients; the proxy itself has no bound."""
    server = Server(cors_origins="*")
    door = await opened(
        nursery,
        mounts={"/socket.io": server.engine},
        limits=Limits(connections_per_address=2, stop_seconds=1),
        trusted_proxies=TRUSTED,
    )
    address = door.addresses[0]
    mine = "X-Forwarded-For: 9.9.9.9, 192.0.2.7\r\n"
    sockets = [await Ws.connect(address, headers=mine) for _ in range(3)]
    assert [ws.head.split(" ")[1] for ws in sockets] == ["101", "101", "503"]
    for client in range(20, 30):
        assert (await ask(address, "GET", "/", X_Forwarded_For=f"192.0.2.{client}"))[0] == 200
    await sockets[0].stream.aclose()
    await until(lambda: door._clients._held == {"192.0.2.7": 1})
    # A kept-alive connection of the proxy carries one client's request after the other's.
    http = await Http.connect(address)
    for host in ("192.0.2.7", "192.0.2.8", "192.0.2.7", "192.0.2.7"):
        assert (await http.ask("GET", "/", {"X-Forwarded-For": host}))[0] == 200
    await http.stream.aclose()
    await sockets[1].stream.aclose()
    await until(lambda: door._clients._held == {})


async def test_the_environ_shows_the_real_client(nursery: trio.Nursery) -> None:
    """To connect handlers, address and scheme."""
    server = Server()
    seen: list[dict[str, Any]] = []
    server.on("connect", lambda _sid, environ: seen.append(environ))
    door = await opened(nursery, mounts={"/socket.io": server.engine}, trusted_proxies=TRUSTED)
    ws = await Ws.connect(
        door.addresses[0], headers="X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
    )
    await ws.receive()
    await ws.send("40")
    assert str(await ws.receive()).startswith("40")
    assert (seen[0]["REMOTE_ADDR"], seen[0]["wsgi.url_scheme"]) == ("192.0.2.7", "https")
    await ws.stream.aclose()


async def test_an_origin_is_compared_with_the_forwarded_host(nursery: trio.Nursery) -> None:
    """A proxy that passes its own Host inwards does not shut its pages out."""
    door = await opened(nursery, mounts={"/socket.io": Server().engine}, trusted_proxies=TRUSTED)
    for host, status in (("flux.test", "101"), ("other.test", "403")):
        ws = await Ws.connect(
            door.addresses[0],
            headers="Origin: https://flux.test\r\nX-Forwarded-For: 192.0.2.7\r\n"
            f"X-Forwarded-Host: {host}\r\n",
        )
        assert ws.head.split(" ")[1] == status
        await ws.stream.aclose()


async def test_real_descriptors_may_run_out(nursery: trio.Nursery) -> None:
    """The process has none left: who is connected is served, and who waits is as soon as there are some."""
    door = await opened(nursery)
    address = door.addresses[0]
    old = await Http.connect(address)
    assert (await old.ask("GET", "/"))[0] == 200
    new = trio.socket.socket()
    held: list[int] = []
    spare = socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        while True:
            try:
                held.append(spare.dup().detach())
            except OSError as error:
                assert error.errno == errno.EMFILE  # noqa: PT017 - it is the loop's end
                break
        with structlog.testing.capture_logs() as logs:
            await new.connect(address)
            await until(lambda: logs)
            assert (await old.ask("GET", "/"))[0] == 200
        assert logs[0]["event"] == "cannot accept"
    finally:
        for number in held:
            socket.close(number)
        spare.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    http = Http(trio.SocketStream(new))
    with trio.fail_after(5):
        assert (await http.ask("GET", "/"))[0] == 200
    await http.stream.aclose()
    await old.stream.aclose()


async def test_a_half_closed_peer_is_answered() -> None:
    """A client may end its side behind its request, and still reads."""
    async with trio.open_nursery() as nursery:
        door = await opened(nursery)
        async with await trio.open_tcp_stream(*door.addresses[0]) as stream:
            await stream.send_all(GET + b"\r\n")
            await stream.send_eof()
            answer = b""
            with trio.fail_after(5):
                while data := await stream.receive_some():
                    answer += data
        assert answer.startswith(b"HTTP/1.1 200 ")
        await until(lambda: door._open.held == 0)
        await door.close()


async def test_a_half_closed_websocket_ends_at_once() -> None:
    """Its session is closed, not left to the heartbeat; the close frame still reaches it."""
    server, reasons = watched()
    async with trio.open_nursery() as nursery:
        door = await opened(nursery, mounts={"/socket.io": server.engine})
        ws = await open_ws(door.addresses[0])
        await ws.stream.send_eof()
        with trio.fail_after(5):
            await ws.closed()
        await until(lambda: reasons == ["transport close"])
        await until(lambda: door._open.held == 0)
        await door.close()


async def test_a_reset_in_the_middle_of_a_large_response_ends_it_alone(nursery: trio.Nursery) -> None:
    """No traceback, nothing left, the next is served."""
    body = bytes(8_000_000)
    door = await opened(nursery, app=lambda _: Response(200, body))
    address = door.addresses[0]
    with structlog.testing.capture_logs() as logs:
        stream = await trio.open_tcp_stream(*address)
        await stream.send_all(GET + b"\r\n")
        assert await stream.receive_some(1000)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        stream.socket.close()
        await until(lambda: door._open.held == 0)
    assert not [entry for entry in logs if entry["log_level"] == "error"]
    assert len((await ask(address, "GET", "/"))[2]) == len(body)


async def test_a_reader_that_takes_nothing_is_given_up(loopback_clock: MockClock) -> None:
    """A large response waits no longer than the keep-alive time, and holds no more than the outbox."""
    body = bytes(50_000_000)
    async with trio.open_nursery() as nursery:
        door = await opened(nursery, app=lambda _: Response(200, body), limits=Limits(stop_seconds=1))
        stream = await trio.open_tcp_stream(*door.addresses[0])
        await stream.send_all(GET + b"\r\n")
        await trio.sleep(70)
        assert door._open.held == 1
        await trio.sleep(10)
        await until(lambda: door._open.held == 0)
        await stream.aclose()
        await door.close()


async def test_slow_heads_keep_no_one_else_waiting(loopback_clock: MockClock) -> None:
    """A hundred of them; each is given up after its time, and a good client is served at once."""
    async with trio.open_nursery() as nursery:
        door = await opened(nursery, limits=Limits(head_seconds=5, stop_seconds=1))
        address = door.addresses[0]
        slow = [await trio.open_tcp_stream(*address) for _ in range(100)]
        for _ in range(3):
            for stream in slow:
                await stream.send_all(b"G")
            assert (await ask(address, "GET", "/"))[0] == 200
            await trio.sleep(1)
        await trio.sleep(10)
        await until(lambda: door._open.held == 0)
        for stream in slow:
            await stream.aclose()
        await door.close()
