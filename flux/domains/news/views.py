"""What clients see of the news domain: the latest global articles, in one room."""

from collections.abc import Mapping
from typing import Any

from flux.domains.domain import ClientRequest, CommandTopic, SnapshotFeed
from flux.domains.news.contract import REFRESH, UPDATED, NewsUpdated

INTERVAL = 300.0
"""Seconds between refreshes."""


def scope(payload: NewsUpdated) -> Mapping[str, Any]:  # noqa: ARG001 - the shape of SnapshotFeed.extras
    """Return what the socket payload says beside the Kafka value: whose news it is."""
    return {"scope": "global"}


UPDATES = SnapshotFeed(
    topic=UPDATED,
    payload=NewsUpdated,
    room="news.global",
    event="newsUpdate",
    ttl=2 * INTERVAL + 60,
    extras=scope,
)

NEWS_REFRESH = CommandTopic(topic=REFRESH, event="refresh", answer=UPDATES, interval=INTERVAL)

REQUESTS = (ClientRequest(event="topNewsRequest", feed=UPDATES, refresh=NEWS_REFRESH),)
