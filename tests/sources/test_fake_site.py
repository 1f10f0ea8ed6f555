"""The fake site misbehaves as it is told."""

import ssl
from pathlib import Path

import httpx
import pytest
import trio
from fake_site import (
    HANG_UP,
    RESET,
    SILENCE,
    FakeSite,
    Reply,
    answer_json,
    gzip_bomb,
    gzipped,
    late,
    redirect,
    site_in_thread,
    status,
    trickling,
    truncated,
)
from trio.testing import MockClock


async def ask(site: FakeSite, path: str, **options: object) -> httpx.Response:
    """Ask the site once."""
    async with httpx.AsyncClient(timeout=1.0, **options) as client:  # type: ignore[arg-type]
        return await client.get(site.url + path)


async def test_a_path_answers_by_its_script_and_the_last_answer_stays(site: FakeSite) -> None:
    """Good, refused, then refused for ever."""
    site.script("/a", answer_json({"n": 1}), status(429, retry_after="7"))
    first, second, third = [await ask(site, "/a?x=1&y=%20") for _ in range(3)]
    assert first.json() == {"n": 1}
    assert (second.status_code, second.headers["retry-after"]) == (429, "7")
    assert third.status_code == 429
    assert [request.params for request in site.asked("/a")] == [{"x": "1", "y": " "}] * 3
    assert site.requests[0].headers["host"] == f"127.0.0.1:{site.port}"
    assert (await ask(site, "/b")).status_code == 404


async def test_an_answer_may_depend_on_the_request(site: FakeSite) -> None:
    """A function makes it."""
    site.script("/quote", lambda request: answer_json({"symbol": request.params["symbol"]}))
    assert (await ask(site, "/quote?symbol=AAPL")).json() == {"symbol": "AAPL"}


async def test_a_connection_is_kept_for_the_next_request(site: FakeSite) -> None:
    """As real servers do."""
    site.script("/a", answer_json({}))
    async with httpx.AsyncClient() as client:
        for _ in range(3):
            await client.get(site.url + "/a")
    assert site.connections == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (SILENCE, httpx.ReadTimeout),
        (late(answer_json({}), 2), httpx.ReadTimeout),
        (RESET, httpx.ReadError),
        (HANG_UP, httpx.RemoteProtocolError),
        (truncated(answer_json({"long": "x" * 50}), 20), httpx.RemoteProtocolError),
        (Reply(body=b"half", length=10, end="reset"), httpx.ReadError),
        (Reply(body=b"half", length=10, end="hang"), httpx.ReadTimeout),
    ],
)
async def test_bad_answers_are_bad(
    site: FakeSite, reply: Reply, error: type[Exception], loopback_clock: MockClock
) -> None:
    """Each in its own way."""
    site.script("/a", reply)
    with pytest.raises(error):
        await ask(site, "/a")


async def test_a_trickle_comes_byte_by_byte(site: FakeSite, loopback_clock: MockClock) -> None:
    """Each read gets a byte, so that no time-out of a single read notices."""
    site.script("/a", trickling(answer_json([1, 2, 3]), 0.5))
    began = trio.current_time()
    assert (await ask(site, "/a")).json() == [1, 2, 3]
    assert trio.current_time() - began == pytest.approx(4.5, abs=0.5)


async def test_gzip_is_gzip(site: FakeSite) -> None:
    """A good one, and a bomb."""
    site.script("/good", gzipped(answer_json({"n": 1})))
    assert (await ask(site, "/good")).json() == {"n": 1}
    bomb = gzip_bomb(8 << 20)
    assert len(bomb.body) < 20_000
    site.script("/bomb", bomb)
    assert len((await ask(site, "/bomb")).content) == 8 << 20


async def test_redirects_go_round(site: FakeSite) -> None:
    """In a circle."""
    site.script("/a", redirect("/b"))
    site.script("/b", redirect(site.url + "/a"))
    with pytest.raises(httpx.TooManyRedirects):
        await ask(site, "/a", follow_redirects=True, max_redirects=4)


async def test_while_it_is_away_nothing_listens(site: FakeSite) -> None:
    """And afterwards it is there again, at the same address."""
    site.script("/a", answer_json({}))
    async with site.away():
        with pytest.raises(httpx.ConnectError):
            await ask(site, "/a")
    assert (await ask(site, "/a")).status_code == 200


async def test_its_certificate_is_not_trusted_by_default(tls_site: FakeSite, certificate: Path) -> None:
    """Only by those who name it."""
    tls_site.script("/a", answer_json({}))
    with pytest.raises(httpx.ConnectError):
        await ask(tls_site, "/a")
    context = ssl.create_default_context(cafile=certificate)
    assert (await ask(tls_site, "/a", verify=context)).status_code == 200


def test_it_serves_from_a_thread() -> None:
    """For tests that block."""
    with site_in_thread() as site:
        site.script("/a", answer_json({}))
        assert httpx.get(site.url + "/a").status_code == 200
