"""The quick ways for what is common give what the libraries give, however the bytes are cut."""

import math
import struct
from typing import Any, cast

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.frames import CONT, TEXT, Opcode
from websockets.http11 import Request as HandshakeRequest
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.server import ServerProtocol

from flux.transport import http_quick
from flux.transport.engine_io.websocket import _step
from flux.transport.http import Request, RequestError, Response
from flux.transport.http_guard import check_head, check_request
from flux.transport.websocket import HandshakeError, Messages, accept, borders
from flux.transport.wire import Wire

MAX = 300
MASK = b"\x11\x22\x33\x44"


class Log:
    """Stands in for a wire: keeps what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.finished = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def finish(self) -> None:
        """Note the end."""
        self.finished = True


def by_library(pieces: list[bytes]) -> tuple[list[str | bytes], bytes, bool]:
    """Read a stream by the parser of ``websockets`` alone: messages, what it writes, whether it ends."""
    protocol = Protocol(SERVER, state=OPEN, max_size=MAX)
    messages: list[str | bytes] = []
    written = b""
    parts: list[bytes] = []
    text = False
    for piece in pieces:
        protocol.receive_data(piece)
        for frame in cast("list[Any]", protocol.events_received()):
            if frame.opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE):
                continue
            if frame.opcode is not CONT:
                text = frame.opcode is TEXT
            parts.append(bytes(frame.data))
            if not frame.fin:
                continue
            whole = b"".join(parts)
            parts.clear()
            try:
                messages.append(whole.decode() if text else whole)
            except UnicodeDecodeError:
                protocol.fail(1007)
                break
        for data in protocol.data_to_send():
            if not data:
                return messages, written, True
            written += data
    return messages, written, False


def by_ours(pieces: list[bytes]) -> tuple[list[str | bytes], bytes, bool]:
    """Read a stream as connections do."""
    log = Log()
    messages = Messages(cast("Wire", log), MAX)
    taken: list[str | bytes] = []
    for piece in pieces:
        _step(messages, taken.append, piece)
        if messages.ended:
            break
    assert messages.ended is log.finished
    return taken, log.data, log.finished


def outcome(read: tuple[list[str | bytes], bytes, bool]) -> tuple[list[str | bytes], list[bytes], bool]:
    """Leave out the reasons of close frames, for which the standard asks no words."""
    messages, written, ended = read
    frames = []
    while written:
        size = written[1]
        frames.append(written[:1] + written[2 : 2 + (min(size, 2) if written[0] == 0x88 else size)])
        written = written[2 + size :]
    return messages, frames, ended


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Frames as clients send them, and some that they must not."""
    first = draw(
        st.sampled_from([0x81] * 8 + [0x82, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8A, 0x88, 0xC1, 0x83, 0x09])
    )
    text = draw(
        st.sampled_from(["", "3", "42[1]", "é" * 9, "x" * 125, "x" * 126, "y" * 300, "z" * 301])
    ).encode()
    payload = draw(st.sampled_from([text] * 6 + [b"\xff", b"\x03\xe8", b"\x03"]))
    size = len(payload)
    how = draw(st.sampled_from([0] * 8 + [126, 127]))
    mask = draw(st.sampled_from([0x80] * 15 + [0]))
    if how == 127:
        head = struct.pack("!BBQ", first, 127 | mask, draw(st.sampled_from([size, size, 2**63, 70_000])))
    elif how == 126 or size > 125:
        head = struct.pack("!BBH", first, 126 | mask, size)
    else:
        head = struct.pack("!BB", first, size | mask)
    return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))


@settings(max_examples=600, deadline=None)
@given(st.lists(frames() | st.binary(max_size=12), max_size=8), st.lists(st.integers(1, 400), max_size=12))
@example([b"\x81\x80" + MASK], [])
def test_frames_are_read_as_the_library_reads_them(stream: list[bytes], cuts: list[int]) -> None:
    """The same messages, the same answers, the same end."""
    data = b"".join(stream)
    pieces, rest = [], data
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    pieces = [piece for piece in (*pieces, rest) if piece]
    # Byte by byte, for of two faults in one piece the library may answer the later one.
    expected = outcome(by_library([data[i : i + 1] for i in range(len(data))]))
    assert outcome(by_ours(pieces)) == expected
    assert outcome(by_ours([frame for frame in stream if frame])) == expected


