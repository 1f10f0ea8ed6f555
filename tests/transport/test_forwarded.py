"""What proxies say of their clients: believed from trusted ones alone, and only what they wrote."""

import pytest

from flux.errors import LocalError
from flux.transport.forwarded import Family, TrustedProxies, site_of
from flux.transport.http import Request
from flux.transport.quota import Quota

PROXY = ("10.0.0.1", 4321)


def resolve(family: Family = "x-forwarded", **headers: str) -> Request:
    """Resolve a request that came from a trusted proxy."""
    fields = (("host", "inner:8000"), *((k.replace("_", "-"), v) for k, v in headers.items()))
    request = Request(
        "GET", "/", headers=tuple((n.encode(), v.encode("latin-1")) for n, v in fields), peer=PROXY
    )
    return TrustedProxies(["10.0.0.0/8", "2001:db8::/64"], family).resolve(request)


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("192.0.2.7", ("192.0.2.7", 0)),
        ("192.0.2.7:555", ("192.0.2.7", 555)),
        ("[2001:db9::1]:555", ("2001:db9::1", 555)),
        ("2001:db9:0:0::1", ("2001:db9::1", 0)),
        ("::ffff:192.0.2.7", ("192.0.2.7", 0)),
        ("6.6.6.6, 192.0.2.7", ("192.0.2.7", 0)),
        ("6.6.6.6, 192.0.2.7, 10.1.1.1", ("192.0.2.7", 0)),
        ("192.0.2.7,10.1.1.1,2001:db8::5", ("192.0.2.7", 0)),
        ("10.9.9.9, 10.1.1.1", ("10.9.9.9", 0)),
        ("unknown", PROXY),
        ("192.0.2.7, unknown, 10.1.1.1", ("10.1.1.1", 0)),
        ("", PROXY),
        (",", PROXY),
        ("192.0.2.7:99999999", ("192.0.2.7", 0)),
        ("1.1.1.1, " * 5000 + "192.0.2.7", ("192.0.2.7", 0)),
        ("10.0.0.2, " * 5000 + "10.0.0.3", ("10.0.0.2", 0)),
        ("\u00b2.0.0.1", PROXY),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_trusted_proxy(
    chain: str, client: tuple[str, int]
) -> None:
    """What stands left of it anyone may have written."""
    assert resolve(x_forwarded_for=chain).peer == client


def test_scheme_and_host_are_the_clients() -> None:
    """As the proxy that met the client says, in one value or a list."""
    request = resolve(x_forwarded_for="192.0.2.7", x_forwarded_proto="https", x_forwarded_host="flux.test")
    assert (request.scheme, request.header(b"host")) == ("https", b"flux.test")
    request = resolve(
        x_forwarded_for="6.6.6.6, 192.0.2.7, 10.1.1.1",
        x_forwarded_proto="gopher, https, http",
        x_forwarded_host="evil, flux.test:444, inner",
    )
    assert (request.scheme, request.header(b"host")) == ("https", b"flux.test:444")
    request = resolve(x_forwarded_for="192.0.2.7", x_forwarded_proto="http, https")
    assert request.scheme == "https"


@pytest.mark.parametrize("host", ["a b", "a\tb", "a/b", "", "[::1", "a@b", "x" * 300])
def test_a_host_that_is_none_is_ignored(host: str) -> None:
    """The request's own stays."""
    assert resolve(x_forwarded_for="192.0.2.7", x_forwarded_host=host).header(b"host") == b"inner:8000"


@pytest.mark.parametrize(
    ("value", "client", "scheme"),
    [
        ("for=192.0.2.7;proto=https;host=flux.test", "192.0.2.7", "https"),
        ('For="[2001:db9::1]:80";Proto=HTTPS', "2001:db9::1", "https"),
        ("for=6.6.6.6;proto=http, for=192.0.2.7;proto=https", "192.0.2.7", "https"),
        ("for=192.0.2.7;proto=https, for=10.1.1.1;proto=http", "192.0.2.7", "https"),
        ("for=_hidden, for=10.1.1.1", "10.1.1.1", "http"),
        ("for=unknown", PROXY[0], "http"),
        # What a client wrote may be broken on purpose: it never reaches what the proxy appended.
        ('for=6.6.6.6;x=", for=192.0.2.7', "192.0.2.7", "http"),
        ('for=6.6.6.6, x=", for="[2001:db9::1]"', "2001:db9::1", "http"),
        ('for="6.6.6.6', PROXY[0], "http"),
        ("nonsense", PROXY[0], "http"),
        ("for=192.0.2.7;for=6.6.6.6", "192.0.2.7", "http"),
    ],
)
def test_the_standard_header_is_read_where_it_is_the_proxys(value: str, client: str, scheme: str) -> None:
    """RFC 7239, with its quoting."""
    request = resolve("forwarded", forwarded=value, x_forwarded_for="7.7.7.7")
    assert (request.peer[0], request.scheme) == (client, scheme)


def test_the_other_family_is_not_read() -> None:
    """A proxy passes it on as the client sent it."""
    assert resolve(forwarded="for=6.6.6.6").peer == PROXY


def test_who_is_trusted() -> None:
    """Addresses and networks, IPv4 in IPv6 clothes too; a name is none."""
    proxies = TrustedProxies(["10.0.0.0/8", "::1"])
    assert [
        proxies.trusts(h) for h in ("10.2.3.4", "::1", "::ffff:10.0.0.1", "11.0.0.1", "::2", "", "a")
    ] == [
        *[True] * 3,
        *[False] * 4,
    ]
    with pytest.raises(LocalError, match="network"):
        TrustedProxies(["proxy.test"])
    with pytest.raises(LocalError, match="network"):
        TrustedProxies(["10.0.0.1/8"])
    with pytest.raises(LocalError, match="headers"):
        TrustedProxies([], "x-real-ip")  # type: ignore[arg-type]


def test_an_ipv6_client_counts_by_its_network() -> None:
    """It has 2**64 addresses to choose from."""
    assert site_of("2001:db8::1") == site_of("2001:db8::ffff:1") != site_of("2001:db8:0:1::1")
    assert site_of("192.0.2.1") == "192.0.2.1"
    assert site_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert site_of("fe80::1%eth0") == "fe80::/64"


def test_a_quota_counts_in_all_and_per_owner() -> None:
    """What is given back can be taken again, and nothing is remembered of who has none."""
    quota = Quota(3, 2)
    assert [quota.take(owner) for owner in "aaabb"] == [None, None, "address", None, "total"]
    quota.give_back("a")
    assert quota.take("b") is None
    for owner in "abb":
        quota.give_back(owner)
    assert (quota.held, quota._held) == (0, {})
    with pytest.raises(LocalError):
        Quota(0, None)
