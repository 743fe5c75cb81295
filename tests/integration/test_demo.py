"""``enforcer demo`` as a newcomer runs it: a subprocess, a broker of its own, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from enforcer.local import Stack

pytestmark = [
    pytest.mark.broker,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("demo"),
]

WIRE = {
    "requests": int,
    "decisions": int,
    "verdicts": dict,
    "p50_ms": float,
    "p99_ms": float,
    "bypass_rate": float,
    "audit_records": int,
    "chain_verified": bool,
    "lost": int,
    "duplicated": int,
    "budgets": list,
}
BUDGET = ("policy", "id", "key", "tenant", "account", "limit_usd", "spent_usd", "reserved_usd")


@pytest.fixture(scope="module")
def home():
    """A home of its own, whose broker the demos of this module start and stop."""
    with tempfile.TemporaryDirectory(prefix="enforcer-demo-") as path:
        yield Path(path)
        Stack(Path(path)).stop()


def command(*arguments):
    return [sys.executable, "-m", "enforcer.cli", "demo", *arguments]


def environment(home):
    known = {name: value for name, value in os.environ.items() if name != "ENFORCER_BOOTSTRAP"}
    return known | {"ENFORCER_HOME": str(home)}


def demo(home, *arguments):
    """Run one to its end: its JSON, and what it said."""
    done = subprocess.run(
        command(*arguments, "--output", "json"),
        capture_output=True,
        text=True,
        env=environment(home),
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def left_behind(home):
    """Processes that name *home* on their command lines."""
    return [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(str(home) in word for word in process.info["cmdline"] or ())
    ]


@contextlib.contextmanager
def started(home, *arguments, until):
    """A demo in a process group of its own, once it has said *until*."""
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home),
    )
    said = []
    try:
        while until not in (said[-1] if said else ""):
            line = process.stderr.readline()
            assert line, "".join(said)
            said.append(line)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_every_figure_is_there_and_agrees(home):
    """All fields of WIRE.md; every request decided exactly once, the chain whole, budgets spent from."""
    figures, said = demo(home, "--seconds", "5")

    assert {name: type(figures[name]) for name in WIRE} == WIRE
    assert figures["requests"] == figures["decisions"] > 100
    assert figures["lost"] == figures["duplicated"] == 0
    assert figures["contradicted"] == figures["unknown"] == 0
    assert figures["chain_verified"] is True
    assert set(figures["verdicts"]) == {"allow", "warn", "modify", "deny"}
    assert sum(figures["verdicts"].values()) == figures["decisions"]
    assert all(figures["verdicts"].values()), figures["verdicts"]
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert 0 <= figures["bypass_rate"] < 1
    assert figures["settlements"] > 0
    assert figures["audit_records"] >= figures["decisions"] + figures["settlements"]
    for budget in figures["budgets"]:
        assert set(BUDGET) <= budget.keys()
        assert budget["limit_usd"] > 0
        assert budget["reserved_usd"] >= 0
    assert {b["id"] for b in figures["budgets"]} >= {"team-day", "account-month"}
    assert any(b["spent_usd"] > 0 for b in figures["budgets"])
    # A team comes to the end of its budget after some five seconds: this demo may end before.
    assert figures["policies"]["output-cap"] > 0
    assert "0:02  " in said
    assert left_behind(home) == []


def test_a_second_run_begins_anew_and_replaces_the_record(home):
    """Its figures are its own, the last demo is on record, and no process stays."""
    if not (home / "last-demo.json").exists():
        demo(home, "--seconds", "1")
    first = json.loads((home / "last-demo.json").read_text())
    figures, _ = demo(home, "--seconds", "2", "--keep")
    last = json.loads((home / "last-demo.json").read_text())

    try:
        assert last["prefix"] == figures["prefix"] != first["prefix"]
        assert last["requests"] == figures["requests"] == figures["decisions"]
        kept = subprocess.run(
            [sys.executable, "-m", "enforcer.cli", "audit", "verify", "--prefix", last["prefix"]],
            env=environment(home),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert kept.returncode == 0, kept.stderr
        gone = subprocess.run(
            [sys.executable, "-m", "enforcer.cli", "audit", "verify", "--prefix", first["prefix"]],
            env=environment(home),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert gone.returncode == 5
    finally:
        assert Stack(home).stop(), "--keep leaves the broker running"
    assert left_behind(home) == []


def test_ctrl_c_in_the_traffic_ends_it_with_the_summary(home):
    """Exit code 0, the table, and no process left."""
    with started(home, "--seconds", "60", until="0:02  ") as process:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "each exactly once in the ledger" in out
    assert left_behind(home) == []


@pytest.mark.parametrize(
    ("number", "until", "code"),
    [
        (signal.SIGINT, "starting Kafka", 130),
        (signal.SIGINT, "starting a worker", 130),
        (signal.SIGTERM, "making topics", 143),
        (signal.SIGTERM, "0:02  ", 143),
    ],
)
def test_a_signal_at_any_moment_leaves_nothing(home, number, until, code):
    """Worker and broker end, in bounded time."""
    with started(home, "--seconds", "60", until=until) as process:
        begun_s = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=60)

    assert process.returncode == code
    assert time.monotonic() - begun_s < 45
    assert left_behind(home) == []


def test_a_worker_that_dies_ends_the_demo(home):
    """One clear line that names its log, and exit code 8."""
    with started(home, "--seconds", "60", until="0:02  ") as process:
        (worker,) = [
            child for child in psutil.Process(process.pid).children() if "worker" in child.cmdline()
        ]
        worker.kill()
        _, said = process.communicate(timeout=60)

    assert process.returncode == 8
    assert "error[worker_ended]: the worker ended with signal 9" in said
    assert str(home / "demo" / "worker.log") in said
    assert left_behind(home) == []


def test_two_demos_of_one_home_do_not_meet(home):
    """The second says who runs already; the first is not disturbed."""
    with started(home, "--seconds", "60", until="making topics") as process:
        second = subprocess.run(
            command("--seconds", "1"),
            env=environment(home),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)

    assert second.returncode == 8
    assert f"(pid {process.pid}) is still running a demo" in second.stderr
