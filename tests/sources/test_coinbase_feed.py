"""The Coinbase Exchange feed against a fake of it on loopback: what comes, and all the ways it breaks."""

import json
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import trio
from fake_coinbase import HOST, FakeCoinbase, open_coinbase
from trio.testing import MockClock

from flux.domains.crypto.coinbase.feed import SOURCE, CoinbaseFeed, FeedLimits
from flux.domains.crypto.products import Products
from flux.domains.sources import Board
from flux.domains.sources.authorities import authorities
from flux.domains.sources.board import SourceState
from flux.metrics import REGISTRY
from flux.nurseries.backoff import Backoff

FAST = FeedLimits(products=2, backoff=Backoff(initial=0.02, cap=0.05))
BOTH = ("BTC-USD", "ETH-USD")


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.ticks: list[tuple[str, bytes]] = []
        self.downs: list[str] = []
        self.news = trio.Event()

    async def tick(self, product: str, data: bytes) -> None:
        """Keep a tick."""
        await trio.lowlevel.checkpoint()
        self.ticks.append((product, data))
        self._tell()

    def down(self, reason: str) -> None:
        """Keep why."""
        self.downs.append(reason)
        self._tell()

    async def until(self, fulfilled: Callable[[], bool]) -> None:
        """Wait until something is so."""
        with trio.fail_after(100):
            while not fulfilled():
                await self.news.wait()

    def _tell(self) -> None:
        news, self.news = self.news, trio.Event()
        news.set()


class Listening:
    """A feed that runs, and all around it."""

    def __init__(self, exchange: FakeCoinbase, limits: FeedLimits, tls: ssl.SSLContext | None = None) -> None:
        self.exchange = exchange
        self.listener = Listener()
        self.products = Products()
        self.board = Board(lambda: datetime(2026, 1, 1, tzinfo=UTC))
        self.feed = CoinbaseFeed(
            self.products,
            self.listener,
            limits=limits,
            board=self.board,
            urls={SOURCE: exchange.url},
            rng=random.Random(1),
            tls=tls,
        )

    @property
    def state(self) -> SourceState:
        """The feed's health."""
        (row,) = self.board.rows()
        return row.state

    async def tick(self, product: str, **other: Any) -> str:
        """Let the exchange send a tick; return it once it was heard."""
        count = len(self.listener.ticks)
        text = await self.exchange.tick(product, **other)
        await self.listener.until(lambda: len(self.listener.ticks) > count)
        return text


@asynccontextmanager
async def listening(limits: FeedLimits = FAST, **options: Any) -> AsyncIterator[Listening]:
    """Run the exchange and a feed."""
    async with open_coinbase(**options) as exchange, trio.open_nursery() as nursery:
        running = Listening(exchange, limits)
        await nursery.start(running.feed.run)
        yield running
        nursery.cancel_scope.cancel()


def counted(name: str, kind: str) -> float:
    """Return a counter of the feed's."""
    return REGISTRY.get_sample_value(name, {"source": SOURCE, "kind": kind}) or 0.0


async def test_ticks_come_as_the_exchange_sent_them() -> None:
    """The object is handed on byte for byte; the feed was asked for the two best known products."""
    async with listening() as running:
        await running.exchange.subscribed(*BOTH)
        sent = await running.tick("BTC-USD")
        odd = '{ "type":"ticker",\n "product_id": "ETH-USD", "price":"1.5", "new": {"x": [1, "\\u00e9é"]}}'
        await running.exchange.say(odd)
        await running.listener.until(lambda: len(running.listener.ticks) == 2)
        assert running.listener.ticks == [("BTC-USD", sent.encode()), ("ETH-USD", odd.encode())]
        assert running.state is SourceState.UP
        (request,) = running.exchange.requests
        assert request == {
            "type": "subscribe",
            "product_ids": list(BOTH),
            "channels": ["ticker", "heartbeat"],
        }


