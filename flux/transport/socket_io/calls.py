"""Running handlers as tasks: started in arrival order, bounded, ended with their client.

trio starts tasks of one tick in any order, so a task does not carry its call: whichever starts first takes
    the oldest
call that waits.
"""

from collections import deque
from collections.abc import Awaitable, Callable

import trio

MAX_TASKS = 64
"""Handlers of one socket that run at a time."""
MAX_WAITING = 256
"""Calls of one socket that wait for a task before its connection is not read any more."""

Call = Callable[[], Awaitable[None]]
"""Handles its own exceptions."""


class Workload:
    """The tasks of all sockets of a server: where they run, and when none is left.

    Args:
        max_tasks: handlers of one socket that run at a time.
        max_waiting: calls of one socket that wait before its connection is not read any more.

    Attributes:
        fault: told what a handler raised while it was cancelled: its nursery gives the group of that and
            `Cancelled`, which is no `Exception`, so that the handler's own caller lets it pass.
    """

    def __init__(self, max_tasks: int = MAX_TASKS, max_waiting: int = MAX_WAITING) -> None:
        self.max_tasks = max_tasks
        self.max_waiting = max_waiting
        self.nursery: Callable[[], trio.Nursery] | None = None
        self.fault: Callable[[Exception], None] = _ignore
        self._running = 0
        self._idle: trio.Event | None = None

    def start(self, task: Call) -> None:
        """Start a task in the server's nursery."""
        if self.nursery is None:
            raise RuntimeError("the server does not run")
        self._running += 1
        self.nursery().start_soon(self._run, task)

    async def _run(self, task: Call) -> None:
        try:
            await task()
        except BaseExceptionGroup as group:
            cancelled, rest = group.split(trio.Cancelled)
            if cancelled is None or not isinstance(rest, ExceptionGroup):
                raise
            self.fault(rest)
            raise cancelled from None
        finally:
            self._running -= 1
            if self._running == 0 and self._idle is not None:
                self._idle.set()

    async def drained(self) -> None:
        """Wait until no task is left."""
        while self._running:
            self._idle = trio.Event()
            await self._idle.wait()


class Calls:
    """The calls of one socket.

    Args:
        workload: runs the tasks.
    """

    __slots__ = ("_relief", "_scopes", "_tasks", "_waiting", "_workload")

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._waiting: deque[Call] = deque()
        self._scopes: dict[trio.lowlevel.Task, trio.CancelScope] = {}
        self._tasks = 0
        self._relief: trio.Event | None = None

    def submit(self, call: Call) -> None:
        """Have a call run after all earlier ones have started; never waits."""
        self._waiting.append(call)
        if self._tasks < self._workload.max_tasks:
            self._tasks += 1
            self._workload.start(self._work)

    def pressure(self) -> trio.Event | None:
        """Return what to wait for before more calls are taken in, or None."""
        if len(self._waiting) <= self._workload.max_waiting:
            return None
        if self._relief is None:
            self._relief = trio.Event()
        return self._relief

    def cancel(self) -> None:
        """Cancel all calls, except the one that this is called from."""
        self._waiting.clear()
        self._relieve()
        current = trio.lowlevel.current_task()
        for task, scope in self._scopes.items():
            if task is not current:
                scope.cancel()

    async def _work(self) -> None:
        task = trio.lowlevel.current_task()
        try:
            while self._waiting:
                call = self._waiting.popleft()
                if len(self._waiting) <= self._workload.max_waiting // 2:
                    self._relieve()
                try:
                    with trio.CancelScope() as scope:
                        self._scopes[task] = scope
                        await call()
                except Exception as error:  # noqa: BLE001 - what the scope has left of a cancelled call's group
                    self._workload.fault(error)
        finally:
            self._tasks -= 1
            self._scopes.pop(task, None)

    def _relieve(self) -> None:
        if self._relief is not None:
            self._relief.set()
            self._relief = None


def _ignore(_error: Exception) -> None:
    pass
