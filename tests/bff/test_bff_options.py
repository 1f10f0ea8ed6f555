"""Options: what is refused."""

from typing import Any

import pytest

from flux.bff import BffOptions


@pytest.mark.parametrize(
    "wrong",
    [
        {"dedupe_window": -1},
        {"single_flight": 0},
        {"snapshot_limit": 0},
        {"replay": -1},
        {"jitter": 1.0},
        {"publishers": 0},
        {"intervals": {"news.service.command.refresh": 0}},
        {"intervals": {"news.service.command.refresh": float("nan")}},
    ],
)
def test_senseless_options_are_refused(wrong: dict[str, Any]) -> None:
    """An option out of range is an error at once, which names it."""
    with pytest.raises(ValueError, match=next(iter(wrong)).rstrip("s")):
        BffOptions(**wrong)
