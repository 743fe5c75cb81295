"""The demo's worker as a process: what it says, and that it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import psutil
import pytest

from enforcer.cli import demo_worker
from enforcer.cli.demo_signals import Signals, ended_by
from enforcer.cli.demo_worker import DemoWorker, Pulse, last_line, read_pulse
from enforcer.errors import UnavailableError
from enforcer.telemetry import Metrics


class StandIn(DemoWorker):
    """Runs a script in the worker's place; the arguments are as the worker gets them."""

    script = ""

    def _command(self):
        return [sys.executable, "-c", self.script, *super()._command()[4:]]


@pytest.fixture
def worker(tmp_path):
    made = StandIn(tmp_path / "demo", bootstrap="127.0.0.1:1", prefix="p")
    yield made
    made.kill()


def test_metrics_are_read_as_the_worker_writes_them():
    """Commits, their time and the lag come from the real exposition."""
    metrics = Metrics()
    metrics.committed(0.02)
    metrics.committed(0.04)
    metrics.lag("requests", 0, 3, 0.5)
    metrics.lag("usage", 0, 4, 0.25)

    found = read_pulse(metrics.exposition().decode())
    assert found == Pulse(2, pytest.approx(0.06), 7, 0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"event":"x"}\nerror[config]: no topics\nhelp: apply\n', "error[config]: no topics"),
        ('one\n{"event":"agent_ready","level":"info"}\n\n', "it last logged `agent_ready`"),
        ("Traceback\n  boom\n", "boom"),
        ("", "it has logged nothing"),
        ("x" * 20_000, "x" * 300),
    ],
)
def test_the_last_words_are_found(tmp_path, text, says):
    """An error line before its help, else the last line, never pages of it."""
    log = tmp_path / "log"
    log.write_text(text)

    assert last_line(log) == says


async def test_a_worker_that_dies_is_told_in_one_line(worker):
    """Its last words, its log and, where that says more, its own exit code."""
    worker.script = "import sys; print('error[auth]: who are you'); sys.exit(7)"
    worker.start()
    error = await worker.ended()

    assert error.exit_code == 7
    assert "error[auth]: who are you" in error.message
    assert str(worker.log) in error.help


async def test_a_worker_that_was_killed_makes_the_broker_unavailable(worker):
    """A signal is no exit code of ours: 8."""
    worker.script = "import time; time.sleep(60)"
    worker.start()
    worker._process.kill()

    assert (await worker.ended()).exit_code == 8


async def test_a_worker_that_does_not_drain_is_killed(worker, monkeypatch):
    """Bounded in time, and nothing is left."""
    monkeypatch.setattr(demo_worker, "STOP_GRACE_S", 0.3)
    worker.script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)"
    )
    worker.start()
    while "up" not in worker.log.read_text():  # noqa: ASYNC110 — a process sets no event
        await asyncio.sleep(0.02)
    with pytest.raises(UnavailableError, match="did not drain"):
        await worker.stop()

    assert worker._process.poll() is not None


async def test_a_worker_that_a_killed_demo_left_is_ended(worker, tmp_path):
    """The next demo finds it by its state directory."""
    worker.script = "import time; time.sleep(60)"
    worker.start()
    orphan = psutil.Process(worker._process.pid)
    # A process that has only just begun has no command line yet.
    while "--state-dir" not in orphan.cmdline():  # noqa: ASYNC110 — a process sets no event
        await asyncio.sleep(0.02)
    second = StandIn(tmp_path / "demo", bootstrap="127.0.0.1:1", prefix="p")
    second.script = "pass"
    second.start()
    await second.ended()

    # Ended, though nobody but its parent can reap it.
    assert worker._process.wait(5) == -signal.SIGTERM
    assert not orphan.is_running()


def test_signals_raise_outside_a_loop_and_tell_inside():
    """Between entry and exit no signal kills without cleaning up; afterwards all is as before."""
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    told = []

    async def inside(signals):
        with signals.told_to(told.append):
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(100):
                await asyncio.sleep(0.01)
                if told:
                    return

    with Signals() as signals:
        asyncio.run(inside(signals))
        with pytest.raises(SystemExit) as ended:
            _signal_myself(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            _signal_myself(signal.SIGINT)

    assert told == [signal.SIGTERM]
    assert ended.value.code == 143
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert isinstance(ended_by(signal.SIGINT), KeyboardInterrupt)


def _signal_myself(number):
    os.kill(os.getpid(), number)
    time.sleep(1)
