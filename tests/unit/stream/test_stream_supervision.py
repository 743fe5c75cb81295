"""A parent and its workers, with real processes and no broker: started again, backing off, drained, never left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.stream.supervision.health import merged
from enforcer.stream.supervision.restarts import AT_ONCE, WAIT_S_MAX, Restarts
from enforcer.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARENT = """
import asyncio, io, json, os, signal, sys, time
from enforcer.stream.supervision import FleetHealth, Supervisor
from enforcer.telemetry import setup_logging

# Several processes write: each line in one piece.
sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w")), line_buffering=True)
setup_logging("info", stream=sys.stdout)

async def work(number, parent, kind):
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    status = json.dumps({"ready": kind != "unready", "partitions": {str(number): "deciding"}}).encode()
    telling = asyncio.create_task(parent.serve(
        {"ready": lambda: status, "metrics": lambda: b"# TYPE x gauge\\nx 1.0\\n"},
        parent_gone=over.set,
    ))
    await over.wait()
    telling.cancel()
    print(json.dumps({"event": "drained", "process": number}), flush=True)

def child(number, parent):
    kind = sys.argv[1 + number]
    if kind.startswith("exit"):
        return int(kind[4:])
    if kind == "hangup7":
        sys.stdout.flush = lambda: os.write(os.open("/dev/full", os.O_WRONLY), b"x")
        return 7
    if kind == "dies":
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    asyncio.run(work(number, parent, kind))
    return 0

supervisor = Supervisor(child, processes=len(sys.argv) - 1, stop_timeout_s=1.5)
health = FleetHealth(supervisor)

async def tell():
    async def telling():
        while True:
            print(json.dumps({"event": "told", **health.describe()}), flush=True)
            await asyncio.sleep(0.05)
    supervisor.telling = asyncio.create_task(telling())

