"""What is measured: the load, who stands it, which figure counts, and the bar that Flux must reach."""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from bench.servers import AIOHTTP, FLUX, LIMIT_C, LIMIT_PY, NODE, UVICORN

Figures = Mapping[str, Any]
"""What the load generator says of one run."""

PYTHONS = (UVICORN, AIOHTTP)
BATCH = 16
SIZE = 200
"""Bytes of padding in each event."""


@frozen
class Bar:
    """What Flux's figure must be beside another's.

    Args:
        against: a server; `PYTHONS` is the better of the two; None: the figure itself.
        factor: at least so many times the other's figure; at most, where less is better.
    """

    against: str | tuple[str, ...] | None
    factor: float


@frozen
class Row:
    """One line of the table.

    Args:
        title: for people.
        unit: of the figure.
        value: takes it out of the generator's figures.
        bars: for Flux.
        less: whether less is better.
        digits: behind the point.
    """

    title: str
    unit: str
    value: Callable[[Figures], float]
    bars: tuple[Bar, ...] = ()
    less: bool = False
    digits: int = 0


@frozen
class Scenario:
    """One load, and the rows that come of it.

    Args:
        name: for the command line.
        rows: at least one.
        options: of the load generator, by server; who is not in it does not take part.
        seconds: a run that takes longer has failed.
        once: servers that are slow, and measured in the first round only.
        slow: left out of a quick run.
    """

    name: str
    rows: tuple[Row, ...]
    options: Mapping[str, tuple[str, ...]]
    seconds: float = 30.0
    once: tuple[str, ...] = PYTHONS
    slow: bool = field(default=False)


def _words(options: str) -> tuple[str, ...]:
    return tuple(options.split())


def _fan_out(clients: int, counts: Mapping[str, int], batch: int = 1) -> dict[str, tuple[str, ...]]:
    """Return the options for events sent as fast as possible; each server's count makes about a second."""
    return {
        server: _words(
            f'--mode fanout --clients {clients} --join 42["join"] --size {SIZE} --k {count}'
            f' --go 42["go",{{K}},{{SIZE}},{{RATE}},{batch}] --idle-timeout 8'
        )
        for server, count in counts.items()
    }


def _echo(event: str, servers: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the options for echoes; of the peers each has one kind of handler."""
    plain = _words("--mode echo --clients 100 --secs 2")
    own = (*plain, "--echo-prefix", f'42["{event}",') if event != "echo" else plain
    return {server: own if server == FLUX else plain for server in servers}


def _per_cpu_second(figures: Figures) -> float:
    return float(figures["deliveries_per_cpu_s"])


def _per_second(figures: Figures) -> float:
    return float(figures["deliveries_per_s"])


SCENARIOS = (
    Scenario(
        "fanout-1000",
        (
            Row(
                "fan-out of single events, 1,000 clients",
                "deliveries per server CPU second",
                _per_cpu_second,
                (Bar(NODE, 2.0), Bar(PYTHONS, 8.0), Bar(LIMIT_C, 0.85)),
            ),
        ),
        _fan_out(1000, {FLUX: 300, NODE: 120, UVICORN: 25, AIOHTTP: 25, LIMIT_PY: 300, LIMIT_C: 300}),
    ),
    Scenario(
        "fanout-5000",
        (
            Row(
                "fan-out of single events, 5,000 clients",
                "deliveries per server CPU second",
                _per_cpu_second,
                (Bar(NODE, 2.0), Bar(PYTHONS, 8.0), Bar(LIMIT_C, 0.75)),
            ),
        ),
        _fan_out(5000, {FLUX: 50, NODE: 25, AIOHTTP: 5, LIMIT_PY: 50, LIMIT_C: 50}),
        slow=True,
    ),
    Scenario(
        "batches",
        (
            Row(
                f"fan-out of events that arrive {BATCH} at a time, 1,000 clients",
                "deliveries per server CPU second",
                _per_cpu_second,
                (Bar(NODE, 15.0),),
            ),
        ),
        # Few enough that what a client lags behind stays under the bound of its outbox.
        _fan_out(1000, {FLUX: 2400, NODE: 128, LIMIT_PY: 2400, LIMIT_C: 2400}, BATCH),
    ),
    Scenario(
        "latency",
        (
            Row(
                "latency at 20,000 deliveries/s to 1,000 clients, p99",
                "ms",
                lambda figures: figures["lat_us"]["p99"] / 1000,
                (Bar(NODE, 0.7),),
                less=True,
                digits=2,
            ),
            Row(
                "the same, median",
                "ms",
                lambda figures: figures["lat_us"]["p50"] / 1000,
                less=True,
                digits=2,
            ),
        ),
        {
            server: _words(f'--mode fanout --clients 1000 --join 42["join"] --size {SIZE} --k 60 --rate 20')
            for server in (FLUX, NODE, LIMIT_C)
        },
    ),
    Scenario(
        "echo",
        (
            Row(
                "echo round trips, 100 clients, plain handler",
                "per second",
                _per_second,
                (Bar(NODE, 0.7), Bar(PYTHONS, 4.0)),
            ),
        ),
        _echo("echo", (FLUX, NODE, *PYTHONS, LIMIT_PY, LIMIT_C)),
    ),
    Scenario(
        "echo-async",
        (
            Row(
                "echo round trips, 100 clients, async handler",
                "per second",
                _per_second,
                (Bar(NODE, 0.4),),
            ),
        ),
        _echo("aecho", (FLUX, NODE)),
    ),
    Scenario(
        "connect",
        (
            Row(
                "connects, 5,000 clients",
                "per second",
                lambda figures: float(figures["connects_per_s"]),
                (Bar(NODE, 1.5),),
            ),
            Row(
                "memory per idle connection, 5,000 clients",
                "KiB",
                lambda figures: float(figures["kib_per_conn"]),
                (Bar(NODE, 0.75), Bar(None, 14.0)),
                less=True,
                digits=1,
            ),
        ),
        {server: _words("--mode idle --clients 5000 --settle-ms 1000") for server in (FLUX, NODE, *PYTHONS)},
        slow=True,
    ),
    Scenario(
        "polling",
        (
            Row(
                "long-polling, 300 clients, one event in a poll",
                "deliveries per server CPU second",
                _per_cpu_second,
                (Bar(PYTHONS, 3.0),),
            ),
        ),
        # Paced, so that no server saves polls by being late.
        {
            server: _words(
                f'--mode fanout --polling --clients 300 --join 42["join"] --size {SIZE} --k 32 --rate 8'
            )
            for server in (FLUX, NODE, *PYTHONS)
        },
    ),
)
