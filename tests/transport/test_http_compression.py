"""Responses with text are compressed for who takes gzip, from a threshold on."""

import gzip
import json

import pytest
import trio
from transport_peers import Http, Polling, joined, served

from flux.transport.door import Door
from flux.transport.http import Request, Response
from flux.transport.http_compression import accepts_gzip, compress
from flux.transport.socket_io import Server

JSON = ((b"content-type", b"application/json"),)
LONG = json.dumps(list(range(2000))).encode()


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5, br", True),
        ("*", True),
        ("x-gzip", True),
        ("*;q=0.1", True),
        ("gzip;q=0", False),
        ("*, gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("identity", False),
        ("br", False),
        ("", False),
        ("gzip;q=.", False),
        ("gzipped", False),
        ("," * 9000, False),
    ],
)
def test_gzip_is_used_where_it_is_accepted(value: str, accepted: bool) -> None:
    """RFC 9110, 12.5.3, weights included."""
    request = Request("GET", "/", ((b"accept-encoding", value.encode()),))
    assert accepts_gzip(request) is accepted


@pytest.mark.parametrize(
    "response",
    [
        Response(200, b"x" * 1023, JSON),
        Response(200, LONG, ((b"content-type", b"image/png"),)),
        Response(200, LONG, ((b"content-type", b"application/octet-stream"),)),
        Response(200, LONG, ((b"content-type", b"text/event-stream"),)),
        Response(200, LONG),
        Response(200, LONG, (*JSON, (b"Content-Encoding", b"br"))),
        Response(200, LONG, (*JSON, (b"cache-control", b"no-store, No-Transform"))),
        Response(206, LONG, JSON),
        Response(304, b"", JSON),
    ],
)
def test_what_would_not_gain_or_must_not_change_is_left(response: Response) -> None:
    """Tiny, packed, encoded, partial, or forbidden to transform."""
    assert compress(response, 1024, accepted=True) is response


def test_a_compressed_response_says_so() -> None:
    """Encoding, Vary also for those who get it plain, and a weak tag."""
    response = Response(200, LONG, (*JSON, (b"etag", b'"a"')))
    packed = compress(response, 1024, accepted=True)
    assert gzip.decompress(packed.body) == LONG
    assert dict(packed.headers) == {
        b"content-type": b"application/json",
        b"etag": b'W/"a"',
        b"vary": b"Accept-Encoding",
        b"content-encoding": b"gzip",
    }
    assert compress(response, 1024, accepted=True).body is packed.body
    plain = compress(response, 1024, accepted=False)
    assert (plain.body, dict(plain.headers)[b"etag"]) == (LONG, b'"a"')
    assert dict(plain.headers)[b"vary"] == b"Accept-Encoding"


async def test_the_app_and_polls_are_compressed_over_the_door() -> None:
    """Each connection follows each request's own wish, HEAD included."""
    server = Server()
    async with served(server, app=lambda _: Response(200, LONG, JSON)) as address:
        http = await Http.connect(address)
        accept = {"Accept-Encoding": "gzip"}
        status, headers, body = await http.ask("GET", "/", accept)
        assert (status, headers["content-encoding"], gzip.decompress(body)) == (200, "gzip", LONG)
        assert len(body) < len(LONG) / 2
        _, plain, whole = await http.ask("GET", "/")
        assert "content-encoding" not in plain
        assert whole == LONG
        await http.stream.aclose()

        poll = await joined(address)
        server.emit("big", "x" * 5000)
        http = await Http.connect(address)
        _, headers, body = await http.ask("GET", poll.target, accept)
        assert headers["content-encoding"] == "gzip"
        assert gzip.decompress(body) == b'42["big","%s"]' % (b"x" * 5000)
        server.emit("small", "x")
        _, headers, body = await http.ask("GET", poll.target, accept)
        assert "content-encoding" not in headers
        assert body == b'42["small","x"]'
        await http.stream.aclose()


async def test_compression_can_be_off(nursery: trio.Nursery) -> None:
    """By the door's setting."""
    door = Door(app=lambda _: Response(200, LONG, JSON), http_compression=None)
    await door.listen("127.0.0.1", 0)
    await nursery.start(door.serve)
    http = await Http.connect(door.addresses[0])
    _, headers, body = await http.ask("GET", "/", {"Accept-Encoding": "gzip"})
    assert body == LONG
    assert "vary" not in headers
    await http.stream.aclose()


async def test_a_large_compressed_response_arrives_whole() -> None:
    """One that stays larger than a piece."""
    text = b"".join(b"%d," % (n * 7919 % 1_000_003) for n in range(300_000))
    async with served(app=lambda _: Response(200, text, JSON)) as address:
        http = await Http.connect(address)
        _, headers, body = await http.ask("GET", "/", {"Accept-Encoding": "gzip"})
        assert headers["content-encoding"] == "gzip"
        assert len(body) > 100_000
        assert gzip.decompress(body) == text
        await http.stream.aclose()


async def test_the_polling_handshake_is_small_and_plain() -> None:
    """Nothing under the threshold is touched."""
    async with served(Server()) as address:
        poll = await Polling.open(address, Accept_Encoding="gzip")
        assert poll.hello["upgrades"] == ["websocket"]
