"""The benchmarks themselves, as short as they go: they run, answer in their contract and leave nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid

import psutil
import pytest

from enforcer.bench import workload
from enforcer.bench.peers import trial
from enforcer.bench.peers.systems import OURS, System
from enforcer.bench.peers.trial import TIGHT, Trial
from enforcer.bench.site import Place, installed
from enforcer.config import Settings
from enforcer.control import policies

pytestmark = pytest.mark.xdist_group("bench")

CONTRACT = {"figures", "baseline", "cpu_us_per_event", "rss_mb", "machine", "noisy"}


def command(bootstrap, *arguments):
    return [
        sys.executable, "-m", "enforcer.cli", "bench", *arguments,
        "--bootstrap", bootstrap, "--rounds", "1", "-o", "json",
    ]  # fmt: skip


@pytest.fixture
def environment(tmp_path):
    """A home of this test's own."""
    return {
        **os.environ,
        "ENFORCER_HOME": str(tmp_path),
        "ENFORCER_CACHE": str(Settings.load().cache),
    }


def test_stream_answers_in_its_contract(bootstrap, environment, tmp_path):
    """Share, figures and baseline; every decided request comes from a ledger without failures."""
    arguments = ("stream", "--seconds", "1", "--warm-up", "0")
    run = subprocess.run(
        command(bootstrap, *arguments), env=environment, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    answer = json.loads(run.stdout)
    assert answer.keys() >= CONTRACT | {"share"}
    assert 0 < answer["share"] < 1
    assert set(answer["figures"]["verdicts"]) == {"allow", "warn", "modify", "deny"}
    assert answer["figures"]["events_per_s"] > 0
    assert not list((tmp_path / "bench").iterdir())


def test_latency_answers_in_its_contract(bootstrap, environment):
    """Multiples of the echo's percentiles; nothing lost, at a rate that any machine holds."""
    arguments = ("latency", "--seconds", "1", "--rate", "50")
    run = subprocess.run(
        command(bootstrap, *arguments), env=environment, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    answer = json.loads(run.stdout)
    assert answer.keys() >= CONTRACT | {"multiple"}
    assert answer["multiple"].keys() == {"p50", "p99", "p999"}
    assert answer["baseline"]["lost"] == 0
    assert 0 < answer["figures"]["p50_ms"] <= answer["figures"]["p99_ms"]
    assert answer["figures"]["bypass_rate"] <= 1


def test_restore_answers_in_its_contract(bootstrap, environment, tmp_path):
    """Share of a plain read; every row that was written is read back, and a warm table reads none."""
    run = subprocess.run(
        command(bootstrap, "restore", "--rows", "5000"),
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr.decode()
    answer = json.loads(run.stdout)
    assert answer.keys() >= CONTRACT | {"share"}
    assert answer["share"] > 0
    assert answer["figures"]["rows_per_s"] > 0
    assert not list((tmp_path / "bench").iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_benchmark_leaves_no_process(bootstrap, environment, tmp_path, number):
    """Ctrl-C, SIGTERM, and even SIGKILL: the measured processes end with their parent."""
    process = subprocess.Popen(
        command(bootstrap, "stream", "--seconds", "20", "--warm-up", "0"),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        children = _children(process.pid)
        process.send_signal(number)
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    if number != signal.SIGKILL:
        assert not list((tmp_path / "bench").iterdir())


def _children(pid):
    """The measured processes, once the first is there."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        found = [
            child
            for child in psutil.Process(pid).children(recursive=True)
            if any("enforcer.bench" in argument for argument in child.cmdline())
        ]
        if found:
            return found
        time.sleep(0.05)
    pytest.fail("no measured process was started")


def test_policies_answers_in_its_contract(bootstrap, environment):
    """Latencies before, while and after 1,000 policies arrive, every call answered, at a rate that any machine holds."""
    arguments = ("policies", "--seconds", "1", "--rate", "20")
    run = subprocess.run(
        command(bootstrap, *arguments), env=environment, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    answer = json.loads(run.stdout)
    assert answer.keys() >= CONTRACT | {"multiple"}
    assert answer["figures"]["lost"] == 0
    assert answer["figures"]["calls_meanwhile"] > 0
    assert answer["figures"]["in_force_s"] > 0


async def test_a_killed_worker_leaves_no_fault_in_a_trial_of_it(bootstrap, tmp_path):
    """As `bench peers` tries every system: killed under load, all is answered, written once, and within the limits."""
    where = Place(bootstrap, tmp_path, f"trial{uuid.uuid4().hex[:8]}")
    tight = workload.documents(more=[TIGHT])
    shape = Trial(rate=100, seconds=1, kills=1, in_flight_s=1.5)
    async with installed(where, policies.apply, documents=tight) as broker:
        found = await trial.run(where, broker, System(OURS), shape)
    assert found["kills"] == 1
    faults = ("unanswered", "lost", "doubled", "contradicted", "overspent_usd_nano")
    assert {name: found[name] for name in faults} == dict.fromkeys(faults, 0)
    assert found["requests"] == len(shape.schedule_s) + 40
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["worst_ms"]


def test_leases_answers_in_its_contract(bootstrap, environment):
    """A company over six partitions: every call decided, the budget spent to its end and never past it."""
    arguments = ("--seconds", "4", "--rate", "60", "--partitions", "6", "--workers", "1")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "enforcer.cli", "bench", "leases", *arguments),
            *("--bootstrap", bootstrap, "-o", "json"),
        ],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    answer = json.loads(run.stdout)
    assert answer.keys() >= CONTRACT | {"by_second", "words"}
    figures = answer["figures"]
    assert (figures["overspent_usd"], figures["overlent_usd"], figures["lost"]) == (0, 0, 0)
    assert figures["holders"] == 6
    assert figures["first_slice_ms"] > 0
    assert sum(second["calls"] for second in answer["by_second"]) >= 200
