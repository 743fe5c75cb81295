"""The job that stream frameworks are given, what is counted afterwards, and how their environments are made."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from enforcer import events
from enforcer.bench import workload
from enforcer.bench.peers import environment
from enforcer.bench.peers.job import Job, Record
from enforcer.bench.peers.trial import TIGHT
from enforcer.bench.peers.verdicts import Verdicts
from enforcer.cli.bench_peers import plan_of
from enforcer.errors import ConfigError, UnavailableError


class Store(dict):
    """What a framework's state comes down to."""

    def put(self, key: str, value: bytes) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


@pytest.fixture(scope="module")
def job() -> Job:
    """With tight budgets."""
    return Job(
        [*workload.sources(), (TIGHT[0], TIGHT[1].replace("0.02", "0.003"))],
        partitions=workload.PARTITIONS,
    )


def records(count: int) -> list[Record]:
    """Requests, as a framework gives them."""
    found = []
    for offset, (partition, outgoing) in enumerate(workload.Workload(9, tag="j").records(count)):
        key, value, _, _ = outgoing
        found.append(Record("requests", partition, offset, 1_767_225_600_000, key, value))
    return found


def decided(job: Job, requests: list[Record], store: Store) -> list[events.Decision]:
    """One decision for each request."""
    return [events.decode_decision(job.decide(each, store).decision or b"") for each in requests]


def test_the_job_decides_on_the_rows_of_the_store_it_is_given(job):
    """Rows are bytes in it; budgets fill up, so that what was free is denied; each decision goes to the audit as told."""
    store = Store()
    found = decided(job, records(1_500), store)
    assert {each.verdict for each in found} == {"allow", "warn", "modify", "deny"}
    assert any(reason.code == "budget_exceeded" for each in found for reason in each.reasons)
    assert all(isinstance(value, bytes) for value in store.values())
    answer = job.decide(records(1_501)[-1], store)
    assert answer.audit == [answer.decision]


def test_a_request_that_comes_again_is_told_its_first_verdict_and_written_once(job):
    """As long as the store has kept its row; on rows that were lost it is decided anew."""
    store, requests = Store(), records(1)
    first = job.decide(requests[0], store)
    again = job.decide(requests[0], store)
    assert (again.decision, again.audit) == (first.decision, [])
    assert job.decide(requests[0], Store()).audit


def test_what_is_told_within_the_limits_counts_no_fault(job):
    """Told once and written once, by one writer over all of its rows."""
    verdicts = Verdicts()
    for decision in decided(job, records(1_000), Store()):
        verdicts.tell(decision)
        verdicts.write(decision)
    counted = verdicts.counted(verdicts.told)
    assert counted == {
        "requests": 1_000, "unanswered": 0, "lost": 0, "doubled": 0, "contradicted": 0,
        "overspent_usd_nano": 0,
    }  # fmt: skip


def test_every_fault_is_counted(job):
    """A record that is missing, one too many, another verdict than was told, and budgets filled twice from empty rows."""
    requests = records(1_000)
    verdicts = Verdicts()
    for number, decision in enumerate(
        [*decided(job, requests[:500], Store()), *decided(job, requests[500:], Store())]
    ):
        verdicts.tell(decision)
        if number != 0:
            verdicts.write(decision)
        if number == 1:
            verdicts.write(decision)
        if number == 2:
            verdicts.tell(
                replace(decision, verdict="deny" if decision.verdict != "deny" else "allow")
            )
    counted = verdicts.counted([*verdicts.told, "never-told"])
    assert (counted["lost"], counted["doubled"], counted["contradicted"]) == (2, 1, 1)
    assert counted["unanswered"] == 1
    assert counted["overspent_usd_nano"] > 0


def test_frameworks_are_named_one_by_one():
    """No name is every framework; an unknown one is refused with the names there are."""
    assert plan_of(["quix", "quix"], 1, 1, rate=1, kills=0).names == ("quix",)
    assert plan_of(None, 1, 1, rate=1, kills=0).names == ("quix", "quix-default", "faust")
    with pytest.raises(ConfigError) as caught:
        plan_of(["flink"], 1, 1, rate=1, kills=0)
    assert "quix-default" in caught.value.help


@pytest.mark.parametrize("name", environment.NAMES)
def test_every_package_of_an_environment_is_pinned_with_its_hashes(name):
    """And the framework itself by its version in the source of the lock."""
    from importlib.resources import files

    folder = files("enforcer.bench.peers")
    lines = (folder / f"{name}.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith((" ", "#"))]
    assert pins
    assert all("==" in pin and pin.endswith("\\") for pin in pins)
    source = [line for line in (folder / f"{name}.in").read_text().splitlines() if "==" in line]
    framework = source[0].partition("[")[0].partition("=")[0]
    assert any(pin.startswith(f"{framework}==") for pin in pins)


def test_where_packages_cannot_be_had_the_error_says_so_and_nothing_stays(monkeypatch, tmp_path):
    """With what pip said last; the next call begins anew."""
    pip = subprocess.CompletedProcess([], 1, "", "a\nERROR: no index can be reached")
    monkeypatch.setattr(environment.venv, "create", lambda where, **_: where.mkdir(parents=True))
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: pip)
    told: list[str] = []
    with pytest.raises(UnavailableError) as caught:
        environment.python_of("quix", tmp_path / "peers", tell=told.append)
    assert caught.value.code == "peer_environment"
    assert "no index can be reached" in caught.value.message
    assert told
    assert not list((tmp_path / "peers").iterdir())


def test_the_job_needs_no_kafka_and_no_store_of_ours():
    """It runs where only the engine's own libraries are."""
    ours = ("aiokafka", "rocksdict", "psutil", "structlog", "prometheus_client", "typer", "stamina")
    code = f"import sys\nfor name in {ours}: sys.modules[name] = None\n"
    code += (
        "import enforcer.bench.peers.job, enforcer.bench.peers.reporting, enforcer.bench.workload"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
