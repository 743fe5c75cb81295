"""
An environment for each framework: a venv with hashed packages, and our own package beside them.

It lies under ``<home>/peers/<name>-<digest>``; the digest is of the lock and the Python, so that a new lock makes a new
one. It is made once. Where the packages cannot be had, nothing is left behind.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Final

import enforcer
from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES: Final = ("quix", "faust")
_INSTALL_TIMEOUT_S: Final = 600
_DONE: Final = "installed"


def python_of(name: str, home: Path, *, tell: Callable[[str], None]) -> Path:
    """
    The Python of the framework *name*, one of ``NAMES``; its environment is made if there is none.

    Args:
        name: Which.
        home: Where environments are kept.
        tell: Gets a line when one has to be made.

    Raises: UnavailableError when it cannot be installed.
    """
    lock = Path(__file__).with_name(f"{name}.lock")
    directory = home / f"{name}-{_digest(lock)}"
    python = directory / "bin" / "python"
    if (directory / _DONE).exists():
        return python
    tell(f"installing {name} in an environment of its own, once")
    shutil.rmtree(directory, ignore_errors=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        venv.create(directory, with_pip=True)
        _install(name, python, lock)
        _link(python)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    (directory / _DONE).touch()
    return python


def _digest(lock: Path) -> str:
    made_of = lock.read_bytes() + sys.version.encode()
    return hashlib.sha256(made_of).hexdigest()[:12]


def _install(name: str, python: Path, lock: Path) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "-r", str(lock)]
    try:
        done = subprocess.run(  # noqa: S603 — our own command
            command, capture_output=True, text=True, check=False, timeout=_INSTALL_TIMEOUT_S
        )
        said = "" if done.returncode == 0 else done.stderr.strip() or "pip failed"
    except subprocess.TimeoutExpired:
        said = f"not done in {_INSTALL_TIMEOUT_S} s"
    if said:
        last = said.splitlines()[-1]
        raise UnavailableError(
            f"{name} could not be installed: {last}",
            help="it needs a package index, once; `enforcer bench stream` measures without other frameworks",
            code="peer_environment",
        )


def _link(python: Path) -> None:
    """Our package, and nothing else of the environment it is installed in."""
    found = subprocess.run(  # noqa: S603 — as above
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    packages = Path(found.stdout.strip())
    (packages / "enforcer").symlink_to(Path(enforcer.__file__).resolve().parent)
