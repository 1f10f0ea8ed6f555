"""The command line: run, bff, service, topics, tail, replay, doctor.

Every failure that a person can mend is one line on standard error and a non-zero exit code: 2 for a wrong
option or setting, 1 for anything else. Options come on top of the environment (``FLUX_...``), which comes on
top of the settings file.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

import flux
from flux import acls, app, inspection
from flux.collector import calm
from flux.doctor import doctor as examine
from flux.domains.providers import Mode
from flux.domains.registry import DOMAINS
from flux.errors import FluxError, SettingsError
from flux.logs import configure_logs
from flux.nurseries.failures import leaves
from flux.settings import Settings, load_settings
from flux.settings.checks import check_servers

F = TypeVar("F", bound=Callable[..., Any])

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it: 128 and the signal's number."""


def _options(*decorators: Callable[[Any], Any]) -> Callable[[F], F]:
    def apply(command: F) -> F:
        for decorate in reversed(decorators):
            command = decorate(command)
        return command

    return apply


_common = _options(
    click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Settings file (TOML). Default: FLUX_SETTINGS, else ./flux.toml if it is there.",
    ),
    click.option(
        "--bootstrap-servers",
        "kafka__bootstrap_servers",
        metavar="HOST:PORT[,...]",
        help="A real Kafka. Default: the embedded broker.",
    ),
    click.option("--log-level", "logs__level", metavar="LEVEL", help="debug, info, warning or error."),
    click.option(
        "--log-json/--log-text",
        "logs__json",
        default=None,
        help="Default: text in a terminal, else JSON lines.",
    ),
)
_address = _options(
    click.option("--host", "http__host", help="Address to listen on. Default 127.0.0.1."),
    click.option(
        "--port", "http__port", type=int, help="Port to listen on; 0 takes a free one. Default 8000."
    ),
)
_door = _options(
    _address,
    click.option(
        "--scheduler/--no-scheduler", "bff__scheduler", default=None, help="Refresh in the background."
    ),
)
_providers = click.option(
    "--providers",
    "providers__mode",
    type=click.Choice([mode.value for mode in Mode], case_sensitive=False),
    help="Where data comes from; auto: real, and simulated (marked) in its absence. Default simulated.",
)
_feeds = _options(
    _providers,
    click.option(
        "--seed", "simulation__seed", type=int, help="Seed of the simulated feeds, for the same data again."
    ),
    click.option(
        "--ticker-rate",
        "simulation__ticker_rate",
        type=float,
        help="Simulated ticker events per second. Default 20.",
    ),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(flux.__version__, prog_name="flux")
def cli() -> None:
    """Live weather, crypto, news and stock data, from Kafka to web clients.

    Start with `flux run` and open the address that it prints. Settings: options here, environment variables
    (FLUX_HTTP__PORT=9000), or a flux.toml.
    """


@cli.command()
@_common
@_door
@_feeds
def run(config: Path | None, **options: Any) -> None:
    """Run everything in this process: broker, services, BFF and page.

    Without --bootstrap-servers an in-memory Kafka broker starts with it; `flux topics`, `flux tail` and
    `flux service` on the same machine find it.
    """
    settings = _load(config, options)
    _serve(app.run_all, settings)


@cli.command()
@_common
@_door
def bff(config: Path | None, **options: Any) -> None:
    """Run the BFF and the page alone.

    Uses the running Flux's broker; where there is none, it starts the embedded one, which the services find.
    """
    settings = _load(config, options)
    _serve(app.run_bff, settings)


@cli.command()
@click.argument("name", type=click.Choice([domain.name for domain in DOMAINS]))
@_common
@_feeds
def service(name: str, config: Path | None, **options: Any) -> None:
    """Run one domain's service alone: weather, crypto, news or stock.

    Uses the running Flux's broker, and waits until there is one.
    """
    settings = _load(config, options)
    _serve(app.run_service, settings, name)


@cli.command()
@click.argument("action", type=click.Choice(["list", "create", "acls"]), default="list")
@_common
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def topics(action: str, config: Path | None, as_json: bool, **options: Any) -> None:
    """List the topics with their owners and records, create those that are missing, or print ACLs.

    `flux topics acls` prints the commands of Kafka's own tool that give each role, as User:flux-ROLE, what
    the contract gives it.
    """
    settings = _load(config, options)
    if action == "acls":
        servers = settings.kafka.bootstrap_servers or "HOST:PORT"
        with _ends_told():
            for grant in acls.grants(DOMAINS):
                sys.stdout.write(acls.command(grant, servers) + "\n")
            sys.stdout.flush()
        return
    _ask(inspection.topics, settings, action == "create", as_json, sys.stdout)


class _StartType(click.ParamType[inspection.Start]):
    name = "start"

    def convert(
        self, value: str | inspection.Start, param: click.Parameter | None, ctx: click.Context | None
    ) -> inspection.Start:
        if isinstance(value, inspection.Start):
            return value
        try:
            return inspection.parse_start(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _ServersType(click.ParamType[str]):
    name = "servers"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            check_servers(None, None, value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
        return value


@cli.command()
@click.argument("topic")
@_common
@click.option(
    "--from",
    "start",
    type=_StartType(),
    default="10",
    metavar="N|TIME|beginning",
    help="Begin N records back, at an ISO time (UTC if it names no zone), or at the beginning. Default 10.",
)
@click.option("--follow/--no-follow", default=True, help="Go on until Ctrl-C, or end after what is there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def tail(
    topic: str, config: Path | None, start: inspection.Start, follow: bool, as_json: bool, **options: Any
) -> None:
    """Show a topic's last records, and those that come."""
    settings = _load(config, options)
    _ask(inspection.tail, settings, topic, start, follow, as_json, sys.stdout, sys.stderr)


@cli.command()
@click.argument("topic")
@_common
@click.option(
    "--from",
    "start",
    type=_StartType(),
    default=inspection.BEGINNING,
    metavar="N|TIME|beginning",
    help="Begin N records back, at an ISO time (UTC if it names no zone), or at the beginning: the default.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, inspection.MOST),
    default=10_000,
    metavar="N",
    help=f"At most so many records, the oldest; up to {inspection.MOST}. Default 10000.",
)
@click.option(
    "--to", type=_ServersType(), metavar="HOST:PORT[,...]", help="Publish to the same topic of this Kafka."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def replay(
    topic: str,
    config: Path | None,
    start: inspection.Start,
    limit: int,
    to: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Print a topic's records, oldest first, or publish them again with --to.

    What is published again keeps its key, value and headers, and is sent as the topic's owner. Events never
    replace newer snapshots; but clients see ticks and errors again, and services serve commands again.
    """
    settings = _load(config, options)
    _ask(inspection.replay, settings, topic, start, limit, to, as_json, sys.stdout, sys.stderr)


@cli.command()
@_common
@_address
@_providers
@click.option("--live", is_flag=True, help="Ask every real source that can be asked, whatever the modes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def doctor(config: Path | None, live: bool, as_json: bool, **options: Any) -> None:
    """Check settings, page, port, Kafka, topics and providers, and say what to do about each failure.

    Exit code 1 if something failed, else 0; a warning is no failure. Keys are never shown.
    """
    raise SystemExit(_ask(examine, config, _given(options), live=live, as_json=as_json, out=sys.stdout))


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, by the dotted names of their settings."""
    return {name.replace("__", "."): value for name, value in options.items() if value is not None}


def _load(config: Path | None, options: Mapping[str, Any]) -> Settings:
    try:
        settings = load_settings(config, _given(options))
    except SettingsError as error:
        raise _failure(error) from None
    configure_logs(level=settings.logs.level, json=settings.logs.json)
    return settings


def _serve(main: Callable[..., Any], settings: Settings, *args: Any) -> None:
    """Run a long-lived role; its result is the exit code."""
    calm()
    with _ends_told():
        code = trio.run(main, settings, *args)
    raise SystemExit(code)


def _ask(main: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Run a command that answers and ends."""
    with _ends_told():
        answer = trio.run(partial(main, *args, **named))
        sys.stdout.flush()  # a lost pipe shows now, and not on Python's way out
        return answer


@contextmanager
def _ends_told() -> Iterator[None]:
    """End a command without a traceback where it failed as people can mend, or where they ended it.

    Ctrl-C and a closed pipe are ways to end a command, not errors. Nurseries wrap all of these in groups.
    """
    try:
        yield
    except (FluxError, KeyboardInterrupt, BrokenPipeError, BaseExceptionGroup) as error:
        ends = list(leaves(error))
        if not all(isinstance(end, FluxError | KeyboardInterrupt | BrokenPipeError) for end in ends):
            raise
        if any(isinstance(end, KeyboardInterrupt) for end in ends):
            raise SystemExit(INTERRUPTED) from None
        failure = next((end for end in ends if isinstance(end, FluxError)), None)
        if failure is not None:
            raise _failure(failure) from None
        _drop_output()
        raise SystemExit(0) from None


def _drop_output() -> None:
    """Let what is still to be written go nowhere: Python writes it on its way out, and would complain."""
    with suppress(OSError, ValueError):  # standard output may be no file, or closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _failure(error: FluxError) -> click.ClickException:
    return _Misuse(str(error)) if isinstance(error, SettingsError) else click.ClickException(str(error))


class _Misuse(click.ClickException):
    exit_code = 2
