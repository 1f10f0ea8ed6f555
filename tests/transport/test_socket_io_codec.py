"""Socket.IO packets: valid ones are understood, all else is one error, and others read what goes out."""

from typing import Any

import msgspec
import pytest
import socketio.packet
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import LocalError
from flux.transport.engine_io import PacketError
from flux.transport.socket_io.codec import (
    ACK,
    CONNECT,
    DISCONNECT,
    EVENT,
    MAX_ATTACHMENTS,
    MAX_DEPTH,
    RESERVED,
    Decoder,
    Packet,
    encode,
)


def decode(*messages: str | bytes) -> Packet:
    """Feed messages to a new decoder; the last one must complete a packet."""
    decoder = Decoder(1000)
    *first, last = messages
    for message in first:
        assert decoder.feed(message) is None
    packet = decoder.feed(last)
    assert packet is not None
    return packet


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("0", Packet(CONNECT)),
        ('0{"token":"x"}', Packet(CONNECT, "/", {"token": "x"})),
        ("0/admin,", Packet(CONNECT, "/admin")),
        ("0/admin", Packet(CONNECT, "/admin")),
        ('0/admin?a=b,{"c":1}', Packet(CONNECT, "/admin", {"c": 1})),
        ("1", Packet(DISCONNECT)),
        ("1/admin,", Packet(DISCONNECT, "/admin")),
        ('2["a"]', Packet(EVENT, "/", ["a"])),
        ('2["a",{"b":[1,null,true,1.5]}]', Packet(EVENT, "/", ["a", {"b": [1, None, True, 1.5]}])),
        ('212["a"]', Packet(EVENT, "/", ["a"], 12)),
        ('2/nsp,0["a"]', Packet(EVENT, "/nsp", ["a"], 0)),
        ("30[]", Packet(ACK, "/", [], 0)),
        ('3/nsp,7["a",1]', Packet(ACK, "/nsp", ["a", 1], 7)),
        ('50-["a"]', Packet(EVENT, "/", ["a"])),
        ('2["a","[[[[\\"{{"]', Packet(EVENT, "/", ["a", '[[[["{{'])),
    ],
)
def test_text_packets_are_decoded(text: str, packet: Packet) -> None:
    """Every part of the format."""
    assert decode(text) == packet


def test_attachments_take_their_places() -> None:
    """In any order and depth, in events and acks."""
    hole = '{"_placeholder":true,"num":%d}'
    text = f'52-/n,3["a",{hole % 1},{{"b":[{hole % 0}]}}]'
    assert decode(text, b"zero", b"one") == Packet(EVENT, "/n", ["a", b"one", {"b": [b"zero"]}], 3)
    assert decode(f"61-5[{hole % 0}]", b"x") == Packet(ACK, "/", [b"x"], 5)


@pytest.mark.parametrize(
    "messages",
    [
        ("",),
        ("7",),
        ("x",),
        ("²",),
        ("2",),
        ("2{}",),
        ("2[]",),
        ("2[1]",),
        ("2[null]",),
        ('2["a"',),
        ('2["a"]x',),
        ('2["a",NaN]',),
        ('2["a","\\ud800"]',),
        ('2["a",1e999]',),
        ('2["a",' + "9" * 5000 + "]",),
        ('2["a",' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "]",),
        ('2["a",' + "[" * 20_000 + "]" * 20_000 + "]",),
        ("2" + "[" * 40_000,),
        ('2["a",' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "]",),
        ('2/nsp["a"]',),
        ('29999999999999999["a"]',),
        ('2-1["a"]',),
        ('21-["a"]',),
        ("3[]",),
        ("31{}",),
        ("0[]",),
        ("01",),
        ('0"text"',),
        ("1[]",),
        ("4",),
        ('4{"message":"x"}',),
        ('5["a"]',),
        ('5-["a"]',),
        (f'5{MAX_ATTACHMENTS + 1}-["a"]',),
        ('5999999999999-["a"]',),
        ('51-["a",{"_placeholder":true,"num":1}]', b""),
        ('51-["a",{"_placeholder":true,"num":-1}]', b""),
        ('51-["a",{"_placeholder":true,"num":"0"}]', b""),
        ('51-["a",{"_placeholder":true,"num":0.0}]', b""),
        ('51-["a",{"_placeholder":true,"num":true}]', b""),
        ('51-["a",{"_placeholder":true}]', b""),
        ('51-["a"]', '2["b"]'),
        ('51-["a"]', b"x" * 1001),
        ('52-["a"]', b"x" * 600, b"x" * 600),
        (b"no packet",),
        ("0/" + "a" * 300,),
        *((f'2["{name}"]',) for name in RESERVED),
    ],
)
def test_bad_packets_are_one_error(messages: tuple[str | bytes, ...]) -> None:
    """Whatever is wrong with them."""
    decoder = Decoder(1000)
    with pytest.raises(PacketError):
        list(map(decoder.feed, messages))


