"""Every way in which an answer can be bad is one failure, told in words, within the deadline."""

import re
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from attrs import frozen
from fake_site import (
    HANG_UP,
    RESET,
    SILENCE,
    FakeSite,
    Reply,
    answer,
    answer_json,
    gzip_bomb,
    gzipped,
    late,
    redirect,
    status,
    trickling,
    truncated,
)
from ports import free_port  # from tests/machine
from source_doubles import Running
from trio.testing import MockClock

from flux.domains.providers import UnknownPlaceError
from flux.domains.sources import Query, Source, SourceError, decode
from flux.domains.sources.http import Answer

GOOD = answer_json({"degrees": 3.5, "sky": "clear", "unknown": [1]})


@frozen(kw_only=True)
class Shape:
    """The documented shape of the fake source."""

    degrees: float
    sky: str


DECODER = msgspec.json.Decoder(Shape)


def parse(answer: Answer) -> Shape:
    """Read an answer."""
    return decode(DECODER, answer.body, "Example")


async def fail(source: Source, query: Query | None = None) -> SourceError:
    """Ask, and return how it failed."""
    with pytest.raises(SourceError) as caught:
        await source.get(query or Query("/now"), parse)
    return caught.value


FAILURES: dict[str, tuple[Reply, str, int]] = {
    "500": (status(500), "Example answered with status 500", 3),
    "503": (status(503, "<html>", "text/html"), "Example answered with status 503", 3),
    "404": (status(404), "Example answered with status 404", 1),
    "204": (Reply(status=204), "Example answered with status 204", 1),
    "304": (Reply(status=304), "Example answered with status 304", 1),
    "401": (status(401), r"Example refuses the request \(401\)", 1),
    "silence": (SILENCE, "Example did not answer in time|Example did not answer within 8 s", 1),
    "late": (late(GOOD, 20), "Example did not answer in time|Example did not answer within 8 s", 1),
    "trickle": (trickling(GOOD, 1), "Example did not answer within 8 s", 1),
    "half and silence": (
        Reply(headers={"content-type": "application/json"}, body=b"{", length=9, end="hang"),
        "Example did not answer in time|Example did not answer within 8 s",
        1,
    ),
    "truncated": (truncated(GOOD, 9), r"the connection to Example broke off \(RemoteProtocolError\)", 3),
    "reset": (RESET, r"the connection to Example broke off \(ReadError\)", 3),
    "hung up": (HANG_UP, r"the connection to Example broke off \(RemoteProtocolError\)", 3),
    "reset in the body": (
        Reply(headers={"content-type": "application/json"}, body=b"{", length=9, end="reset"),
        r"the connection to Example broke off \(ReadError\)",
        3,
    ),
    "html": (answer("<html>please log in</html>", "text/html"), "Example answered text/html, not app", 3),
    "no type": (Reply(body=b"{}"), "Example answered without a content type, not application/json", 3),
    "a very long type": (answer("", "x/" + "y" * 1000), r"Example answered x/y{58}, not", 3),
    "no JSON": (answer("{", "application/json"), "Example answered something that is not JSON", 3),
    "not UTF-8": (answer(b'{"sky":"\xff"}', "application/json"), "Example answered something that is not", 3),
    "too deep": (answer("[" * 100_000, "application/json"), "Example answered", 1),
    "a wrong type": (
        answer_json({"degrees": "3.5", "sky": "clear"}),
        r"another shape than it documents: Expected `float`, got `str` - at `\$\.degrees`",
        1,
    ),
    "a field is missing": (answer_json({"degrees": 3.5}), "missing required field `sky`", 1),
    "huge": (answer(b" " * 3_000_000, "application/json"), "Example answered more than 2097152 bytes", 1),
    "huge without a length": (
        Reply(headers={"content-type": "application/json"}, body=b" " * 3_000_000, length=-1, end="close"),
        "Example answered more than 2097152 bytes",
        1,
    ),
    "huge and never ending": (
        Reply(headers=GOOD.headers, body=b" " * 3_000_000, length=9_000_000, end="hang"),
        "Example answered more than 2097152 bytes",
        1,
    ),
    "gzip bomb": (gzip_bomb(64 << 20), "Example answered more than 2097152 bytes", 1),
    "broken gzip": (
        answer(b"no gzip", "application/json", content_encoding="gzip"),
        "Example answered with broken gzip",
        3,
    ),
    "half a gzip": (
        answer(gzipped(GOOD).body[:-9], "application/json", content_encoding="gzip"),
        "the answer of Example was cut off",
        3,
    ),
    "brotli": (answer(b"", "application/json", content_encoding="br"), "encoding that was not asked for", 1),
    "a flood of headers": (
        Reply(headers={f"x-{n}": "y" * 1000 for n in range(200)}),
        r"the connection to Example broke off \(RemoteProtocolError\)",
        3,
    ),
    "no HTTP": (Reply(status=200, headers={"a b\x00": "c"}), r"broke off \(RemoteProtocolError\)", 3),
    "a circle": (redirect("/now"), "Example redirects in a circle, or more than 3 times", 4),
    "nowhere": (redirect(""), "Example redirects to nowhere", 1),
    "a file": (redirect("file:///etc/passwd"), "Example redirects to nowhere", 1),
    "no address": (redirect("http://[::1"), r"Example broke off \(RemoteProtocolError\)", 3),
    "a strange address": (redirect("http://a:99999999/"), "Example cannot be reached", 3),
    "a redirect that is too long": (redirect("/" + "x" * 70_000), "Example broke off|redirects to", 3),
}


