"""The root of the tree: a supervisor as the whole process: signals, a drain deadline, an exit code."""

import os
import signal
from collections.abc import Callable, Sequence
from enum import IntEnum

import structlog
import trio
from attrs import frozen

from flux.errors import SettingsError
from flux.nurseries.failures import describe
from flux.nurseries.signals import STOP_SIGNALS, watch_signals
from flux.nurseries.supervisor import Supervisor
from flux.nurseries.tree import State

log = structlog.get_logger("flux.nurseries")


class ExitCode(IntEnum):
    """How the process ends; a second signal ends it with 128 + the signal's number instead."""

    CLEAN = 0
    FAILED = 1
    SETTINGS = 2
    DEADLINE = 3


@frozen
class Exit:
    """The end of a run: a code for the shell, a reason for people."""

    code: int
    reason: str


async def run_root(
    supervisor: Supervisor,
    *,
    drain_deadline: float = 10.0,
    signals: Sequence[signal.Signals] = STOP_SIGNALS,
    exit_now: Callable[[int], object] = os._exit,
) -> Exit:
    """Run a supervisor until it ends, or a signal stops it.

    The drain deadline runs from the beginning of the stop, whatever began it. Past it the process is ended
    with ``exit_now(ExitCode.DEADLINE)``: tasks that shield themselves and worker threads cannot be ended in
    any other way.

    Cancellation: the supervisor drains first, within the deadline; then `trio.Cancelled` is raised.

    Args:
        supervisor: what to run.
        drain_deadline: seconds from the beginning of the stop to the end of everything.
        signals: what to listen for; empty in programs that handle signals themselves.
        exit_now: ends the process at once.

    Returns:
        CLEAN: everything stopped as it should. FAILED: the supervisor gave up, or a child's stop failed.
        SETTINGS: a service refused its settings. DEADLINE: only where `exit_now` returned.

    Raises:
        BaseException: what is neither an `Exception` nor a stop, KeyboardInterrupt for example, as it was.
    """
    drained = trio.CancelScope(shield=True)
    serving = trio.CancelScope()
    overdue = trio.Event()
    stopped_by: list[str] = []

    def stop(signum: signal.Signals) -> None:
        stopped_by.append(signum.name)
        serving.cancel()

    async def watch(*, task_status: trio.TaskStatus[None]) -> None:
        # Shielded: both watchers are needed most while everything else is cancelled.
        with drained:
            async with trio.open_nursery() as watchers:
                if signals:
                    await watchers.start(_signals)
                task_status.started()
                await supervisor.wait_stopping()
                await trio.sleep(drain_deadline)
                _log_overdue(supervisor, drain_deadline)
                overdue.set()
                exit_now(ExitCode.DEADLINE)

    async def _signals(*, task_status: trio.TaskStatus[None]) -> None:
        await watch_signals(stop, signals=signals, exit_now=exit_now, task_status=task_status)

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        try:
            with serving:
                await supervisor()
        except Exception as error:  # noqa: BLE001 - becomes the exit code and the reason
            failure = error
        finally:
            drained.cancel()

    end = _judge(supervisor, failure, overdue=overdue.is_set(), stopped_by=stopped_by)
    (log.info if end.code == ExitCode.CLEAN else log.error)("stopped", code=int(end.code), reason=end.reason)
    return end


def _judge(
    supervisor: Supervisor, failure: Exception | None, *, overdue: bool, stopped_by: Sequence[str]
) -> Exit:
    if isinstance(failure, SettingsError):
        return Exit(ExitCode.SETTINGS, str(failure))
    if failure is not None:
        return Exit(ExitCode.FAILED, describe(failure))
    if overdue:
        return Exit(ExitCode.DEADLINE, "the drain deadline passed")
    if unclean := [path for path, node in supervisor.tree().walk() if node.unclean and not node.children]:
        return Exit(ExitCode.FAILED, f"did not stop cleanly: {', '.join(unclean)}")
    return Exit(ExitCode.CLEAN, stopped_by[0] if stopped_by else "every service finished")


def _log_overdue(supervisor: Supervisor, deadline: float) -> None:
    ended = (State.STOPPED, State.FAILED, State.RESTARTING)
    running = [
        path for path, node in supervisor.tree().walk() if node.state not in ended and not node.children
    ]
    log.error("drain deadline passed, exit at once", deadline=deadline, still_running=running)
