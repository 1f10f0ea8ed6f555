"""The command line ``flux``, whose clock jumps ahead at each SIGUSR1, and else runs as ever.

It jumps by FLUX_JUMP_SECONDS.
Hours of an outage pass at once; what talks to other programs (sockets, Kafka's threads) sees real time.
"""

import os
import signal
from functools import partial
from types import FrameType

import trio
from trio.testing import MockClock

from flux.cli import cli

clock = MockClock(rate=1.0)
seconds = float(os.environ.pop("FLUX_JUMP_SECONDS"))


def jump(_number: int, _frame: FrameType | None) -> None:
    """Jump; the signal itself has woken trio, which then finds every deadline that has passed."""
    clock.jump(seconds)


signal.signal(signal.SIGUSR1, jump)
trio.run = partial(trio.run, clock=clock)
cli(prog_name="flux")
