"""The Coinbase Exchange feed on loopback, over a real WebSocket; it also drops, stalls, skips and lies.

    async with open_coinbase() as exchange:
        ...  # a feed connects to exchange.url
        await exchange.subscribed("BTC-USD")
        await exchange.tick("BTC-USD")
        await exchange.hang_up()

Messages have the names and types of https://docs.cdp.coinbase.com/exchange/websocket-feed/channels.
"""

import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from ssl import SSLContext
from typing import Any, Literal

import trio
from attrs import define, field
from own_thread import serving_in_thread
from ports import free_port  # from tests/machine
from trio_websocket import ConnectionClosed, wrap_server_stream

HOST = "127.0.0.1"
TIME = "2026-01-01T12:00:00.123456Z"


@define(eq=False)
class FakeCoinbase:
    """The exchange; of several connections the latest counts.

    Args:
        port: of 127.0.0.1.
        tls: the server's certificate, for wss.
        unknown: products that it never had.
        delisted: products that it has no longer.
        errors: for a request with any of these: ``one`` names the first of them, ``each`` is one for each,
            ``nameless`` names none, ``nameless each`` is one such for each, ``all`` names all products of the
            request, ``none`` is no error.
        partial: it takes those of a request that it has, and says so behind the errors; else none.
        closes: it closes the connection behind an error.
        heartbeats: seconds between heartbeats of each subscribed product; 0: none.
        trades: seconds between trades of each subscribed product; 0: only when `tick` is called.
        status: of HTTP, to answer handshakes with; 101 takes them.
        silent: it says nothing of its own accord, not even an answer to a subscription.
    """

    port: int = field(factory=free_port)
    tls: SSLContext | None = None
    unknown: set[str] = field(factory=set)
    delisted: set[str] = field(factory=set)
    errors: Literal["one", "each", "nameless", "nameless each", "all", "none"] = "one"
    partial: bool = False
    closes: bool = False
    heartbeats: float = 0.0
    trades: float = 0.0
    status: int = 101
    silent: bool = False
    connections: int = field(default=0, init=False)
    """Those that were accepted so far."""
    requests: list[dict[str, Any]] = field(factory=list, init=False)
    """Every message that came, over all connections."""
    times: list[float] = field(factory=list, init=False)
    """When they came."""
    products: set[str] = field(factory=set, init=False)
    """Subscribed on the latest connection."""
    _news: trio.Event = field(factory=trio.Event, init=False)
    _socket: Any = field(default=None, init=False)
    _stream: trio.SocketStream | None = field(default=None, init=False)
    _sequences: dict[str, int] = field(factory=dict, init=False)
    _trades: dict[str, int] = field(factory=dict, init=False)

    @property
    def url(self) -> str:
        """Where a feed connects to."""
        return f"{'wss' if self.tls else 'ws'}://{HOST}:{self.port}"

    async def subscribed(self, *products: str) -> None:
        """Wait until exactly these are subscribed; none given: until any is."""
        while not self.products or (products and self.products != set(products)):
            await self._news.wait()

    async def connected(self, number: int) -> None:
        """Wait for the connection of that number, from 1."""
        while self.connections < number:
            await self._news.wait()

    def ticker(self, product: str, *, skipped: int = 0, **other: Any) -> dict[str, Any]:
        """Return the product's next trade as a ``ticker``.

        Args:
            product: ``BTC-USD``.
            skipped: trades before it that nobody is told of.
            **other: fields that are to be otherwise.
        """
        sequence = self._sequences[product] = self._sequences.get(product, 1_000) + 7 * (1 + skipped)
        trade = self._trades[product] = self._trades.get(product, 500) + 1 + skipped
        return {
            "type": "ticker",
            "sequence": sequence,
            "product_id": product,
            "price": f"{100 + trade % 7}.25",
            "open_24h": "98.1",
            "volume_24h": "245532.79269678",
            "low_24h": "97",
            "high_24h": "113.8",
            "volume_30d": "9788783.60117027",
            "best_bid": "100.2",
            "best_bid_size": "0.46688654",
            "best_ask": "100.3",
            "best_ask_size": "1.56637040",
            "side": "buy",
            "time": TIME,
            "trade_id": trade,
            "last_size": "11.4396987",
            **other,
        }

    def heartbeat(self, product: str) -> dict[str, Any]:
        """Return the product's ``heartbeat``."""
        return {
            "type": "heartbeat",
            "sequence": self._sequences.get(product, 1_000),
            "last_trade_id": self._trades.get(product, 500),
            "product_id": product,
            "time": TIME,
        }

    def trade(self, product: str, count: int = 1) -> None:
        """Let the product trade without telling of it: those ticks are lost."""
        self._trades[product] = self._trades.get(product, 500) + count
        self._sequences[product] = self._sequences.get(product, 1_000) + 7 * count

    async def tick(self, product: str, **other: Any) -> str:
        """Send the product's next trade; return it as it was sent."""
        text = json.dumps(self.ticker(product, **other))
        await self.say(text)
        return text

    async def beat(self, product: str) -> None:
        """Send the product's heartbeat."""
        await self.say(json.dumps(self.heartbeat(product)))

    async def say(self, message: str | bytes) -> None:
        """Send anything to the latest connection."""
        with suppress(ConnectionClosed):
            await self._socket.send_message(message)

    async def hang_up(self, code: int = 1000) -> None:
        """Close with a code; 1006: the TCP connection is closed without a word, as that code means."""
        if code == 1006:
            assert self._stream is not None
            # With nothing to linger for, close() sends RST.
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.aclose_forcefully(self._stream)
        else:
            with trio.move_on_after(1):
                await self._socket.aclose(code, "told so")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_tcp, self._accepted, self.port, host=HOST))
            nursery.start_soon(self._beat_on)
            nursery.start_soon(self._trade_on)
            task_status.started()

    async def _accepted(self, tcp: trio.SocketStream) -> None:
        stream: trio.abc.Stream = tcp
        if self.tls is not None:
            stream = trio.SSLStream(tcp, self.tls, server_side=True, https_compatible=True)
        if self.status != 101:
            await self._refuse(stream)
            return
        try:
            async with trio.open_nursery() as nursery:
                request = await wrap_server_stream(nursery, stream)
                websocket = await request.accept()
                self.connections += 1
                self._socket, self._stream = websocket, tcp
                self.products = set()
                self._tell()
                with suppress(ConnectionClosed):
                    while True:
                        await self._take(json.loads(await websocket.get_message()))
                with trio.move_on_after(1):  # whoever closed, the other may answer
                    await websocket._close_handshake.wait()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # whoever asked is gone
        finally:
            await trio.aclose_forcefully(stream)

    async def _refuse(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        self._tell()
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()
            await stream.send_all(f"HTTP/1.1 {self.status} Told so\r\ncontent-length: 0\r\n\r\n".encode())
        await stream.aclose()

    async def _take(self, request: dict[str, Any]) -> None:
        self.requests.append(request)
        self.times.append(trio.current_time())
        wanted = request["product_ids"]
        assert request["channels"] == ["ticker", "heartbeat"]
        bad = [product for product in wanted if product in self.unknown | self.delisted]
        answers = self._errors(wanted, bad)
        if request["type"] == "unsubscribe":
            self.products = self.products - set(wanted)
        elif self.partial or not bad:
            self.products = self.products | (set(wanted) - set(bad))
        if self.partial or not bad:
            listed = sorted(self.products)
            channels = [{"name": name, "product_ids": listed} for name in request["channels"]]
            answers.append({"type": "subscriptions", "channels": channels})
        for answer in () if self.silent else answers:
            await self.say(json.dumps(answer))
        self._tell()
        if bad and self.closes:
            await self.hang_up(1008)

    def _errors(self, wanted: list[str], bad: list[str]) -> list[dict[str, str]]:
        """Return what a request is refused with."""
        reasons = {
            "one": [self._reason(product) for product in bad[:1]],
            "each": [self._reason(product) for product in bad],
            "nameless": [" is not a valid product"] if bad else [],
            "nameless each": [" is not a valid product" for _ in bad],
            "all": [f"cannot serve {', '.join(wanted)}"] if bad else [],
            "none": [],
        }[self.errors]
        return [{"type": "error", "message": "Failed to subscribe", "reason": reason} for reason in reasons]

    def _reason(self, product: str) -> str:
        return f"{product} is {'delisted' if product in self.delisted else 'not a valid product'}"

    async def _beat_on(self) -> None:
        while self.heartbeats:
            await trio.sleep(self.heartbeats)
            for product in () if self.silent else sorted(self.products):
                await self.beat(product)

    async def _trade_on(self) -> None:
        while self.trades:
            await trio.sleep(self.trades)
            for product in () if self.silent else sorted(self.products):
                await self.tick(product)

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()


@asynccontextmanager
async def open_coinbase(**options: Any) -> AsyncIterator[FakeCoinbase]:
    """Serve the exchange in this loop, until the block ends."""
    exchange = FakeCoinbase(**options)
    async with trio.open_nursery() as nursery:
        await nursery.start(exchange.run)
        yield exchange
        nursery.cancel_scope.cancel()


@contextmanager
def coinbase_in_thread(**options: Any) -> Iterator[FakeCoinbase]:
    """Serve the exchange in a thread of its own, until the block ends: for tests that start a program.

    From the test's thread only its plain attributes may be used.
    """
    exchange = FakeCoinbase(**options)
    with serving_in_thread(exchange.run, "fake-coinbase"):
        yield exchange
