"""A child over all its runs: its state, its counts, and how one run of it is stopped."""

from collections.abc import Callable
from datetime import datetime

import structlog
import trio
from attrs import define, field
from prometheus_client import Counter, Gauge

from flux.errors import FluxError
from flux.metrics import REGISTRY
from flux.nurseries.child import Child, Instance, Request, Supervising
from flux.nurseries.failures import describe, leaves
from flux.nurseries.tree import Node, State

_LABELS = ["supervisor", "child"]
UP = Gauge("flux_supervisor_child_up", "1 while the child is ready.", _LABELS, registry=REGISTRY)
CRASHES = Counter(
    "flux_supervisor_crashes_total",
    "Crashes of the child: before readiness (start), after it (run), or while stopping (stop).",
    [*_LABELS, "phase"],
    registry=REGISTRY,
)
RESTARTS = Counter(
    "flux_supervisor_restarts_total", "Times the child was started again.", _LABELS, registry=REGISTRY
)
OVERRUNS = Counter(
    "flux_supervisor_shutdown_overruns_total",
    "Times the child was still running at its shutdown deadline.",
    _LABELS,
    registry=REGISTRY,
)

log = structlog.get_logger("flux.nurseries")


@define(eq=False)
class Ward:
    """What a supervisor knows of a child.

    Args:
        supervisor: the supervisor's name, for logs and metrics.
        child: its specification.
        utc_now: gives the wall-clock time for `Node.since`.
    """

    supervisor: str
    child: Child
    utc_now: Callable[[], datetime]
    state: State = field(default=State.STOPPED, init=False)
    since: datetime | None = field(default=None, init=False)
    restarts: int = field(default=0, init=False)
    last_error: str | None = field(default=None, init=False)
    instance: Instance | None = field(default=None, init=False)
    attempt: int = field(default=0, init=False)
    """Restarts in a row without a stable run between them."""
    due: float = field(default=0.0, init=False)
    """Not to be started before this time on trio's clock."""
    finished: bool = field(default=False, init=False)
    """Not to be started again in this run of the supervisor."""
    unclean: bool = field(default=False, init=False)
    """Its last stop raised, or overran the deadline."""

    def __attrs_post_init__(self) -> None:
        UP.labels(*self._labels).set(0)
        RESTARTS.labels(*self._labels)
        OVERRUNS.labels(*self._labels)

    @property
    def _labels(self) -> tuple[str, str]:
        return self.supervisor, self.child.name

    @property
    def alive(self) -> bool:
        """Whether an instance runs."""
        return self.instance is not None and not self.instance.ended.is_set()

    def renew(self) -> None:
        """Forget what belongs to an earlier run of the supervisor; the counts stay."""
        self.instance = None
        self.attempt = 0
        self.due = 0.0
        self.finished = False
        self.unclean = False

    def enter(self, state: State) -> None:
        """Take on a state."""
        if state is not self.state:
            self.state = state
            self.since = self.utc_now()
            UP.labels(*self._labels).set(state is State.RUNNING)

    def launch(self, now: float) -> Instance:
        """Return a new instance, to be run by the caller.

        Args:
            now: on trio's clock.
        """
        again = self.instance is not None
        self.instance = Instance(launched=now, on_ready=self._ready)
        if again:
            self.restarts += 1
            RESTARTS.labels(*self._labels).inc()
        self.unclean = False
        self.enter(State.STARTING)
        return self.instance

    def _ready(self) -> None:
        if self.state is not State.STARTING:
            return  # it is being stopped; readiness comes too late
        self.enter(State.RUNNING)
        if self.restarts:
            log.info("child is back", **self._names(), restarts=self.restarts)
        else:
            log.debug("child ready", **self._names())

    async def stop(self) -> None:
        """Cancel the running instance and wait for its end, at most for the shutdown deadline.

        Returns at the deadline even if the instance still runs: nothing can force a task to end that shields
        itself, sits in a worker thread, or never comes to a checkpoint. Its supervisor waits for it later.

        Cancellation: the instance stays cancelled; only the waiting is given up.
        """
        instance = self.instance
        if instance is None or instance.ended.is_set():
            return
        self.enter(State.STOPPING)
        instance.end(Request.STOP)
        with trio.move_on_after(self.child.shutdown_deadline):
            await instance.ended.wait()
        if not instance.ended.is_set():
            deadline = self.child.shutdown_deadline
            self.unclean = True
            self.last_error = f"still running {deadline:g} s after it was told to stop"
            OVERRUNS.labels(*self._labels).inc()
            log.warning("child overran its shutdown deadline", **self._names(), deadline=deadline)

    def crashed(self, error: BaseException, event: str, **facts: object) -> None:
        """Count and log a crash of the instance, once.

        Args:
            error: what it raised.
            event: the log line's text.
            facts: more for the log line.
        """
        instance = self.instance
        if instance is not None and instance.request is Request.STOP:
            phase = "stop"
        else:
            phase = "run" if instance is not None and instance.ready is not None else "start"
        self.last_error = describe(error)
        CRASHES.labels(*self._labels, phase).inc()
        # Flux's own errors say what to do; a traceback helps only with the unexpected.
        expected = all(isinstance(leaf, FluxError) for leaf in leaves(error))
        log.error(
            event,
            **self._names(),
            error=self.last_error,
            phase=phase,
            **facts,
            **({} if expected else {"exc_info": error}),
        )

    def _names(self) -> dict[str, str]:
        return {"supervisor": self.supervisor, "child": self.child.name}

    def node(self) -> Node:
        """Return a snapshot, with the children of a nested supervisor."""
        service = self.child.service
        return Node(
            name=self.child.name,
            state=self.state,
            since=self.since,
            restarts=self.restarts,
            last_error=self.last_error,
            unclean=self.unclean,
            children=service.tree().children if isinstance(service, Supervising) else (),
        )