@pytest.mark.parametrize(("reply", "message", "requests"), FAILURES.values(), ids=FAILURES)
async def test_a_bad_answer_is_one_failure_in_words(
    reply: Reply, message: str, requests: int, running: Running, loopback_clock: MockClock, site: FakeSite
) -> None:
    """Within the deadline; it is tried again only where that can help."""
    site.script("/now", reply)
    async with running() as source:
        error = await fail(source)
        assert re.search(message, str(error))
        assert trio.current_time() <= 8.5
        assert len(site.requests) == requests
        assert source.health.row().state == "down"
        site.script("/now", GOOD)
        source._breaker.succeeded()
        assert await source.get(Query("/now"), parse) == Shape(degrees=3.5, sky="clear")


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        gzipped(GOOD),
        trickling(answer('{"degrees":3.5,"sky":"clear"}', "application/json"), 0.1),
        late(GOOD, 5),
        redirect("/there"),
        answer(GOOD.body, "Application/JSON; charset=utf-8", content_encoding="identity"),
        Reply(headers=GOOD.headers, body=GOOD.body, length=-1, end="close"),
    ],
)
async def test_a_good_answer_is_taken_however_it_comes(
    reply: Reply, running: Running, loopback_clock: MockClock, site: FakeSite
) -> None:
    """Compressed, slow, elsewhere."""
    site.script("/now", reply)
    site.script("/there", GOOD)
    async with running() as source:
        assert await source.get(Query("/now"), parse) == Shape(degrees=3.5, sky="clear")
        assert source.health.row().state == "up"


async def test_what_can_pass_is_tried_again(
    running: Running, loopback_clock: MockClock, site: FakeSite
) -> None:
    """The third attempt is good: nobody hears of the first two."""
    site.script("/now", status(503), RESET, GOOD)
    async with running() as source:
        assert await source.get(Query("/now"), parse) == Shape(degrees=3.5, sky="clear")
        assert len(site.requests) == 3
        assert 0.5 < trio.current_time() < 2


async def test_nothing_listens(running: Running, loopback_clock: MockClock, site: FakeSite) -> None:
    """The source cannot be reached, and is once it is back."""
    site.script("/now", GOOD)
    async with running() as source:
        async with site.away():
            assert str(await fail(source)) == "Example cannot be reached"
        await source.get(Query("/now"), parse)


