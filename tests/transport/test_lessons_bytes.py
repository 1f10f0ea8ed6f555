"""Lessons of other servers, by what arrives: each packet, frame and request that killed or swelled one."""

import json
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import trio
from transport_peers import (
    KEY,
    Address,
    Http,
    Polling,
    Ws,
    heard,
    joined,
    open_ws,
    raw,
    served,
    until,
    watched,
)

import flux
from flux.transport.engine_io import PacketError
from flux.transport.socket_io import Server
from flux.transport.socket_io import codec as socket_io_codec
from flux.transport.socket_io.codec import Decoder
from flux.transport.websocket import MAX_FRAGMENTS

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
HOLE = '{"_placeholder":true,"num":%s}'


@pytest.mark.parametrize(
    "messages",
    [
        ('42[{"toString":"foo"}]',),  # socket.io-parser, CVE-2023-32695
        ('451-["echo",' + HOLE % '"splice"' + "]", b""),  # socket.io-parser, CVE-2022-2421
        ('451-["echo",' + HOLE % "1e9" + "]", b""),
        ('451-["echo",' + HOLE % "-1" + "]", b""),
        ('451-["echo",' + HOLE % ("9" * 5000) + "]", b""),
        ("45" + "9" * 10_000 + '-["echo"]',),  # socket.io-parser, CVE-2020-36049
        ('451000000000-["echo"]',),
        ('4511-["echo"]', *[b""] * 11),
        ('42["__proto__",1]', "4x"),
        ('42["connect"]',),
        ('42["disconnect","forged"]',),
        ('42["disconnecting"]',),
        ("42" + "[" * 20_000,),
        ("42" + '["a",' * 20_000,),
        ('42["echo",' + "9" * 5000 + "]",),
        ('42["echo",-Infinity]',),
        ('42["echo","\\udfff"]',),
        ('42["echo",{"\\ud800":1}]',),
        ("44x",),
        ("40" + "[" * 20_000,),
        ("40/" + "n" * 1000,),
    ],
)
async def test_messages_that_broke_other_servers_close_their_own_session(
    messages: tuple[str | bytes, ...],
) -> None:
    """With `parse error` at once, over both transports; others are served on, no traceback is logged."""
    server, reasons = watched()
    with structlog.testing.capture_logs() as logs:
        async with served(server) as address:
            witness = await open_ws(address)
            bad = await open_ws(address)
            await bad.send(*messages)
            with trio.fail_after(5):
                assert await bad.closed() == 1002
            poll = await joined(address)
            parts = [m if isinstance(m, str) else "b" for m in messages]
            assert (await poll.post("\x1e".join(parts).encode()))[0] == 400
            await until(lambda: len(reasons) == 2)
            assert reasons == ["parse error"] * 2
            await witness.send('42["echo",1]')
            assert await heard(witness) == ["echo", 1]
    assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")]


@pytest.mark.parametrize(
    "name", ["*", "__proto__", "constructor", "toString", "", "ping", "a" * 10_000, "\0"]
)
async def test_odd_event_names_are_unknown_events(name: str) -> None:
    """None reaches a handler that is meant for something else."""
    server, reasons = watched()
    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send("42" + json.dumps([name, "x", "y"]), '42["echo",1]')
        assert await heard(ws) == ["echo", 1]
        assert reasons == []


@pytest.mark.parametrize(
    "tail",
    ['"' + '\\"' * 50_000, '"' + '\\"' * 50_000 + "\\", '"' * 99_999, '"' + "\\" * 99_999, '["]",' * 20_000],
)
def test_the_depth_of_any_text_is_found_in_linear_time(tail: str) -> None:
    """With backtracking a string without an end takes time by the square of its length."""
    began = time.perf_counter()
    with pytest.raises(PacketError):
        Decoder(100).feed('2["a",' + "[]," * 150 + tail)
    assert time.perf_counter() - began < 2


async def fails_with(address: Address, data: bytes, code: int) -> None:
    """Check that bytes on a joined WebSocket are answered with a close code at once."""
    ws = await open_ws(address)
    with suppress(trio.BrokenResourceError):
        await ws.stream.send_all(data)
    with trio.fail_after(5):
        assert await ws.closed() == code


async def test_fragments_by_the_thousand_are_refused() -> None:
    """Empty ones cost no bytes of the message, but an object each."""
    server, _ = watched()
    async with served(server) as address:
        start, more = Ws.frame("4", fin=False), Ws.frame(b"", 0, fin=False)
        await fails_with(address, start + more * (MAX_FRAGMENTS + 10), 1008)


