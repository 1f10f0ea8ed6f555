"""docs/limits.md names every bound with the default that the code has, and every metric that counts them."""

import inspect
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from prometheus_client import generate_latest

from flux.metrics import REGISTRY
from flux.transport.door import Door
from flux.transport.engine_io import EngineOptions, EngineServer
from flux.transport.http_mount import Limits
from flux.transport.socket_io import Server
from flux.transport.socket_io.limits import ClientLimits
from flux.transport.socket_io.recovery import Recovery

PAGE = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
ROWS = dict(re.findall(r"^\| `([A-Za-z_.]+)` \| ([^|]+) \|", PAGE, re.MULTILINE))


def written(value: float | None) -> str:
    """Return a default as the page writes it."""
    return "None" if value is None else f"{value:,.0f}"


def defaults() -> dict[str, Any]:
    """Return all bounds with their defaults."""
    found = {field.name: field.default for kind in (Limits, ClientLimits) for field in attrs.fields(kind)}
    found |= {f"Recovery.{field.name}": field.default for field in attrs.fields(Recovery)}
    del found["Recovery.skip_middlewares"]
    for call in (EngineServer, Server):
        for name, parameter in inspect.signature(call).parameters.items():
            if name.startswith("max_") or name.endswith(("_timeout", "_interval", "_limit")):
                found[name] = parameter.default
    return found


@pytest.mark.parametrize(("name", "value"), defaults().items())
def test_the_page_gives_each_bound_with_its_default(name: str, value: Any) -> None:
    """A new bound, or another default, needs its line."""
    assert ROWS.get(name, "no line").strip() == written(value)


def test_the_page_names_no_bound_that_is_not_there() -> None:
    """Nor one that is gone."""
    assert set(ROWS) == set(defaults())


def test_the_metrics_of_the_page_exist() -> None:
    """By their exact names."""
    assert Door()  # its module declares some
    exposed = generate_latest(REGISTRY).decode()
    named = re.findall(r"`(flux_[a-z_]+)(?:\{[a-z]+\})?`", PAGE)
    assert len(named) > 5
    for name in named:
        assert f"# TYPE {name} counter" in exposed, name


def test_the_options_that_are_handed_through_are_the_engines() -> None:
    """Each name of `EngineOptions` is an argument of `EngineServer`, and none is missing."""
    engine = set(inspect.signature(EngineServer).parameters) - {"app"}
    own = set(inspect.signature(Server).parameters)
    assert set(EngineOptions.__annotations__) == engine - own
