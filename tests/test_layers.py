"""Imports point down: every module imports only from its own package or from a layer below it."""

import ast
from pathlib import Path

import pytest

import flux

ROOT = Path(flux.__file__).parent

# Top down. A module may import from its own entry or from any entry on a later line; entries that share a
# line do not see each other.
LAYERS: list[tuple[str, ...]] = [
    ("flux.__main__",),
    ("flux.cli",),
    ("flux.doctor",),
    ("flux.inspection",),
    ("flux.app",),
    ("flux.services", "flux.site"),
    ("flux.acls", "flux.banner", "flux.settings", "flux.web", "flux.runtime"),
    ("flux.bff",),
    ("flux.domains",),
    ("flux.transport.socket_io", "flux.transport.kafka"),
    ("flux.transport.engine_io",),
    ("flux.transport",),
    ("flux.nurseries",),
    ("flux.collector", "flux.logs"),
    ("flux.messages",),
    ("flux.metrics",),
    ("flux.errors",),
    ("flux",),
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
DOMAIN_PACKAGES = [f"flux.domains.{d}" for d in ("weather", "crypto", "news", "stock")]


def modules() -> list[tuple[str, Path]]:
    """Every module of the package with its dotted name."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        if "node_modules" in path.parts:
            continue
        parts = ("flux", *path.relative_to(ROOT).with_suffix("").parts)
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def layer(module: str) -> str:
    """The longest entry of the map that holds the module."""
    while module not in LEVEL:
        module, _, rest = module.rpartition(".")
        assert rest, "a module outside the map"
    return module


def imports(path: Path) -> set[str]:
    """The Flux modules that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    known = {name for name, _ in modules()}
    resolved = set()
    for name in names:
        if name.split(".", maxsplit=1)[0] == "flux":
            resolved.add(name if name in known else name.rpartition(".")[0])
    return resolved


@pytest.mark.parametrize(("module", "path"), modules(), ids=[m for m, _ in modules()])
def test_a_module_imports_only_its_own_layer_and_those_below(module: str, path: Path) -> None:
    """No import points up or sideways in the layer map."""
    own = layer(module)
    for target in imports(path):
        other = layer(target)
        assert other == own or LEVEL[other] > LEVEL[own], f"{module} imports {target}"


@pytest.mark.parametrize("package", DOMAIN_PACKAGES)
def test_a_domain_imports_no_other_domain(package: str) -> None:
    """Domains are strangers to each other; only the registry names them all."""
    for module, path in modules():
        if module.startswith(package):
            others = [d for d in DOMAIN_PACKAGES if d != package]
            assert not [t for t in imports(path) if t.startswith(tuple(others))], module


def test_the_transport_and_the_supervisor_know_nothing_of_the_domains() -> None:
    """Neither names a domain's package, so both can be used alone."""
    for module, path in modules():
        if module.startswith(("flux.transport", "flux.nurseries")):
            assert not [t for t in imports(path) if t.startswith(("flux.domains", "flux.bff"))], module