async def test_a_name_that_nobody_knows(
    running: Running, loopback_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS says no."""
    async with running(urls={}) as source:
        assert str(await fail(source)) == "Example cannot be reached"


async def test_a_name_server_that_is_silent_does_not_outlive_the_deadline(
    running: Running, loopback_clock: MockClock
) -> None:
    """The deadline covers looking up the name."""

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            await trio.sleep_forever()

        async def getnameinfo(self, *_: Any) -> Any:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    async with running(urls={}) as source:
        assert str(await fail(source)) == "Example cannot be reached in time"
        assert trio.current_time() <= 8.5


async def test_a_certificate_that_is_not_trusted(
    tls_site: FakeSite, running: Running, loopback_clock: MockClock
) -> None:
    """Said in words, and not tried again."""
    tls_site.script("/now", GOOD)
    async with running(tls_site) as source:
        assert str(await fail(source)) == "the certificate of Example is not valid: self-signed certificate"
        assert tls_site.connections == 1


async def test_a_certificate_for_another_name(
    tls_site: FakeSite,
    running: Running,
    loopback_clock: MockClock,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message names no address."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with running(urls={}, name="x", url=f"https://localhost:{tls_site.port}") as source:
        assert str(await fail(source)) == "the certificate of Example is not valid: Hostname mismatch"


async def test_a_certificate_that_is_trusted(
    tls_site: FakeSite,
    running: Running,
    loopback_clock: MockClock,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the environment's own authorities; and nothing leads from TLS to none."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_site.script("/now", GOOD)
    tls_site.script("/away", redirect("http://127.0.0.1:1/"))
    async with running(tls_site) as source:
        await source.get(Query("/now"), parse)
        assert str(await fail(source, Query("/away"))) == "Example redirects to an address without TLS"


async def test_no_tls_where_tls_is_expected(
    site: FakeSite, running: Running, loopback_clock: MockClock
) -> None:
    """A proxy, or a captive portal."""
    async with running(urls={}, name="x", url=f"https://127.0.0.1:{site.port}") as source:
        assert str(await fail(source)) == "no TLS connection to Example: WRONG_VERSION_NUMBER"


async def test_a_tls_handshake_that_hangs(running: Running, loopback_clock: MockClock) -> None:
    """Its connection is closed, and another attempt is made."""
    accepted: list[trio.SocketStream] = []

    async def hang(stream: trio.SocketStream) -> None:
        accepted.append(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, hang, 0, host="127.0.0.1"))
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with running(urls={}, name="x", url=url, attempts=2) as source:
            assert str(await fail(source)) == "Example cannot be reached in time"
        assert len(accepted) == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "nonsense://user:canary@127.0.0.1:1"),
        ("SSL_CERT_FILE", "/nonexistent/canary"),
    ],
)
async def test_an_environment_that_is_of_no_use_is_a_failure_of_the_source(
    running: Running, loopback_clock: MockClock, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """The service runs on, and what the environment holds is not told."""
    monkeypatch.setenv(name, value)
    async with running() as source:
        message = str(await fail(source))
        assert message.startswith("Example cannot be asked: the proxy or the certificates")
        assert "canary" not in message


async def test_a_proxy_that_is_gone(
    running: Running, loopback_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source cannot be reached."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:canary@127.0.0.1:{free_port()}")
    async with running(name="x", urls={"x": "http://example.invalid"}) as source:
        assert str(await fail(source)) == "Example cannot be reached"


async def test_a_proxy_of_the_environment_is_used(
    running: Running, loopback_clock: MockClock, site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request goes there."""
    monkeypatch.setenv("HTTP_PROXY", site.url)
    site.script("http://example.invalid/now", GOOD)
    site.script("/now", GOOD)
    async with running(name="x", urls={"x": "http://example.invalid"}) as source:
        await source.get(Query("/now"), parse)
        assert site.requests[0].headers["host"] == "example.invalid"


async def test_a_key_goes_to_no_other_host(
    running: Running, loopback_clock: MockClock, site: FakeSite
) -> None:
    """A redirect elsewhere is refused where a key is in use, and followed where there is none."""
    other = f"http://localhost:{site.port}/there"
    site.script("/now", redirect(other))
    site.script("/there", GOOD)
    async with running(headers={"x-key": "canary"}) as source:
        assert str(await fail(source)) == "Example redirects to another host"
    async with running(params={"key": "canary"}) as source:
        assert str(await fail(source)) == "Example redirects to another host"
    assert not site.asked("/there")
    async with running() as source:
        await source.get(Query("/now", {"q": "Oslo"}), parse)
    assert site.asked("/there")[0].params == {}


async def test_a_refused_key_names_its_setting(
    running: Running, loopback_clock: MockClock, site: FakeSite
) -> None:
    """So that people know what to mend."""
    site.script("/now", status(403))
    async with running(headers={"x-key": "canary"}, key_setting="providers.finnhub_key") as source:
        assert str(await fail(source)) == (
            "Example refuses the request (403); check the key in the setting providers.finnhub_key"
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": {"x-key": "canary\ny"}},
        {"headers": {"x-key": "canary\u20ac"}},
        {"name": "x", "urls": {"x": "canary://127.0.0.1"}},
        {"name": "x", "urls": {"x": "http://canary:port"}},
        {"name": "x", "urls": {"x": "canary"}},
    ],
)
async def test_settings_that_cannot_be_used_are_a_failure_in_words(
    running: Running, loopback_clock: MockClock, changes: dict[str, Any]
) -> None:
    """A line break in a key, an address that is none: neither is told, nor tried again."""
    async with running(**changes) as source:
        error = await fail(source)
        assert str(error).startswith(
            "Example cannot be asked: its address or key in the settings is of no use ("
        )
        assert "canary" not in str(error)
        assert not error.passing


