"""The bounds within which one source is asked, with their defaults and units."""

from attrs import frozen

JSON_TYPES = ("application/json",)


@frozen(kw_only=True)
class SourcePolicy:
    """How one source is asked.

    Args:
        name: as it stands in events, metrics and logs: ``open-meteo``.
        title: for people: ``Open-Meteo``.
        url: the base of its addresses, without a slash at the end.
        rate: requests per second that it allows in the long run.
        burst: requests that may come at once.
        ttl: seconds for which an answer is good; it is not asked for again meanwhile.
        media_types: what an answer may be; another content type is a failure.
        deadline: seconds that a request may take, its retries included.
        attempts: tries of one request, where a further one can help.
        body_limit: bytes of an answer after decompression.
        redirects: how many are followed.
        connections: at the same time; further requests wait for one before their deadline begins.
        cached: answers kept; the least recently used go first.
        failures: failed requests in a row after which it is not asked any more (the breaker opens).
        probe_after: seconds after which one request asks whether it is back.
        longest_wait: seconds; a longer Retry-After is cut to it.
        too_many_pause: seconds that it is left alone once it wants fewer requests (429) and does not say for
            how long.
    """

    name: str
    title: str
    url: str
    rate: float
    burst: int
    ttl: float
    media_types: tuple[str, ...] = JSON_TYPES
    deadline: float = 8.0
    attempts: int = 3
    body_limit: int = 2 << 20
    redirects: int = 3
    connections: int = 4
    cached: int = 1_000
    failures: int = 3
    probe_after: float = 60.0
    longest_wait: float = 3_600.0
    too_many_pause: float = 60.0
