"""What a stack says and does when no broker runs, with the broker's part replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from enforcer.errors import ConfigError, ConflictError, UnavailableError
from enforcer.local import Running, Stack, Step, broker, jars, ports, processes, stack
from enforcer.local.jvm import Jvm
from enforcer.local.record import Record


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """Starts a sleeping process where the broker would start; the list holds each launch."""
    launches = []

    def launch(plan):
        launches.append(plan)
        command = [sys.executable, "-c", "import time; time.sleep(60)", str(plan.properties_file)]
        child = processes.Detached(command, start_new_session=True)
        processes.keep(child)
        port, controller_port = broker._choose(plan)
        mark = processes.start_mark(child.pid)
        started = Record(child.pid, mark, 1.0, port, controller_port, "c1", "4.4.0", ready=True)
        started.write(plan.record_file)
        return started

    monkeypatch.setattr(broker, "launch", launch)
    monkeypatch.setattr(broker, "format_directory", lambda *_, **__: None)
    monkeypatch.setattr(jars, "obtain", lambda *_, **__: [])
    monkeypatch.setattr(Jvm, "has_cache", lambda _: True)
    yield launches
    Stack(tmp_path / "home", cache=tmp_path / "cache").stop()


@pytest.fixture
def home(tmp_path):
    return Stack(tmp_path / "home", cache=tmp_path / "cache")


def test_nothing_runs_at_first(home, tmp_path) -> None:
    """Status of a new home: not running, and nothing is made on disk by asking."""
    found = home.status()

    assert not found.running
    assert (found.pid, found.bootstrap, found.uptime_s, found.topics) == (None, None, None, None)
    assert home.running_bootstrap() is None
    assert not home.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_second_start_finds_the_first(home, launched) -> None:
    """Two starts are one stack: the same process, and the second says that it started nothing."""
    first, second = home.start(), home.start()

    assert first.started
    assert second == Running(first.bootstrap, first.pid, first.ports, started=False)
    assert len(launched) == 1
    assert home.running_bootstrap() == first.bootstrap


def test_stop_ends_it_and_a_restart_has_the_same_ports(home, launched) -> None:
    """After a stop nothing runs; the next start listens where the last one did."""
    first = home.start()

    assert home.stop()
    assert not home.status().running
    assert not home.stop()
    assert home.start().ports == first.ports


def test_a_killed_broker_counts_as_stopped(home, launched) -> None:
    """A record of a process that was killed is stale: the next start starts."""
    first = home.start()
    os.kill(first.pid, signal.SIGKILL)

    second = home.start()

    assert second.started
    assert second.pid != first.pid


def test_a_zombie_broker_counts_as_stopped(home, launched, monkeypatch) -> None:
    """A broker whose parent does not wait for it keeps its number; it does not run."""
    child = subprocess.Popen(
        [sys.executable, "-c", "", str(home.log.parent / "server.properties")],
    )
    mark = processes.start_mark(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    home.log.parent.mkdir(parents=True)
    record = Record(child.pid, mark, 1.0, 20_001, 20_002, "c1", "4.4.0", ready=True)
    record.write(home.log.parent / "state.json")
    os.kill(child.pid, 0)

    assert not home.status().running
    assert home.start().started
    child.wait()


def test_a_half_started_broker_is_ended_and_started_anew(home, launched) -> None:
    """A start that was killed before it was ready leaves a process; the next one replaces it."""
    first = home.start()
    half = Record(
        first.pid, processes.start_mark(first.pid), 1.0, *first.ports, "c1", "4.4.0", ready=False
    )
    half.write(home.log.parent / "state.json")

    second = home.start()

    assert second.started
    assert processes.find(str(home.log.parent / "server.properties")) == [second.pid]


@pytest.mark.parametrize("content", ["", "{}", "not json", None])
def test_a_lost_record_loses_no_process(home, launched, content) -> None:
    """Without a state file the process is found by its command line, and ended."""
    home.start()
    state = home.log.parent / "state.json"
    state.unlink() if content is None else state.write_text(content)

    assert not home.status().running
    assert home.stop()
    assert processes.find(str(home.log.parent / "server.properties")) == []


def test_a_running_stack_keeps_its_port_and_flags(home, launched, tmp_path) -> None:
    """Asking for another port or other flags of a running stack is a conflict, exit code 6."""
    home.start()
    directories = {"cache": tmp_path / "cache"}

    for other in (
        Stack(tmp_path / "home", port=1, **directories),
        Stack(tmp_path / "home", jit="c2", **directories),
    ):
        with pytest.raises(ConflictError) as caught:
            other.start()
        assert caught.value.exit_code == 6


def test_a_fixed_port_is_used(launched, tmp_path) -> None:
    """The port that was asked for is the port of the broker."""
    (port,) = ports.choose(1)

    running = Stack(tmp_path / "home", cache=tmp_path / "cache", port=port).start()

    assert running.bootstrap == f"127.0.0.1:{port}"
    assert port != running.ports[1]


def test_the_context_stops_what_it_started(home, launched) -> None:
    """On exit nothing runs, also after an error."""
    with pytest.raises(ZeroDivisionError, match="True"), home:
        # What is true inside the context is what is raised out of it.
        raise ZeroDivisionError(home.status().running)

    assert not home.status().running


def test_the_context_leaves_what_ran_before(home, launched, tmp_path) -> None:
    """A demo on a stack that the user started does not end the user's stack."""
    home.start()

    with Stack(tmp_path / "home", cache=tmp_path / "cache"):
        pass

    assert home.status().running


