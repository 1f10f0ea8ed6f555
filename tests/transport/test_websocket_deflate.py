"""permessage-deflate: off by default, stateless, shared by a broadcast, bounded; for who offers it."""

import json
import os
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import trio
from transport_peers import KEY, Address, Ws, joined, open_stream, served, until, watched
from websockets.exceptions import PayloadTooBig
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.headers import parse_extension
from websockets.sync.client import connect as connect_websocket

from flux.transport import websocket_deflate
from flux.transport.http import Request
from flux.transport.socket_io import Server
from flux.transport.websocket import frame_binary, frame_close, frame_text
from flux.transport.websocket_deflate import DeflatingWire, negotiate

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
TAIL = b"\0\0\xff\xff"
LONG = json.dumps(list(range(3000)))


def packed(data: bytes, *, whole: bool = True) -> bytes:
    """Return a payload, compressed."""
    packer = zlib.compressobj(wbits=-15)
    out = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    return out.removesuffix(TAIL) if whole else out


def unpacked(data: bytes) -> bytes:
    """Return the payload of a frame with RSV1, decompressed with no window from before."""
    return zlib.decompressobj(wbits=-15).decompress(data + TAIL)


def masked(first: int, payload: bytes) -> bytes:
    """Return a client's frame with the first byte given."""
    frame = Ws.frame(payload, 2)
    return bytes([first]) + frame[1:]


class Raw:
    """A client that sees the first byte of each frame."""

    def __init__(self, stream: trio.SocketStream, buffer: bytes) -> None:
        self.stream = stream
        self.buffer = buffer

    async def frame(self) -> tuple[int, bytes]:
        """Wait for a frame: its first byte and its payload, as they came."""
        while True:
            data = self.buffer
            if len(data) >= 4:
                size, head = data[1], 2
                if size == 126:
                    size, head = int.from_bytes(data[2:4], "big"), 4
                assert size < 126 or head == 4
                if len(data) >= head + size:
                    self.buffer = data[head + size :]
                    return data[0], data[head : head + size]
            chunk = await self.stream.receive_some()
            assert chunk
            self.buffer += chunk


async def connect(address: Address, offer: str = OFFER, sid: str = "") -> tuple[Raw, str]:
    """Open a WebSocket that offers compression; the answer's head comes with it."""
    stream = await open_stream(address)
    target = "/socket.io/?EIO=4&transport=websocket" + (f"&sid={sid}" if sid else "")
    await stream.send_all(
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n".encode()
    )
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    head, _, rest = data.partition(b"\r\n\r\n")
    return Raw(stream, rest), head.decode()


async def in_namespace(address: Address) -> Raw:
    """Open one and join the default namespace."""
    raw, head = await connect(address)
    assert "permessage-deflate" in head
    assert (await raw.frame())[0] == 0x81
    await raw.stream.send_all(Ws.frame("40"))
    assert (await raw.frame())[1].startswith(b"40{")
    return raw


@pytest.mark.parametrize(
    ("offer", "answered"),
    [
        ("permessage-deflate", True),
        ("permessage-deflate; client_max_window_bits", True),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", True),
        ("permessage-deflate; client_max_window_bits=9", True),
        ("x-unknown, permessage-deflate", True),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", True),
        ("permessage-deflate; server_max_window_bits=15", True),
        ("permessage-deflate; server_max_window_bits=10", False),
        ("permessage-deflate; server_max_window_bits=99", False),
        ("permessage-deflate; nonsense", False),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", False),
        ("x-webkit-deflate-frame", False),
        (";;;", False),
        ("", False),
        ("x, " * 500 + "permessage-deflate", False),
    ],
)
def test_an_offer_is_taken_only_without_context(offer: str, answered: bool) -> None:
    """The answer is one that the offer allows, by the checks of a client's library."""
    deflate = negotiate(Request("GET", "/", ((b"sec-websocket-extensions", offer.encode()),)))
    assert (deflate is not None) is answered
    if deflate is not None:
        [(name, params)] = parse_extension(deflate.header.decode())
        assert name == "permessage-deflate"
        assert {("server_no_context_takeover", None), ("client_no_context_takeover", None)} <= set(params)


async def test_it_is_off_by_default_and_for_who_does_not_offer_it() -> None:
    """No answer, plain frames."""
    async with served(Server()) as address:
        assert "xtensions" not in (await connect(address))[1]
    server = Server(permessage_deflate=True)
    async with served(server) as address:
        raw, head = await connect(address, "")
        assert "xtensions" not in head
        await raw.frame()
        await raw.stream.send_all(Ws.frame("40"))
        await raw.frame()
        server.emit("n", LONG)
        assert (await raw.frame())[0] == 0x81


