"""Packets as msgpack: what JavaScript's package writes is understood, all else is one error."""

import struct
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import msgspec
import pytest
import trio
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from transport_peers import Address, Polling, Ws, served, watched

from flux.errors import LocalError
from flux.transport.engine_io import PacketError
from flux.transport.engine_io.codec import Outgoing
from flux.transport.socket_io import Server
from flux.transport.socket_io.codec import (
    ACK,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    MAX_DEPTH,
    MAX_NAMESPACE,
    RESERVED,
    Packet,
)
from flux.transport.socket_io.msgpack import MAX_ID, Decoder, append, encode_data
from flux.transport.socket_io.parser import JSON, MSGPACK, parser_of

pack = msgspec.msgpack.encode
UNDEFINED = b"\xd4\x00\x00"


def feed(message: str | bytes) -> Packet:
    """Decode with a new decoder."""
    return Decoder(1000).feed(message)


def event(*data: bytes) -> bytes:
    """Return an event's packet with raw arguments."""
    return (
        b"\x83\xa4type\x02\xa4data" + b"%c" % (0x91 + len(data)) + b"\xa1a" + b"".join(data) + b"\xa3nsp\xa1/"
    )


def message_of(packet: Outgoing) -> bytes:
    """Return the one binary message of a packet."""
    assert packet.text == b""
    (message,) = packet.attachments
    return message


@pytest.mark.parametrize(
    ("fields", "packet"),
    [
        ({"type": 0, "nsp": "/"}, Packet(CONNECT)),
        ({"type": 0, "data": None, "nsp": "/admin?a=b"}, Packet(CONNECT, "/admin")),
        ({"type": 0, "data": {"token": "x"}, "nsp": "/"}, Packet(CONNECT, "/", {"token": "x"})),
        ({"type": 1, "nsp": "/n"}, Packet(DISCONNECT, "/n")),
        ({"type": 2, "data": ["a"], "nsp": "/", "options": {"compress": True}}, Packet(EVENT, "/", ["a"])),
        (
            {"type": 2, "data": ["a", b"\x00", 1.5], "id": 0, "nsp": "/"},
            Packet(EVENT, "/", ["a", b"\0", 1.5], 0),
        ),
        ({"type": 3, "data": [], "id": 7, "nsp": "/n"}, Packet(ACK, "/n", [], 7)),
    ],
)
def test_packets_are_decoded(fields: dict[str, Any], packet: Packet) -> None:
    """Every kind, in any order of fields; unknown ones are ignored."""
    assert feed(pack(fields)) == packet
    assert feed(pack(dict(reversed(fields.items())))) == packet


def test_the_types_that_json_has_not_are_understood() -> None:
    """An ArrayBuffer of one or eight bytes is neither undefined nor a date."""
    one = b"\xc7\x01\x00\x00"
    eight = b"\xc7\x08\x00" + b"\x00" * 8
    date = b"\xd7\x00" + struct.pack(">q", 1_700_000_000_123)
    early = b"\xd7\x00" + struct.pack(">q", -1)
    empty = b"\xc7\x00\x00"
    packet = feed(
        event(UNDEFINED, one, b"\x92" + date + eight, early, empty, b"\x81\xa1k" + UNDEFINED, b"\x05")
    )
    when = datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
    before = datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert packet.data[1:] == [None, b"\0", [when, b"\0" * 8], before, b"", {"k": None}, 5]
    assert feed(event(one, eight, empty)).data[1:] == [b"\0", b"\0" * 8, b""]
    # the same bytes within texts and bytes are left alone
    assert feed(event(pack(UNDEFINED), pack(date), UNDEFINED)).data[1:] == [UNDEFINED, date, None]
    assert feed(b"\x83\xa4type\x00\xa4data" + UNDEFINED + b"\xa3nsp\xa1/") == Packet(CONNECT)


