"""The public surface: every name that a package exports exists, is documented, and is typed."""

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import flux

PACKAGES = ["flux.nurseries", "flux.transport.socket_io", "flux.transport.engine_io", "flux.transport.kafka"]


def modules() -> list[str]:
    """Every module of Flux."""
    return [m.name for m in pkgutil.walk_packages(flux.__path__, "flux.") if "__main__" not in m.name]


def exports(package: str) -> list[tuple[str, object]]:
    """The names in a package's ``__all__``, with what they are."""
    module = importlib.import_module(package)
    return [(name, getattr(module, name)) for name in getattr(module, "__all__", ())]


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is(name: str) -> None:
    """The first line of a module names its one concept."""
    module = importlib.import_module(name)
    first = (module.__doc__ or "").strip().splitlines()
    assert first, f"{name} has no docstring"
    assert first[0].endswith((".", ":", ","))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_exists_and_is_documented(package: str) -> None:
    """``__all__`` is sorted, whole, and each class and function in it has a docstring."""
    names = [name for name, _ in exports(package)]
    assert names, f"{package} exports nothing"
    assert len(names) == len(set(names))
    for name, thing in exports(package):
        assert not name.startswith("_")
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), f"{package}.{name} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_method_is_documented_and_typed(package: str) -> None:
    """A method that a user may call says what it does, and has a hint for all that it takes and gives."""
    for name, thing in exports(package):
        if not inspect.isclass(thing) or not thing.__module__.startswith("flux."):
            continue
        for member_name, member in vars(thing).items():
            if member_name.startswith("_") or not inspect.isfunction(member):
                continue
            where = f"{package}.{name}.{member_name}"
            assert inspect.getdoc(member), f"{where} has no docstring"
            signature = inspect.signature(member)
            assert signature.return_annotation is not inspect.Signature.empty, f"{where} returns what?"
            untyped = [
                p.name
                for p in list(signature.parameters.values())[1:]
                if p.annotation is inspect.Parameter.empty
            ]
            assert not untyped, f"{where}: {untyped}"


def test_the_package_says_its_version() -> None:
    """One version, as in the project's metadata."""
    assert isinstance(flux, ModuleType)
    assert flux.__version__.count(".") == 2
