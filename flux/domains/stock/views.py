"""What clients see of the stock domain: the top performers, in one room."""

from flux.domains.domain import ClientRequest, CommandTopic, SnapshotFeed
from flux.domains.stock.contract import REFRESH, UPDATED, StocksUpdated

INTERVAL = 60.0
"""Seconds between refreshes."""

UPDATES = SnapshotFeed(
    topic=UPDATED,
    payload=StocksUpdated,
    room="stock.global",
    event="stockTopPerformersResponse",
    ttl=2 * INTERVAL + 30,
)

PERFORMERS_REFRESH = CommandTopic(topic=REFRESH, event="refresh", answer=UPDATES, interval=INTERVAL)

REQUESTS = (ClientRequest(event="stockTopPerformersRequest", feed=UPDATES),)