def nested(depth: int) -> Any:
    """Return that many lists in each other."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "message",
    [
        "2[]",
        b"",
        b"\xc1",
        b"\x90",
        b"\x80",
        pack({"type": 2, "data": ["a"], "nsp": "/"}) + b"\xc0",
        pack({"type": 2, "data": ["a"], "nsp": "/"})[:-1],
        pack({"type": 2, "data": ["a"]}),
        pack({"data": ["a"], "nsp": "/"}),
        pack({"type": 2, "nsp": "/"}),
        pack({"type": 2, "data": [], "nsp": "/"}),
        pack({"type": 2, "data": {}, "nsp": "/"}),
        pack({"type": 2, "data": "a", "nsp": "/"}),
        pack({"type": 2, "data": [1], "nsp": "/"}),
        pack({"type": 2, "data": [b"a"], "nsp": "/"}),
        pack({"type": 2, "data": [["a"]], "nsp": "/"}),
        pack({"type": "2", "data": ["a"], "nsp": "/"}),
        pack({"type": 2.0, "data": ["a"], "nsp": "/"}),
        pack({"type": True, "nsp": "/"}),
        pack({"type": -1, "data": ["a"], "nsp": "/"}),
        pack({"type": 5, "data": ["a"], "nsp": "/"}),
        pack({"type": 4, "data": {"message": "x"}, "nsp": "/"}),
        pack({"type": 2**63, "data": ["a"], "nsp": "/"}),
        pack({"type": 2, "data": ["a"], "nsp": 1}),
        pack({"type": 2, "data": ["a"], "nsp": ""}),
        pack({"type": 2, "data": ["a"], "nsp": "x"}),
        pack({"type": 2, "data": ["a"], "nsp": "/a,b"}),
        pack({"type": 2, "data": ["a"], "nsp": "/" * (MAX_NAMESPACE + 1)}),
        pack({"type": 2, "data": ["a"], "nsp": "/", "id": -1}),
        pack({"type": 2, "data": ["a"], "nsp": "/", "id": MAX_ID + 1}),
        pack({"type": 2, "data": ["a"], "nsp": "/", "id": "1"}),
        pack({"type": 2, "data": ["a"], "nsp": "/", "id": 1.0}),
        pack({"type": 3, "data": [], "nsp": "/"}),
        pack({"type": 3, "data": {}, "nsp": "/", "id": 1}),
        pack({"type": 3, "nsp": "/", "id": 1}),
        pack({"type": 0, "data": [], "nsp": "/"}),
        pack({"type": 0, "data": "x", "nsp": "/"}),
        pack({"type": 0, "nsp": "/", "id": 1}),
        pack({"type": 1, "data": [], "nsp": "/"}),
        pack({"type": 1, "nsp": "/", "id": 1}),
        pack({1: 2}),
        event(b"\xa2\xff\xff"),
        event(b"\xa3\xed\xa0\x80"),
        event(b"\xdd\xff\xff\xff\xff"),
        event(b"\xdf\xff\xff\xff\xff"),
        event(b"\xdb\xff\xff\xff\xff"),
        event(b"\xc9\xff\xff\xff\xff\x00"),
        event(b"\xdd\xff\xff\xff\xff", UNDEFINED),
        event(b"\xd4\x05\x00"),
        event(b"\xd4\x01\x00"),
        event(b"\xd4\x01\x00", UNDEFINED),
        event(b"\xd7\x01" + b"\0" * 8),
        event(b"\xd7\x01" + b"\0" * 8, UNDEFINED),
        event(b"\xc7\x08\x01" + b"\0" * 8, UNDEFINED),
        event(b"\xd7\x00" + b"\x7f" * 8),
        event(b"\xd7\x00" + b"\x80" + b"\0" * 7),
        event(b"\xd7\xff" + b"\xff" * 8),
        event(b"\x81\x80\x01"),
        event(b"\x81\x91\x80\x01"),
        event(b"\x91" * MAX_DEPTH + b"\xc0"),
        event(b"\x91" * 20_000 + b"\xc0"),
        event(b"\x81\xa1a" * 20_000 + b"\xc0"),
        b"\x91" * 100_000,
        b"\x83\xa4type\x02\xa4data\x91\xa1a\xa3nsp" + b"\xd4\x00",
        b"\x84\xa4type\x02\xa4data\x91\xa1a\xa3nsp\xa1/\xa1x\xd4\x00",
        *(pack({"type": 2, "data": [name], "nsp": "/"}) for name in RESERVED),
    ],
)
def test_bad_packets_are_one_error(message: str | bytes) -> None:
    """Whatever is wrong with them."""
    with pytest.raises(PacketError):
        feed(message)


def test_a_nested_payload_within_the_bound_is_accepted() -> None:
    """As deep as text packets may be; bytes that look like containers do not count."""
    deep = feed(pack({"type": 2, "data": ["a", nested(MAX_DEPTH - 1)], "nsp": "/"}))
    assert deep.data[0] == "a"
    flat = ["a", b"\x91" * 5000, "é" * 500, *([1, [], {}] * 200)]
    assert feed(pack({"type": 2, "data": flat, "nsp": "/"})).data == flat


messages = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=12).map(event),
    st.lists(
        st.sampled_from([UNDEFINED, b"\xd7\x00", b"\x91", b"\xc7\x01\x00", b"\xdc", b"\x00"]), max_size=6
    ).map(lambda parts: event(b"".join(parts))),
    st.fixed_dictionaries(
        {"type": st.integers(-1, 6), "nsp": st.text(max_size=3)},
        optional={"data": st.lists(st.text(max_size=2), max_size=2) | st.none(), "id": st.integers()},
    )
    .filter(lambda fields: -(2**63) <= fields.get("id", 0) < 2**64)
    .map(pack),
)


@given(messages)
def test_any_message_is_accepted_or_the_one_error(message: bytes) -> None:
    """The decoder raises nothing else, and what it accepts is well formed."""
    try:
        packet = feed(message)
    except PacketError:
        return
    assert packet.kind in (CONNECT, DISCONNECT, EVENT, ACK)
    assert packet.namespace.startswith("/")
    if packet.kind == EVENT:
        assert isinstance(packet.data[0], str)
    assert packet.id is None or packet.id >= 0


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=5)
    | st.floats(allow_nan=False)
    | st.binary(max_size=9)
    | st.datetimes(timezones=st.just(UTC)).map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=9,
)


@given(
    data=st.lists(values, max_size=17),
    namespace=st.sampled_from(["/", "/a"]),
    number=st.none() | st.integers(0, MAX_ID),
)
def test_what_is_encoded_we_read(data: list[Any], namespace: str, number: int | None) -> None:
    """The same data, and one argument more if it is appended."""
    sent = ["event", *data]
    assert feed(message_of(MSGPACK.encode(EVENT, namespace, sent, number))) == Packet(
        EVENT, namespace, sent, number
    )
    for extra in ("x.1", None):
        packet = MSGPACK.assemble(EVENT, namespace, append(encode_data(sent)[0], extra))
        assert feed(message_of(packet)).data == [*sent, extra]


@pytest.mark.parametrize("size", [14, 15, 16, 17, 65534])
def test_arguments_are_appended_at_any_size(size: int) -> None:
    """The array's head grows where it must."""
    body, _ = encode_data(["a"] * size)
    assert msgspec.msgpack.decode(append(body, "z")) == [*["a"] * size, "z"]


