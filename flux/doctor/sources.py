"""The domains' providers: each real source answers one ordinary fetch, or the finding says why not."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import trio
from attrs import evolve, field, frozen

from flux.doctor.finding import Finding, Stopwatch, Verdict
from flux.domains.providers import Mode, ProviderError, ProviderOptions, UnknownPlaceError
from flux.domains.sources import Board
from flux.domains.sources.board import SourceState
from flux.domains.sources.failures import SourceError
from flux.domains.sources.real import Real
from flux.messages import wall_clock
from flux.nurseries.failures import leaves

FETCH_SECONDS = 20.0
"""How long a fetch may take: two requests in a row (a place, its weather), each within its own deadline."""

NETWORK = "check network, DNS and proxy (HTTPS_PROXY); see docs/providers.md"

DIRECT = "check network, DNS and firewall (it is reached directly, by no proxy); see docs/providers.md"

PAGE = "see docs/providers.md"

KEYS = "where to get a key and how to keep it secret: docs/providers.md"


@frozen(kw_only=True)
class Probe:
    """How one real source is asked.

    Args:
        domain: whose source it is.
        source: its name, as it stands in events.
        real: makes the provider, and the services that it needs.
        ask: one ordinary fetch by the provider's own methods; returns in words what came.
        options: which settings choose this source where a domain has several.
        way: what to check where there is no way to it.
        spare_key: the setting of a key that it does not need, but is asked more often with.
    """

    domain: str
    source: str
    real: Callable[[ProviderOptions, Board, Callable[[], datetime]], Real[Any]]
    ask: Callable[[Any], Awaitable[str]]
    options: Mapping[str, Any] = field(factory=dict)
    way: str = NETWORK
    spare_key: str = ""

    def chosen(self, options: ProviderOptions) -> bool:
        """Return whether the settings choose this source for its domain."""
        return all(getattr(options, name) == value for name, value in self.options.items())


async def check_sources(options: ProviderOptions, probes: Sequence[Probe], *, live: bool) -> list[Finding]:
    """Ask the sources side by side; return a finding for each, in order.

    Args:
        options: the domains' modes and keys.
        probes: every real source.
        live: ask every source that can be asked, whatever the mode; a failure then counts in each mode.
    """
    findings: dict[int, Finding] = {}

    async def examine(number: int, probe: Probe) -> None:
        findings[number] = await _ask(probe, options, live=live)

    async with trio.open_nursery() as nursery:
        for number, probe in enumerate(probes):
            if not live and options.mode_of(probe.domain) is Mode.SIMULATED:
                found = "simulated, as set; --live asks its real sources"
                findings[number] = Finding(check=probe.domain, verdict=Verdict.OK, found=found)
            elif probe.chosen(options) or (live and _can_be_asked(probe, options)):
                nursery.start_soon(examine, number, probe)
    return list(dict.fromkeys(findings[number] for number in sorted(findings)))


def _can_be_asked(probe: Probe, options: ProviderOptions) -> bool:
    return probe.real(evolve(options, **probe.options), Board(), wall_clock).provider is not None


async def _ask(probe: Probe, options: ProviderOptions, *, live: bool) -> Finding:
    watch = Stopwatch()
    mode = options.mode_of(probe.domain)
    check = f"{probe.domain}: {probe.source}"
    board = Board()
    try:
        real = probe.real(evolve(options, **probe.options), board, wall_clock)
        if real.provider is None:
            # What nobody chose is no failure: without a key, auto and simulated do as they say.
            verdict = Verdict.FAILED if mode is Mode.REAL else Verdict.WARNING
            return Finding(check=check, verdict=verdict, found=real.missing, advice=KEYS)
        finding = watch.stamp(await _fetch(probe, check, real, board))
    except Exception as bug:  # noqa: BLE001 - one broken source must not hide what the others say
        names = dict.fromkeys(type(leaf).__name__ for leaf in leaves(bug))
        found = f"the check itself broke ({', '.join(names)})"
        advice = "this is a defect of Flux; please report it"
        return watch.stamp(Finding(check=check, verdict=Verdict.FAILED, found=found, advice=advice))
    if finding.verdict is Verdict.FAILED and mode is Mode.AUTO and not live:
        return evolve(finding, verdict=Verdict.WARNING, found=f"{finding.found}; simulated data stands in")
    return finding


async def _fetch(probe: Probe, check: str, real: Real[Any], board: Board) -> Finding:
    failed = Finding(
        check=check,
        verdict=Verdict.FAILED,
        found=f"no answer within {FETCH_SECONDS:g} s",
        advice=PAGE,
    )
    async with trio.open_nursery() as nursery:
        for service in real.services:
            await nursery.start(service)
        with trio.move_on_after(FETCH_SECONDS):
            try:
                had = await probe.ask(real.provider)
            except (ProviderError, UnknownPlaceError) as error:
                failed = evolve(failed, found=str(error), advice=_advice(error, probe))
            else:
                failed = _answered(check, had, board)
        nursery.cancel_scope.cancel()
    return failed


def _advice(error: Exception, probe: Probe) -> str:
    if not isinstance(error, SourceError):
        return PAGE
    if error.key_setting:  # before its pause: waiting helps no wrong key
        return f"check the key {error.key_setting}; {KEYS}"
    if error.retry_after is not None:
        key = f", or set {probe.spare_key}" if probe.spare_key else ""
        return (
            f"it wants to be left alone for {error.retry_after:g} s; if that comes often, ask less often{key}"
        )
    return PAGE if error.reached else probe.way


def _answered(check: str, had: str, board: Board) -> Finding:
    down = [f"{row.name}: {row.reason}" for row in board.rows() if row.state is SourceState.DOWN]
    if down:
        found = f"{had}; but {'; '.join(down)}"
        return Finding(check=check, verdict=Verdict.WARNING, found=found, advice=PAGE)
    return Finding(check=check, verdict=Verdict.OK, found=had)