sys.exit(supervisor.run(opened=tell))
"""


class Parent:
    """A parent in a process of its own; each word is what one of its children does."""

    def __init__(self, *kinds: str) -> None:
        self.said: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT, *kinds], stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in list(self.said) if line["event"] == name]

    @property
    def now(self) -> dict[str, Any]:
        told = self.events("told")
        return told[-1] if told else {"ready": False, "processes": []}

    def pids(self) -> list[int]:
        return [each["pid"] for each in self.now["processes"]]

    def until(self, condition: Callable[[], bool], timeout_s: float = 30) -> None:
        end_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end_s, self.said[-5:]
            time.sleep(0.02)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self._reader.join(5)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Parent]]:
    parents: list[Parent] = []

    def begin(*kinds: str) -> Parent:
        parents.append(Parent(*kinds))
        return parents[-1]

    yield begin
    for parent in parents:
        parent.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_child_is_started_again_in_its_place_and_the_others_go_on(start) -> None:
    """SIGKILL of one of two: another process under the same number, the sibling untouched, and the parent ready again."""
    parent = start("works", "works")
    parent.until(lambda: parent.now["ready"])
    killed, sibling = parent.pids()
    os.kill(killed, signal.SIGKILL)
    parent.until(lambda: parent.now["ready"] and parent.pids()[0] != killed)
    assert parent.pids()[1] == sibling
    first = parent.now["processes"][0]
    assert (first["restarts"], first["last_end"], first["state"]) == (1, "signal 9", "ready")
    assert parent.now["partitions"] == {"0": "deciding", "1": "deciding"}
    assert parent.events("worker_process_ended")[0]["ms"] == 0


def test_sigterm_drains_every_child(start) -> None:
    """Each child ends by itself, drained, and the parent with 0."""
    parent = start("works", "works", "works")
    parent.until(lambda: parent.now["ready"])
    assert parent.end() == 0
    assert sorted(line["process"] for line in parent.events("drained")) == [0, 1, 2]


def test_a_child_that_ends_again_and_again_waits_longer_each_time_and_the_parent_says_so(
    start,
) -> None:
    """Two at once, then waits that double; its sibling decides all the while, and readiness names the loop."""
    parent = start("works", "dies")
    parent.until(lambda: len(parent.events("worker_process_crash_loop")) >= 3)
    waits_ms = [line["ms"] for line in parent.events("worker_process_crash_loop")]
    assert waits_ms[:3] == [200, 400, 800]
    assert [line["ms"] for line in parent.events("worker_process_ended")] == [0, 0]
    parent.until(lambda: parent.now["processes"][1]["state"] == "backing_off")
    assert not parent.now["ready"]
    assert parent.now["processes"][0]["state"] == "ready"
    assert parent.end() == 0


def test_a_child_that_refuses_to_start_ends_the_parent_with_its_code(start) -> None:
    """A mistake of the installation is told by the exit code, as by a single worker, and the siblings are drained."""
    parent = start("unready", "exit7")
    assert parent.process.wait(20) == 7
    assert parent.events("worker_process_refused")[0]["reason"] == "exit 7"
    assert all(pid is None or not is_alive(pid) for pid in parent.pids())


def test_a_child_whose_output_is_gone_ends_alone(start) -> None:
    """What it cannot write any more must not climb into its copy of the parent, which would kill its siblings."""
    parent = start("unready", "hangup7")
    assert parent.process.wait(20) == 7
    assert parent.events("drained") == [{"event": "drained", "process": 0}]


def test_a_child_that_does_not_drain_is_killed_in_the_end(start) -> None:
    """A stop is bounded: then SIGKILL, and the exit code says that it was no clean stop."""
    parent = start("deaf")
    parent.until(lambda: bool(parent.events("worker_process_started")))
    time.sleep(0.3)
    (pid,) = parent.pids()
    assert parent.end() == 1
    assert parent.events("worker_process_drain_late")
    assert not is_alive(pid)


def test_children_of_a_killed_parent_drain(start) -> None:
    """SIGKILL of the parent: its children read the end of their channel, and none is left."""
    parent = start("works", "works")
    parent.until(lambda: parent.now["ready"])
    pids = parent.pids()
    parent.process.kill()
    parent.until(lambda: not any(map(is_alive, pids)))
    parent.until(lambda: len(parent.events("drained")) == 2)


def test_a_stopped_child_is_silent_and_keeps_no_other_from_being_started(start) -> None:
    """SIGSTOP of one: the parent says so, and starts its killed sibling at once."""
    parent = start("works", "works")
    parent.until(lambda: parent.now["ready"])
    stopped, killed = parent.pids()
    os.kill(stopped, signal.SIGSTOP)
    try:
        parent.until(lambda: parent.now["processes"][0]["state"] == "silent")
        os.kill(killed, signal.SIGKILL)
        parent.until(lambda: parent.pids()[1] not in (None, killed), timeout_s=5)
        parent.until(lambda: parent.now["processes"][1]["state"] == "ready")
        assert not parent.now["ready"]
    finally:
        os.kill(stopped, signal.SIGCONT)
    parent.until(lambda: parent.now["ready"])


@given(lives_s=st.lists(st.floats(0, 100), max_size=40))
def test_waits_are_bounded_and_grow_only_with_short_lives(lives_s: list[float]) -> None:
    """However it ends, no wait is above the bound, and a long life is followed by another at once."""
    restarts, before_s = Restarts(), 0.0
    for lived_s in lives_s:
        wait_s = restarts.wait_s(lived_s)
        assert 0 <= wait_s <= WAIT_S_MAX
        if lived_s >= 30:
            assert wait_s == 0
        elif restarts.in_a_row > AT_ONCE + 1:
            assert wait_s >= before_s
        assert restarts.is_loop == (wait_s > 0)
        before_s = wait_s
    assert restarts.count == len(lives_s)


def test_expositions_of_children_become_one() -> None:
    """Each sample is told apart by its process; a family stands there once."""
    first, second = Metrics(), Metrics()
    first.decided("allow", 3)
    second.decided("allow", 4)
    second.lag("requests", 1, 5, 0.5)
    told = [(n, m.exposition().decode()) for n, m in enumerate((first, second))]
    families = {family.name: family for family in merged(told)}
    decided = {
        s.labels["process"]: s.value
        for s in families["enforcer_decisions"].samples
        if s.name == "enforcer_decisions_total"
    }
    assert decided == {"0": 3.0, "1": 4.0}
    (lag,) = families["enforcer_lag_records"].samples
    assert lag.labels == {"topic": "requests", "partition": "1", "process": "1"}


async def test_a_channel_gives_no_answer_for_another() -> None:
    """An answer that comes after its question was given up is not taken for the next one's."""
    import socket

    from enforcer.stream.supervision.channel import ChildEnd, ParentEnd

    ours, theirs = socket.socketpair()
    parent, gone = ParentEnd(), asyncio.Event()
    await parent.open(ours)
    assert await parent.ask("late", timeout_s=0.05) is None
    serving = asyncio.create_task(
        ChildEnd(theirs).serve(
            {"late": lambda: b"late", "now": lambda: b"now"}, parent_gone=gone.set
        )
    )
    assert await parent.ask("now", timeout_s=5) == b"now"
    assert await parent.ask("unknown", timeout_s=5) == b""
    await parent.close()
    await asyncio.wait_for(gone.wait(), 5)
    await serving
