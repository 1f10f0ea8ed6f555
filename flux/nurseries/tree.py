"""The supervision tree as data: a frozen snapshot for the admin page, health checks and logs."""

from collections.abc import Iterator
from datetime import datetime
from enum import Enum

from attrs import frozen


class State(Enum):
    """Where a child is in its life."""

    STOPPED = "stopped"
    """Not started yet, ended as it should, or stopped."""

    STARTING = "starting"
    """Runs, not ready yet."""

    RUNNING = "running"
    """Ready."""

    RESTARTING = "restarting"
    """It, or a sibling that takes it along, crashed; it waits for its next start."""

    STOPPING = "stopping"
    """Asked to stop, still cleaning up."""

    FAILED = "failed"
    """Ended with an error, and is not started again."""


@frozen
class Node:
    """A supervisor or a child at one moment.

    Args:
        name: unique among its siblings.
        state: where it is in its life.
        since: when it came there, aware, UTC; None before anything happened.
        restarts: how often it was started again, since the supervisor was made.
        last_error: its last error as one line of text; None if it never failed.
        unclean: its last stop raised, or overran its shutdown deadline.
        children: in the order of start; empty for a plain service.
    """

    name: str
    state: State
    since: datetime | None = None
    restarts: int = 0
    last_error: str | None = None
    unclean: bool = False
    children: tuple["Node", ...] = ()

    def walk(self, path: str = "") -> Iterator[tuple[str, "Node"]]:
        """Yield every node with its path (``flux/domains/weather``), parents before children."""
        own = f"{path}/{self.name}" if path else self.name
        yield own, self
        for child in self.children:
            yield from child.walk(own)
