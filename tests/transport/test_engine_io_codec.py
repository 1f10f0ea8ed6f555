"""Engine.IO packets and payloads: what a client may send is understood, all else is one error."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.transport.engine_io.codec import (
    MAX_PACKETS,
    Outgoing,
    Packet,
    PacketError,
    decode_payload,
    decode_text,
)


def test_a_payload_is_packets_joined_by_a_separator() -> None:
    """Text with its type digit, bytes as base64."""
    body = b"4hello\x1e2\x1ebAQIDBA==\x1e4\xe2\x82\xac"
    assert list(decode_payload(body)) == [
        Packet(4, "hello"),
        Packet(2, ""),
        Packet(4, b"\1\2\3\4"),
        Packet(4, "€"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x1e",
        b"4a\x1e",
        b"9",
        b"x",
        b"44\xff",
        b"b*",
        b"bAQ",
        b"bAQ==\n",
        b"\xd9\xa44",
        b"4\x1e" * MAX_PACKETS,
    ],
)
def test_bad_payloads_are_one_error(body: bytes) -> None:
    """Empty packets, unknown types, bad UTF-8, bad base64, too many packets."""
    with pytest.raises(PacketError):
        list(decode_payload(body))


@given(st.binary(max_size=100))
def test_any_payload_is_accepted_or_the_one_error(body: bytes) -> None:
    """Nothing else comes out of the decoder."""
    try:
        for packet in decode_payload(body):
            assert 0 <= packet.kind <= 6
    except PacketError:
        pass


@given(st.text(max_size=20))
def test_any_text_frame_is_accepted_or_the_one_error(text: str) -> None:
    """Non-ASCII digits are no digits."""
    try:
        packet = decode_text(text)
        assert str(packet.kind) + str(packet.data) == text
    except PacketError:
        assert text[:1] not in set("0123456")


def test_an_outgoing_packet_has_both_forms() -> None:
    """Attachments are binary frames, or base64 in a payload."""
    packet = Outgoing(b"4text", (b"\0\1", b"\2"))
    assert packet.frames == b"\x81\x05" + b"4text" + b"\x82\x02\0\1" + b"\x82\x01\2"
    assert packet.payload == b"\x1e".join(
        (b"4text", b"b" + base64.b64encode(b"\0\1"), b"b" + base64.b64encode(b"\2"))
    )
