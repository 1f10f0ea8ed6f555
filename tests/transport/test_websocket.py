"""WebSocket frames and messages: what goes out is well formed, what comes in is whole or refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transport_peers import KEY, Ws
from websockets.frames import BINARY, TEXT, Close, Frame

from flux.transport.http import Request
from flux.transport.websocket import (
    MAX_FRAGMENTS,
    HandshakeError,
    Messages,
    accept,
    frame_binary,
    frame_close,
    frame_text,
)

frame = Ws.frame
HANDSHAKE = {
    b"host": b"localhost",
    b"upgrade": b"websocket",
    b"connection": b"keep-alive, Upgrade",
    b"sec-websocket-key": KEY.encode(),
    b"sec-websocket-version": b"13",
}


class FakeWire:
    """Records what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.finished = False

    def write(self, data: bytes) -> None:
        """Record."""
        self.written += data

    def finish(self) -> None:
        """Record."""
        self.finished = True


def reader(max_size: int = 1000) -> tuple[Messages, Any]:
    """Return a reader and its wire."""
    wire: Any = FakeWire()
    return Messages(wire, max_size), wire


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_frames_are_those_of_the_protocol(size: int) -> None:
    """Each length form is what ``websockets`` would write."""
    data = b"x" * size
    assert frame_text(data) == Frame(TEXT, data).serialize(mask=False)
    assert frame_binary(data) == Frame(BINARY, data).serialize(mask=False)


def test_a_close_frame_carries_its_code() -> None:
    """The payload is the code alone."""
    assert frame_close(1001)[2:] == Close(1001, "").serialize()


def test_a_handshake_is_answered_with_the_hash_of_its_key() -> None:
    """The example of RFC 6455, 1.3."""
    head = accept(Request("GET", "/", tuple(HANDSHAKE.items())))
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({b"sec-websocket-key": b"short"}, 400),
        ({b"sec-websocket-key": None}, 400),
        ({b"sec-websocket-version": b"8"}, 400),
        ({b"connection": b"close"}, 426),
        ({b"upgrade": b"h2c"}, 426),
    ],
)
def test_a_bad_handshake_is_refused(change: dict[bytes, bytes | None], status: int) -> None:
    """With the status that RFC 6455 gives."""
    headers = tuple((n, v) for n, v in {**HANDSHAKE, **change}.items() if v is not None)
    with pytest.raises(HandshakeError) as caught:
        accept(Request("GET", "/", headers))
    assert caught.value.response.status == status


@pytest.mark.parametrize("request_line", [("POST", "1.1"), ("GET", "1.0")])
def test_a_handshake_by_another_method_or_version_is_refused(request_line: tuple[str, str]) -> None:
    """Only GET with HTTP/1.1 opens a WebSocket."""
    method, version = request_line
    with pytest.raises(HandshakeError):
        accept(Request(method, "/", tuple(HANDSHAKE.items()), http_version=version))


@given(
    messages=st.lists(st.one_of(st.text(max_size=20), st.binary(max_size=20)), max_size=8),
    pieces=st.integers(1, 7),
    fragments=st.integers(1, 4),
)
def test_messages_come_whole_however_they_are_cut(
    messages: list[str | bytes], pieces: int, fragments: int
) -> None:
    """Segments and fragments may end anywhere, within a character too."""
    data = b""
    for message in messages:
        payload = message.encode() if isinstance(message, str) else message
        opcode = 1 if isinstance(message, str) else 2
        step = max(1, len(payload) // fragments)
        parts = [payload[i : i + step] for i in range(0, len(payload), step)] or [b""]
        for number, part in enumerate(parts):
            data += frame(part, opcode if number == 0 else 0, fin=number == len(parts) - 1)
            data += frame(b"", 10)  # a pong between fragments is allowed
    messages_in, _ = reader()
    got = [m for i in range(0, len(data), pieces) for m in messages_in.feed(data[i : i + pieces])]
    assert got == messages


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"\xff", 1), 1007),
        (frame(b"\xed\xa0\x80", 1), 1007),
        (frame(b"\xc3", 1, fin=False) + frame(b"x", 0), 1007),
        (frame(b"x" * 1001, 2), 1009),
        (frame(b"x" * 600, 2, fin=False) + frame(b"x" * 600, 0), 1009),
        (frame(b"", 0), 1002),
        (frame(b"a", 1, fin=False) + frame(b"b", 1), 1002),
        (frame(b"", 9, fin=False), 1002),
        (frame(b"x" * 126, 9), 1002),
        (frame(b"", 3), 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x81\x01x", 1002),
        (frame(b"\x03", 8), 1002),
        (frame(b"\x03\xed", 8), 1002),
        (frame(b"", 1, fin=False) + frame(b"", 0, fin=False) * MAX_FRAGMENTS, 1008),
    ],
)
def test_broken_frames_fail_the_connection_with_their_code(data: bytes, code: int) -> None:
    """Nothing is delivered, the close frame says why, and our side ends."""
    messages, wire = reader()
    assert list(messages.feed(data)) == []
    assert list(messages.feed(frame("not any more"))) == []
    assert messages.ended
    assert messages.failed
    assert wire.finished
    assert wire.written[:2] == bytes((0x88, len(wire.written) - 2))
    assert int.from_bytes(wire.written[2:4], "big") == code


def test_messages_before_the_broken_frame_are_delivered() -> None:
    """The failure does not reach back."""
    messages, _ = reader()
    assert list(messages.feed(frame("good") + frame(b"\xff", 1))) == ["good"]


def test_a_ping_is_answered() -> None:
    """With its own payload."""
    messages, wire = reader()
    assert list(messages.feed(frame(b"hi", 9))) == []
    assert wire.written == b"\x8a\x02hi"


def test_a_close_frame_is_echoed() -> None:
    """The closing handshake is completed, and it is no failure."""
    messages, wire = reader()
    assert list(messages.feed(frame(b"\x03\xe8", 8) + b"anything")) == []
    assert wire.written == b"\x88\x02\x03\xe8"
    assert wire.finished
    assert messages.ended
    assert not messages.failed


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_one_close_code(data: bytes) -> None:
    """The reader never raises."""
    messages, wire = reader(64)
    for message in messages.feed(data):
        assert len(message) <= 64
    assert messages.ended == wire.finished
