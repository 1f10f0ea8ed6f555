"""One child: what its supervisor is told about it, and one run of its service from start to end."""

import math
from collections.abc import Callable
from enum import Enum
from typing import Protocol, runtime_checkable

import trio
from attrs import define, field, frozen, validators

from flux.nurseries.restarts import Kind
from flux.nurseries.service import Service
from flux.nurseries.tree import Node

START_DEADLINE = 30.0  # seconds
SHUTDOWN_DEADLINE = 5.0  # seconds; OTP's default for workers


@runtime_checkable
class Supervising(Protocol):
    """A service that has children of its own."""

    def tree(self) -> Node:
        """Return a snapshot of the service and its children."""
        ...


@frozen
class Child:
    """A child's specification.

    Args:
        name: unique within the supervisor; appears in logs, metrics and the tree.
        service: what runs.
        kind: when it is started again after it ended.
        shutdown_deadline: seconds from the request to stop until the stop goes on without it. Default 5 s;
            without limit for a supervisor, whose children have their own.
        start_deadline: seconds it may take to report readiness. Default 30 s; without limit for a supervisor.
    """

    name: str = field(validator=validators.min_len(1))
    service: Service
    kind: Kind = Kind.PERMANENT
    shutdown_deadline: float = field(validator=[validators.ge(0)])
    start_deadline: float = field(validator=[validators.gt(0)])

    @shutdown_deadline.default
    def _shutdown_default(self) -> float:
        return math.inf if isinstance(self.service, Supervising) else SHUTDOWN_DEADLINE

    @start_deadline.default
    def _start_default(self) -> float:
        return math.inf if isinstance(self.service, Supervising) else START_DEADLINE


class Request(Enum):
    """Why an instance was told to end."""

    STOP = "stop"
    START_TIMEOUT = "start timeout"


@define(eq=False)
class Instance:
    """One run of a child's service; also the task status that the service reports readiness to.

    The task status is not that of ``nursery.start``: there, an error before readiness is raised in the task
    that started the child, and an outer cancellation reaches the child directly. Here both go through the
    supervisor, before readiness as after it.

    The scope is shielded: only `end` stops the service, so that siblings stop one by one.
    """

    launched: float
    on_ready: Callable[[], None]
    scope: trio.CancelScope = field(factory=lambda: trio.CancelScope(shield=True), init=False)
    settled: trio.Event = field(factory=trio.Event, init=False)
    """Ready, or ended before that."""
    ended: trio.Event = field(factory=trio.Event, init=False)
    ready: float | None = field(default=None, init=False)
    request: Request | None = field(default=None, init=False)
    error: BaseException | None = field(default=None, init=False)

    def started(self, value: None = None) -> None:
        """Report readiness (trio's task status interface)."""
        del value
        if self.ready is not None:
            # As trio does.
            raise RuntimeError("called 'started' twice on the same task status")
        self.ready = trio.current_time()
        self.settled.set()
        self.on_ready()

    def end(self, request: Request) -> None:
        """Cancel the service; the first request counts."""
        if self.request is None:
            self.request = request
        self.scope.cancel()

    async def run(self, service: Service) -> None:
        """Run the service to its end; what it raises is kept in `error`, never raised."""
        try:
            with self.scope:
                await service(task_status=self)
        except BaseException as error:  # noqa: BLE001 - kept: the supervisor judges it, also KeyboardInterrupt
            # A Cancelled that comes here is not this scope's, and no outer one can come through its shield:
            # the service raised a stale one. It is judged as any error is.
            self.error = error
        self.settled.set()
        self.ended.set()
