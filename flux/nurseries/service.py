"""What a supervisor runs: a service is a coroutine function that says when it is ready."""

from typing import Protocol

import trio


class Service(Protocol):
    """Anything that ``nursery.start`` can start.

    It calls ``task_status.started()`` once it is ready for the services that come after it, then runs
    until it is cancelled (a permanent service), or returns (a transient or temporary one). Clean-up goes
    into ``finally``, shielded with a deadline; `trio.Cancelled` passes through.
    """

    async def __call__(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the service.

        Args:
            task_status: reports readiness.
        """
        ...
