"""The Coinbase Exchange feed: connected, and connected again, for as long as Flux runs."""

import ssl
from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import Protocol

import structlog
import trio
from attrs import field, frozen
from prometheus_client import Counter

from flux.domains.crypto.coinbase.conversation import Conversation, Heard, Kind
from flux.domains.crypto.coinbase.feed_socket import FeedSocket
from flux.domains.crypto.coinbase.gaps import Gap, Wholeness
from flux.domains.crypto.coinbase.messages import TITLE, FeedError
from flux.domains.crypto.coinbase.refusals import Refusals
from flux.domains.crypto.contract import NAME
from flux.domains.crypto.products import Products
from flux.domains.sources.board import Board
from flux.domains.sources.bucket import TokenBucket
from flux.metrics import REGISTRY
from flux.nurseries.backoff import Backoff

SOURCE = "coinbase"

URL = "wss://ws-feed.exchange.coinbase.com"

MESSAGES = Counter(
    "flux_feed_messages",
    "Messages of a real feed: tick, heartbeat, answer, refusal, unwanted, misshapen, other",
    ["source", "kind"],
    registry=REGISTRY,
)
GAPS = Counter(
    "flux_feed_gaps",
    "What was noticed of a real feed's order: a trade that was never told (missed), trade ids passed over by"
    " a tick (batched: a cascade of matches, or a loss), a tick older than the one before (late)",
    ["source", "kind"],
    registry=REGISTRY,
)
LOST = Counter(
    "flux_feed_connections_lost", "Connections to a real feed that failed or ended", ["source"],
    registry=REGISTRY,
)  # fmt: skip

log = structlog.get_logger("flux.sources")


@frozen(kw_only=True)
class FeedLimits:
    """How the feed is treated.

    Args:
        products: how many are asked for at a time.
        stale: seconds without a message after which the feed is taken to be down; each product has a
            heartbeat every second.
        rate: messages sent per second; the feed allows 8 requests a second from one address, 20 at once
            (https://docs.cdp.coinbase.com/exchange/websocket-feed/rate-limits).
        burst: messages sent at once.
        backoff: between connections; up to half a minute.
    """

    products: int = 10
    stale: float = 30.0
    rate: float = 4.0
    burst: int = 4
    backoff: Backoff = field(default=Backoff(initial=0.5, cap=30.0))


class FeedListener(Protocol):
    """Who wants the ticks."""

    async def tick(self, product: str, data: bytes) -> None:
        """Take a tick: the exchange's own object, as valid JSON. The feed waits meanwhile."""
        ...

    def down(self, reason: str) -> None:
        """Note that the feed is down, and why; empty: it was not there yet."""
        ...


