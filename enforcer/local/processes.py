"""
Which process is ours, and whether it is alive.

A process id alone proves nothing: it may belong to a zombie, which counts as dead, or to a stranger
that got the number later. Ours has the recorded start time *and* names our file on its command line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import psutil  # type: ignore[import-untyped]


class Detached(subprocess.Popen[bytes]):
    """A child that is meant to outlive the call that starts it, and often this process."""

    def __del__(self) -> None:
        """Say nothing: for any other child, Python warns that nobody waited for it."""


# By process id, so that a child that has ended is reaped when somebody asks for it.
_children: dict[int, Detached] = {}

_POLL_S = 0.02
_ASKED_MAX = 50


def keep(process: Detached) -> None:
    """Remember a child that was started here."""
    _children[process.pid] = process


def start_mark(pid: int) -> float:
    """
    What tells *pid* from a later process with the same number; 0.0 if there is no such process.

    Linux: the kernel's clock ticks between boot and the process's start, for the wall clock's boot
    time moves when the clock is set. Elsewhere: s since the epoch.
    """
    import psutil  # noqa: PLC0415 — 20 ms that `--help` need not pay

    with contextlib.suppress(OSError, ValueError, IndexError):
        # proc(5): field 22. The name in field 2 may hold anything, so count from its last bracket.
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return float(stat.rpartition(")")[2].split()[19])
    with contextlib.suppress(psutil.Error):
        return float(psutil.Process(pid).create_time())
    return 0.0


def is_alive(pid: int, *, mark: float, marker: str) -> bool:
    """
    Is *pid* the process with this start mark and with *marker* on its command line?

    Args:
        pid: The process id.
        mark: What `start_mark` said of it when it was started.
        marker: An argument that only our process has.

    Returns: False for a zombie, a stranger with the same id, and one that has ended.
    """
    import psutil  # noqa: PLC0415 — as above

    if _has_ended_here(pid):
        return False
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
                # It may have ended since the question above.
                _has_ended_here(pid)
                return False
            return start_mark(pid) == mark and marker in _command_line(process)
    except psutil.Error:
        # It has ended, perhaps just now, or it is somebody else's: ours can always be asked.
        _has_ended_here(pid)
        return False


def _command_line(process: psutil.Process) -> list[str]:
    """Its arguments. One that is just being started has none for a moment: it is asked again."""
    for _ in range(_ASKED_MAX):
        arguments: list[str] = process.cmdline()
        if arguments:
            return arguments
        time.sleep(_POLL_S)
    return []


def _has_ended_here(pid: int) -> bool:
    """Is *pid* a child of this process that has ended? It is reaped then."""
    child = _children.get(pid)
    if child is None or child.poll() is None:
        return False
    del _children[pid]
    return True


def find(marker: str) -> list[int]:
    """All live processes with the argument *marker*: those whose record was lost."""
    import psutil  # noqa: PLC0415 — as above

    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if marker in (process.info["cmdline"] or ()) and process.pid != os.getpid()
    ]


def stop(pid: int, *, marker: str, grace_s: float) -> bool:
    """
    End *pid*: SIGTERM, then SIGKILL when it has not ended after *grace_s*.

    Returns: True if it ended by itself, False if it had to be killed.
    """
    mark = start_mark(pid)

    def alive() -> bool:
        return is_alive(pid, mark=mark, marker=marker)

    if not alive():
        return True
    _signal(pid, signal.SIGTERM)
    try:
        if _gone_within(grace_s, alive):
            return True
    except BaseException:
        # A second Ctrl-C means: now. It leaves no process behind either.
        _signal(pid, signal.SIGKILL)
        _gone_within(5.0, alive)
        raise
    _signal(pid, signal.SIGKILL)
    _gone_within(5.0, alive)
    return False


def _gone_within(limit_s: float, alive: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + limit_s
    while alive():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(_POLL_S)
    return True


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
