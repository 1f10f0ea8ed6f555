"""What every provider shares: how one is chosen, and how one fails."""

from attrs import frozen

from flux.errors import BrokenError

SIMULATED = "simulated"
"""The `source` of everything that a simulated provider makes."""


@frozen(kw_only=True)
class ProviderOptions:
    """How a domain's provider is made.

    Args:
        seed: of the simulation; None takes one from the operating system.
        ticker_rate: simulated ticker events per second, over all products.
        products: how many products the simulated ticker has.
        fetch_delay: seconds that a simulated fetch takes.
    """

    seed: int | None = None
    ticker_rate: float = 20.0
    products: int = 10
    fetch_delay: float = 0.0


class ProviderError(BrokenError):
    """A source failed; becomes an event with ``status: "error"``; the text is fit for people."""


class UnknownPlaceError(BrokenError):
    """A source does not know the place asked for; the command is rejected; the text is fit for people."""
