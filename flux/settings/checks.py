"""What a setting may be: validators whose errors say what is allowed, for the tree of settings."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

from flux.domains.source_names import FEED_PREFIX, SOURCE_NAMES, WEBSOCKET_SOURCES

Validator = Callable[[Any, Any, Any], None]
"""As attrs calls it: instance, attribute, value; raises a ValueError that says what is allowed."""


def between(low: float, high: float) -> Validator:
    """Return a validator: a number within these bounds, both included."""

    def check(_instance: object, _attribute: object, value: float) -> None:
        if not low <= value <= high:
            raise ValueError(f"must be from {_number(low)} to {_number(high)}")

    return check


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def check_host(_instance: object, _attribute: object, value: str) -> None:
    """Accept a host name or an address; whether it is there shows when the door opens."""
    if not _is_host(value):
        raise ValueError("must be a host name or an address, such as 0.0.0.0")


def _is_host(text: str) -> bool:
    """Return whether a text can be looked up; labels that are empty or too long cannot (RFC 1035, 2.3.4)."""
    if len(text) > 255 or not text.isprintable() or re.search(r"[\s/]", text):
        return False
    try:
        text.encode("idna")  # as the socket module does before it asks
    except UnicodeError:
        return False
    return True


def check_servers(_instance: object, _attribute: object, value: str) -> None:
    """Accept ``host:port``, several separated by commas; an IPv6 address stands in brackets."""
    for server in value.split(","):
        host, _, port = server.strip().rpartition(":")
        named = re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", host)
        there = re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65_535
        if not named or not there:
            raise ValueError(
                "must be host:port, several separated by commas, such as kafka-1:9092,kafka-2:9092"
            )
        if not _is_host(host):
            raise ValueError(f"must be host:port; {host:.80} cannot be the name of a host")


def check_origins(_instance: object, _attribute: object, value: tuple[str, ...]) -> None:
    """Accept origins as browsers send them (Fetch standard: scheme, host, port, nothing else), or ``*``."""
    for origin in value:
        parts = urlsplit(origin)
        whole = (
            parts.scheme in {"http", "https"}
            and origin == f"{parts.scheme}://{parts.netloc}"
            and parts.netloc
        )
        if origin != "*" and not whole:
            raise ValueError(
                "must be origins such as https://example.org (no path, no slash at the end), or *"
            )


def check_networks(_instance: object, _attribute: object, value: tuple[str, ...]) -> None:
    """Accept addresses and networks; one with bits set behind its mask is more likely a mistake."""
    for network in value:
        try:
            ip_network(network)
        except ValueError:
            raise ValueError("must be addresses or networks such as 127.0.0.1, 10.0.0.0/8") from None


def check_config(_instance: object, _attribute: object, value: Mapping[str, str]) -> None:
    """Accept settings of librdkafka save those that have a setting of their own."""
    if "bootstrap.servers" in value:
        raise ValueError("must not have bootstrap.servers; that is kafka.bootstrap_servers")


KEY_LIMIT = 256
"""Characters of a source's key; those that sources give out have 20 to 60."""


def check_key(_instance: object, _attribute: object, value: str) -> None:
    """Accept what can stand in a header or a query: one word of printable ASCII."""
    if not re.fullmatch(rf"[!-~]{{1,{KEY_LIMIT}}}", value):
        raise ValueError(f"must be 1 to {KEY_LIMIT} printable ASCII characters without spaces")


SYMBOLS = 25
"""Shares that can be asked for; once a minute each, they keep within Finnhub's free plan."""


def check_symbols(_instance: object, _attribute: object, value: tuple[str, ...]) -> None:
    """Accept symbols of shares as exchanges write them: AAPL, BRK.B, VOD.L."""
    if len(value) > SYMBOLS or not all(re.fullmatch(r"[A-Z0-9][A-Z0-9.:\-]{0,19}", each) for each in value):
        raise ValueError(f"must be at most {SYMBOLS} symbols such as AAPL or BRK.B")


FEEDS = 20
"""News feeds that are read."""


def check_feeds(_instance: object, _attribute: object, value: tuple[str, ...]) -> None:
    """Accept addresses on the web."""
    if len(value) > FEEDS or not all(_is_url(each, ("http", "https")) for each in value):
        raise ValueError(f"must be at most {FEEDS} http or https URLs such as https://example.org/feed.xml")


def check_urls(_instance: object, _attribute: object, value: Mapping[str, str]) -> None:
    """Accept addresses by source name; of the feed over WebSocket with ws or wss."""
    for name, url in value.items():
        feed = re.fullmatch(rf"{FEED_PREFIX}[a-z0-9.:_-]{{1,253}}", name)
        if name not in SOURCE_NAMES and not feed:
            raise ValueError(f"{name!r:.80} is no source{suggestion(name, SOURCE_NAMES)}")
        plain, secure = ("ws", "wss") if name in WEBSOCKET_SOURCES else ("http", "https")
        if not _is_url(url, (plain, secure)):
            raise ValueError(f"{name} must be a URL such as {secure}://example.org ({plain} or {secure})")


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    """Return whether a text is an absolute URL without a user: a password does not belong there."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = len(text) <= 2_000 and re.fullmatch(r"[!-~]+", text) is not None
    return (
        bool(plain and parts.scheme in schemes and parts.hostname and "@" not in parts.netloc) and port != 0
    )


def suggestion(name: str, candidates: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return ``; did you mean X?`` with the nearest of the known names, or nothing if none is near.

    Args:
        name: the unknown one.
        candidates: the known ones.
        cutoff: how alike they must be, 0 to 1 (difflib's ratio).
    """
    near = difflib.get_close_matches(name, list(candidates), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]}?" if near else ""