async def test_messages_that_are_no_ticks_are_not_handed_on() -> None:
    """Heartbeats, confirmations, other products, unknown types and misshapen ticks change nothing."""
    async with listening() as running:
        await running.exchange.subscribed()
        for message in (
            running.exchange.heartbeat("BTC-USD"),
            running.exchange.ticker("DOGE-USD"),
            {"type": "status", "sequence": "no number", "products": []},
            running.exchange.ticker("BTC-USD", price="NaN"),
            running.exchange.ticker("BTC-USD", price=["1"]),
            running.exchange.ticker("BTC-USD", extra=[[[[[[[[[1]]]]]]]]]),
            running.exchange.ticker("BTC-USD", extra="x" * 5_000),
        ):
            await running.exchange.say(json.dumps(message))
        sent = await running.tick("BTC-USD")
        assert running.listener.ticks == [("BTC-USD", sent.encode())]
        assert running.exchange.connections == 1


Breaking = Callable[[FakeCoinbase], Awaitable[None]]

BREAKS = {
    "closed in order": (lambda exchange: exchange.hang_up(1000), "closed the connection (code 1000)"),
    "1006": (lambda exchange: exchange.hang_up(1006), "broke off the connection"),
    "1011": (lambda exchange: exchange.hang_up(1011), "closed the connection (code 1011)"),
    "garbage": (lambda exchange: exchange.say("<html>maintenance</html>"), "something that is not JSON"),
    "no object": (lambda exchange: exchange.say("[1]"), "a message without a type"),
    "deep": (lambda exchange: exchange.say('{"type":"x","a":' + "[" * 9_000), "something that is not JSON"),
    "binary": (lambda exchange: exchange.say(b"\x00\x01"), "a binary message"),
    "too large": (lambda exchange: exchange.say(json.dumps("x" * 70_000)), "more than 65536 bytes"),
    "an error": (
        lambda exchange: exchange.say('{"type":"error","message":"Too many","reason":"slow\\ndown"}'),
        "refuses: Too many: slow down",
    ),
}


@pytest.mark.parametrize(("breaking", "reason"), BREAKS.values(), ids=BREAKS)
async def test_whatever_breaks_the_connection_ends_in_another(breaking: Breaking, reason: str) -> None:
    """The feed tells that it is down and why, connects again, and subscribes again."""
    async with listening() as running:
        await running.exchange.subscribed(*BOTH)
        await running.tick("BTC-USD")
        await breaking(running.exchange)
        await running.listener.until(lambda: len(running.listener.downs) == 2)
        assert running.listener.downs[0] == ""
        assert reason in running.listener.downs[1]
        assert running.state is SourceState.DOWN
        with trio.fail_after(5):
            await running.exchange.connected(2)
            await running.exchange.subscribed(*BOTH)
        sent = await running.tick("BTC-USD")
        assert running.listener.ticks[-1] == ("BTC-USD", sent.encode())
        assert running.state is SourceState.UP


async def test_frames_that_break_the_protocol_end_in_another_connection() -> None:
    """A reserved opcode, and text that is not UTF-8."""
    for frame in (b"\x83\x01x", b"\x81\x02\xff\xfe"):
        async with listening() as running:
            await running.exchange.subscribed()
            await running.exchange._stream.send_all(frame)  # type: ignore[union-attr]
            with trio.fail_after(5):
                await running.exchange.connected(2)


async def test_a_refused_handshake_is_tried_again_and_told() -> None:
    """A 503 on the handshake names its status; the feed comes as soon as the exchange takes connections."""
    async with listening(status=503) as running:
        await running.exchange.connected(3)
        assert set(running.listener.downs) == {"", "Coinbase Exchange answered the handshake with status 503"}
        running.exchange.status = 101
        await running.exchange.subscribed(*BOTH)
        await running.tick("ETH-USD")


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
async def test_a_handshake_that_breaks_off_is_noticed_at_once(answer: bytes) -> None:
    """A server that closes, or says something else, is not waited for."""

    async def rude(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    exchange = FakeCoinbase()
    running = Listening(exchange, FAST)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, rude, exchange.port, host=HOST))
        await nursery.start(running.feed.run)
        with trio.fail_after(2):
            await running.listener.until(lambda: len(running.listener.downs) == 2)
        nursery.cancel_scope.cancel()
    assert running.listener.downs[1] == "Coinbase Exchange broke off the handshake"


