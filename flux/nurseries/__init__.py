"""Supervision for trio: services with readiness, restarts with backoff, an ordered stop.

It stands alone: it knows nothing of what it runs. The layers, bottom up:

* ``service``: what can be run: a coroutine function that reports readiness.
* ``backoff``, ``restarts``, ``tree``, ``failures``: pure: delays, strategies and limits, snapshots, errors.
* ``child``, ``ward``: one run of a service; a child over all its runs.
* ``supervisor``: ordered start, restarts, ordered stop; itself a service, so supervisors nest.
* ``signals``, ``root``: the outermost supervisor as a process: signals, the drain deadline, the exit code.

What a supervisor raises (``await supervisor()``), and when it is a group:

* It is never a group. Nothing that a child raises reaches the nursery that it runs in; the supervisor judges
  each end and raises at most one error, after all children have ended.
* An ``Exception`` of a child is answered with a restart, and seen only in the log, the metrics and the tree.
  If the child raised an exception group (most often from a nursery of its own), it counts as one crash; the
  log line lists the leaf errors.
* `TooManyRestarts`: too many crashes in the window. Its ``errors`` are those crashes' errors as they were
  raised (groups stay groups), its ``__cause__`` is the last one. For a parent supervisor it is a crash of
  this child as any other.
* An error of a type in ``fatal`` (by default `flux.errors.SettingsError`): that very error, bare, also if it
  was a leaf of a group; the log line has its companions. A parent with the same ``fatal`` passes it on.
* SystemExit and its like from a child: as the child raised it. Only here a group is possible: if the child
  raised one, or if a KeyboardInterrupt hits the supervisor's own task (`watch_signals` rules that out).
* `trio.Cancelled`, bare, when the surrounding scope was cancelled: after the ordered stop, never instead of
  it. If the supervisor had given up before the cancellation came, the error that it gave up with is raised.
* Errors that children raise while they are being stopped are logged, counted and in the tree
  (``Node.unclean``); they are not raised, so that one failing clean-up neither skips nor hides another.

What trio cannot force: a task ends only at a checkpoint at which it may be cancelled. A child that shields
itself, waits for a worker thread, or computes without a checkpoint runs on past its shutdown deadline. The
deadline then means that the stop goes on with the next child; the supervisor itself returns only when the
last one has ended. `run_root` puts an end to that with the process.
"""

from flux.nurseries.backoff import Backoff
from flux.nurseries.child import Child
from flux.nurseries.failures import ReturnedEarly, StartTimeout, TooManyRestarts, describe, leaves
from flux.nurseries.restarts import Intensity, Kind, Strategy
from flux.nurseries.root import Exit, ExitCode, run_root
from flux.nurseries.service import Service
from flux.nurseries.signals import watch_signals
from flux.nurseries.supervisor import Supervisor
from flux.nurseries.tree import Node, State

__all__ = [
    "Backoff",
    "Child",
    "Exit",
    "ExitCode",
    "Intensity",
    "Kind",
    "Node",
    "ReturnedEarly",
    "Service",
    "StartTimeout",
    "State",
    "Strategy",
    "Supervisor",
    "TooManyRestarts",
    "describe",
    "leaves",
    "run_root",
    "watch_signals",
]