def test_after_an_unusual_frame_the_quick_way_is_open_again() -> None:
    """A ping, or a frame that came in two pieces, does not make a connection slow for good."""
    messages = Messages(cast("Wire", Log()), MAX)
    common = b"\x81\x81" + MASK + b"\x22"
    assert messages.single(common) == "3"
    assert list(messages.feed(b"\x89\x80" + MASK + common[:1])) == []
    assert messages.single(common) is None
    assert list(messages.feed(common[1:])) == ["3"]
    assert messages.single(common) == "3"
    assert list(messages.feed(b"\x01\x81" + MASK + b"\x22")) == []
    assert messages.single(common) is None
    assert list(messages.feed(b"\x80\x81" + MASK + b"\x22")) == ["33"]
    assert messages.single(common) == "3"
    messages.fail(1002)
    assert messages.single(common) is None


def test_borders_of_frames() -> None:
    """Whole heads give size and place, broken ones no end, pieces of one nothing."""
    assert borders(b"\x81\x85", 0) == (6, 5)
    assert borders(b"..\x81\xfe\x01\x00", 2) == (10, 256)
    assert borders(b"\x81\xff" + (2**16).to_bytes(8, "big"), 0) == (14, 2**16)
    assert borders(b"\x81\x05", 0) == (0, math.inf)
    assert borders(b"\x83\x85", 0) == (0, math.inf)
    assert [borders(head, 0) for head in (b"\x81", b"\x81\xfe\0", b"\x81\xff" + bytes(7))] == [None] * 3


