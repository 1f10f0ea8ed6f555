"""The board shows people how each source is."""

from typing import Any

import trio
from source_doubles import virtual_now
from trio.testing import MockClock

from flux.domains.sources import Board
from flux.domains.sources.board import Row, SourceState
from flux.domains.sources.breaker import BreakerState


async def test_a_row_follows_its_source(board: Board, autojump_clock: MockClock, logged: list[Any]) -> None:
    """Since when it is so, why, when it answered last; each change is one log line."""

    def row() -> Row:
        (row,) = board.rows()
        return row

    health = board.health("example", "weather")
    assert board.health("example", "weather") is health, "a service that starts anew finds it as it was"
    assert row() == Row(
        name="example",
        domain="weather",
        state=SourceState.UNKNOWN,
        breaker=BreakerState.CLOSED,
        since=None,
        reason="",
        last_answer=None,
    )
    health.answered()
    await trio.sleep(60)
    health.answered()
    assert (row().state, row().since, row().last_answer) == (
        SourceState.UP,
        "2026-01-31T12:00:00.000Z",
        "2026-01-31T12:01:00.000Z",
    )
    await trio.sleep(60)
    health.failed("it hangs")
    await trio.sleep(60)
    health.failed("it refuses")
    assert (row().state, row().since, row().reason, row().last_answer) == (
        SourceState.DOWN,
        "2026-01-31T12:02:00.000Z",
        "it refuses",
        "2026-01-31T12:01:00.000Z",
    )
    await trio.sleep(60)
    health.answered()
    assert (row().state, row().reason) == (SourceState.UP, "")
    for line in logged:
        del line["log_level"]
    assert logged == [
        {"event": "source answers", "source": "example"},
        {"event": "source is down", "source": "example", "domain": "weather", "reason": "it hangs"},
        {"event": "source is back", "source": "example", "seconds_down": 120.0},
    ]


def test_rows_stand_in_the_order_of_first_use() -> None:
    """So that the page does not jump."""
    board = Board(virtual_now)
    for name in ("b", "a", "c", "a"):
        board.health(name, "news")
    assert [row.name for row in board.rows()] == ["b", "a", "c"]
