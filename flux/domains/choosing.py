"""What a service asks for its data: the provider that its domain's mode says, made from the context."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from flux.domains.domain import ServiceContext
from flux.domains.providers import Mode, ProviderOptions
from flux.domains.sources.board import Board
from flux.domains.sources.choice import Choice, Sourced
from flux.domains.sources.real import Real

P = TypeVar("P", bound=Sourced)

MakeReal = Callable[[ProviderOptions, Board, Callable[[], datetime]], Real[P]]
"""A domain's ``real``: makes its real provider of the options, the board and the wall clock."""


def choose(
    domain: str, context: ServiceContext, real: MakeReal[P], simulated: P
) -> tuple[Choice[P], Real[P]]:
    """Return the choice between a domain's providers, and the real one, which is made only where it is asked.

    Args:
        domain: its name.
        context: the service's.
        real: makes the real provider.
        simulated: the simulated one.
    """
    found: Real[P] = Real(provider=None)
    if context.providers.mode_of(domain) is not Mode.SIMULATED:
        found = real(context.providers, context.board, context.now)
    choice = Choice(
        domain,
        context.providers,
        real=found.provider,
        simulated=simulated,
        missing=found.missing,
        source=found.source,
    )
    return choice, found
