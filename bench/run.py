"""The benchmark's command: runs every scenario against every server, round by round, and prints the table."""

import fcntl
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench.load import HERE, Generator, LoadError, compiled
from bench.report import Results, as_json, as_markdown, machine, table
from bench.scenarios import SCENARIOS, Scenario
from bench.servers import LIMIT_C, NODE, TITLES, ServerError, install_node_peer, serving

CORES = 2
MARKERS = ("<!-- table -->", "<!-- /table -->")
"""Between them stands the table of docs/performance.md."""
FILES = 12_000
"""Open files that the largest scenario needs in one process, with some to spare."""


class Names(click.ParamType[tuple[str, ...]]):
    """A list of names with commas between them."""

    name = "names"

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Split and check a list."""
        names = tuple(value.split(",")) if isinstance(value, str) else value
        for each in names:
            if each not in self._known:
                self.fail(f"{each!r} is none of {', '.join(self._known)}", param, ctx)
        return names


SCENARIO_NAMES = tuple(scenario.name for scenario in SCENARIOS)


@click.command()
@click.option(
    "--quick", is_flag=True, help="One round, without the scenarios of 5,000 clients; about a minute."
)
@click.option("--only", type=Names(SCENARIO_NAMES), help=f"Scenarios: {','.join(SCENARIO_NAMES)}.")
@click.option("--servers", type=Names(tuple(TITLES)), help=f"Servers: {','.join(TITLES)}.")
@click.option(
    "--repeat", type=click.IntRange(1, 20), help="Rounds; the median counts.  [default: 3; quick: 1]"
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures."
)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the table, into docs/performance.md between its markers.",
)
def main(
    quick: bool,
    only: tuple[str, ...] | None,
    servers: tuple[str, ...] | None,
    repeat: int | None,
    json_file: Path | None,
    markdown: Path | None,
) -> None:
    """Compare Flux's Socket.IO server with others, on one core each, in one run."""
    scenarios = [each for each in SCENARIOS if (each.name in only if only else not (quick and each.slow))]
    chosen = [name for name in TITLES if not servers or name in servers]
    rounds = repeat or (1 if quick else 3)
    try:
        check_machine()
        with alone(), tempfile.TemporaryDirectory(prefix="flux-bench-") as folder:
            results = measure(scenarios, chosen, rounds, Path(folder))
    except (ServerError, LoadError) as error:
        raise click.ClickException(str(error)) from error
    cells = table(results, scenarios, chosen)
    show(cells)
    for failure in results.failures:
        click.echo(f"failed: {failure}", err=True)
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(results, scenarios), indent=1) + "\n", encoding="utf-8")
    if markdown is not None:
        write_table(markdown, as_markdown(cells))
    sys.exit(1 if results.failures else 0)


def check_machine() -> None:
    """Raise the limit of open files, which children inherit; look at cores.

    Raises:
        ServerError: this machine cannot run the benchmark.
    """
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < CORES:
        raise ServerError("the benchmark needs Linux and two cores")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FILES:
        raise ServerError(f"the benchmark needs {FILES} open files, the limit is {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def alone() -> Iterator[None]:
    """Hold a lock file: of two benchmarks on one machine neither would say anything.

    Raises:
        ServerError: another one runs.
    """
    with (Path(tempfile.gettempdir()) / "flux-bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError("another benchmark runs on this machine") from None
        yield


def measure(scenarios: Sequence[Scenario], servers: Sequence[str], rounds: int, folder: Path) -> Results:
    """Run everything; a round is every scenario against every server, so that drift hits all alike.

    Args:
        scenarios: in this order.
        servers: in this order.
        rounds: how often.
        folder: for compiled programs.

    Raises:
        LoadError: the generator or the limit cannot be compiled.
        ServerError: npm failed, or a server does not start.
    """
    generator = Generator(folder)
    if LIMIT_C in servers:
        compiled(HERE / "peers" / "limit.c", folder / "limit")
    if NODE in servers:
        install_node_peer()
    results = Results()
    began = time.monotonic()
    for number in range(rounds):
        for scenario in scenarios:
            for server in servers:
                if server not in scenario.options or (number and server in scenario.once):
                    continue
                try:
                    with serving(server, folder) as running:
                        figures = generator.run(running, scenario.options[server], scenario.seconds)
                except LoadError as error:
                    results.failures.append(f"{scenario.name}, {server}: {error}")
                    continue
                results.add(scenario.name, server, figures)
                said = ", ".join(
                    f"{each.value(figures):,.{each.digits}f} {each.unit}" for each in scenario.rows
                )
                click.echo(
                    f"{time.monotonic() - began:4.0f} s  {scenario.name:12} {server:9} {said}", err=True
                )
    return results


def write_table(file: Path, text: str) -> None:
    """Write the table; into a page that has the two markers, between them.

    Args:
        file: made if it does not exist.
        text: the table.
    """
    page = file.read_text(encoding="utf-8") if file.exists() else ""
    head, opening, rest = page.partition(MARKERS[0])
    _, closing, tail = rest.partition(MARKERS[1])
    if opening and closing:
        on = f"Python {machine()['python']}, {machine()['system']}, {machine()['cores']} cores."
        text = f"{head}{opening}\n{on}\n\n{text}{closing}{tail}"
    file.write_text(text, encoding="utf-8")


def show(cells: Sequence[Sequence[str]]) -> None:
    """Print the table for people."""
    head, *rows = cells
    shown = Table(title=f"Python {machine()['python']}, {machine()['system']}", show_lines=True)
    for name in head:
        shown.add_column(name, justify="left" if name in (head[0], head[-1]) else "right")
    for line in rows:
        bars = line[-1].replace("; ", "\n")
        shown.add_row(*line[:-1], bars)
    Console(width=None if sys.stdout.isatty() else 200).print(shown)
