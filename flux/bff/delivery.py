"""Delivery: cached state to one client, new state and errors to all who sit where it is heard."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from prometheus_client import Counter

from flux.bff.ports import SocketServer
from flux.bff.seats import Seats
from flux.bff.snapshots import Snapshots
from flux.bff.views import error_state
from flux.domains.domain import Feed, Seat, SnapshotFeed
from flux.metrics import REGISTRY

HYDRATIONS = Counter(
    "flux_bff_hydrations", "Looks into the snapshots for a client.", ["topic", "result"], registry=REGISTRY
)


class Delivery:
    """What reaches clients, in one place: nothing here waits, so that what is emitted keeps its order.

    Args:
        server: the Socket.IO server.
        seats: who hears what.
        snapshots: the cache.
        now: the wall clock, aware.
    """

    def __init__(
        self, server: SocketServer, seats: Seats, snapshots: Snapshots, now: Callable[[], datetime]
    ) -> None:
        self._server = server
        self._seats = seats
        self._snapshots = snapshots
        self._now = now

    def hydrate(self, sid: str, seat: Seat, feed: SnapshotFeed) -> msgspec.Raw | None:
        """Emit the cached state of a seat to one client.

        Returns:
            The payload that was emitted, or None where there is no state yet.
        """
        shown = self._snapshots.get(feed, seat.key, self._now())
        if shown is None:
            HYDRATIONS.labels(feed.topic.name, "miss").inc()
            return None
        HYDRATIONS.labels(feed.topic.name, "stale" if shown.stale else "hit").inc()
        self._server.emit(seat.event, shown.payload, sid)
        return shown.payload

    def show(self, feed: SnapshotFeed, key: str) -> None:
        """Emit the cached state of a key to everyone who sits there."""
        seats = self._seats.seats(feed, key)
        shown = self._snapshots.get(feed, key, self._now()) if seats else None
        if shown is not None:
            for seat in seats:
                self._server.emit(seat.event, shown.payload, seat.room)

    def broadcast(self, feed: Feed, key: str, payload: Any, *, conflate: str | None = None) -> None:
        """Emit a payload to everyone who sits at that key of the feed.

        Args:
            feed: whose payload.
            key: the snapshot key.
            payload: anything JSON, or `msgspec.Raw`.
            conflate: for a client that lags, a later payload under the same word supersedes this one.
        """
        for seat in self._seats.seats(feed, key):
            self._server.emit(seat.event, payload, seat.room, conflate=conflate)

    def refuse(self, feed: Feed, key: str, message: str) -> None:
        """Emit an error state to everyone who sits at that key of the feed."""
        self.broadcast(feed, key, error_state(message))