async def test_nothing_there_is_tried_again_with_growing_pauses(loopback_clock: MockClock) -> None:
    """One log line says so, however often it is tried; the pauses grow up to the bound."""
    exchange = FakeCoinbase()
    running = Listening(exchange, FeedLimits(backoff=Backoff(initial=1.0, cap=20.0, jitter=0.0)))
    times: list[float] = []
    down = running.listener.down
    running.listener.down = lambda reason: (times.append(trio.current_time()), down(reason))[1]  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as lines:
        with trio.move_on_after(100):
            await running.feed.run()
    assert [line["event"] for line in lines] == ["source is down"]
    assert lines[0]["reason"] == "Coinbase Exchange cannot be reached"
    pauses = [round(later - time) for time, later in pairwise(times[1:])]
    assert pauses[:7] == [1, 2, 4, 8, 16, 20, 20]


async def test_a_silent_feed_is_down_after_its_time(loopback_clock: MockClock) -> None:
    """Without a message for 30 s the connection is given up; heartbeats alone keep it."""
    async with listening(FeedLimits(products=2), heartbeats=10.0) as running:
        await running.exchange.subscribed(*BOTH)
        await trio.sleep(100)
        assert running.exchange.connections == 1
        assert running.state is SourceState.UP
        running.exchange.silent = True
        await trio.sleep(15)
        assert running.state is SourceState.UP
        await trio.sleep(16)
        assert running.state is SourceState.DOWN
        assert running.listener.downs[1:] == ["Coinbase Exchange sent nothing for 30 s"]
        running.exchange.silent = False
        await running.exchange.connected(2)
        await running.tick("BTC-USD")
        assert running.state is SourceState.UP


async def test_refused_products_are_dropped_and_the_next_take_their_place() -> None:
    """What the exchange does not know is not asked for again, also not on the next connection."""
    limits = FeedLimits(products=3, rate=100, burst=100, backoff=FAST.backoff)
    async with listening(limits, unknown={"XYZ-USD", "USDC-USD"}) as running:
        running.products.follow(["XYZ", "BTC", "USDC", "ETH"])
        with trio.fail_after(5):
            await running.exchange.subscribed("BTC-USD", "ETH-USD", "SOL-USD")
        await running.exchange.hang_up(1011)
        await running.exchange.connected(2)
        with trio.fail_after(5):
            await running.exchange.subscribed("BTC-USD", "ETH-USD", "SOL-USD")
        assert running.exchange.requests[-1]["product_ids"] == ["BTC-USD", "ETH-USD", "SOL-USD"]


@pytest.mark.parametrize("closes", [False, True], ids=["stays", "closes"])
@pytest.mark.parametrize("partial", [False, True], ids=["whole", "partial"])
@pytest.mark.parametrize("errors", ["one", "each", "nameless", "all"])
async def test_however_delisted_products_are_refused_the_others_come(
    errors: str,
    partial: bool,
    closes: bool,
    loopback_clock: MockClock,
) -> None:
    """The exchange names them or not, takes the rest of the request or not, and hangs up or not."""
    delisted = {"WBTC-USD", "DAI-USD", "EOS-USD", "MATIC-USD"}
    limits = FeedLimits(products=6, backoff=FAST.backoff)
    options = {"errors": errors, "partial": partial, "closes": closes, "trades": 0.5, "heartbeats": 1.0}
    async with listening(limits, delisted=delisted, unknown={"USDC-USD"}, **options) as running:
        running.products.follow(
            ["BTC", "WBTC", "ETH", "USDC", "DAI", "SOL", "MATIC", "XRP", "EOS", "DOGE", "LTC"]
        )
        good = {f"{symbol}-USD" for symbol in ("BTC", "ETH", "SOL", "XRP", "DOGE", "LTC")}
        with trio.fail_after(40):
            while not good <= running.exchange.products:  # noqa: ASYNC110 - on the virtual clock
                await trio.sleep(0.5)
        await trio.sleep(2)
        heard = {product for product, _ in running.listener.ticks[-12:]}
        assert heard == good
        requests, connections = len(running.exchange.requests), running.exchange.connections
        await trio.sleep(25)
        assert (len(running.exchange.requests), running.exchange.connections) == (requests, connections)
        assert running.state is SourceState.UP