async def test_a_compressed_frame_that_was_not_agreed_on_is_refused() -> None:
    """A bomb's few bytes are never inflated."""
    server, _ = watched()
    async with served(server) as address:
        ws = await Ws.connect(address, headers="Sec-WebSocket-Extensions: permessage-deflate\r\n")
        assert "sec-websocket-extensions" not in ws.head.lower()
        frame = bytearray(Ws.frame(b"\xca\x00\x00" * 100))
        frame[0] |= 0x40
        await fails_with(address, bytes(frame), 1002)


async def test_a_message_over_the_bound_is_refused_by_its_announced_length() -> None:
    """Before its bytes have come: 4 GB are announced in a head of 14 bytes."""
    server, _ = watched()
    async with served(server) as address:
        await fails_with(address, b"\x82\xff" + (2**32).to_bytes(8, "big") + b"\0\0\0\0", 1009)
        await fails_with(address, b"\x82\xff" + (2**63 + 1).to_bytes(8, "big") + b"\0\0\0\0", 1009)


@pytest.mark.parametrize("byte", [b"\0", b"x", b"\x81", b"\xff"])
async def test_one_trailing_byte_behind_the_upgrade_is_a_frames_first(byte: bytes) -> None:
    """A known trio server dies of it; here it is judged as a frame, and nothing else notices."""
    server, _ = watched()
    async with served(server) as address:
        witness = await open_ws(address)
        ws = await Ws.connect(address, trailing=byte)
        await ws.stream.send_eof()
        with trio.fail_after(5):
            assert await ws.closed() in (0, 1000, 1002)
        await witness.send('42["echo",1]')
        assert await heard(witness) == ["echo", 1]


@pytest.mark.parametrize("kind", ["pings", "echoes"])
async def test_a_flood_whose_answers_are_not_read_is_cut(kind: str) -> None:
    """What we must answer, pongs or acks, waits in the outbox, and that is bounded."""
    server, reasons = watched(outbox_limit=50_000)
    server.on("ask", lambda _sid, text: text)
    async with served(server) as address:
        ws = await open_ws(address)
        frame = Ws.frame(b"x" * 125, 9) if kind == "pings" else Ws.frame('421["ask","' + "x" * 5000 + '"]')
        flood = frame * (20_000_000 // len(frame))
        with trio.fail_after(20), suppress(trio.BrokenResourceError):
            for _ in range(10):
                await ws.stream.send_all(flood)
        await until(lambda: reasons)
        assert reasons == ["slow client"]


async def test_requests_piled_up_behind_a_poll_are_not_read() -> None:
    """Pipelined ones wait in the kernel: the sender is held back, not our memory filled."""
    server, _ = watched()
    async with served(server) as address:
        poll = await joined(address)
        http = await Http.connect(address)
        await http.send("GET", poll.target)
        flood = (GET + b"\r\n") * 3000
        sent = 0
        with trio.move_on_after(1) as scope:
            while sent < 64_000_000:
                await http.stream.send_all(flood)
                sent += len(flood)
        assert scope.cancelled_caught
        assert sent < 20_000_000
        server.emit("n", 1)
        assert (await http.receive())[2] == b'42["n",1]'


async def test_posts_may_come_in_any_pieces() -> None:
    """Split within a character, and in chunks within one."""
    server, _ = watched()
    async with served(server) as address:
        poll = await joined(address)
        body = '42["echo","é\U0001f600"]'.encode()
        cut = body.index("é".encode()) + 1
        head = f"POST {poll.target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:cut])
            await trio.sleep(0.02)
            await stream.send_all(body[cut : cut + 3])
            await trio.sleep(0.02)
            await stream.send_all(body[cut + 3 :])
            assert b"\r\n\r\nok" in await stream.receive_some()
        assert json.loads((await poll.get())[2:]) == ["echo", "é\U0001f600"]
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        answer = await raw(address, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks)
        assert answer.endswith(b"ok")
        assert json.loads((await poll.get())[2:]) == ["echo", "é\U0001f600"]


async def test_a_body_in_tiny_chunks_by_the_thousand_is_refused() -> None:
    """A million chunks of one byte would cost ten seconds; what clients and proxies send is larger."""
    server, _ = watched()
    async with served(server) as address:
        poll = await joined(address)
        head = f"POST {poll.target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        with trio.fail_after(5):
            answer = await raw(address, head + b"1\r\n4\r\n" * 5000)
        assert answer.startswith(b"HTTP/1.1 400 ")
        text = json.dumps(["echo", "x" * 300_000], separators=(",", ":"))
        body = f"42{text}".encode()
        chunks = [b"%x\r\n%b\r\n" % (len(c), c) for c in (body[i : i + 40] for i in range(0, len(body), 40))]
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(head + b"".join(chunks) + b"0\r\n\r\n")
            assert (await stream.receive_some()).endswith(b"ok")
        assert (await poll.get()).decode() == f"42{text}"


@pytest.mark.parametrize(
    "extra",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n1234",
        b"Host: b\r\n\r\n",
        b"X: a\0\r\n\r\n",
        b"X: a\rX\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"X: " + b"y" * 40_000 + b"\r\n\r\n",
    ],
)
async def test_bad_http_is_refused_in_handshakes_too(extra: bytes) -> None:
    """The WebSocket's and the poll's head go through the same guard; the session's mount never sees them."""
    server, _ = watched()
    upgrade = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
    ).encode()
    async with served(server) as address:
        for transport, more in ((b"websocket", upgrade), (b"polling", b"")):
            head = b"GET /socket.io/?EIO=4&transport=%b HTTP/1.1\r\nHost: a\r\n" % transport
            with trio.fail_after(5):
                answer = await raw(address, head + more + extra)
            assert answer.split(b" ")[1] in (b"400", b"431")
        assert not server.engine.clients


