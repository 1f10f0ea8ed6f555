"""The door speaks HTTP/1.1 to good clients, refuses bad ones with the right status, and outlives them all."""

import errno
import socket
from typing import Any

import pytest
import trio
from transport_peers import Http, raw, served
from trio.testing import MockClock

from flux.errors import ClosedError, LocalError
from flux.transport import door as door_module
from flux.transport.door import Door
from flux.transport.http import Request, RequestError, Response
from flux.transport.http_mount import Limits


def echo(request: Request) -> Response:
    """Answer with what came."""
    headers = ((b"x-path", request.path.encode()), (b"x-query", repr(request.query).encode()))
    return Response(200, request.body, headers)


def status_of(answer: bytes) -> int:
    """Return the status of a raw answer; 0 for none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


async def test_requests_follow_each_other_on_one_connection() -> None:
    """Keep-alive is the default, bodies and queries arrive."""
    async with served(app=echo) as address:
        http = await Http.connect(address)
        for number in range(3):
            status, headers, body = await http.ask("POST", f"/a%20b/{number}?x=1&x=2&y=", body=b"data")
            assert (status, body) == (200, b"data")
            assert headers["x-path"] == f"/a b/{number}"
            assert headers["x-query"] == "{'y': '', 'x': '1'}"
            assert "date" in headers
        await http.stream.aclose()


async def test_chunked_bodies_are_joined() -> None:
    """A body without a length may come in chunks."""
    async with served(app=echo) as address:
        http = await Http.connect(address)
        answer = await http.ask("POST", "/", {"Transfer-Encoding": "chunked"}, b"chunk")
        assert answer[2] == b"chunk"
        await http.stream.aclose()


async def test_pipelined_requests_are_answered_in_order() -> None:
    """All of one segment is served."""
    async with served(app=echo) as address:
        requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(3))
        answer = await raw(address, requests + b"GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert [line for line in answer.split(b"\r\n") if line.startswith(b"x-path")] == [
            b"x-path: /%d" % n for n in range(4)
        ]


async def test_head_gets_the_head_alone() -> None:
    """With the length that GET would have."""
    async with served(app=lambda _: Response(200, b"12345")) as address:
        answer = await raw(address, b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.endswith(b"\r\n\r\n")
        assert b"content-length: 5\r\n" in answer


async def test_expect_is_answered_before_the_body() -> None:
    """A client may wait for 100 before it sends its body."""
    async with served(app=echo) as address, await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(b"ok")
        assert status_of(await stream.receive_some()) == 200


async def test_a_large_response_arrives_whole() -> None:
    """Also where it is larger than the outbox."""
    body = bytes(range(256)) * 20_000
    async with served(app=lambda _: Response(200, body), limits=Limits(outbox_bytes=100_000)) as address:
        http = await Http.connect(address)
        assert (await http.ask("GET", "/"))[2] == body
        assert (await http.ask("GET", "/"))[2] == body
        await http.stream.aclose()


async def test_an_exception_of_the_app_is_a_500() -> None:
    """It is the request's end, not the connection's, and never the door's."""

    async def fail(request: Request) -> Response:
        if request.path == "/good":
            return Response.text(200, "good")
        if request.path == "/teapot":
            raise RequestError(418, "short and stout")
        raise ValueError

    async with served(app=fail) as address:
        http = await Http.connect(address)
        assert (await http.ask("GET", "/"))[0] == 500
        assert (await http.ask("GET", "/teapot"))[0] == 418
        assert (await http.ask("GET", "/good"))[0] == 200
        await http.stream.aclose()


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (GET + b"Host: b\r\n\r\n", 400),
        (GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (GET + b"Content-Length: 1, 1\r\n\r\nx", 400),
        (GET + b"Content-Length: -1\r\n\r\n", 400),
        (GET + b"Content-Length: +1\r\n\r\nx", 400),
        (GET + b"Content-Length: 1" + b"0" * 40 + b"\r\n\r\n", 400),
        (GET + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n", 400),
        (GET + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
        (GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (GET + b"X: a\0b\r\n\r\n", 400),
        (GET + b"X: a\rb\r\n\r\n", 400),
        (GET + b"X: a\x01b\r\n\r\n", 400),
        (GET + b"X : a\r\n\r\n", 400),
        (GET + b"X: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (GET + b"X: a\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET / HTTP/3.7\r\nHost: a\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40, 400),
        (b"\0" * 100, 400),
        (GET + b"X: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 40_000, 431),
        (GET + b"Content-Length: 9999999\r\n\r\n", 413),
        (GET + b"Content-Length: 1" + b"0" * 18 + b"\r\n\r\n", 413),
    ],
)
async def test_bad_requests_are_refused_and_the_connection_closed(request_bytes: bytes, status: int) -> None:
    """At once, with the status that fits; the next client is served as ever."""
    async with served(app=echo) as address:
        with trio.fail_after(5):
            answer = await raw(address, request_bytes)
        assert status_of(answer) == status
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"connection: close" in answer.lower()
        assert status_of(await raw(address, GET + b"Connection: close\r\n\r\n")) == 200


async def test_a_chunked_body_over_the_bound_is_refused() -> None:
    """The bound holds where no length was announced."""
    async with served(app=echo, limits=Limits(body_bytes=10)) as address:
        answer = await raw(
            address, GET + b"Transfer-Encoding: chunked\r\n\r\n" + b"4\r\nabcd\r\n" * 3 + b"0\r\n\r\n"
        )
        assert status_of(answer) == 413


@pytest.mark.parametrize("start", [b"GET / HTT", GET + b"Content-Length: 5\r\n\r\nab"])
async def test_a_slow_request_is_given_up(loopback_clock: MockClock, start: bytes) -> None:
    """Who began a request must finish it in time, however steadily single bytes come."""
    async with served(app=echo) as address, await trio.open_tcp_stream(*address) as stream:
        began = trio.current_time()
        await stream.send_all(start)
        received = b""
        while True:
            with trio.move_on_after(1):
                chunk = await stream.receive_some()
                received += chunk
                if not chunk:
                    break
        assert status_of(received) == 408
        assert trio.current_time() - began < 40


async def test_an_idle_connection_is_closed_in_silence(loopback_clock: MockClock) -> None:
    """After the keep-alive time without a request."""
    async with served(app=echo) as address:
        http = await Http.connect(address)
        assert (await http.ask("GET", "/"))[0] == 200
        began = trio.current_time()
        assert await http.stream.receive_some() == b""
        assert trio.current_time() - began == pytest.approx(75, abs=5)
        await http.stream.aclose()


async def test_a_taken_port_is_an_error_and_leaves_nothing_bound() -> None:
    """The operator is told; a door without a port cannot serve."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        door = Door()
        with pytest.raises(OSError, match="in use") as caught:
            await door.listen("127.0.0.1", other.getsockname()[1])
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(LocalError):
            await door.serve()


async def test_a_host_with_several_addresses_has_one_port(nursery: trio.Nursery) -> None:
    """``localhost`` may be IPv4 and IPv6."""
    door = Door()
    await door.listen("localhost", 0)
    assert len({port for _, port in door.addresses}) == 1
    await nursery.start(door.serve)
    await door.close()


async def test_running_out_of_descriptors_pauses_accepting(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """The door serves again as soon as there are some."""
    fail = True
    real = socket.socket.accept

    def accept(self: socket.socket) -> Any:
        if fail:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(self)

    class Listener(socket.socket):
        accept_real = real

        def accept(self) -> Any:
            return accept(self)

    monkeypatch.setattr(door_module.socket, "socket", Listener)
    door = Door(app=echo)
    await door.listen("127.0.0.1", 0)
    monkeypatch.undo()
    await nursery.start(door.serve)
    http = await Http.connect(door.addresses[0])
    await http.send("GET", "/")
    await trio.sleep(0.05)
    fail = False
    with trio.fail_after(2):
        assert (await http.receive())[0] == 200
    await http.stream.aclose()
    await door.close()


async def test_stopping_lets_a_request_end_and_refuses_new_connections() -> None:
    """Idle connections close at once, the busy one after its response."""
    release = trio.Event()

    async def slow(_request: Request) -> Response:
        await release.wait()
        return Response.text(200, "done")

    door = Door(app=slow)
    await door.listen("127.0.0.1", 0)
    address = door.addresses[0]
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        idle, busy = await Http.connect(address), await Http.connect(address)
        await busy.send("GET", "/")
        await trio.sleep(0.05)
        nursery.start_soon(door.close)
        assert await idle.stream.receive_some() == b""
        with pytest.raises(OSError, match="all attempts to connect"):
            await Http.connect(address)
        release.set()
        status, headers, _ = await busy.receive()
        assert (status, headers["connection"]) == (200, "close")
        assert await busy.stream.receive_some() == b""
        await idle.stream.aclose()
        await busy.stream.aclose()
    with pytest.raises(ClosedError):
        await door.serve()


async def test_stopping_has_a_deadline(loopback_clock: MockClock) -> None:
    """A request that never ends is cut."""

    async def never(_request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    door = Door(app=never)
    await door.listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        http = await Http.connect(door.addresses[0])
        await http.send("GET", "/")
        await trio.sleep(1)
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == pytest.approx(10, abs=1)
    await http.stream.aclose()
