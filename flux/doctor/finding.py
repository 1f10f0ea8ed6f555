"""A finding: what one check of the doctor saw, and what to do about it."""

from enum import StrEnum

import trio
from attrs import evolve, field, frozen

from flux.domains.sources.text import one_line

LONGEST = 500
"""Characters of a finding's texts; a source's own words come into some of them."""


class Verdict(StrEnum):
    """Whether what was checked is as it should be. Only `FAILED` makes the exit code 1."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


def plain(text: str) -> str:
    """Return a text as one bounded line without control characters, which must not reach a terminal."""
    return one_line(text, LONGEST) or ""


@frozen(kw_only=True)
class Finding:
    """What a check found.

    Args:
        check: its name: ``kafka``, ``weather: open-meteo``.
        verdict: how it is.
        found: what was seen.
        advice: what to do about it; empty where there is nothing to do.
        seconds: what the check took; None where that says nothing.
    """

    check: str
    verdict: Verdict
    found: str = field(converter=plain)
    advice: str = field(default="", converter=plain)
    seconds: float | None = None


@frozen
class Stopwatch:
    """How long a check takes; on trio's clock.

    Args:
        began: when.
    """

    began: float = field(factory=trio.current_time)

    def stamp(self, finding: Finding) -> Finding:
        """Return the finding with the time that it took."""
        return evolve(finding, seconds=round(trio.current_time() - self.began, 3))
