"""Several services as one."""

import trio

from flux.nurseries.service import Service


def together(*services: Service) -> Service:
    """Return a service that runs all of these; each starts once the one before it is ready.

    Where one of them ends with an error, the others are cancelled and the error is raised in an
    ExceptionGroup, as a nursery does.
    """

    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            for service in services:
                await nursery.start(service)
            task_status.started()

    return run
