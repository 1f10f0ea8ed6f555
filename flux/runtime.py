"""The runtime file: how the processes of one machine find the running Flux and its embedded broker.

``flux run`` and ``flux bff`` leave ``flux.json`` in the runtime directory once their door is open, and take
it away when they end; ``flux service``, ``flux topics`` and ``flux tail`` read it.
"""

import contextlib
import errno
import os
import tempfile
import warnings
from pathlib import Path

import msgspec
import platformdirs
from attrs import frozen

NAME = "flux.json"


@frozen
class Running:
    """What the runtime file says.

    Args:
        pid: the process that wrote it.
        url: of its door.
        bootstrap_servers: of the Kafka it uses, ``host:port[,host:port]``.
        embedded: whether that Kafka is the embedded broker of that process, and ends with it.
    """

    pid: int
    url: str
    bootstrap_servers: str
    embedded: bool


def default_runtime_dir() -> Path:
    """Return the user's own directory for files that end with the login or the boot."""
    with warnings.catch_warnings():
        # It warns where there is no login session (a container); its fallback will do.
        warnings.simplefilter("ignore")
        return platformdirs.user_runtime_path("flux")


def announce(directory: Path, running: Running) -> Path:
    """Write the runtime file, readable by its owner alone, whole or not at all.

    Raises:
        OSError: the directory cannot be made or written, or belongs to another user.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _own(directory):
        raise PermissionError(errno.EPERM, "the runtime directory belongs to another user", str(directory))
    handle, scratch = tempfile.mkstemp(prefix=NAME, dir=directory)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(running))
        Path(scratch).replace(directory / NAME)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    return directory / NAME


def withdraw(directory: Path) -> None:
    """Remove the runtime file if this process wrote it; another's is left alone."""
    found = _read(directory)
    if found is not None and found.pid == os.getpid():
        with contextlib.suppress(OSError):
            (directory / NAME).unlink(missing_ok=True)


def find(directory: Path) -> Running | None:
    """Return what runs now, or None where there is no file, a damaged one, or one whose process is gone."""
    found = _read(directory)
    return found if found is not None and _alive(found.pid) else None


def _own(directory: Path) -> bool:
    # The fallback is in a directory that everyone can write to: nobody else may tell us where our broker is.
    return directory.stat().st_uid == os.getuid()


def _read(directory: Path) -> Running | None:
    try:
        if not _own(directory):
            return None
        return msgspec.json.decode((directory / NAME).read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