def test_a_display_that_fails_leaves_no_process(home, launched) -> None:
    """An error in the caller's progress display, a closed pipe for one, ends what was started."""

    def fail(step: Step) -> None:
        if step == Step("start", 1, 1):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        home.start(progress=fail)

    assert processes.find(str(home.log.parent / "server.properties")) == []


def test_sigterm_while_starting_is_an_exit(home, launched, monkeypatch) -> None:
    """SIGTERM becomes SystemExit 143 while a start is under way, and means the default afterwards."""
    monkeypatch.setattr(jars, "obtain", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as caught:
            home.start()
        after = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert caught.value.code == 143
    assert after is signal.SIG_DFL
    assert not home.status().running


def test_a_handler_of_the_caller_is_kept(home, launched) -> None:
    """A program with its own SIGTERM handling is not disturbed."""

    def own(*_: object) -> None:
        """Do nothing."""

    before = signal.signal(signal.SIGTERM, own)
    try:
        home.start()
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_starter_is_waited_for(home, launched, monkeypatch) -> None:
    """The lock has a time limit, and the error says who holds it."""
    monkeypatch.setattr(stack, "_LOCK_TIMEOUT_S", 0.1)
    home.log.parent.mkdir(parents=True)

    with home._locked("starting"), pytest.raises(UnavailableError) as caught:
        home.start()

    assert caught.value.code == "locked"
    assert str(os.getpid()) in caught.value.message


def test_a_home_that_kafka_cannot_name_is_refused(tmp_path) -> None:
    """Nothing is made or started in a directory with a comma in its path."""
    with pytest.raises(ConfigError):
        Stack(tmp_path / "a,b", cache=tmp_path).start()

    assert list(tmp_path.iterdir()) == []


def test_only_c1_trains(home, launched, tmp_path, monkeypatch) -> None:
    """A run records for the cache if it has none; never for a measurement, never with c2."""
    monkeypatch.setattr(Jvm, "has_cache", lambda _: False)
    cache = tmp_path / "cache"

    for settings in ({}, {"train": False}, {"jit": "c2"}):
        Stack(tmp_path / "home", cache=cache, **settings).start()
        home.stop()

    assert [plan.training_file is not None for plan in launched] == [True, False, False]
