"""How a real source fails: for whom it is told, and whether trying again can help."""

from flux.domains.providers import ProviderError


class SourceError(ProviderError):
    """A real source failed; the text is fit for people and holds neither an address nor a key.

    Attributes:
        passing: whether the same request may succeed when it is tried again at once.
        retry_after: seconds that the source asks to be left alone, where it said so.
        asked: whether the source was asked at all; where not, it says nothing new about its health.
        known: whether the log says already that the source does not answer.
    """

    def __init__(
        self,
        message: str,
        *,
        passing: bool = False,
        retry_after: float | None = None,
        asked: bool = True,
        known: bool = False,
    ) -> None:
        super().__init__(message)
        self.passing = passing
        self.retry_after = retry_after
        self.asked = asked
        self.known = known
