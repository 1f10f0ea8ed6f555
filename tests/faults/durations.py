"""How long faults last: short beside the other tests, or as long as the promises say."""

import os

LONG = os.environ.get("FLUX_FAULTS", "") == "long"
"""Set by ``nox -s faults``."""


def lasting(short: int, long: int) -> int:
    """Return what the form of this run takes: seconds, or a count."""
    return long if LONG else short
