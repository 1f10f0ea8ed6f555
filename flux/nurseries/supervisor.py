"""The supervisor: starts services in order, restarts what crashes, stops everything in reverse order."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from random import Random

import structlog
import trio
from attrs import define, field

from flux.errors import LocalError, SettingsError
from flux.nurseries.backoff import Backoff
from flux.nurseries.child import Child, Instance, Request
from flux.nurseries.failures import ReturnedEarly, StartTimeout, TooManyRestarts, describe, leaves
from flux.nurseries.restarts import CrashWindow, Intensity, Strategy
from flux.nurseries.tree import Node, State
from flux.nurseries.ward import Ward

log = structlog.get_logger("flux.nurseries")


@define(eq=False)
class _Group:
    """Children that share their restarts; one task keeps them alive.

    `attempt` is the scope in which that task works; every end that nobody asked for cancels it, and the task
    looks again at what there is to stop and to start. `crashed` are the indices it has not dealt with yet.
    """

    wards: list[Ward]
    attempt: trio.CancelScope = field(factory=trio.CancelScope)
    crashed: set[int] = field(factory=set)
    up: trio.Event = field(factory=trio.Event)


@define(eq=False)
class _Run:
    """What belongs to one run of the supervisor."""

    nursery: trio.Nursery
    window: CrashWindow
    kept: int
    """Groups that may still have something to run."""
    serving: trio.CancelScope = field(factory=trio.CancelScope)
    stopping: bool = False


class Supervisor:
    """Runs children as one service; supervisors nest.

    Start: in order, each child after the one before it reported readiness. A crash, also one before
    readiness, is answered with a restart after a backoff, of the children that the strategy names.

    Stop: one by one in reverse order, each with its shutdown deadline, whatever the reason: a cancellation
    from outside (which reaches no child directly), too many restarts, a fatal error. A child that overruns
    its deadline is logged and left behind; the supervisor does not return before it has ended, because a task
    cannot outlive its nursery.

    A supervisor none of whose children may run any more (all returned, or were temporary) returns.

    Args:
        name: for logs, metrics and the tree.
        children: in the order of start; names are unique.
        strategy: who is restarted with a child that crashed.
        intensity: how many crashes are answered with restarts.
        backoff: how long a child waits for its restart; counted per child.
        fatal: errors that no restart can mend; they end the supervisor at once and are raised.
        rng: the source of the backoff's jitter.
        utc_now: the wall clock for `Node.since`.

    Raises:
        LocalError: two children have the same name.
    """

    def __init__(
        self,
        name: str,
        children: Sequence[Child],
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity = Intensity(),  # noqa: B008 - frozen
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        fatal: tuple[type[Exception], ...] = (SettingsError,),
        rng: Random | None = None,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        names = [child.name for child in children]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise LocalError(f"supervisor {name}: more than one child is named {', '.join(twice)}")
        self.name = name
        self._strategy = strategy
        self._intensity = intensity
        self._backoff = backoff
        self._fatal = fatal
        self._rng = rng if rng is not None else Random()
        self._utc_now = utc_now
        self._wards = [Ward(name, child, utc_now) for child in children]
        self._state = State.STOPPED
        self._since: datetime | None = None
        self._verdict: BaseException | None = None
        self._running = False
        self._stopping = trio.Event()

    async def __call__(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the children until cancelled.

        Cancellation: the children are stopped in reverse order first, each within its shutdown deadline; then
        `trio.Cancelled` is raised, bare.

        Args:
            task_status: reports readiness once every child was ready.

        Raises:
            TooManyRestarts: the restart intensity was exceeded; its cause is the last crash's error.
            LocalError: it runs already.
            Exception: an error of a type in `fatal`, bare, also where the child raised it within a group.
            BaseException: what a child raised that is not an `Exception` (SystemExit), as it was.
        """
        if self._running:
            raise LocalError(f"supervisor {self.name} runs already")
        self._running = True
        self._verdict = None
        if self._stopping.is_set():
            self._stopping = trio.Event()
        for ward in self._wards:
            ward.renew()
        self._enter(State.STARTING)
        try:
            async with trio.open_nursery() as nursery:
                await self._serve(nursery, task_status)
        except BaseExceptionGroup as group:
            # Cancelled comes from this task and those that keep the groups: as one, and bare. Anything else
            # is a KeyboardInterrupt that hit this task, or a bug here.
            cancelled, other = group.split(trio.Cancelled)
            if other is not None:
                raise
            if cancelled is not None and self._verdict is None:
                raise next(leaves(cancelled)) from None
        finally:
            self._running = False
            self._enter(State.STOPPED if self._verdict is None else State.FAILED)
        if self._verdict is not None:
            raise self._verdict

    async def _serve(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        groups = [_Group([self._wards[i] for i in part]) for part in self._strategy.groups(len(self._wards))]
        run = _Run(nursery, CrashWindow(self._intensity), kept=len(groups))
        try:
            with run.serving:
                for group in groups:
                    nursery.start_soon(self._keep, run, group, name=f"{self.name}: keeper")
                    await group.up.wait()
                self._enter(State.RUNNING)
                task_status.started()
                if groups:
                    await trio.sleep_forever()
        finally:
            run.stopping = True
            self._enter(State.STOPPING)
            self._stopping.set()
            # Ends the tasks that keep the groups, so nothing is started from here on. Children are shielded.
            nursery.cancel_scope.cancel()
            # Each stop is bounded by its child's deadline.
            with trio.CancelScope(shield=True):
                for ward in reversed(self._wards):
                    await ward.stop()
                    if not ward.alive and ward.state is State.RESTARTING:
                        ward.enter(State.STOPPED)

    async def _keep(self, run: _Run, group: _Group) -> None:
        """Keep a group of children running, until none of them may run any more."""
        while not (group.up.is_set() and all(ward.finished for ward in group.wards)):
            # Everything below may be left at any await and begun again: it looks at what is, not at what was.
            with trio.CancelScope() as group.attempt:
                await self._stop_affected(group)
                waiting = [ward.due for ward in group.wards if not ward.alive and not ward.finished]
                await trio.sleep_until(max(waiting, default=0.0))
                for ward in group.wards:
                    if not ward.finished:
                        await self._bring_up(run, group, ward)
                group.up.set()
                if not all(ward.finished for ward in group.wards):
                    await trio.sleep_forever()
        run.kept -= 1
        if not run.kept:
            run.serving.cancel()

    async def _stop_affected(self, group: _Group) -> None:
        """Stop the siblings that restart together with those that crashed, in reverse order."""
        crashed = set(group.crashed)
        if not crashed:
            return
        count = len(group.wards)
        affected = {index for one in crashed for index in self._strategy.affected(one, count)}
        for index in sorted(affected, reverse=True):
            ward = group.wards[index]
            await ward.stop()
            if ward.instance is not None:
                await ward.instance.ended.wait()  # past the deadline too: never two instances of one child
        group.crashed -= crashed

    async def _bring_up(self, run: _Run, group: _Group, ward: Ward) -> None:
        """Start a child unless it runs; return once it is ready, or has ended as it may.

        The caller has just passed a checkpoint, so nothing is launched once the supervisor stops.
        """
        instance = ward.instance
        if instance is None or instance.ended.is_set():
            instance = ward.launch(trio.current_time())
            run.nursery.start_soon(
                self._live, run, group, ward, instance, name=f"{self.name}: {ward.child.name}"
            )
        with trio.move_on_at(instance.launched + ward.child.start_deadline):
            await instance.settled.wait()
        if not instance.settled.is_set():
            instance.end(Request.START_TIMEOUT)
            await instance.ended.wait()
        # If it crashed, this leaves the attempt before the next child is started.
        await trio.lowlevel.checkpoint_if_cancelled()

    async def _live(self, run: _Run, group: _Group, ward: Ward, instance: Instance) -> None:
        """Run one instance, and judge its end in the same breath."""
        await instance.run(ward.child.service)
        error = instance.error
        if error is not None and not isinstance(error, (Exception, trio.Cancelled)):
            ward.crashed(error, "child raised what is not for a supervisor")
            ward.finished = True
            ward.enter(State.FAILED)
            self._give_up(run, error)
        elif run.stopping or instance.request is Request.STOP:
            self._stopped(run, ward, error)
        else:
            self._ended(run, group, ward, instance)

    def _stopped(self, run: _Run, ward: Ward, error: BaseException | None) -> None:
        """Judge an end that was asked for, or that came while the supervisor stops."""
        if error is not None:
            ward.unclean = True
            ward.crashed(error, "child failed while stopping")
        if run.stopping:
            ward.enter(State.STOPPED if error is None else State.FAILED)
        elif ward.child.kind.restarts:
            ward.enter(State.RESTARTING)
        else:
            ward.finished = True
            ward.enter(State.STOPPED if error is None else State.FAILED)

    def _ended(self, run: _Run, group: _Group, ward: Ward, instance: Instance) -> None:
        """Judge an end that nobody asked for: decide on a restart, and wake the task that carries it out."""
        now = trio.current_time()
        error = instance.error
        if instance.request is Request.START_TIMEOUT:
            late = StartTimeout(f"{ward.child.name}: not ready within {ward.child.start_deadline:g} s")
            late.__cause__ = error
            error = late
        group.attempt.cancel()
        if not ward.child.kind.is_crash(failed=error is not None):
            ward.finished = True
            ward.enter(State.STOPPED)
            log.debug("child finished", supervisor=self.name, child=ward.child.name)
            return
        if error is None:
            error = ReturnedEarly(f"{ward.child.name}: returned, but should run until it is cancelled")
        if hopeless := [leaf for leaf in leaves(error) if isinstance(leaf, self._fatal)]:
            ward.crashed(error, "child failed for good")
            ward.finished = True
            ward.enter(State.FAILED)
            self._give_up(run, hopeless[0])
        elif not ward.child.kind.restarts:
            ward.crashed(error, "child failed, not restarted")
            ward.finished = True
            ward.enter(State.FAILED)
        elif run.window.add(now, error):
            ward.crashed(error, "child crashed once too often", restart=None)
            ward.finished = True
            ward.enter(State.FAILED)
            errors = run.window.errors
            verdict = TooManyRestarts(self.name, len(errors), self._intensity.window, errors)
            verdict.__cause__ = error
            self._give_up(run, verdict)
        else:
            ran_for = 0.0 if instance.ready is None else now - instance.ready
            ward.attempt = self._backoff.next_attempt(ward.attempt, ran_for)
            delay = self._backoff.delay(ward.attempt, self._rng)
            ward.due = now + delay
            ward.crashed(error, "child crashed", restart=ward.restarts + 1, delay=round(delay, 3))
            ward.enter(State.RESTARTING)
            group.crashed.add(group.wards.index(ward))

    def _give_up(self, run: _Run, verdict: BaseException) -> None:
        if self._verdict is None:
            self._verdict = verdict
            log.error("supervisor gives up", supervisor=self.name, reason=describe(verdict))
        run.serving.cancel()

    @property
    def state(self) -> State:
        """The supervisor's own state."""
        return self._state

    async def wait_stopping(self) -> None:
        """Return once the supervisor has begun to stop, for whatever reason, or has ended."""
        await self._stopping.wait()

    def tree(self) -> Node:
        """Return a snapshot of the supervisor and everything under it."""
        verdict = self._verdict
        return Node(
            name=self.name,
            state=self._state,
            since=self._since,
            last_error=None if verdict is None else describe(verdict),
            unclean=any(ward.unclean for ward in self._wards),
            children=tuple(ward.node() for ward in self._wards),
        )

    def _enter(self, state: State) -> None:
        if state is not self._state:
            self._state = state
            self._since = self._utc_now()