def test_too_many_arguments_cannot_be_appended_to() -> None:
    """Nobody passes 65,536 arguments."""
    with pytest.raises(LocalError):
        append(encode_data(["a"] * 65535)[0], "z")


class Colour(Enum):
    """A text by another name."""

    RED = "red"


@frozen
class Quote:
    """A class with what JSON has not."""

    price: float
    at: datetime
    raw: bytes


def test_more_types_are_sent_as_json_would_or_better() -> None:
    """Dates and bytes in classes keep their types; raw JSON is translated."""
    when = datetime(2024, 1, 2, tzinfo=UTC)
    data = [
        Quote(1.5, when, b"x"),
        Colour.RED,
        msgspec.Raw(b'{"a":[1,"b"]}'),
        {"r": msgspec.Raw(b"2")},
        {1: (bytearray(b"y"), memoryview(b"z"))},
        when.replace(tzinfo=None),
        timedelta(seconds=1),
    ]
    body, attachments = encode_data(["e", *data])
    assert attachments == ()
    packet = feed(message_of(MSGPACK.assemble(EVENT, "/", body)))
    assert packet.data[1:] == [
        {"price": 1.5, "at": when, "raw": b"x"},
        "red",
        {"a": [1, "b"]},
        {"r": 2},
        {"1": [b"y", b"z"]},
        "2024-01-02T00:00:00",
        "PT1S",
    ]


loop: list[Any] = []
loop.append(loop)


