"""Directories, locks and whole-file writes."""

from __future__ import annotations

import errno
import subprocess
import sys
import time

import pytest

from enforcer.errors import UnavailableError
from enforcer.local import files

HOLD = """
import sys, time
from pathlib import Path
from enforcer.local import files
with files.locked(Path(sys.argv[1]), what="testing", timeout_s=5):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def hold(tmp_path):
    """Hold the lock in another process for some seconds."""
    started = []

    def start(seconds: float) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "lock"), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_lock_excludes_another_process(hold, tmp_path) -> None:
    """Who comes second waits until the first is done."""
    hold(0.4)
    begun_s = time.monotonic()

    with files.locked(tmp_path / "lock", what="testing", timeout_s=5):
        waited_s = time.monotonic() - begun_s

    assert waited_s > 0.2


def test_a_lock_that_stays_held_names_its_holder(hold, tmp_path) -> None:
    """After the time limit the error names the process and what it is doing."""
    process = hold(30)

    with (
        pytest.raises(UnavailableError) as caught,
        files.locked(tmp_path / "lock", what="testing", timeout_s=0.1),
    ):
        pass

    assert caught.value.exit_code == 8
    assert f"pid {process.pid}) is still testing" in caught.value.message


def test_a_killed_holder_frees_the_lock(hold, tmp_path) -> None:
    """The kernel frees the lock of a process that got SIGKILL: nothing is left to clean up."""
    hold(30).kill()

    with files.locked(tmp_path / "lock", what="testing", timeout_s=2):
        pass


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "x"), "disk_full", "no space left"),
        (OSError(errno.EDQUOT, "x"), "disk_full", "no space left"),
        (PermissionError(errno.EACCES, "x", "/f"), "no_permission", "no permission to write /f"),
        (OSError(errno.EROFS, "x", "/f"), "no_permission", "no permission to write /f"),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "/f"),
            "directory",
            "not a directory",
        ),
        (OSError(errno.EIO, "Input/output error"), "directory", "input/output error"),
    ],
)
def test_every_refusal_of_a_disk_says_what_to_do(tmp_path, error, code, words) -> None:
    """Each error of the file system becomes one line with a help, and exit code 8."""
    with pytest.raises(UnavailableError) as caught, files.explained(tmp_path):
        raise error

    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.help
    assert caught.value.exit_code == 8


def test_a_directory_that_cannot_be_made_is_explained(tmp_path) -> None:
    """A file where a directory should be is said as such."""
    (tmp_path / "file").write_text("")

    with pytest.raises(UnavailableError) as caught:
        files.ensure_directory(tmp_path / "file" / "below")

    assert str(tmp_path / "file") in caught.value.message


def test_a_directory_that_cannot_be_written_is_refused(tmp_path, monkeypatch) -> None:
    """An existing directory of somebody else is refused before anything is started in it."""
    monkeypatch.setattr("os.access", lambda *_: False)

    with pytest.raises(UnavailableError) as caught:
        files.ensure_directory(tmp_path)

    assert caught.value.code == "no_permission"


def test_a_failed_write_leaves_the_old_text(tmp_path, monkeypatch) -> None:
    """A reader never sees half a file, and no temporary file stays."""
    path = tmp_path / "f"
    files.write_whole(path, "old")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(OSError, match="no space"):
        files.write_whole(path, "new")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
