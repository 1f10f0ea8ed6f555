"""The banner: what a person reads when Flux is up."""

import io

from rich.console import Console

from flux.banner import Banner


def shown(banner: Banner) -> str:
    """The banner as text."""
    out = io.StringIO()
    banner.show(Console(file=out, width=100))
    return out.getvalue()


BANNER = Banner(
    version="1.2.3",
    url="http://127.0.0.1:8000",
    broker="127.0.0.1:1 (embedded)",
    providers="simulated",
    runs=("bff",),
)


def test_the_banner_gives_the_addresses_and_the_way_out() -> None:
    """The page, health, metrics, the broker, and how to stop."""
    text = shown(BANNER)
    for fact in (
        "Flux 1.2.3",
        "http://127.0.0.1:8000/readyz",
        "/metrics",
        "127.0.0.1:1 (embedded)",
        "Ctrl-C",
    ):
        assert fact in text


def test_a_fact_with_brackets_is_shown_as_it_is() -> None:
    """An IPv6 address is no markup."""
    banner = Banner(
        version="1", url="http://[::1]:80", broker="[::1]:9", providers="simulated", runs=("bff",)
    )
    assert "http://[::1]:80/readyz" in shown(banner)
    assert "[::1]:9" in shown(banner)