@pytest.mark.parametrize(
    "data",
    [
        object(),
        "\ud800",
        {(1, 2): 3},
        {None: 1},
        nested(5000),
        nested(MAX_DEPTH),
        2**64,
        1j,
        loop,
        msgspec.Raw(b"{"),
    ],
)
def test_what_cannot_be_sent_is_the_callers_error(data: Any) -> None:
    """Before anything is sent."""
    with pytest.raises(LocalError):
        MSGPACK.encode(EVENT, "/", ["a", data])


@pytest.mark.parametrize("parser", [JSON, MSGPACK])
def test_a_last_text_is_recognised(parser: Any) -> None:
    """The JavaScript client takes it for an offset."""
    for data in (["a"], ["a", 1, "x"], ["a", msgspec.Raw(b' "x" ')], ["a", Colour.RED]):
        assert parser.ends_in_text(parser.encode_data(data)[0], data)
    for last in (1, None, ["x"], {"x": "y"}, True, 1.5, b"x"):
        assert not parser.ends_in_text(parser.encode_data(["a", last])[0], ["a", last])


def test_parsers_have_names() -> None:
    """An unknown one is refused when the server is made."""
    assert parser_of("json") is JSON
    with pytest.raises(LocalError, match="unknown parser 'xml'"):
        Server(parser="xml")  # type: ignore[arg-type]


def test_attachments_have_no_place() -> None:
    """They would be lost."""
    with pytest.raises(LocalError):
        MSGPACK.assemble(EVENT, "/", b"\x91\xa1a", (b"x",))


async def join(address: Address) -> Ws:
    """Open a WebSocket session and join the default namespace."""
    ws = await Ws.connect(address)
    assert str(await ws.receive())[:1] == "0"
    await ws.send(pack({"type": CONNECT, "data": None, "nsp": "/"}))
    return ws


async def told(ws: Ws) -> dict[str, Any]:
    """Receive a packet."""
    message = await ws.receive()
    assert isinstance(message, bytes)
    return dict(msgspec.msgpack.decode(message))


async def test_packets_are_binary_messages_over_both_transports() -> None:
    """One frame over WebSocket, base64 in a poll; events, acks, refusals, broadcasts and batches."""
    server = Server(parser="msgpack")
    server.on("echo", lambda _sid, *args: args)
    async with served(server) as address:
        ws = await join(address)
        hello = await told(ws)
        assert (hello["type"], hello["nsp"], list(hello["data"])) == (CONNECT, "/", ["sid"])
        await ws.send(pack({"type": EVENT, "data": ["echo", None, b"\x00"], "id": 3, "nsp": "/"}))
        assert await told(ws) == {"type": ACK, "data": [None, b"\x00"], "id": 3, "nsp": "/"}
        await ws.send(pack({"type": CONNECT, "nsp": "/nowhere"}))
        refusal = {"message": "Invalid namespace"}
        assert await told(ws) == {"type": CONNECT_ERROR, "data": refusal, "nsp": "/nowhere"}
        poll = await Polling.open(address)
        await poll.post(b"b" + b64encode(pack({"type": CONNECT, "nsp": "/"})))
        await poll.get()
        with server.batch():
            server.emit("n", {"blob": b"x"})
            server.emit("n", 2)
        events = [{"type": EVENT, "data": ["n", data], "nsp": "/"} for data in ({"blob": b"x"}, 2)]
        assert [await told(ws), await told(ws)] == events
        parts = (await poll.get()).split(b"\x1e")
        assert [part[:1] for part in parts] == [b"b", b"b"]
        assert [msgspec.msgpack.decode(b64decode(part[1:])) for part in parts] == events
        server.disconnect(hello["data"]["sid"])
        assert await told(ws) == {"type": DISCONNECT, "nsp": "/"}


@pytest.mark.parametrize("message", ["40", b"\xc1", pack({"type": 9, "nsp": "/"})])
async def test_a_broken_packet_closes_the_connection_at_once(message: str | bytes) -> None:
    """A text packet is as broken as bad msgpack; another client notices nothing."""
    server, reasons = watched(parser="msgpack")
    async with served(server) as address:
        good, bad = await join(address), await join(address)
        await told(good)
        await told(bad)
        await bad.send(message)
        with trio.fail_after(1):
            assert await bad.closed() == 1002
        assert reasons == ["parse error"]
        server.emit("n")
        assert (await told(good))["data"] == ["n"]