def by_h11(data: bytes) -> Request | None:
    """Read a request as the slow way does; None: it is refused, or not whole."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1000)
    connection.receive_data(data)
    try:
        head = connection.next_event()
        if not isinstance(head, h11.Request):
            return None
        check_head(data, 1000)
        check_request(head)
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += bytes(event.data)
    except (h11.RemoteProtocolError, RequestError):
        return None
    if not isinstance(event, h11.EndOfMessage):
        return None
    target, method = head.target.decode(), head.method.decode()
    return Request(method, target, tuple(head.headers), body)


fields = st.sampled_from(
    [
        "Host: a",
        "host:b",
        "Host:",
        "Content-Length: 3",
        "content-length:03 ",
        "Content-Length: +3",
        "X: \t1",
        "Connection: close",
        "Connection: Keep-Alive",
        "Upgrade: websocket",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "X : 1",
        " X: 1",
        "X: a\x00b",
        "X: é",
        "X",
        ": 1",
        "Content-Length: 1, 1",
        "Y:  2  3 ",
    ]
)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "HEAD", "get", "PUT"]),
    st.sampled_from(["/", "/a?b=c%20", "*", "a", "/\xe9", "/ b", "http://a/", "/a\0"]),
    st.sampled_from(["HTTP/1.1"] * 4 + ["HTTP/1.0", "HTTP/1.1 "]),
    st.lists(fields, max_size=4),
    st.sampled_from(["\r\n"] * 4 + ["\n", "\r"]),
    st.sampled_from(["", "abc", "abcGET / HTTP/1.1\r\n", "ab"]),
)
def test_what_is_read_quickly_is_the_request_that_h11_reads(
    method: str, target: str, version: str, lines: list[str], end: str, body: str
) -> None:
    """Nothing that the slow way refuses is let in, and what is let in is the same."""
    head = end.join([f"{method} {target} {version}", "Host: localhost", *lines])
    data = (head + "\r\n\r\n" + body).encode()
    quick = http_quick.read(data, 1000)
    if quick is None:
        return
    request = Request(quick.method, quick.target, quick.headers, data[quick.body : quick.end])
    assert request == by_h11(data[: quick.end])


def test_the_common_requests_are_read_quickly() -> None:
    """A poll, a post with its body, and a handshake with what the client sent behind it."""
    quick = http_quick.read(b"GET /s?sid=1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n\x81", 99)
    assert quick is not None
    assert (quick.target, quick.headers) == ("/s?sid=1", ((b"host", b"a"), (b"connection", b"Upgrade")))
    assert quick.body == quick.end == 55
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
    assert http_quick.read(post + b"4", 99) is None
    quick = http_quick.read(post + b"40GET", 99)
    assert quick is not None
    assert (quick.method, quick.end - quick.body) == ("POST", 2)
    assert http_quick.read(post + b"40", 20) is None


def test_a_head_is_written_as_h11_writes_it() -> None:
    """The bytes are those of h11, but for the case of the field names."""
    headers = ((b"cache-control", b"no-store"), (b"vary", b"Origin"))
    for status, close in ((200, False), (404, True), (204, False)):
        response = Response(status, b"abc" if status != 204 else b"", headers)
        length = status != 204
        server = h11.Connection(h11.SERVER)
        server.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server.next_event()
        fields = [(b"date", b"now"), *headers]
        fields += [(b"content-length", b"%d" % len(response.body))] if length else []
        fields += [(b"connection", b"close")] if close else []
        reason = http_quick.phrase(status)
        expected = server.send(h11.Response(status_code=status, headers=fields, reason=reason)) or b""
        assert http_quick.head(response, b"now", length=length, close=close) == expected


@pytest.mark.parametrize(
    "header", [(b"x", b"1\r\ny: 2"), (b"x", b"\n"), (b"x:", b"1"), (b"", b""), (b"Content-Length", b"1")]
)
def test_a_header_that_would_split_the_response_is_not_written(header: tuple[bytes, bytes]) -> None:
    """An application's header cannot end the head, nor speak of the body's length."""
    with pytest.raises(h11.LocalProtocolError):
        http_quick.head(Response(200, b"", (header,)), b"now", length=True, close=False)


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def accepted_by_library(request: Request) -> bool:
    """Whether ``websockets`` takes a handshake."""
    headers = Headers()
    for name, value in request.headers:
        headers[name.decode()] = value.decode()
    return ServerProtocol().accept(HandshakeRequest(request.target, headers)).status_code == 101


handshake_fields = st.sampled_from(
    [(b"sec-websocket-key", value) for value in (KEY, KEY[:-1], b"a" * 24, b"", KEY + b" ")]
    + [(b"sec-websocket-version", value) for value in (b"13", b"8", b"")]
    + [(b"connection", value) for value in (b"Upgrade", b"close", b"keep-alive, Upgrade", b"x,upgrade")]
    + [(b"upgrade", value) for value in (b"websocket", b"h2c", b"WebSocket")]
    + [(b"sec-websocket-protocol", b"a"), (b"sec-websocket-protocol", b"@"), (b"origin", b"http://a")]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(handshake_fields, max_size=7), st.sets(st.integers(0, 3)))
def test_handshakes_are_judged_as_the_library_judges_them(
    fields: list[tuple[bytes, bytes]], kept: set[int]
) -> None:
    """Taken by one means taken by the other."""
    right = [
        (b"sec-websocket-key", KEY),
        (b"sec-websocket-version", b"13"),
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
    ]
    request = Request("GET", "/", tuple([field for i, field in enumerate(right) if i not in kept] + fields))
    try:
        answer = accept(request)
    except HandshakeError:
        assert not accepted_by_library(request)
    else:
        assert accepted_by_library(request)
        assert answer.endswith(b"\r\n\r\n")


def test_the_accepted_key_is_that_of_the_standard() -> None:
    """The example of RFC 6455, 1.3."""
    fields = ((b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-version", b"13"))
    head = accept(Request("GET", "/", (*fields, (b"sec-websocket-key", KEY))))
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