async def test_errors_without_names_that_come_at_once_cost_the_others_a_minute_at_most(
    loopback_clock: MockClock,
) -> None:
    """Each of them is held against a product that was asked for alone by then; those are tried again."""
    limits = FeedLimits(products=4)
    options = {"errors": "nameless each", "heartbeats": 1.0}
    async with listening(limits, delisted={"WBTC-USD", "DAI-USD"}, **options) as running:
        running.products.follow(["WBTC", "BTC", "DAI", "ETH", "SOL", "XRP"])
        await running.exchange.subscribed()
        with trio.fail_after(75):
            await running.exchange.subscribed("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD")
        assert running.exchange.connections == 1


async def test_products_that_are_passed_over_without_a_word_are_replaced(loopback_clock: MockClock) -> None:
    """The exchange confirms the rest of a request; each that it left out is refused in the end."""
    limits = FeedLimits(products=3)
    options = {"errors": "none", "partial": True, "heartbeats": 1.0}
    async with listening(limits, delisted={"WBTC-USD", "DAI-USD"}, **options) as running:
        running.products.follow(["WBTC", "BTC", "DAI", "ETH", "SOL"])
        await running.exchange.subscribed("BTC-USD")
        with trio.fail_after(40):
            await running.exchange.subscribed("BTC-USD", "ETH-USD", "SOL-USD")
        assert running.exchange.connections == 1


async def test_only_the_difference_of_changed_products_is_asked_for() -> None:
    """New top coins are subscribed, those that left are unsubscribed, on the same connection."""
    async with listening() as running:
        await running.exchange.subscribed(*BOTH)
        running.products.follow(["ETH", "PEPE"])
        with trio.fail_after(5):
            await running.exchange.subscribed("ETH-USD", "PEPE-USD")
        requests = [(request["type"], request["product_ids"]) for request in running.exchange.requests]
        assert requests[1:] == [("unsubscribe", ["BTC-USD"]), ("subscribe", ["PEPE-USD"])]
        assert running.exchange.connections == 1
        await running.exchange.tick("BTC-USD")  # still under way when it was unsubscribed
        await running.tick("PEPE-USD")
        assert [product for product, _ in running.listener.ticks] == ["PEPE-USD"]


async def test_requests_keep_to_the_published_rate(loopback_clock: MockClock) -> None:
    """Also when every request has a product refused: four at once, then four a second."""
    unknown = {f"X{number}-USD" for number in range(20)}
    async with listening(FeedLimits(products=20), unknown=unknown) as running:
        running.products.follow(f"X{number}" for number in range(20))
        began = trio.current_time()
        with trio.fail_after(60):
            await running.exchange.subscribed()
            while len(running.exchange.requests) < 21:  # noqa: ASYNC110 - on the virtual clock
                await trio.sleep(0.1)
        times = running.exchange.times
        assert times[0] - began < 1
        assert all(later - time >= 0.95 for time, later in zip(times, times[8:], strict=False))


async def test_a_tick_that_never_came_is_noticed_once_and_the_next_is_handed_on(
    loopback_clock: MockClock,
) -> None:
    """A heartbeat names a trade that no tick told of; by the next one it is counted and logged, once."""
    before = counted("flux_feed_gaps_total", "missed")
    with structlog.testing.capture_logs() as lines:
        async with listening(heartbeats=5.0) as running:
            await running.exchange.subscribed(*BOTH)
            await running.tick("BTC-USD")
            await running.tick("ETH-USD")
            for _ in range(3):
                running.exchange.trade("BTC-USD")
                await trio.sleep(15)
            await running.tick("BTC-USD")
            assert counted("flux_feed_gaps_total", "missed") - before == 3
            await trio.sleep(100)
            assert running.exchange.connections == 1
    events = [line["event"] for line in lines]
    assert events == ["source answers", "ticks of a feed get lost", "no ticks of the feed get lost any more"]


