"""What clients see of the crypto domain, in one room: movers and top coins, and the ticker as a stream."""

from flux.domains.crypto.contract import (
    COINS_UPDATED,
    MOVERS_UPDATED,
    REFRESH_COINS,
    REFRESH_MOVERS,
    TICKER_UPDATED,
    MoversUpdated,
    TickerUpdated,
    TopCoinsUpdated,
)
from flux.domains.domain import ClientRequest, CommandTopic, SnapshotFeed, StreamFeed

ROOM = "crypto.global"

INTERVAL = 60.0
"""Seconds between refreshes; the usual free market data sources renew theirs once a minute."""

TTL = 2 * INTERVAL + 30


def product_of(payload: TickerUpdated) -> str:
    """Return the product whose latest tick supersedes the earlier ones."""
    return payload.data.product_id if payload.data is not None else ""


MOVERS = SnapshotFeed(
    topic=MOVERS_UPDATED, payload=MoversUpdated, room=ROOM, event="cryptoTopMoversResponse", ttl=TTL
)
COINS = SnapshotFeed(
    topic=COINS_UPDATED, payload=TopCoinsUpdated, room=ROOM, event="cryptoTopCoinsResponse", ttl=TTL
)
TICKER = StreamFeed(
    topic=TICKER_UPDATED,
    payload=TickerUpdated,
    room=ROOM,
    event="cryptoTickerResponse",
    conflation_key=product_of,
)

MOVERS_REFRESH = CommandTopic(topic=REFRESH_MOVERS, event="refresh", answer=MOVERS, interval=INTERVAL)
COINS_REFRESH = CommandTopic(topic=REFRESH_COINS, event="refresh", answer=COINS, interval=INTERVAL)

REQUESTS = (
    ClientRequest(event="cryptoTopMoversRequest", feed=MOVERS, refresh=MOVERS_REFRESH),
    ClientRequest(event="cryptoTopCoinsRequest", feed=COINS),
)
