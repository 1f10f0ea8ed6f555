"""A clock for bounds on how long this process takes, on a machine that has other work as well."""

import time
from pathlib import Path

_SCHEDULE = Path("/proc/thread-self/schedstat")
"""Linux: nanoseconds on a processor, nanoseconds ready to run but waiting for one, turns."""


def own_time() -> float:
    """Return a clock in seconds that stands while this thread waits for a processor that others have.

    What the thread itself waits for (timers, sockets) counts, as does its work. Elsewhere than on Linux it is
    the plain clock.
    """
    waited = int(_SCHEDULE.read_bytes().split()[1]) if _SCHEDULE.exists() else 0
    return time.perf_counter() - waited / 1e9