async def test_a_query_of_a_thousand_fields_is_refused() -> None:
    """As are fields that are not UTF-8, or name a session twice."""
    server, _ = watched()
    async with served(server) as address:
        many = "&".join(f"a{n}=1" for n in range(1000))
        http = await Http.connect(address)
        for query in (many, f"EIO=4&transport=polling&{many}", "EIO=4&transport=polling&sid=%ff&sid=x"):
            assert (await http.ask("GET", f"/socket.io/?{query}"))[0] == 400
        assert (await http.ask("GET", "/socket.io/?%00=%ff&EIO=4&transport=polling"))[0] == 200
        await http.stream.aclose()


async def test_an_event_is_encoded_once_however_many_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over both transports."""
    server = Server()
    calls: list[Any] = []
    real = socket_io_codec._encode_json
    async with served(server) as address:
        clients = [await open_ws(address) for _ in range(10)]
        poll = await Polling.open(address)
        await poll.post(b"40")
        await poll.get()
        monkeypatch.setattr(socket_io_codec, "_encode_json", lambda data: calls.append(data) or real(data))
        server.emit("n", {"a": 1})
        for ws in clients:
            assert await heard(ws) == ["n", {"a": 1}]
        assert await poll.get() == b'42["n",{"a":1}]'
    assert calls == [["n", {"a": 1}]]


async def test_order_is_kept_in_each_namespace_of_a_connection() -> None:
    """Events, binary ones and acks in the order in which they were sent."""
    server = Server(namespaces=("/", "/a"))
    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send("40/a,")
        await ws.receive()
        for number in range(50):
            server.emit("n", number, namespace="/a" if number % 2 else "/")
            if number % 10 == 0:
                server.emit("n", (number, b"x"))
        seen: dict[str, list[int]] = {"": [], "/a,": []}
        for _ in range(60):
            message = await ws.receive()
            if isinstance(message, str):
                found = re.match(r'4[25](?:1-)?(/a,)?\["n",(\d+)', message)
                assert found is not None
                seen[found[1] or ""].append(int(found[2]))
        assert seen["/a,"] == list(range(1, 50, 2))
        assert seen[""] == sorted([*range(0, 50, 2), *range(0, 50, 10)])


def test_nothing_of_a_peer_is_ever_unpickled_or_evaluated() -> None:
    """No pickle, marshal, shelve or eval anywhere in the package."""
    modules = "pickle|marshal|shelve|dill|cloudpickle"
    forbidden = re.compile(rf"^\s*(?:import|from)\s+(?:{modules})\b|(?<![.\w])(?:eval|exec)\(", re.MULTILINE)
    for file in Path(flux.__file__).parent.rglob("*.py"):
        if "node_modules" not in file.parts:
            assert not forbidden.search(file.read_text(encoding="utf-8")), file