async def test_a_broadcast_reaches_all_kinds_of_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed once; plain, compressing and polling members get the same, in order."""
    made: list[int] = []
    real = websocket_deflate._deflated_frame

    def count(frame: bytes, head: int) -> bytes:
        made.append(len(frame))
        return real(frame, head)

    monkeypatch.setattr(websocket_deflate, "_deflated_frame", count)
    server = Server(permessage_deflate=True)
    async with served(server) as address:
        members = [await in_namespace(address) for _ in range(3)]
        plain = await Ws.connect(address)
        await plain.receive()
        await plain.send("40")
        await plain.receive()
        poll = await joined(address)
        server.emit("n", LONG)
        server.emit("small", 1)
        expected = b'42["n",%s]' % json.dumps(LONG).encode()
        for raw in members:
            first, payload = await raw.frame()
            assert first == 0xC1
            assert len(payload) < len(expected) / 2
            assert unpacked(payload) == expected
            assert await raw.frame() == (0x81, b'42["small",1]')
        assert await plain.receive() == expected.decode()
        assert await poll.get() == expected + b'\x1e42["small",1]'
        assert len(made) == 1


async def test_a_batch_and_attachments_are_compressed_frame_by_frame() -> None:
    """Large ones are, small ones and what does not shrink are not."""
    server = Server(permessage_deflate=True)
    noise, zeros = os.urandom(2000), bytes(3000)
    async with served(server) as address:
        raw = await in_namespace(address)
        with server.batch():
            server.emit("a", 1)
            server.emit("b", LONG)
            server.emit("c", (noise, zeros))
        assert await raw.frame() == (0x81, b'42["a",1]')
        first, payload = await raw.frame()
        assert (first, unpacked(payload)) == (0xC1, b'42["b",%s]' % json.dumps(LONG).encode())
        assert (await raw.frame())[0] == 0x81
        assert await raw.frame() == (0x82, noise)
        first, payload = await raw.frame()
        assert (first, unpacked(payload)) == (0xC2, zeros)


async def test_compressed_messages_are_read() -> None:
    """Whole, in fragments, beside plain ones; each without a window from before."""
    server, _ = watched(permessage_deflate=True)
    async with served(server) as address:
        raw = await in_namespace(address)
        body = packed(b'42["echo","%s"]' % (b"x" * 900))
        cut = len(body) // 2
        await raw.stream.send_all(
            masked(0xC1, body)
            + masked(0x41, body[:cut])
            + masked(0x80, body[cut:])
            + Ws.frame('42["echo",1]')
            + masked(0xC1, packed(b'42["echo",2]'))
        )
        for argument in (b'"%s"' % (b"x" * 900), b'"%s"' % (b"x" * 900), b"1", b"2"):
            assert await raw.frame() == (0x81, b'42["echo",%s]' % argument)


def in_fragments(first: int, data: bytes, size: int) -> bytes:
    """Return frames of a message whose compressed payload is cut so that each fragment inflates to `size`."""
    packer = zlib.compressobj(wbits=-15)
    frames = b""
    for start in range(0, len(data), size):
        piece = packer.compress(data[start : start + size]) + packer.flush(zlib.Z_SYNC_FLUSH)
        frames += masked(first if start == 0 else 0x00, piece)
    return frames + masked(0x80, b"\0")


@pytest.mark.parametrize(
    "make",
    [
        lambda: masked(0xC1, packed(b"4" * 50_000_000)),
        lambda: in_fragments(0x41, b"4" * 2_000_000, 100_000),
    ],
)
async def test_a_bomb_is_refused_by_what_it_would_become(make: Callable[[], bytes]) -> None:
    """1009, at once, and the witness is served."""
    server, reasons = watched(permessage_deflate=True, max_payload=100_000)
    async with served(server) as address:
        witness = await in_namespace(address)
        raw = await in_namespace(address)
        try:
            await raw.stream.send_all(make())
            first, payload = await raw.frame()
            assert (first, payload[:2]) == (0x88, (1009).to_bytes(2, "big"))
        except trio.BrokenResourceError:
            pass
        await until(lambda: reasons == ["parse error"])
        await witness.stream.send_all(Ws.frame('42["echo",1]'))
        assert await witness.frame() == (0x81, b'42["echo",1]')


def test_a_bound_that_is_used_up_is_still_one() -> None:
    """To zlib 0 is no bound: one more fragment must not inflate to whatever it holds."""
    deflate = negotiate(Request("GET", "/", ((b"sec-websocket-extensions", b"permessage-deflate"),)))
    assert deflate is not None
    frame = Frame(Opcode.TEXT, packed(bytes(50_000_000)), rsv1=True)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooBig):
            deflate.extension.decode(frame, max_size=0)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "frames",
    [
        masked(0xC1, b"\xff\xff\xff\xff"),
        masked(0x41, packed(b"42")) + masked(0xC0, packed(b"1")),
        masked(0xA1, b"4"),
        masked(0xC9, b""),
    ],
)
async def test_broken_compression_closes_its_own_connection(frames: bytes) -> None:
    """1002: no deflate data, RSV1 where it must not be, another reserved bit."""
    server, reasons = watched(permessage_deflate=True)
    async with served(server) as address:
        raw = await in_namespace(address)
        await raw.stream.send_all(frames)
        first, payload = await raw.frame()
        assert (first, payload[:2]) == (0x88, (1002).to_bytes(2, "big"))
        await until(lambda: reasons == ["parse error"])


async def test_a_compressed_frame_without_the_extension_is_refused() -> None:
    """RSV1 means nothing that was not negotiated."""
    async with served(Server()) as address:
        raw, _ = await connect(address, "")
        await raw.frame()
        await raw.stream.send_all(masked(0xC1, packed(b"40")))
        assert (await raw.frame())[1][:2] == (1002).to_bytes(2, "big")


async def test_an_upgrade_may_compress() -> None:
    """What waited for the poll goes out compressed, too."""
    server = Server(permessage_deflate=True)
    async with served(server) as address:
        poll = await joined(address)
        raw, head = await connect(address, sid=poll.sid)
        assert "permessage-deflate" in head
        await raw.stream.send_all(Ws.frame("2probe"))
        assert await raw.frame() == (0x81, b"3probe")
        server.emit("n", LONG)
        await raw.stream.send_all(Ws.frame("5"))
        first, payload = await raw.frame()
        assert (first, unpacked(payload)) == (0xC1, b'42["n",%s]' % json.dumps(LONG).encode())


async def test_conflated_and_queued_packets_are_compressed_too() -> None:
    """A client that lags gets the latest of a key once it has caught up, in frames that it can read."""
    server = Server(permessage_deflate=True, outbox_limit=50_000_000)
    async with served(server) as address:
        raw = await in_namespace(address)
        noise = os.urandom(30_000).hex()
        for _ in range(400):
            server.emit("noise", noise)
        assert not next(iter(server.engine.clients.values())).writable
        server.emit("price", "1" + LONG, conflate="p")
        server.emit("price", "2" + LONG, conflate="p")
        events: list[Any] = []
        with trio.fail_after(20):
            while not events or events[-1][0] != "price":
                first, payload = await raw.frame()
                text = unpacked(payload) if first == 0xC1 else payload
                assert first in (0x81, 0xC1)
                events.append(json.loads(text[2:]))
        assert [event[0] for event in events] == ["noise"] * 400 + ["price"]
        assert events[-1][1][0] == "2"


def test_frames_are_cut_apart_by_their_lengths() -> None:
    """All three forms of a length, control frames between them."""
    sizes = (0, 1, 125, 126, 65_535, 65_536)
    whole = b"".join(frame_text(b"x" * n) + frame_binary(b"y" * n) + frame_close(1000) for n in sizes)
    frames = list(websocket_deflate._frames(whole))
    assert b"".join(frame for frame, _ in frames) == whole
    assert [len(frame) - head for frame, head in frames] == [n for size in sizes for n in (size, size, 2)]
    result = websocket_deflate._deflated(whole)
    inflate = PerMessageDeflate(True, True, 15, 15)
    payloads = []
    for frame, head in websocket_deflate._frames(result):
        seen = Frame(Opcode(frame[0] & 15), frame[head:], rsv1=bool(frame[0] & 0x40))
        payloads.append(bytes(inflate.decode(seen).data))
    assert payloads == [p for n in sizes for p in (b"x" * n, b"y" * n, b"\x03\xe8")]


def test_the_wire_has_no_more_state_than_a_plain_one() -> None:
    """Memory of an idle connection is the same."""
    assert DeflatingWire.__slots__ == ()


async def test_a_client_librarys_own_compression_understands_it() -> None:
    """Both ways, with messages of all sizes: the library `websockets` on the other end."""
    server = Server(permessage_deflate=True)
    server.on("echo", lambda _sid, *args: args)
    texts = [LONG[:size] for size in (0, 10, 1000, 1100, len(LONG))]

    def talk(address: Address) -> list[Any]:
        url = f"ws://{address[0]}:{address[1]}/socket.io/?EIO=4&transport=websocket"
        answers: list[Any] = []
        with connect_websocket(url, compression="deflate", proxy=None) as client:
            assert client.response is not None
            assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
            client.recv(5)
            client.send("40")
            client.recv(5)
            for text in texts:
                client.send("421" + json.dumps(["echo", text]))
                answers += json.loads(str(client.recv(5))[3:])
        return answers

    async with served(server) as address:
        assert await trio.to_thread.run_sync(talk, address) == texts
