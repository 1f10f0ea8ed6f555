"""Findings as text: a coloured line each in a terminal, a plain one elsewhere, or JSON for machines."""

from collections.abc import Callable
from typing import TextIO

import msgspec
from attrs import asdict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flux.doctor.finding import Finding, Verdict

STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "bold red"}

Write = Callable[[Finding], None]


def writer(out: TextIO, *, as_json: bool) -> Write:
    """Return what writes a finding, at once.

    Args:
        out: where to.
        as_json: one object a line: check, verdict, found, advice, seconds.
    """
    write = _write_json if as_json else _write_pretty if out.isatty() else _write_plain

    def write_and_flush(finding: Finding) -> None:
        write(out, finding)
        out.flush()

    return write_and_flush


def _write_json(out: TextIO, finding: Finding) -> None:
    out.write(msgspec.json.encode(asdict(finding)).decode() + "\n")


def _write_plain(out: TextIO, finding: Finding) -> None:
    advice = f" -> {finding.advice}" if finding.advice else ""
    out.write(f"{finding.verdict:7}  {finding.check}: {finding.found}{_took(finding)}{advice}\n")


def _write_pretty(out: TextIO, finding: Finding) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=7, no_wrap=True)
    grid.add_column(width=20)
    grid.add_column()
    what = Text.assemble(finding.found, (_took(finding), "dim"))
    if finding.advice:
        what.append(f"\n{finding.advice}", "cyan")
    grid.add_row(Text(finding.verdict, STYLES[finding.verdict]), Text(finding.check, "bold"), what)
    Console(file=out).print(grid)


def _took(finding: Finding) -> str:
    if finding.seconds is None:
        return ""
    if finding.seconds < 1:
        return f" ({finding.seconds * 1000:.0f} ms)"
    return f" ({finding.seconds:.1f} s)"
