"""How a real source fails: for whom it is told, and whether trying again can help."""

from flux.domains.providers import ProviderError


class SourceError(ProviderError):
    """A real source failed; the text is fit for people and holds neither an address nor a key.

    Attributes:
        passing: whether the same request may succeed when it is tried again at once.
        retry_after: seconds that the source asks to be left alone, where it said so.
        asked: whether the source was asked at all; where not, it says nothing new about its health.
        known: whether the log says already that the source does not answer.
        reached: whether it may have been the source that failed; False where there was no way to it.
        key_setting: the setting that holds the key which the source refuses; empty for any other failure.
    """

    def __init__(
        self,
        message: str,
        *,
        passing: bool = False,
        retry_after: float | None = None,
        asked: bool = True,
        known: bool = False,
        reached: bool = True,
        key_setting: str = "",
    ) -> None:
        super().__init__(message)
        self.passing = passing
        self.retry_after = retry_after
        self.asked = asked
        self.known = known
        self.reached = reached
        self.key_setting = key_setting
