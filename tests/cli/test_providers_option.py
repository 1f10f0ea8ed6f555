"""`--providers`: the mode of every domain that has none of its own."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flux import cli
from flux.settings import Settings

COMMANDS = [("run",), ("service", "weather")]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of the roles that were started, which here start nothing."""
    monkeypatch.chdir(tmp_path)
    settings: list[Settings] = []

    def serve(_main: object, given: Settings, *_: Any) -> None:
        settings.append(given)

    monkeypatch.setattr(cli, "_serve", serve)
    return settings


@pytest.mark.parametrize("command", COMMANDS)
def test_the_option_sets_the_common_mode(command: tuple[str, ...], served: list[Settings]) -> None:
    """It goes before variable and file; a domain's own mode stays."""
    Path("flux.toml").write_text("[providers]\nmode = 'real'\nstock = 'simulated'")
    environment = {"FLUX_PROVIDERS__NEWS": "real", "FLUX_PROVIDERS__MODE": "real"}
    result = CliRunner().invoke(cli.cli, [*command, "--providers", "Auto"], env=environment)
    assert result.exit_code == 0, result.output
    providers = served[0].providers
    modes = {domain: providers.mode_of(domain) for domain in ("weather", "crypto", "news", "stock")}
    assert modes == {"weather": "auto", "crypto": "auto", "news": "real", "stock": "simulated"}


@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_option_data_is_simulated(command: tuple[str, ...], served: list[Settings]) -> None:
    """Nobody is asked for anything that was not chosen."""
    result = CliRunner().invoke(cli.cli, command)
    assert result.exit_code == 0, result.output
    assert served[0].providers.mode_of("weather") == "simulated"


def test_the_bff_fetches_nothing_and_has_no_such_option(served: list[Settings]) -> None:
    """Services have sources; the BFF has none."""
    assert CliRunner().invoke(cli.cli, ["bff", "--providers", "auto"]).exit_code == 2
    assert served == []
