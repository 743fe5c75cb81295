"""
Who this worker is: a name kept in its state directory, held by a file lock while it runs.

A restart under the same name within the session timeout moves no partition; two processes under one name
would fence each other for ever, hence the lock.
"""

from __future__ import annotations

import fcntl
import socket
import uuid
from typing import TYPE_CHECKING

from enforcer.errors import ConflictError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

NAME_FILE = "identity"
LOCK_FILE = "lock"


class Identity:
    """A held identity. ``release`` gives the lock back; so does the end of the process, however it comes."""

    __slots__ = ("_lock", "instance_id", "state_dir")

    def __init__(self, instance_id: str, state_dir: Path, lock: IO[str]) -> None:
        self.instance_id = instance_id
        self.state_dir = state_dir
        self._lock = lock

    @classmethod
    def hold(cls, state_dir: Path, instance_id: str | None = None) -> Identity:
        """
        Take the identity of *state_dir*, making it on first use.

        Args:
            state_dir: The worker's own directory; made if it is not there.
            instance_id: A name to use instead of the stored one.

        Raises: ConflictError when another process holds it; UnavailableError when the directory cannot be used.
        """
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            lock = (state_dir / LOCK_FILE).open("a+", encoding="utf-8")
        except OSError as error:
            raise UnavailableError(
                f"the state directory {state_dir} cannot be used: {error.strerror}",
                help="give a directory this user may write, with --state-dir",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise ConflictError(
                f"another worker runs from {state_dir}",
                help="give each worker its own directory, with --state-dir",
            ) from error
        name_file = state_dir / NAME_FILE
        if instance_id is None and name_file.exists():
            instance_id = name_file.read_text(encoding="utf-8").strip()
        if not instance_id:
            instance_id = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        partial = name_file.with_suffix(".new")
        partial.write_text(instance_id + "\n", encoding="utf-8")
        partial.replace(name_file)
        return cls(instance_id, state_dir, lock)

    def release(self) -> None:
        """Give the identity back."""
        self._lock.close()
