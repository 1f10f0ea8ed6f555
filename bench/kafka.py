"""The benchmark of the Kafka bus: ``python -m bench.kafka``, or ``nox -s bench -- kafka``."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import structlog
from attrs import frozen

from bench import kafka_measures as measures
from bench.kafka_measures import Broker, MeasureError
from bench.report import BEHIND, PASS, machine
from bench.run import alone
from bench.servers import ServerError
from flux.collector import calm

MARKERS = ("<!-- kafka -->", "<!-- /kafka -->")
"""Between them stands the table of docs/performance.md."""


@frozen
class Line:
    """A line of the table.

    Args:
        what: for people.
        bare: the measure of the bare loop; None where the figure stands alone.
        flux: the measure of Flux.
        figure: what is compared with the bar, of Flux's figure and the bare one in one round.
        bar: the bar; None where there is none.
        most: it is an upper bound.
        text: the bar for people; ``{:}`` is where its figure stands.
    """

    what: str
    bare: Callable[[Broker], float] | None
    flux: Callable[[Broker], float]
    figure: Callable[[float, float], float]
    bar: float | None
    most: bool
    text: str


def _ratio(flux: float, bare: float) -> float:
    return flux / bare


def _added(flux: float, bare: float) -> float:
    return flux - bare


def _own(flux: float, _bare: float) -> float:
    return flux


LINES = (
    Line(
        "raw batches into a trio task, plain records (records/s)",
        measures.bare_plain,
        measures.flux_plain,
        *(_ratio, 1.0, False, "at least 1.0 x the bare poll loop: {:.2f}"),
    ),
    Line(
        "the same, ticker events with seven headers (records/s)",
        measures.bare_ticks,
        measures.flux_ticks,
        *(_ratio, None, False, "none: {:.2f} x"),
    ),
    Line(
        "ticker events decoded, validated, dispatched by the BFF (events/s)",
        None,
        measures.flux_pump,
        *(_own, 150_000, False, "at least 150,000: {:,.0f}"),
    ),
    Line(
        "p99 latency at 1,000 events/s (ms)",
        measures.bare_latency,
        measures.flux_latency,
        *(_added, 2.0, True, "at most 2 ms more than the bare poll loop: {:+.2f}"),
    ),
    Line(
        "awaited publishes, 100 at a time (records/s)",
        measures.bare_publishes,
        measures.flux_publishes,
        *(_ratio, 0.7, False, "at least 0.7 x the bare awaiting loop: {:.2f}"),
    ),
)


@click.command()
@click.option(
    "--bootstrap-servers", metavar="HOST:PORT[,...]", help="A real Kafka.  [default: the embedded broker]"
)
@click.option(
    "--repeat", type=click.IntRange(1, 20), default=5, help="Rounds; the median counts.  [default: 5]"
)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the table, into docs/performance.md between its markers.",
)
def main(bootstrap_servers: str | None, repeat: int, markdown: Path | None) -> None:
    """Compare the Kafka bus with bare confluent-kafka loops, on one broker, in one run."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        calm()  # as every process does that serves, for the bare loops, too
        with alone(), measures.broker(bootstrap_servers) as target:
            measures.fill(target)
            rounds = [_round(target) for _ in range(repeat)]
    except (MeasureError, ServerError) as error:
        raise click.ClickException(str(error)) from error
    where = "embedded broker" if bootstrap_servers is None else "Apache Kafka"
    text = table(rounds, where)
    click.echo(text)
    if markdown is not None:
        page = markdown.read_text(encoding="utf-8")
        head, _, rest = page.partition(MARKERS[0])
        _, _, tail = rest.partition(MARKERS[1])
        markdown.write_text(f"{head}{MARKERS[0]}\n{text}{MARKERS[1]}{tail}", encoding="utf-8")


def _round(target: Broker) -> list[tuple[float, float]]:
    """Take every measure once: for each line what the bare loop did (0 without one), and what Flux did."""
    figures = []
    for line in LINES:
        bare = line.bare(target) if line.bare else 0.0
        figures.append((bare, line.flux(target)))
        click.echo(f"{line.what}: bare {figures[-1][0]:,.2f}, flux {figures[-1][1]:,.2f}", err=True)
    return figures


def table(rounds: list[list[tuple[float, float]]], where: str) -> str:
    """Return the table as Markdown: medians; a ratio is the median of the ratios of each round.

    Args:
        rounds: for each round, for each of `LINES`, the figures of the bare loop and of Flux.
        where: which broker.
    """
    head = f"Python {machine()['python']}, {machine()['system']}, {machine()['cores']} cores, {where}."
    rows = [f"{head}\n", "| what | bare | Flux | bar |", "| --- | ---: | ---: | --- |"]
    for number, line in enumerate(LINES):
        pairs = [each[number] for each in rounds]
        bare, flux = (median(pair[side] for pair in pairs) for side in (0, 1))
        figure = median(line.figure(own, other) for other, own in pairs)
        mark = _mark(line, figure)
        digits = 0 if flux > 1000 else 2
        shown = f"{bare:,.{digits}f}" if line.bare else ""
        rows.append(
            f"| {line.what} | {shown} | {flux:,.{digits}f} | {f'{line.text.format(figure)} {mark}'.strip()} |"
        )
    return "\n".join(rows) + "\n"


def _mark(line: Line, figure: float) -> str:
    if line.bar is None:
        return ""
    return PASS if (figure <= line.bar if line.most else figure >= line.bar) else BEHIND


if __name__ == "__main__":
    main(sys.argv[1:])