async def test_skipped_and_late_sequences_are_counted_and_handed_on() -> None:
    """Trades passed over between two ticks, and a tick older than its predecessor."""
    batched, late = counted("flux_feed_gaps_total", "batched"), counted("flux_feed_gaps_total", "late")
    async with listening() as running:
        await running.exchange.subscribed(*BOTH)
        await running.tick("BTC-USD")
        await running.tick("BTC-USD", skipped=3)
        await running.tick("BTC-USD", sequence=5)
        assert len(running.listener.ticks) == 3
        assert counted("flux_feed_gaps_total", "batched") - batched == 1
        assert counted("flux_feed_gaps_total", "late") - late == 1


async def test_a_feed_that_only_misshapes_is_given_up() -> None:
    """Ten misshapen ticks without a good one between them end the connection, with the field's name."""
    async with listening() as running:
        await running.exchange.subscribed(*BOTH)
        for _ in range(2):
            for _ in range(9):
                await running.exchange.tick("BTC-USD", trade_id="text")
            await running.tick("BTC-USD")
        for _ in range(10):
            await running.exchange.tick("BTC-USD", trade_id="text")
        await running.listener.until(lambda: len(running.listener.downs) == 2)
        assert "$.trade_id" in running.listener.downs[1]
        assert len(running.listener.ticks) == 2


async def test_a_server_that_takes_no_handshake_is_given_up_in_time(loopback_clock: MockClock) -> None:
    """A connection that is accepted and then left alone counts as failed after ten seconds."""
    exchange = FakeCoinbase()
    running = Listening(exchange, FAST)
    (listener,) = await trio.open_tcp_listeners(exchange.port, host=HOST)
    async with listener, trio.open_nursery() as nursery:
        await nursery.start(running.feed.run)
        began = trio.current_time()
        await running.listener.until(lambda: len(running.listener.downs) == 2)
        assert trio.current_time() - began == pytest.approx(10, abs=0.5)
        assert running.listener.downs[1] == "Coinbase Exchange did not take the connection within 10 s"
        nursery.cancel_scope.cancel()


async def test_tls_is_checked(certificate: Path) -> None:
    """A certificate that nobody trusts is named as the reason; a trusted one gives ticks."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=certificate)
    async with open_coinbase(tls=server) as exchange:
        for tls, works in ((None, False), (trusting, True)):
            running = Listening(exchange, FAST, tls)
            async with trio.open_nursery() as nursery:
                await nursery.start(running.feed.run)
                if works:
                    with trio.fail_after(5):
                        await exchange.subscribed(*BOTH)
                    await running.tick("BTC-USD")
                else:
                    await running.listener.until(lambda r=running: len(r.listener.downs) == 2)  # type: ignore[misc]
                    assert "the certificate of Coinbase Exchange is not valid" in running.listener.downs[1]
                nursery.cancel_scope.cancel()


async def test_the_authorities_are_read_once_for_all_connections(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feed that connects again and again makes no TLS context each time; other authorities make another."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    made: list[ssl.SSLContext] = []
    make = httpx.create_ssl_context

    def counting() -> ssl.SSLContext:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", counting)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with listening(tls=server) as running:
        for number in range(1, 4):
            with trio.fail_after(5):
                await running.exchange.connected(number)
                await running.exchange.subscribed(*BOTH)
            await running.exchange.hang_up(1011)
    assert made == [authorities()]


async def test_nothing_is_left_open_and_the_end_is_in_order() -> None:
    """Cancelled, the feed closes with a close frame, and the exchange sees the end of the connection."""
    async with open_coinbase() as exchange:
        running = Listening(exchange, FAST)
        with trio.fail_after(3):
            async with trio.open_nursery() as nursery:
                await nursery.start(running.feed.run)
                await exchange.subscribed(*BOTH)
                nursery.cancel_scope.cancel()
        assert exchange._socket.closed is not None
        assert exchange._socket.closed.code == 1000
