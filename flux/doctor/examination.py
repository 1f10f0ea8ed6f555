"""The whole examination: every check, in order, and the exit code."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import trio
from attrs import define, field

from flux.app import running_here
from flux.doctor.finding import Finding, Verdict
from flux.doctor.kafka import check_kafka
from flux.doctor.machine import check_page, check_port, check_settings
from flux.doctor.probes import PROBES
from flux.doctor.report import writer
from flux.doctor.sources import check_sources
from flux.errors import SettingsError
from flux.logs import configure_logs
from flux.settings import load_settings, setting_origins
from flux.web import load_page

Check = Callable[[], Awaitable[Sequence[Finding]]]


async def doctor(
    config: Path | None, overrides: Mapping[str, Any], *, live: bool, as_json: bool, out: TextIO
) -> int:
    """Check all that Flux needs, and write a finding for each.

    Args:
        config: the settings file that was named.
        overrides: options of the command line, by the settings' dotted names.
        live: ask every real source, whatever the modes.
        as_json: one object a line, for machines.
        out: where to.

    Returns:
        The exit code: 1 if something failed, else 0; a warning is no failure.
    """
    write = writer(out, as_json=as_json)
    try:
        settings = load_settings(config, overrides)
        origins = setting_origins(config, overrides)
    except SettingsError as error:
        advice = "mend it first: all other checks depend on the settings"
        write(Finding(check="settings", verdict=Verdict.FAILED, found=str(error), advice=advice))
        return 1
    # The findings say it all; the parts that are checked would log it a second time.
    configure_logs(level=settings.logs.level if "logs.level" in origins else "critical")
    running = running_here(settings)

    async def machine() -> list[Finding]:
        page = await trio.to_thread.run_sync(load_page)
        return [check_settings(settings, origins), check_page(page), await check_port(settings, running)]

    checks: list[Check] = [
        machine,
        lambda: check_kafka(settings, running),
        lambda: check_sources(settings.providers, PROBES, live=live),
    ]
    failed = False
    async with trio.open_nursery() as nursery:
        pending = [_Pending(check) for check in checks]
        for each in pending:
            nursery.start_soon(each.run)
        for each in pending:
            await each.done.wait()
            for finding in each.findings:
                write(finding)
                failed = failed or finding.verdict is Verdict.FAILED
    return int(failed)


@define(eq=False)
class _Pending:
    """A check that runs beside the others, while what came before it is written."""

    check: Check
    findings: Sequence[Finding] = ()
    done: trio.Event = field(factory=trio.Event)

    async def run(self) -> None:
        self.findings = await self.check()
        self.done.set()
