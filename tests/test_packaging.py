"""What is shipped: wheel, sdist and locks contain what they should and nothing else, and versions agree."""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import flux

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "flux" / "web"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

PYPI_NAMES = {
    "confluent_kafka": "confluent-kafka",
    "engineio": "python-engineio",
    "prometheus_client": "prometheus-client",
    "socketio": "python-socketio",
    "trio_websocket": "trio-websocket",
    "typed_settings": "typed-settings",
}


@pytest.fixture(scope="session")
def hook() -> ModuleType:
    """The build hook's module."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist as they are released."""
    out = tmp_path_factory.mktemp("built")
    build(ROOT, out, "sdist", "wheel")
    return out


def build(project: Path, out: Path, *targets: str, path: str | None = None) -> None:
    """Build with hatchling in this environment, or fail with what it said."""
    options = [option for target in targets for option in ("-t", target)]
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", *options, "-d", str(out)],
        cwd=project,
        env=os.environ | ({} if path is None else {"PATH": path}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def wheel_names(folder: Path) -> list[str]:
    """Return the names in the one wheel of a folder."""
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def page_names(names: list[str]) -> set[str]:
    """Return those of the built page."""
    return {name.partition("flux/web/")[2] for name in names if "/web/dist/" in name}


def test_the_wheel_contains_the_package_and_the_built_page_only(built: Path) -> None:
    """Nothing that the page is built from, no test and no hidden file gets into an installation."""
    names = wheel_names(built)
    page = page_names(names)
    assert {"dist/index.html", "dist/icon.svg"} < page
    assert any(re.fullmatch(r"dist/assets/index-.+\.js", name) for name in page)
    for name in names:
        in_package = name.startswith("flux/") and (name.endswith(".py") or name == "flux/py.typed")
        assert in_package or name.startswith(("flux/web/dist/", f"flux-{flux.__version__}.dist-info/")), name


def test_the_sdist_contains_sources_tests_locks_and_the_built_page(built: Path) -> None:
    """Whoever has the sdist can read, test and install it; caches and packages of others are not in it."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    for name in (
        "flux/web/src/main.ts",
        "flux/web/dist/index.html",
        "tests/test_packaging.py",
        "hatch_build.py",
    ):
        assert name in names
    assert {f"requirements/{lock.name}" for lock in LOCKS} <= set(names)
    junk = re.compile(r"node_modules|__pycache__|\.pyc$|\.nox|\.venv|_cache|/target/|\.log$|\.ci/")
    assert [name for name in names if junk.search(name)] == []


def test_the_sdist_installs_where_there_is_no_npm(built: Path, tmp_path: Path) -> None:
    """A wheel built from the sdist has the same page, and Node.js is not even looked at."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    tools = tmp_path / "tools"
    tools.mkdir()
    called = tmp_path / "called"
    for name in ("node", "npm"):
        (tools / name).write_text(f"#!/bin/sh\n: > {called}\nexit 1\n")
        (tools / name).chmod(0o755)
    build(tmp_path / sdist.name.removesuffix(".tar.gz"), tmp_path / "out", "wheel", path=f"{tools}:/bin")
    assert page_names(wheel_names(tmp_path / "out")) == page_names(wheel_names(built))
    assert not called.exists()


def test_a_changed_source_makes_the_page_stale_and_a_changed_test_does_not(
    hook: ModuleType, built: Path, tmp_path: Path
) -> None:
    """The built page names the sources that it came from; only they count."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert hook.is_fresh(root)
    (root / "flux/web/src/format.test.ts").write_text("")
    assert hook.is_fresh(root)
    with (root / "flux/web/src/style.css").open("a") as style:
        style.write("/* new */")
    assert not hook.is_fresh(root)
    shutil.rmtree(root / "flux/web/dist")
    assert not hook.is_fresh(root)


def test_a_failing_npm_is_one_clear_line(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The build ends with the command that failed and npm's own first error line."""
    tools, page = tmp_path / "tools", tmp_path / "flux" / "web"
    tools.mkdir()
    page.mkdir(parents=True)
    (page / "package-lock.json").write_text("{}")
    (tools / "node").write_text("#!/bin/sh\necho v24.1.0\n")
    (tools / "npm").write_text("#!/bin/sh\necho 'npm error code ENOTFOUND'\nexit 7\n")
    for name in ("node", "npm"):
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/bin")
    with pytest.raises(hook.PageBuildError) as failure:
        hook.build_page(tmp_path)
    message = str(failure.value)
    assert message == "the page could not be built: npm ci ended with 7: npm error code ENOTFOUND"
    capsys.readouterr()


@pytest.mark.parametrize(
    ("version", "serves"),
    [("v18.20.4", False), ("v20.19.0", True), ("v21.7.0", False), ("v22.11.0", False), ("v22.12.0", True)],
)
def test_an_old_node_is_passed_over(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, serves: bool
) -> None:
    """Only a Node.js that the page's tools support is used; else the one from PyPI is asked for."""
    for name in ("node", "npm"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert (hook.system_node() is not None) is serves


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_with_hashes_and_names_no_host(lock: Path) -> None:
    """Whoever installs from a lock gets these very files, from the index that is set on the machine."""
    text = lock.read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|@ file", text)
    entries = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+(\[[\w,]+\])?==\S+", entry), entry
        assert " --hash=sha256:" in entry


def test_the_page_lock_pins_with_hashes_and_names_no_host() -> None:
    """The page's packages come from the registry that is set on the machine, and are checked."""
    packages = json.loads((PAGE / "package-lock.json").read_text())["packages"]
    others = {name: entry for name, entry in packages.items() if name}
    assert others
    assert [name for name, entry in others.items() if "resolved" in entry or "integrity" not in entry] == []


def test_versions_agree() -> None:
    """The package, its metadata and the page carry one version."""
    lock = json.loads((PAGE / "package-lock.json").read_text())
    package = json.loads((PAGE / "package.json").read_text())
    versions = {flux.__version__, PROJECT["project"]["version"], package["version"], lock["version"]}
    assert len(versions) == 1


def test_every_import_is_a_declared_dependency() -> None:
    """Nothing works only because some other dependency happens to bring it."""
    declared = {re.match(r"[\w-]+", entry)[0] for entry in PROJECT["project"]["dependencies"]}  # type: ignore[index]
    used = set()
    for file in (ROOT / "flux").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            used |= {name.partition(".")[0] for name in names}
    used -= sys.stdlib_module_names | {"flux"}
    assert {PYPI_NAMES.get(name, name) for name in used} <= declared


def test_every_declared_dependency_is_locked() -> None:
    """The runtime lock was made from the metadata as it is now."""
    locked = re.findall(
        r"^([a-z0-9.-]+)==", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE
    )
    declared = {re.match(r"[\w-]+", entry)[0] for entry in PROJECT["project"]["dependencies"]}  # type: ignore[index]
    assert declared <= set(locked)
