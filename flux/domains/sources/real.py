"""What a domain has of the real world: its provider, and the services that the provider needs to run."""

from typing import Generic, TypeVar

from attrs import frozen

from flux.nurseries.service import Service

P_co = TypeVar("P_co", covariant=True)


@frozen(kw_only=True)
class Real(Generic[P_co]):
    """A domain's real provider as Flux is set up; `missing` says what to do where there is none.

    Args:
        provider: None where it cannot be asked: its key is not set, say.
        services: run these while the provider is asked: its sources.
        missing: why there is no provider and which setting makes one, for people.
        source: the name of what is missing.
    """

    provider: P_co | None
    services: tuple[Service, ...] = ()
    missing: str = ""
    source: str = ""