async def test_no_cookie_comes_back(running: Running, loopback_clock: MockClock, site: FakeSite) -> None:
    """One answer does not change the next request."""
    site.script("/now", answer(GOOD.body, "application/json", set_cookie="a=b; Path=/"))
    async with running(ttl=0.0) as source:
        for _ in range(2):
            await source.get(Query("/now"), parse)
    assert ["cookie" in request.headers for request in site.requests] == [False, False]


async def test_an_endless_gzip_that_holds_nothing_is_refused(
    running: Running, loopback_clock: MockClock, site: FakeSite
) -> None:
    """What comes is counted, also where it decompresses to nothing."""
    head = zlib.compressobj(wbits=16 + zlib.MAX_WBITS).flush()[:10]
    blocks = head + b"\x00\x00\x00\xff\xff" * 10_000
    assert zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(blocks) == b""
    site.script("/now", answer(blocks, "application/json", content_encoding="gzip"))
    async with running(body_limit=10_000) as source:
        assert str(await fail(source)) == "Example answered more than 10000 bytes"


async def test_a_place_that_the_source_does_not_know_is_a_good_answer(
    running: Running, loopback_clock: MockClock, site: FakeSite
) -> None:
    """It says nothing against the source, however often."""

    def unknown(_: Answer) -> Shape:
        raise UnknownPlaceError("nobody knows Atlantis")

    site.script("/now", GOOD)
    async with running() as source:
        for _ in range(5):
            with pytest.raises(UnknownPlaceError, match="nobody knows Atlantis"):
                await source.get(Query("/now"), unknown)
        assert source.health.row().state == "up"


async def test_a_parser_that_crashes_is_a_failure_of_the_source(
    running: Running, loopback_clock: MockClock, site: FakeSite, logged: list[Any]
) -> None:
    """Whoever asked gets a failure, the log gets the traceback, once; the source serves on."""

    def crash(_: Answer) -> Shape:
        raise KeyError("degrees")

    site.script("/now", GOOD)
    async with running() as source:
        for _ in range(2):
            with pytest.raises(SourceError, match="an answer of Example could not be read"):
                await source.get(Query("/now"), crash)
        assert await source.get(Query("/now"), parse) == Shape(degrees=3.5, sky="clear")
    crashes = [line for line in logged if line["event"] == "answer could not be read"]
    assert [(line["error"], line["exc_info"]) for line in crashes] == [("KeyError", True)]


async def test_a_parser_may_run_in_a_thread(running: Running, site: FakeSite) -> None:
    """Feeds take long to read."""
    site.script("/now", GOOD)

    def threaded(answer: Answer) -> Shape:
        with pytest.raises(RuntimeError):
            trio.current_time()
        return parse(answer)

    async with running() as source:
        assert await source.get(Query("/now", in_thread=True), threaded) == Shape(degrees=3.5, sky="clear")
