"""The runtime file: found while its process lives, ignored when it is stale, damaged or another's."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from flux.runtime import NAME, Running, announce, find, withdraw

HERE = Running(pid=os.getpid(), url="http://127.0.0.1:8000", bootstrap_servers="127.0.0.1:9", embedded=True)


def test_what_is_announced_is_found(tmp_path: Path) -> None:
    """The facts come back as they were written, from a directory that did not exist."""
    announce(tmp_path / "new", HERE)
    assert find(tmp_path / "new") == HERE


def test_the_file_is_private(tmp_path: Path) -> None:
    """Only the owner may read where the broker is."""
    path = announce(tmp_path, HERE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_nothing_is_found_where_nothing_runs(tmp_path: Path) -> None:
    """A missing directory is not an error."""
    assert find(tmp_path / "missing") is None


def test_the_file_of_a_dead_process_is_ignored(tmp_path: Path) -> None:
    """A process that was killed leaves its file; nobody is sent to its broker."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    announce(tmp_path, Running(gone.pid, "u", "b", embedded=True))
    assert find(tmp_path) is None


def test_a_damaged_file_is_ignored(tmp_path: Path) -> None:
    """Rubbish, or a file of another version, counts as no file."""
    for rubbish in (b"", b"{", b"[]", b'{"pid": "x"}', b"\xff"):
        (tmp_path / NAME).write_bytes(rubbish)
        assert find(tmp_path) is None


def test_another_users_directory_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else may say where our broker is; nothing of ours is written there either."""
    announce(tmp_path, HERE)
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert find(tmp_path) is None
    with pytest.raises(PermissionError, match="another user"):
        announce(tmp_path, HERE)


def test_withdrawing_removes_only_ones_own_file(tmp_path: Path) -> None:
    """A second process that ends does not hide the first one."""
    other = Running(os.getppid(), "u", "b", embedded=False)
    (tmp_path / NAME).write_bytes(msgspec.json.encode(other))
    withdraw(tmp_path)
    assert (tmp_path / NAME).exists()
    announce(tmp_path, HERE)
    withdraw(tmp_path)
    assert not (tmp_path / NAME).exists()
    withdraw(tmp_path)
