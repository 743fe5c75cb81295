"""Directories, locks and whole-file writes, with one clear error for what a disk can do to them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from typing import TYPE_CHECKING

from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOCK_POLL_S = 0.05


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """
    Turn what the file system refuses below *path* into an error that says what to do.

    Raises: UnavailableError instead of any OSError, but for a closed pipe of the caller.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise explain(error, path) from error


def explain(error: OSError, path: Path) -> UnavailableError:
    """The error for the operator that belongs to *error*."""
    place = error.filename or path
    if error.errno in _FULL:
        return UnavailableError(
            f"no space left on the disk of {path}",
            help="free some space, or set ENFORCER_HOME and ENFORCER_CACHE to another disk",
            code="disk_full",
        )
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return UnavailableError(
            f"no permission to write {place}",
            help="give this user the directory, or set ENFORCER_HOME and ENFORCER_CACHE elsewhere",
            code="no_permission",
        )
    return UnavailableError(
        f"cannot use {place}: {(error.strerror or str(error)).lower()}",
        help="set ENFORCER_HOME and ENFORCER_CACHE to directories that can be written",
        code="directory",
    )


def ensure_directory(path: Path) -> None:
    """Make *path* and prove that it can be written. Raises: UnavailableError."""
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "permission denied", str(path))


def ensure_space(path: Path, needed_bytes: int) -> None:
    """Raises: UnavailableError, if the disk of *path* has less than *needed_bytes* free."""
    with explained(path):
        if shutil.disk_usage(path).free < needed_bytes:
            raise OSError(errno.ENOSPC, "no space left on device", str(path))


def write_whole(path: Path, text: str) -> None:
    """Replace *path* in one step: a reader sees the old text or the new one. Raises: OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, *, what: str, timeout_s: float) -> Iterator[None]:
    """
    Hold the lock file *path* among all processes. The kernel frees it when its holder dies.

    Args:
        path: The lock file; it is made and stays.
        what: What the holder is doing, for the error.
        timeout_s: How long to wait for another holder.

    Raises: UnavailableError, after *timeout_s*, or if the file cannot be made.
    """
    with explained(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, path, what=what, deadline_s=time.monotonic() + timeout_s)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, *, what: str, deadline_s: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace") or "unknown"
                raise UnavailableError(
                    f"another process (pid {holder}) is still {what}",
                    help=f"wait for it, or end that process; the lock is {path}",
                    code="locked",
                ) from None
            time.sleep(_LOCK_POLL_S)
        else:
            return
