"""Whatever bytes come as HTTP, what goes back is HTTP that another make reads, and it comes at once."""

import h11
import structlog.testing
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transport_peers import POLL, raw, served

from flux.transport.http import Request, Response
from flux.transport.socket_io import Server

STATUSES = {200, 204, 400, 403, 404, 405, 413, 431, 501, 505}

targets = st.sampled_from(
    ["/", POLL, "/socket.io", "/socket.io/?sid=x", "*", "http://a/b", "//", "x", "/%00%ff"]
)
names = st.sampled_from(
    ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Expect", "Upgrade", "Origin"]
)
values = st.sampled_from(
    ["a", "0", "3", "-1", "chunked", "close", "keep-alive, Upgrade", "100-continue", "websocket"]
)
lines = st.builds(
    "{}{}{}".format, names, st.sampled_from([": ", ":", " : ", ""]), values | st.text(max_size=5)
)
ends = st.sampled_from(["\r\n"] * 6 + ["\n", "\r", "\r\n "])
bodies = st.sampled_from(
    ["", "abc", "3\r\nabc\r\n0\r\n\r\n", "ffffffffffffffffff\r\n", "3;x=y\r\nabcX", "0\r\n\r\n"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Requests that are right, or nearly."""
    method = draw(st.sampled_from(["GET", "GET", "POST", "OPTIONS", "PUT", "get", "CONNECT", ""]))
    version = draw(st.sampled_from(["HTTP/1.1"] * 5 + ["HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", ""]))
    head = [f"{method} {draw(targets)} {version}", *draw(st.lists(lines, max_size=4))]
    if draw(st.booleans()):
        head.insert(1, "Host: localhost")
    text = "".join(line + draw(ends) for line in head) + draw(st.sampled_from(["\r\n"] * 4 + ["", "\n"]))
    return (text + draw(bodies)).encode("utf-8", "surrogatepass")


def app(request: Request) -> Response:
    """Answer with the body."""
    return Response(200, request.body)


def read_by_h11(answer: bytes, methods: list[bytes]) -> list[int]:
    """Parse whole responses until the end, as a client would; gives their statuses."""
    statuses: list[int] = []
    for method in methods:
        if not answer:
            break
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(answer)
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA, answer
            if isinstance(event, h11.Response):
                statuses.append(event.status_code)
        answer = client.trailing_data[0]
    assert not answer
    return statuses


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(requests() | st.binary(max_size=30), min_size=1, max_size=3))
def test_any_bytes_are_answered_in_http_or_ended(parts: list[bytes]) -> None:
    """Known statuses only, never a 500; nothing is logged as an error, no WebSocket stays, all at once."""
    answers: list[bytes] = []
    left: list[int] = []

    async def attack() -> None:
        server = Server()
        async with served(server, app) as address:
            with trio.fail_after(5):
                answers.append(await raw(address, b"".join(parts), end=True))
                good = await raw(address, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert good.startswith(b"HTTP/1.1 200 ")
            left.append(
                sum(client.session.transport == "websocket" for client in server.engine.clients.values())
            )

    with structlog.testing.capture_logs() as logs:
        trio.run(attack)
    assert set(read_by_h11(answers[0], [b"GET"] * 9)) <= STATUSES
    assert left == [0]
    assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")]
