"""Which process is ours, and whether it is alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid

import psutil
import pytest

from enforcer.local import processes


@pytest.fixture
def marker() -> str:
    """An argument that only this test's process has."""
    return f"/marker/{uuid.uuid4().hex}"


@pytest.fixture
def spawn(marker):
    """Start a Python process with the marker on its command line; it says when it runs."""
    started = []

    def start(code: str = "import time; print(1, flush=True); time.sleep(60)") -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", code, marker], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        process.stdout.readline()
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_our_process_is_alive(spawn, marker) -> None:
    """Number, start and command line agree."""
    pid = spawn()

    assert processes.is_alive(pid, mark=processes.start_mark(pid), marker=marker)


def test_a_zombie_counts_as_dead(spawn, marker) -> None:
    """A process that has ended and was not waited for still has its number; it is dead."""
    pid = spawn("print(1, flush=True)")
    mark = processes.start_mark(pid)
    deadline_s = time.monotonic() + 5
    while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    os.kill(pid, 0)

    assert not processes.is_alive(pid, mark=mark, marker=marker)
    assert processes.find(marker) == []


def test_a_stranger_with_the_same_number_is_not_ours(spawn, marker) -> None:
    """Another start, or another command line, is another process."""
    pid = spawn()
    mark = processes.start_mark(pid)

    assert not processes.is_alive(pid, mark=mark + 1, marker=marker)
    assert not processes.is_alive(pid, mark=mark, marker=marker + "x")
    assert not processes.is_alive(2**22 + 1, mark=0.0, marker=marker)


def test_the_start_mark_of_nobody_is_zero() -> None:
    """A number without a process has no start."""
    assert processes.start_mark(2**22 + 1) == 0.0


def test_two_starts_have_two_marks(spawn) -> None:
    """The mark tells two processes apart that started some hundredths of a second apart."""
    first = spawn()
    time.sleep(0.05)

    assert processes.start_mark(first) != processes.start_mark(spawn())


def test_a_process_is_found_by_its_argument(spawn, marker) -> None:
    """Whose record was lost is found by the whole argument, not by a part of it."""
    pid = spawn()

    assert processes.find(marker) == [pid]
    assert processes.find(marker[:-1]) == []


def test_a_willing_process_ends_by_itself(spawn, marker) -> None:
    """SIGTERM is enough for most."""
    pid = spawn()

    assert processes.stop(pid, marker=marker, grace_s=5)
    assert processes.find(marker) == []


def test_an_unwilling_process_is_killed(spawn, marker) -> None:
    """Whoever ignores SIGTERM is killed after its time of grace."""
    pid = spawn(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(1, flush=True); time.sleep(60)"
    )
    begun_s = time.monotonic()

    assert not processes.stop(pid, marker=marker, grace_s=0.3)
    assert time.monotonic() - begun_s < 5
    assert processes.find(marker) == []


def test_an_impatient_user_leaves_no_process(spawn, marker, monkeypatch) -> None:
    """A second Ctrl-C while a process takes its time kills that process."""
    pid = spawn(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(1, flush=True); time.sleep(60)"
    )
    signal.setitimer(signal.ITIMER_REAL, 0.2)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            processes.stop(pid, marker=marker, grace_s=30)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert processes.find(marker) == []


def test_a_stranger_is_never_signalled(spawn, marker) -> None:
    """Stopping a number that now belongs to somebody else does nothing."""
    pid = spawn()

    assert processes.stop(pid, marker="/another", grace_s=0.1)
    assert processes.find(marker) == [pid]


def test_a_kept_child_is_reaped_and_makes_no_noise(marker) -> None:
    """A child that outlives its starter raises no warning, and once ended it is no zombie of ours."""
    child = processes.Detached(
        [sys.executable, "-c", "import time; time.sleep(60)", marker], stdout=subprocess.DEVNULL
    )
    pid = child.pid
    processes.keep(child)
    del child

    assert processes.stop(pid, marker=marker, grace_s=5)
    assert not psutil.pid_exists(pid)
