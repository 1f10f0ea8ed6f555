"""Results: medians over the rounds, ratios between servers of one run, bars; as text, Markdown and JSON."""

import os
import platform
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from attrs import field, frozen

from bench.scenarios import Bar, Figures, Row, Scenario
from bench.servers import FLUX, TITLES

PASS, BEHIND, UNKNOWN = "PASS", "behind", "not measured"


@frozen
class Results:
    """The figures of all runs.

    Args:
        runs: by scenario's name and server, one entry a round.
        failures: one line for each run that failed.
    """

    runs: dict[tuple[str, str], list[Figures]] = field(factory=dict)
    failures: list[str] = field(factory=list)

    def add(self, scenario: str, server: str, figures: Figures) -> None:
        """Take the figures of a run."""
        self.runs.setdefault((scenario, server), []).append(figures)

    def value(self, scenario: Scenario, row: Row, server: str) -> float | None:
        """Return the median of a row's figure, or None if there is none."""
        runs = self.runs.get((scenario.name, server))
        return median(map(row.value, runs)) if runs else None


@frozen
class Verdict:
    """How a figure of Flux's stands to one bar.

    Args:
        text: the bar, and what was measured.
        mark: `PASS`, `BEHIND` or `UNKNOWN`.
    """

    text: str
    mark: str


def verdict(results: Results, scenario: Scenario, row: Row, bar: Bar) -> Verdict:
    """Compare Flux's figure with a bar."""
    relation = "at most" if row.less else "at least"
    own = results.value(scenario, row, FLUX)
    if bar.against is None:
        text = f"{relation} {bar.factor:g} {row.unit}"
        if own is None:
            return Verdict(text, UNKNOWN)
        return Verdict(f"{text}: {own:.{row.digits}f}", PASS if own <= bar.factor else BEHIND)
    names = (bar.against,) if isinstance(bar.against, str) else bar.against
    others = [value for name in names if (value := results.value(scenario, row, name)) is not None]
    title = TITLES[bar.against] if isinstance(bar.against, str) else "python-socketio"
    text = f"{relation} {bar.factor:g} x {title}"
    if own is None or not others:
        return Verdict(text, UNKNOWN)
    ratio = own / (min(others) if row.less else max(others))
    reached = ratio <= bar.factor if row.less else ratio >= bar.factor
    return Verdict(f"{text}: {ratio:.2f}", PASS if reached else BEHIND)


def table(results: Results, scenarios: Sequence[Scenario], servers: Sequence[str]) -> list[list[str]]:
    """Return the table's cells, its head first: row, figures of each server, bars with marks."""
    cells = [["what", *(TITLES[server] for server in servers), "bars"]]
    for scenario in scenarios:
        for row in scenario.rows:
            line = [f"{row.title} ({row.unit})"]
            for server in servers:
                value = results.value(scenario, row, server)
                line.append("" if value is None else f"{value:,.{row.digits}f}")
            verdicts = (verdict(results, scenario, row, bar) for bar in row.bars)
            line.append("; ".join(f"{each.text} {each.mark}" for each in verdicts))
            cells.append(line)
    return cells


def as_markdown(cells: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    head, *rows = cells
    rule = ["---", *("---:" for _ in head[1:-1]), "---"]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *rows))


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}


def as_json(results: Results, scenarios: Sequence[Scenario]) -> dict[str, Any]:
    """Return everything: the figures of every run, and the verdicts."""
    runs: dict[str, dict[str, Sequence[Mapping[str, Any]]]] = {}
    for (scenario, server), figures in results.runs.items():
        runs.setdefault(scenario, {})[server] = figures
    verdicts = [
        {"row": row.title, "bar": each.text, "mark": each.mark}
        for scenario in scenarios
        for row in scenario.rows
        for bar in row.bars
        for each in (verdict(results, scenario, row, bar),)
    ]
    return {"machine": machine(), "runs": runs, "verdicts": verdicts, "failures": results.failures}
