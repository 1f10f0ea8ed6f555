"""The BFF's options: default and unit beside each."""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen, validators

_positive: Callable[[Any, Any, Any], Any] = validators.gt(0)
_not_negative: Callable[[Any, Any, Any], Any] = validators.ge(0)


@frozen(kw_only=True)
class BffOptions:
    """How the BFF behaves where the contract leaves it open.

    Args:
        dedupe_window: in which the same location from the same user publishes no second command.
        dedupe_limit: how many locations are remembered for that; the oldest go first.
        single_flight: how long a refresh that a cache miss published keeps others from publishing one.
        snapshot_limit: how many keys (cities) of one feed are cached; the least recently used go first.
        replay: how many records of each partition are read again at the start, to rebuild the snapshots.
        ready_wait: how long the start waits for that replay; Kafka may be away, and the door must open.
        future_skew: how far ahead of the wall clock an event's time may be and still be believed.
        publish_timeout: how long a client waits for Kafka's delivery report before it gets an error.
        publish_timeout_away: the same while the broker is known to be away.
        publish_queue: how many commands may wait to be published; beyond it a client is told to try later.
        publishers: how many commands may await their delivery report at once.
        scheduler: whether refreshes are published by the clock.
        jitter: by which fraction of it an interval is varied, up or down.
        intervals: by command topic, seconds; instead of the command's own interval.
    """

    dedupe_window: float = field(default=2.0, validator=_not_negative)  # seconds
    dedupe_limit: int = field(default=10_000, validator=_positive)  # entries
    single_flight: float = field(default=10.0, validator=_positive)  # seconds
    snapshot_limit: int = field(default=10_000, validator=_positive)  # entries a feed
    replay: int = field(default=200, validator=_not_negative)  # records a partition
    ready_wait: float = field(default=1.0, validator=_not_negative)  # seconds
    future_skew: float = field(default=300.0, validator=_not_negative)  # seconds
    publish_timeout: float = field(default=5.0, validator=_positive)  # seconds
    publish_timeout_away: float = field(default=1.0, validator=_positive)  # seconds
    publish_queue: int = field(default=1_000, validator=_positive)  # commands
    publishers: int = field(default=32, validator=_positive)  # tasks
    scheduler: bool = True
    jitter: float = field(default=0.1, validator=[_not_negative, validators.lt(1)])  # fraction
    intervals: Mapping[str, float] = field(factory=dict)  # seconds by command topic

    @intervals.validator
    def _check_intervals(self, _: object, intervals: Mapping[str, float]) -> None:
        for topic, seconds in intervals.items():
            if not seconds > 0:
                raise ValueError(f"the interval of {topic} must be more than 0 seconds, not {seconds}")
