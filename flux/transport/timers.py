"""Timers: one task for every deadline of a server (heartbeats, upgrades, closing handshakes).

A task or a cancel scope per timer would cost more memory than the session it guards. Entries are not
cancelled: a callback looks whether it is still meant.
"""

import heapq
import math
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TypeVar
from weakref import ref

import structlog
import trio

log = structlog.get_logger("flux.timers")

T = TypeVar("T")


class Timers:
    """Calls plain functions at given times of trio's clock, in the order of their times."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = count()
        self._sleep: trio.CancelScope | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Have `callback` called at `when` (`trio.current_time`); soon, not in this call, if it is past."""
        heapq.heappush(self._heap, (when, next(self._count), callback))
        if self._sleep is not None and when < self._sleep.deadline:
            self._sleep.deadline = when

    def call_weakly_at(self, when: float, owner: T, callback: Callable[[T], None]) -> None:
        """Have ``callback(owner)`` called at `when`, unless nothing else refers to the owner by then.

        So the memory of those who come and go quickly does not pile up for the length of a time-out.
        """
        self.call_at(when, partial(_call_weakly, ref(owner), callback))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the timers until cancelled; those still due are dropped then.

        A callback's exception is logged and ends nothing.
        """
        task_status.started()
        try:
            await self._serve()
        finally:
            self._sleep = None
            self._heap.clear()

    async def _serve(self) -> None:
        while True:
            deadline = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=deadline) as self._sleep:
                await trio.sleep_forever()
            self._sleep = None
            now = trio.current_time()
            due = []
            while self._heap and self._heap[0][0] <= now:
                due.append(heapq.heappop(self._heap)[2])
            for callback in due:
                try:
                    callback()
                except Exception:
                    log.exception("timer failed")
            del due
            await trio.lowlevel.checkpoint()


def _call_weakly(owner: "ref[T]", callback: Callable[[T], None]) -> None:
    alive = owner()
    if alive is not None:
        callback(alive)
