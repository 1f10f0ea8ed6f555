"""Signals: the first asks for an orderly stop, the second ends the process at once."""

import os
import signal
from collections.abc import Callable, Sequence
from types import FrameType

import structlog
import trio

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger("flux.nurseries")


async def watch_signals(
    on_stop: Callable[[signal.Signals], object],
    *,
    signals: Sequence[signal.Signals] = STOP_SIGNALS,
    exit_now: Callable[[int], object] = os._exit,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Wait for signals, until cancelled.

    The second signal is handled by the operating system's way into Python alone, not by trio: it works also
    when the event loop is stuck (in Python code; a C call that does not return can only be killed).

    Cancellation: the earlier signal handlers are put back.

    Args:
        on_stop: called with the first signal, in trio.
        signals: what to listen for.
        exit_now: ends the process; called with the shell's code for a signal, 128 + its number.
        task_status: reports that signals are caught from here on.

    Raises:
        RuntimeError: not in the main thread (a limit of Python).
    """

    def second(signum: int, frame: FrameType | None) -> None:
        del frame
        # os.write and nothing else: a signal handler may have interrupted the logging code.
        os.write(2, f"flux: second signal ({signal.Signals(signum).name}), exit at once\n".encode())
        exit_now(128 + signum)

    with trio.open_signal_receiver(*signals) as arrivals:
        task_status.started()
        first = signal.Signals(await anext(aiter(arrivals)))
        for each in signals:
            signal.signal(each, second)  # the receiver puts the original handlers back at its end
        log.info("stop requested", signal=first.name, hint="a second signal ends it at once")
        on_stop(first)
        await trio.sleep_forever()
