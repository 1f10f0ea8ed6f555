"""Snapshots: the latest state of each feed's keys, encoded once; what is shown never goes back in time."""

from collections import OrderedDict
from datetime import datetime, timedelta

import msgspec
from attrs import define, frozen

from flux.bff.versions import Version
from flux.domains.domain import SnapshotFeed
from flux.messages import iso_time


@frozen
class Shown:
    """A snapshot as a client gets it.

    Args:
        payload: the socket payload's JSON.
        stale: whether it is past its feed's ttl, or a refresh has failed since; the payload then says so.
    """

    payload: msgspec.Raw
    stale: bool


@frozen
class _Failure:
    version: Version
    message: str


@define
class _Entry:
    """What is known of one key: the last success, and the last failure if there was one."""

    version: Version | None = None
    payload: bytes = b""
    failure: _Failure | None = None


class Snapshots:
    """The cache.

    Args:
        limit: keys of one feed; beyond it the least recently used goes, so that strangers' cities
            cannot push out the news.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._feeds: dict[SnapshotFeed, OrderedDict[str, _Entry]] = {}

    def count(self, feed: SnapshotFeed) -> int:
        """Return how many keys of the feed are known."""
        return len(self._feeds.get(feed, ()))

    def store(self, feed: SnapshotFeed, key: str, version: Version, payload: bytes) -> bool:
        """Store a success, unless one at least as new is there.

        Args:
            feed: whose state it is.
            key: the snapshot key.
            version: when it was taken.
            payload: the socket payload, a JSON object with at least one field.

        Returns:
            Whether it was stored; if not, it is late and must not be shown.
        """
        entry = self._entry(feed, key)
        if entry.version is not None and version <= entry.version:
            return False
        entry.version, entry.payload = version, payload
        return True

    def fail(self, feed: SnapshotFeed, key: str, version: Version, message: str) -> bool:
        """Note that a refresh failed; the snapshot stays.

        Returns:
            Whether the failure is news; if not, a newer success or failure is known and it must not be shown.
        """
        entry = self._entry(feed, key)
        if entry.version is not None and version <= entry.version:
            return False
        if entry.failure is not None and version <= entry.failure.version:
            return False
        entry.failure = _Failure(version, message)
        return True

    def get(self, feed: SnapshotFeed, key: str, now: datetime) -> Shown | None:
        """Return the snapshot as it is to be shown now, or None where there is none.

        A fresh one costs no encoding. Where a refresh has failed since, or past the feed's ttl, its payload
        has one more field, ``stale: {since, reason}``: when the state was taken, which tells its age, and the
        failure's message, or that no update came.

        Args:
            feed: whose state.
            key: the snapshot key.
            now: the wall clock, aware.
        """
        entries = self._feeds.get(feed)
        entry = entries.get(key) if entries is not None else None
        if entries is None or entry is None or entry.version is None:
            return None
        entries.move_to_end(key)
        failed = entry.failure is not None and entry.failure.version > entry.version
        if not failed and now - entry.version.time <= timedelta(seconds=feed.ttl):
            return Shown(msgspec.Raw(entry.payload), stale=False)
        since = iso_time(entry.version.time)
        reason = entry.failure.message if failed and entry.failure is not None else f"no update since {since}"
        stale = msgspec.json.encode({"since": since, "reason": reason})
        # The payload is an object that is not empty, so a field can be put before its closing brace.
        return Shown(msgspec.Raw(entry.payload[:-1] + b',"stale":' + stale + b"}"), stale=True)

    def _entry(self, feed: SnapshotFeed, key: str) -> _Entry:
        entries = self._feeds.setdefault(feed, OrderedDict())
        entry = entries.get(key)
        if entry is None:
            entry = entries[key] = _Entry()
            if len(entries) > self._limit:
                entries.popitem(last=False)
        else:
            entries.move_to_end(key)
        return entry
