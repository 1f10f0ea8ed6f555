"""docs/providers.md has a row for each source, with what the code says of it."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import flux.domains
from flux.doctor.probes import PROBES
from flux.domains.crypto.coinbase.feed import SOURCE as COINBASE
from flux.domains.limits import WorkerLimits
from flux.domains.news.rss import FEEDS, policy
from flux.domains.source_names import SOURCE_NAMES
from flux.domains.sources import SourcePolicy
from flux.settings import load_settings

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
COLUMNS = 8


def policies() -> list[SourcePolicy]:
    """Every policy that a module under ``flux.domains`` holds, and those of the feeds."""
    found = {id(each): each for each in map(policy, FEEDS)}
    for module in pkgutil.walk_packages(flux.domains.__path__, "flux.domains."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, SourcePolicy):
                found[id(value)] = value
    return list(found.values())


POLICIES = policies()


def rows() -> dict[str, list[str]]:
    """The table's cells, by the name of each source in the first."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: row for row in cells if len(row) == COLUMNS for name in re.findall(r"`([\w-]+)`", row[0])}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: f"{policy.name}-{policy.ttl:g}")
def test_each_source_has_a_row_with_its_figures(policy: SourcePolicy) -> None:
    """The burst, the pace and the time that an answer is good for are those of the code."""
    row = rows()[policy.name]
    assert f"{policy.ttl:g} s" in row[4] or f"{policy.ttl:.0f} s" in row[4]
    assert re.search(rf"\b{policy.burst}\b", row[3]) or policy.burst == 1
    assert re.search(rf"\b(one )?in {1 / policy.rate:.0f} s", row[3])
    assert "](https://" in row[6]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: f"{policy.name}-{policy.ttl:g}")
def test_a_source_has_failed_before_its_command_has(policy: SourcePolicy) -> None:
    """Else each command of a source that hangs would be told in the log, and not as the source's state."""
    assert policy.deadline < WorkerLimits().fetch_deadline


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: f"{policy.name}-{policy.ttl:g}")
def test_who_waits_for_a_connection_waits_for_one_deadline(policy: SourcePolicy) -> None:
    """One round of time-outs opens the breaker; where only one thing is asked for, nobody waits."""
    assert policy.connections >= policy.failures or policy.cached == 1


def test_no_row_is_of_a_source_that_is_gone() -> None:
    """The page, and what `providers.urls` may name, are what there is."""
    assert set(rows()) == {policy.name for policy in POLICIES} | {COINBASE} == SOURCE_NAMES


def test_keys_are_settings() -> None:
    """Each setting that a row names exists and is secret."""
    settings = load_settings(environ={"FLUX_SETTINGS": ""}).providers
    named = set(re.findall(r"`providers\.(\w+_key)`", PAGE.read_text("utf-8")))
    assert named == {name for name in dir(settings) if name.endswith("_key")}


def test_the_doctor_asks_each_source() -> None:
    """Every choice of the settings has a probe, and every row of the table is behind one."""
    probed = {probe.source for probe in PROBES}
    behind = {"open-meteo-geocoding": "open-meteo"} | dict.fromkeys((feed.name for feed in FEEDS), "rss")
    assert {behind.get(name, name) for name in rows()} == probed