class CoinbaseFeed:
    """Listens to the ticker channel for the products that are wanted.

    Args:
        products: which; they may change at any time.
        listener: gets the ticks.
        limits: the bounds.
        board: where its health stands.
        urls: by source name, another address.
        rng: of the back-off's jitter.
        tls: None is that of the HTTP clients.

    Attributes:
        reached: False where there was no way to the exchange when the last connection failed.
    """

    def __init__(
        self,
        products: Products,
        listener: FeedListener,
        *,
        limits: FeedLimits,
        board: Board,
        urls: Mapping[str, str],
        rng: Random,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._products = products
        self._listener = listener
        self._limits = limits
        self._health = board.health(SOURCE, NAME)
        self._url = urls.get(SOURCE, URL)
        self._rng = rng
        self._tls = tls
        self._refusals = Refusals()
        self._bucket = TokenBucket(limits.rate, limits.burst)  # of the address, so over all connections
        self._wholeness = Wholeness()
        self._live_since: float | None = None
        self._misshapen = False
        self.reached = True
        self._messages = {kind: MESSAGES.labels(SOURCE, kind.value) for kind in Kind}
        self._gaps = {gap: GAPS.labels(SOURCE, gap.value) for gap in Gap}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; ready at once, also while the feed cannot be reached.

        Cancellation: the connection is closed in order, within half a second.
        """
        task_status.started()
        self._listener.down("")
        attempt = 0
        while True:
            self._live_since, self._misshapen = None, False
            failure = await self._connect()
            LOST.labels(SOURCE).inc()
            self.reached = failure.reached
            self._listener.down(str(failure))
            self._health.failed(str(failure))
            ran_for = 0.0 if self._live_since is None else trio.current_time() - self._live_since
            attempt = self._limits.backoff.next_attempt(attempt, ran_for)
            await trio.sleep(self._limits.backoff.delay(attempt, self._rng))

    async def _connect(self) -> FeedError:
        """Connect and listen, until the connection is of no use any more; return why."""
        failure = FeedError(f"{TITLE} sent nothing for {self._limits.stale:g} s")
        async with trio.open_nursery() as nursery:
            socket: FeedSocket | None = None
            try:
                socket = await FeedSocket.open(nursery, self._url, self._tls)
                await self._listen(socket, nursery)
            except FeedError as error:
                failure = error
            finally:
                nursery.cancel_scope.cancel()  # no one writes while it is closed
                if socket is not None:
                    await socket.close()
        return failure

    async def _listen(self, socket: FeedSocket, nursery: trio.Nursery) -> None:
        """Hand on what comes; return when nothing came for too long."""
        now = trio.current_time()
        candidates = self._products.candidates
        conversation = Conversation(candidates, self._limits.products, self._refusals, now)
        bell = _Bell()
        nursery.start_soon(self._write, socket, conversation, bell)
        nursery.start_soon(self._follow, candidates, conversation, bell)
        with trio.CancelScope(deadline=now + self._limits.stale) as patience:
            while True:
                text = await socket.receive()
                now = trio.current_time()
                patience.deadline = now + self._limits.stale
                heard = conversation.take(text, now)
                if conversation.outbox:
                    bell.ring()
                self._note(heard, now)
                if heard.data:
                    await self._listener.tick(heard.product, heard.data)
        conversation.silence(trio.current_time())

    async def _write(self, socket: FeedSocket, conversation: Conversation, bell: "_Bell") -> None:
        """Send what the conversation has to say, no faster than the feed allows."""
        with suppress(FeedError):  # whoever reads hears of it, too
            while True:
                while conversation.outbox:
                    await trio.sleep(self._bucket.take(trio.current_time()))
                    await socket.send(conversation.outbox.popleft())
                await bell.rung()

    async def _follow(self, candidates: tuple[str, ...], conversation: Conversation, bell: "_Bell") -> None:
        """Tell the conversation of other products."""
        while True:
            changed = self._products.changed
            if self._products.candidates != candidates:
                candidates = self._products.candidates
                conversation.want(candidates, trio.current_time())
                bell.ring()
            await changed.wait()

    def _note(self, heard: Heard, now: float) -> None:
        """Count, log and show what was heard."""
        self._messages[heard.kind].inc()
        if heard.gap is not None:
            self._gaps[heard.gap].inc()
            if heard.gap is Gap.MISSED and self._wholeness.gap(now):
                log.warning("ticks of a feed get lost", source=SOURCE)
        if heard.kind is Kind.HEARTBEAT or (heard.kind is Kind.TICK and self._live_since is None):
            if self._wholeness.mended(now):
                log.info("no ticks of the feed get lost any more", source=SOURCE)
            self._live_since = now if self._live_since is None else self._live_since
            self._health.answered()
        elif heard.kind is Kind.MISSHAPEN and not self._misshapen:
            self._misshapen = True
            log.warning("feed sent a message that is not as documented", source=SOURCE, reason=heard.note)
        if (verdict := heard.verdict) is not None:
            if verdict.refused:
                event, products = "products are refused by the exchange", verdict.refused
            else:
                event, products = "one of the products is refused, each is asked for alone", verdict.doubted
            log.info(event, source=SOURCE, products=products, reason=verdict.reason)


class _Bell:
    """Wakes the one who writes."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """Wake them, now or when they next wait."""
        self._rung.set()

    async def rung(self) -> None:
        """Wait for it."""
        await self._rung.wait()
        self._rung = trio.Event()
