"""Scripted services that note what happens to them, for the tests of supervision."""

from collections.abc import Callable
from random import Random
from typing import Any

import trio
from attrs import define, field

from flux.metrics import REGISTRY
from flux.nurseries import Backoff, Child, Supervisor

STEADY = Backoff(initial=1.0, factor=2, cap=8.0, jitter=0.0, stable=100.0)


@define
class Diary:
    """What the services of one test did, with the time since its start, and who runs now."""

    entries: list[tuple[float, str, str]] = field(factory=list)
    running: set[str] = field(factory=set)

    begin: float | None = None
    """When the first thing happened."""

    def note(self, name: str, what: str) -> None:
        """Note what happens to a service now."""
        if self.begin is None:
            self.begin = trio.current_time()
        self.entries.append((self.now(), name, what))

    def now(self) -> float:
        """Return the seconds since the first entry."""
        return 0.0 if self.begin is None else round(trio.current_time() - self.begin, 3)

    def of(self, *whats: str) -> list[str]:
        """Return the names of those to whom something of that happened, in order."""
        return [name for _, name, what in self.entries if what in whats]

    def times(self, name: str, what: str) -> list[float]:
        """Return when something of that happened to the service."""
        return [time for time, n, w in self.entries if (n, w) == (name, what)]

    def service(
        self,
        name: str,
        *,
        startup: float = 0.0,
        crashes: Callable[[int], float | None] = lambda _: None,
        error: Callable[[int], BaseException | None] = lambda run: ValueError(f"run {run}"),
        cleanup: float = 0.0,
        cleanup_error: BaseException | None = None,
    ) -> Any:
        """Return a service.

        Args:
            name: its name in the diary.
            startup: seconds to readiness.
            crashes: run number (from 1) -> seconds after the start at which it ends by itself, or None.
            error: run number -> what it raises then; None returns.
            cleanup: seconds of shielded clean-up.
            cleanup_error: raised at the end of the clean-up.
        """
        runs = 0

        async def service(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            nonlocal runs
            runs += 1
            run = runs
            assert name not in self.running, f"two instances of {name} at once"
            self.running.add(name)
            self.note(name, "start")
            try:
                end = crashes(run)
                if end is not None and end < startup:
                    await trio.sleep(end)
                    await self._end(name, error(run))
                    return
                await trio.sleep(startup)
                task_status.started()
                self.note(name, "ready")
                if end is None:
                    await trio.sleep_forever()
                await trio.sleep(end - startup)
                await self._end(name, error(run))
            except trio.Cancelled:
                self.note(name, "cancelled")
                with trio.CancelScope(shield=True):
                    await trio.sleep(cleanup)
                if cleanup_error is not None:
                    raise cleanup_error from None
                raise
            finally:
                self.running.discard(name)
                self.note(name, "end")

        return service

    async def _end(self, name: str, error: BaseException | None) -> None:
        self.note(name, "crash" if error is not None else "return")
        if error is not None:
            raise error


def at(*seconds: float | None) -> Callable[[int], float | None]:
    """Return a crash plan: seconds for the first runs, then no more crashes."""
    return lambda run: seconds[run - 1] if run <= len(seconds) else None


def supervise(*children: Child, name: str = "top", **options: Any) -> Supervisor:
    """Return a supervisor without jitter."""
    return Supervisor(name, children, **{"backoff": STEADY, "rng": Random(1), **options})


async def run_for(supervisor: Supervisor, seconds: float) -> None:
    """Run a supervisor and cancel it from outside after a while."""
    with trio.move_on_after(seconds) as scope:
        await supervisor()
    assert scope.cancelled_caught


def counted(name: str, supervisor: str, child: str, **labels: str) -> float:
    """Return a metric's value."""
    value = REGISTRY.get_sample_value(
        f"flux_supervisor_{name}", {"supervisor": supervisor, "child": child, **labels}
    )
    return value or 0.0
