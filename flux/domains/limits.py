"""The bounds of a domain's command worker, with their defaults and units."""

from attrs import field, frozen

from flux.nurseries.backoff import Backoff


@frozen(kw_only=True)
class WorkerLimits:
    """How much a command worker takes on at once.

    Args:
        fetches: fetches at the same time, over all keys. Each source bounds its own connections; this one is
            so large that the patience of ``auto`` begins for all at once.
        in_hand: records received and not yet answered; the consumer waits beyond.
        fetch_deadline: seconds that a fetch may take; past it the source has failed.
        attempts: how often a command is tried whose fetch raises what nobody expected; then it is rejected.
        retry: how long to wait between these.
        command_bytes: how large a command's value may be; the contract's largest has about 600 bytes.
        backoff_min, backoff_max: seconds between tries to publish while the broker is away.
    """

    fetches: int = 256
    in_hand: int = 1_000
    fetch_deadline: float = 10.0
    attempts: int = 3
    retry: Backoff = field(default=Backoff(initial=0.2, cap=2.0))
    command_bytes: int = 65_536
    backoff_min: float = 0.2
    backoff_max: float = 2.0
