"""Lessons of other servers, by how peers behave: half-closed, reset, too many, foreign pages."""

import socket
import struct
import subprocess
import sys
from pathlib import Path

import structlog.testing
import trio
from transport_peers import (
    Address,
    Http,
    Ws,
    ask,
    heard,
    joined,
    open_stream,
    open_ws,
    port_of,
    raw,
    served,
    until,
    upgraded,
    watched,
)

from flux.transport.http import Response

LIMITED = """
import resource
import signal
import trio
from flux.transport.door import Door
from flux.transport.socket_io import Server

async def main():
    server = Server()
    server.on("echo", lambda sid, *args: server.emit("echo", args, to=sid))
    door = Door(mounts={server.path: server.engine})
    await door.listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        print(door.addresses[0][1], flush=True)

trio.run(main)
"""


def reset(stream: trio.SocketStream) -> None:
    """Close a connection with a reset."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def echoes(ws: Ws) -> None:
    """Check that a client is served."""
    await ws.send('42["echo",1]')
    with trio.fail_after(5):
        while str(await ws.receive()) != '42["echo",1]':
            pass


async def test_a_process_out_of_descriptors_serves_those_it_has_and_later_all() -> None:
    """40 files, 80 clients: the first are served, the others wait in the backlog until some have gone."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", LIMITED],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    try:
        address = ("127.0.0.1", await port_of(process))
        first = await open_ws(address)
        with trio.fail_after(20):
            waiting = [await open_stream(address) for _ in range(80)]
            await trio.sleep(0.5)
            await echoes(first)
            for stream in waiting[:60]:
                await stream.aclose()
            await echoes(await open_ws(address))
            await echoes(first)
            for stream in waiting[60:]:
                await stream.aclose()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_a_peer_that_ends_its_side_behind_a_request_gets_its_response() -> None:
    """As simple clients do; then the connection closes."""

    async def later(_request: object) -> Response:
        await trio.sleep(0.05)
        return Response(200, b"x" * 200_000)

    async with served(app=later) as address, await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await stream.send_eof()
        received = b""
        with trio.fail_after(5):
            while chunk := await stream.receive_some():
                received += chunk
        assert received.startswith(b"HTTP/1.1 200 ")
        assert received.endswith(b"x" * 200_000)


async def test_half_closed_clients_are_gone_at_once_over_both_transports() -> None:
    """Who cannot answer a ping any more is not kept until the ping time-out."""
    server, reasons = watched()
    async with served(server) as address:
        ws = await open_ws(address)
        await ws.stream.send_eof()
        with trio.fail_after(5):
            assert await ws.closed() == 1000
        poll = await joined(address)
        http = await Http.connect(address)
        await http.send("GET", poll.target)
        await http.stream.send_eof()
        await until(lambda: len(reasons) == 2)
        assert reasons == ["transport close"] * 2
        assert not server.engine.clients


async def test_resets_in_the_middle_of_our_writes_end_their_own_client() -> None:
    """While a broadcast, a poll's answer and a large response are under way; the others get all, in order."""
    body = b"x" * 5_000_000
    server, reasons = watched(outbox_limit=50_000_000)
    with structlog.testing.capture_logs() as logs:
        async with served(server, app=lambda _: Response(200, body)) as address:
            good = await open_ws(address)
            bad = [await open_ws(address) for _ in range(5)]
            poll = await joined(address)
            http = await Http.connect(address)
            await http.send("GET", poll.target)
            download = await Http.connect(address)
            await download.send("GET", "/")
            await trio.sleep(0.02)
            for number in range(10):
                server.emit("n", (number, "x" * 1_000_000))
                for ws in bad[number : number + 1]:
                    reset(ws.stream)
                if number == 0:
                    reset(http.stream)
                if number == 1:
                    reset(download.stream)
                assert (await heard(good))[1] == number
            await until(lambda: len(reasons) >= 5)
            assert set(reasons) <= {"transport error", "transport close"}
            await echoes(good)
    assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")]


async def test_a_reset_in_the_middle_of_an_upgrade_leaves_the_session_polling() -> None:
    """The probe's end is not the session's."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        for words in ([], ["2probe"]):
            ws = await Ws.connect(address, f"/socket.io/?EIO=4&transport=websocket&sid={poll.sid}")
            await ws.send(*words)
            reset(ws.stream)
            [client] = server.engine.clients.values()
            await until(lambda client=client: client.probe is None)
        server.emit("n", 1)
        assert await poll.get() == b'42["n",1]'
        ws = await upgraded(address, poll)
        await ws.send('42["echo",2]')
        assert await heard(ws) == ["echo", 2]
        assert reasons == []


async def connect_as(address: Address, origin: str, target: str) -> int:
    """Try a WebSocket handshake as a page of that origin: the status."""
    ws = await Ws.connect(address, target, headers=f"Origin: {origin}\r\nCookie: session=secret\r\n")
    return int(ws.head.split(" ")[1])


async def test_a_foreign_page_cannot_hijack_a_session() -> None:
    """Neither open one, nor upgrade, read, write or end one whose id it knows, whatever its cookies."""
    server, reasons = watched()
    async with served(server) as address:
        poll = await joined(address)
        for origin in (
            "http://evil.com",
            "null",
            "http://localhost.evil.com",
            "https://localhost:1",
            "file://",
        ):
            fresh = "/socket.io/?EIO=4&transport=websocket"
            assert await connect_as(address, origin, fresh) == 403
            assert await connect_as(address, origin, f"{fresh}&sid={poll.sid}") == 403
            for method in ("GET", "POST"):
                status, headers, _ = await ask(address, method, poll.target, Origin=origin)
                assert status == 403
                assert "access-control-allow-origin" not in headers
        assert reasons == []
        assert (await poll.post(b'42["echo",1]'))[0] == 200
        assert await poll.get() == b'42["echo",1]'


async def test_a_session_has_no_cookie_unless_asked_for() -> None:
    """Nothing for another page to send along."""
    server, _ = watched()
    async with served(server) as address:
        _, headers, _ = await ask(address, "GET", "/socket.io/?EIO=4&transport=polling")
        assert "set-cookie" not in headers
        assert "set-cookie" not in (await Ws.connect(address)).head.lower()


async def test_a_thousand_connections_that_say_nothing_cost_the_others_nothing() -> None:
    """Silent ones, and ones that went before they were accepted."""
    server, _ = watched()
    async with served(server) as address:
        witness = await open_ws(address)
        for _ in range(300):
            stream = await trio.open_tcp_stream(*address)
            reset(stream)
        silent = [await open_stream(address) for _ in range(100)]
        await echoes(witness)
        assert (await raw(address, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))[9:12] == b"200"
        for stream in silent:
            await stream.aclose()