def test_a_nested_payload_within_the_bound_is_accepted() -> None:
    """Brackets in strings do not count."""
    depth = MAX_DEPTH - 1
    brackets = "[" * 1000
    text = f'2["a",{"[" * depth}"{brackets}"{"]" * depth}]'
    assert decode(text).data[0] == "a"


messages = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=10),
    st.from_regex(r"\A[0-6]([0-9]{1,2}-)?(/[a-z]*,)?[0-9]{0,3}[\[{].{0,10}[\]}]\Z"),
    st.sampled_from(['51-["a",{"_placeholder":true,"num":0}]', '2["a"]', "0", "1", "41-1[]", '0{"a":1}']),
)


@given(st.lists(messages, max_size=6))
def test_any_messages_are_accepted_or_the_one_error(sequence: list[str | bytes]) -> None:
    """The decoder raises nothing else, and what it accepts is well formed."""
    decoder = Decoder(50)
    try:
        for message in sequence:
            packet = decoder.feed(message)
            if packet is None:
                continue
            assert packet.kind in (CONNECT, DISCONNECT, EVENT, ACK)
            assert packet.namespace.startswith("/")
            if packet.kind == EVENT:
                assert isinstance(packet.data[0], str)
    except PacketError:
        pass


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=9,
)


@given(
    data=st.lists(values, max_size=2),
    namespace=st.sampled_from(["/", "/a"]),
    number=st.none() | st.integers(0, 10**14),
)
def test_what_is_encoded_python_socketio_reads(data: list[Any], namespace: str, number: int | None) -> None:
    """And so do we."""
    sent = ["event", *data]
    out = encode(EVENT, namespace, sent, number)
    text = out.text.decode()
    assert text[0] == "4"
    theirs = socketio.packet.Packet(encoded_packet=text[1:])
    ours: Packet | None = None
    decoder = Decoder(1000)
    ours = decoder.feed(text[1:])
    for attachment in out.attachments:
        theirs.add_attachment(attachment)
        ours = decoder.feed(attachment)
    assert ours == Packet(EVENT, namespace, sent, number)
    assert (theirs.data, theirs.namespace or "/", theirs.id) == (sent, namespace, number)


def test_raw_json_is_relayed_untouched() -> None:
    """Byte for byte, at any depth."""
    raw = msgspec.Raw(b'{"price": 1.50,  "x":[ ]}')
    assert encode(EVENT, "/", ["t", raw]).text == b'42["t",{"price": 1.50,  "x":[ ]}]'
    assert encode(EVENT, "/", ["t", {"data": [raw]}]).text == b'42["t",{"data":[{"price": 1.50,  "x":[ ]}]}]'


def nested(depth: int) -> list[Any]:
    """Return that many lists in each other."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "data",
    [
        object(),
        "\ud800",
        {(1, 2): 3},
        nested(5000),
        nested(MAX_DEPTH + 1),
        [b""] * (MAX_ATTACHMENTS + 1),
        1j,
    ],
)
def test_what_cannot_be_sent_is_the_callers_error(data: Any) -> None:
    """Before anything is sent."""
    with pytest.raises(LocalError):
        encode(EVENT, "/", ["a", data])


def test_data_that_contains_itself_is_the_callers_error() -> None:
    """The walk ends."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(LocalError):
        encode(EVENT, "/", ["a", loop])
