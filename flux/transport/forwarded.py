"""What a proxy says of the client behind it, believed from trusted proxies alone; pure.

Anyone can send ``X-Forwarded-For: 1.2.3.4``. So these headers count only on connections from a listed
network, and of a chain of addresses only the part that trusted proxies wrote: from its right end to the first
address that is not a trusted proxy, which is the client. One family of headers is read, the one that the
proxy writes: the other one passes most proxies as the client sent it (RFC 7239, section 8.1).
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

from attrs import evolve

from flux.errors import LocalError
from flux.transport.http import Headers, Request

Family = Literal["x-forwarded", "forwarded"]
Address = IPv4Address | IPv6Address

MAX_HOPS = 32
"""Entries looked at, from the right; a real chain has two or three."""

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PAIR = re.compile(r'\s*([A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*(;|,|$)')
_IPV6_SITE = 64
"""Bits of an IPv6 address that one customer has (RFC 6177): within them it can change addresses at will."""


class TrustedProxies:
    """The proxies whose word counts.

    Args:
        networks: addresses and networks, ``10.0.0.0/8``, ``::1``.
        family: the headers that they write: ``x-forwarded`` (``X-Forwarded-For``, ``-Proto``, ``-Host``) or
            ``forwarded`` (``Forwarded``, RFC 7239).

    Raises:
        LocalError: a network or the family is none.
    """

    def __init__(self, networks: Iterable[str], family: Family = "x-forwarded") -> None:
        if family not in ("x-forwarded", "forwarded"):
            raise LocalError(f"trusted proxies write x-forwarded or forwarded headers, not {family!r}")
        try:
            self._networks = tuple(ip_network(network) for network in networks)
        except ValueError as error:
            raise LocalError(f"no network of trusted proxies: {error}") from error
        self._read = _x_forwarded if family == "x-forwarded" else _forwarded

    def trusts(self, host: str) -> bool:
        """Whether a peer's address is a trusted proxy's."""
        address = _address(host)
        return address is not None and self._has(address)

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def resolve(self, request: Request) -> Request:
        """Return the request as the client sent it to the outermost trusted proxy.

        Args:
            request: came from a trusted proxy.

        Returns:
            The same with the client's address as ``peer`` (port 0 where the proxy does not name it), the
            ``scheme`` that it used, and its ``Host``; unchanged where the headers are absent. Where an entry
            is no address (``unknown``, ``_hidden``) the proxy that wrote it counts as the client.
        """
        hops = self._read(request.headers)
        peer, scheme, host = request.peer, None, None
        for hop_peer, hop_scheme, hop_host in reversed(hops[-MAX_HOPS:]):
            address = _address(hop_peer[0])
            scheme, host = hop_scheme or scheme, hop_host or host
            if address is None:
                break
            peer = (str(address), hop_peer[1])
            if not self._has(address):
                break
        headers = request.headers
        if host is not None:
            headers = tuple((n, host.encode() if n == b"host" else value) for n, value in headers)
        return evolve(request, peer=peer, scheme=scheme or request.scheme, headers=headers)


def site_of(host: str) -> str:
    """Return what per-address limits count by: an IPv4 address, or the /64 network of an IPv6 address."""
    if ":" not in host:
        return host
    address = _address(host)
    if not isinstance(address, IPv6Address):
        return host if address is None else str(address)
    return str(IPv6Network((int(address) >> _IPV6_SITE << _IPV6_SITE, _IPV6_SITE)))


_Hop = tuple[tuple[str, int], str | None, str | None]
"""One proxy's entry: who came to it from where, by which scheme, to which host."""


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _node(text: str) -> tuple[str, int]:
    """Return address and port of ``1.2.3.4``, ``1.2.3.4:5``, ``::1``, ``[::1]`` or ``[::1]:5``."""
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    return host, number if number < 65536 else 0


def _values(headers: Headers, name: bytes) -> str:
    return ",".join([value.decode("latin-1") for key, value in headers if key == name])


def _entries(headers: Headers, name: bytes) -> list[str]:
    text = _values(headers, name)
    return [entry.strip() for entry in text.rsplit(",", MAX_HOPS)[-MAX_HOPS:]] if text else []


def _x_forwarded(headers: Headers) -> list[_Hop]:
    nodes = _entries(headers, b"x-forwarded-for")
    if not nodes:
        return []
    # Proxies append to the first list, and mostly replace the other two: aligned from the right where the
    # lengths agree, else the last entry, which the nearest proxy wrote, is the one that counts.
    schemes = _entries(headers, b"x-forwarded-proto")
    hosts = _entries(headers, b"x-forwarded-host")
    hops: list[_Hop] = []
    for number, node in enumerate(nodes):
        scheme = _aligned(schemes, number, len(nodes))
        host = _aligned(hosts, number, len(nodes))
        hops.append((_node(node), _SCHEMES.get(scheme.lower()), _checked_host(host)))
    return hops


def _aligned(entries: list[str], number: int, count: int) -> str:
    if not entries:
        return ""
    return entries[number] if len(entries) == count else entries[-1]


def _checked_host(host: str) -> str | None:
    return host if _HOST.fullmatch(host) else None


def _forwarded(headers: Headers) -> list[_Hop]:
    text = _values(headers, b"forwarded")
    hops: list[_Hop] = []
    fields: dict[str, str] = {}
    position = 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            # What the client wrote may be broken; what is left of the break is not to be told from it.
            comma = text.find(",", position)
            if comma < 0:
                return []
            hops, fields, position = [], {}, comma + 1
            continue
        name, quoted, token, end = pair.groups()
        fields.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token)
        position = pair.end()
        if end != ";":
            hops.append(
                (
                    _node(fields.get("for", "")),
                    _SCHEMES.get(fields.get("proto", "").lower()),
                    _checked_host(fields.get("host", "")),
                )
            )
            fields = {}
    return hops
