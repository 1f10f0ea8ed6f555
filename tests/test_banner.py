"""The banner: what a person reads when Flux is up."""

import io

import pytest
from attrs import evolve
from rich.console import Console

from flux.banner import Banner, modes
from flux.domains.providers import ProviderOptions


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


DOMAINS = ("weather", "crypto", "news", "stock")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (ProviderOptions(), "simulated"),
        (ProviderOptions(mode="auto"), "auto"),
        (ProviderOptions(weather="real"), "simulated; weather: real"),
        (ProviderOptions(mode="auto", news="simulated", stock="real"), "auto; news: simulated, stock: real"),
        (ProviderOptions(mode="auto", weather="auto"), "auto"),
        (ProviderOptions(weather="real", crypto="real", news="real", stock="real"), "real"),
        (
            ProviderOptions(weather="real", crypto="auto", news="auto", stock="real"),
            "weather: real, crypto: auto, news: auto, stock: real",
        ),
    ],
)
def test_the_modes_are_told_in_short(options: ProviderOptions, text: str) -> None:
    """One word where all domains are alike; else the exceptions by name."""
    assert modes(options, DOMAINS) == text


def test_the_modes_are_those_of_the_processs_own_domains() -> None:
    """A process of one service tells its own; one that fetches nothing has no such line."""
    assert modes(ProviderOptions(mode="auto", news="real"), ["news"]) == "real"
    assert modes(ProviderOptions(mode="auto"), []) == ""
    assert "Providers" in shown(BANNER)
    assert "Providers" not in shown(evolve(BANNER, providers=""))
