"""What a worker is made of: settings, its name and lock, its tables, its topics, its slots for commits."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from stream_desk import Cluster, config, settled

from enforcer import events
from enforcer.engine import Outcome
from enforcer.errors import ConfigError, ConflictError, NotFoundError, UnavailableError
from enforcer.stream import services, tables
from enforcer.stream.config import WorkerConfig
from enforcer.stream.identity import NAME_FILE, Identity
from enforcer.stream.installation import MisalignedError, check_installation
from enforcer.stream.services import CommitGate
from enforcer.stream.slice import Slice
from enforcer.telemetry import Metrics

# -- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"instance_id": ""},
        {"instance_id": "x" * 201},
        {"commit_interval_ms": 0},
        {"slice_us": 99},
        {"pseudonym_key": b"short"},
        {"cached_rows": 1},
        {"commit_records_max": 20_001},
        {"commit_interval_ms": 5_001},
    ],
)
def test_settings_that_cannot_work_are_errors(wrong):
    """Out of bounds, unknown, or a commit that would wait for more than may be pending."""
    with pytest.raises(ValidationError):
        WorkerConfig(**{"instance_id": "w", "state_dir": Path("x"), **wrong})


def test_settings_are_frozen_and_name_topics():
    """Nothing changes while a worker runs; topics carry the installation's prefix."""
    made = config(prefix="acme.prod")
    assert made.topic("requests") == "acme.prod.requests"
    with pytest.raises(ValidationError):
        made.prefix = "other"


# -- identity --------------------------------------------------------------------------------------------------------


def test_a_name_is_made_once_and_kept(tmp_path):
    """A restart comes back under the name of its state directory."""
    first = Identity.hold(tmp_path / "made" / "on" / "first" / "use")
    first.release()
    again = Identity.hold(first.state_dir)
    assert again.instance_id == first.instance_id
    assert (first.state_dir / NAME_FILE).read_text().strip() == first.instance_id
    again.release()


def test_two_workers_cannot_share_a_name(tmp_path):
    """The second process on one state directory is refused, as long as the first one runs."""
    held = Identity.hold(tmp_path)
    with pytest.raises(ConflictError):
        Identity.hold(tmp_path)
    held.release()
    Identity.hold(tmp_path).release()


def test_a_given_name_replaces_the_stored_one(tmp_path):
    """An orchestrator may name its workers; the name is remembered."""
    Identity.hold(tmp_path, "worker-0").release()
    again = Identity.hold(tmp_path)
    assert again.instance_id == "worker-0"
    again.release()


def test_an_empty_name_file_is_no_name(tmp_path):
    """A file that a crash left empty gives a new name."""
    (tmp_path / NAME_FILE).write_text("\n")
    held = Identity.hold(tmp_path)
    assert held.instance_id
    held.release()


def test_a_directory_that_cannot_be_used_is_said_so(tmp_path):
    """A file where the directory should be: the operator is told which."""
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError) as error:
        Identity.hold(tmp_path / "file")
    assert "file" in error.value.message


# -- tables -----------------------------------------------------------------------------------------------------------


def test_each_partition_has_its_table(tmp_path):
    """Rows of one partition are not another's, and are there again after closing."""
    first, second = (tables.open_table(tmp_path, n) for n in (0, 1))
    first.write({b"k": b"v"})
    assert second.get(b"k") is None
    first.close()
    second.close()
    again = tables.open_table(tmp_path, 0)
    assert again.get(b"k") == b"v"
    again.close()


def test_a_damaged_table_is_deleted(tmp_path):
    """The changelog has all of it: a table that cannot be opened is made anew, empty."""
    table = tables.open_table(tmp_path, 0)
    table.write({b"k": b"v"})
    table.close()
    (tmp_path / "p0" / "CURRENT").write_bytes(b"nothing")
    again = tables.open_table(tmp_path, 0)
    assert again.get(b"k") is None
    again.close()


# -- the installation --------------------------------------------------------------------------------------------------


def changed(cluster, name, **fields):
    """One topic otherwise."""
    full = f"enforcer.{name}"
    cluster.topics[full] = replace(cluster.topics[full], **fields)


async def test_a_good_installation_says_what_tables_are_for():
    """Cluster, changelogs' ids and partitions; a table may be half as old as tombstones are kept."""
    cluster = Cluster(partitions=4)
    changed(cluster, "state", config={"delete.retention.ms": "10000"})
    meta, age_ms_max = await check_installation(cluster, config())
    assert (meta.cluster_id, meta.partitions) == ("cluster", 4)
    assert meta.topic_ids == {"state": "id-state", "calls": "id-calls"}
    assert age_ms_max == 5_000


async def test_tombstones_are_kept_a_day_where_nothing_is_set():
    """The broker's own default counts."""
    _, age_ms_max = await check_installation(Cluster(), config())
    assert age_ms_max == 12 * 3600 * 1000


async def test_missing_topics_are_named():
    """Which topics to make is in the message, and the verb in the help."""
    cluster = Cluster()
    del cluster.topics["enforcer.audit"], cluster.topics["enforcer.policies"]
    with pytest.raises(NotFoundError) as error:
        await check_installation(cluster, config())
    assert error.value.code == "topics_missing"
    assert error.value.message.split(": ")[1] == "enforcer.audit, enforcer.policies"


@pytest.mark.parametrize("name", ["usage", "decisions", "audit", "state", "calls", "dead-letters"])
async def test_topics_of_other_partitions_are_refused(name):
    """Accounts would live elsewhere: no agent may run on such topics."""
    cluster = Cluster(partitions=4)
    changed(cluster, name, partitions=5)
    with pytest.raises(MisalignedError):
        await check_installation(cluster, config())


@pytest.mark.parametrize("name", ["requests", "usage"])
async def test_inputs_with_the_producers_time_are_refused(name):
    """Budgets go by event time, and a sender must not choose it."""
    cluster = Cluster()
    changed(cluster, name, config={"message.timestamp.type": "CreateTime"})
    with pytest.raises(ConfigError) as error:
        await check_installation(cluster, config())
    assert error.value.code == "append_time"
    changed(cluster, name, config={"message.timestamp.type": "LogAppendTime"})
    await check_installation(cluster, config())


# -- slots for commits --------------------------------------------------------------------------------------------------


class Clock:
    """An event loop's time that passes by sleeping only."""

    def __init__(self):
        self.now_s = 1_000.0

    def get_running_loop(self):
        return self

    def time(self):
        return self.now_s

    async def sleep(self, seconds):
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(services, "asyncio", made)
    return made


async def test_commits_are_spread_and_no_more_than_so_many_a_second(clock):
    """Ten turns of 40 a second take nine gaps; the first is at once."""
    gate, slots = CommitGate(40), []
    for _ in range(10):
        await gate.turn()
        slots.append(clock.now_s)
    assert slots == pytest.approx([1_000 + n / 40 for n in range(10)])


async def test_time_unused_is_not_saved_up(clock):
    """After a pause one commit goes at once, and the next waits its gap."""
    gate = CommitGate(10)
    await gate.turn()
    clock.now_s += 60
    before_s = clock.now_s
    await gate.turn()
    assert clock.now_s == before_s
    await gate.turn()
    assert clock.now_s == pytest.approx(before_s + 0.1)


async def test_agents_at_once_get_slots_of_their_own():
    """Agents that ask together commit one after the other, none before its slot."""
    gate, loop, slots = CommitGate(200), asyncio.get_running_loop(), []
    begun_s = loop.time()

    async def agent():
        await gate.turn()
        slots.append(loop.time())

    await asyncio.gather(*(agent() for _ in range(5)))
    assert all(slot - begun_s >= n / 200 - 0.001 for n, slot in enumerate(slots))


# -- what a slice reports -----------------------------------------------------------------------------------------------


def decision(verdict, *codes):
    reasons = [events.Reason("p", "r", verdict, code, "") for code in codes]
    return events.Decision(
        "d", "r1", 1, "acme", "acme", verdict, 200, reasons, policy_digest="", data_digest="",
        engine="", source=events.Source("t", 0, 0, 0, 0, 0), time_us=0,
    )  # fmt: skip


RECORD = SimpleNamespace(timestamp=0)


def outcome_of(told):
    """What the engine says with a decision; with None, that a verdict is told again."""
    return Outcome(b"v", told, verdict="" if told is None else told.verdict)


async def test_a_slice_counts_verdicts_and_denials_of_limits():
    """Verdicts by kind; denials for a limit once each; one told again is told and not counted."""
    part, metrics = Slice(), Metrics()
    for each in (
        decision("allow"), decision("deny", "budget_exceeded", "rate_limited"),
        decision("deny", "pii"), None,
    ):  # fmt: skip
        part.add((None, b"v", (), None), RECORD, outcome_of(each))
    part.report(metrics, None)
    text = metrics.exposition().decode()
    assert len(part.told) == 4
    assert 'enforcer_decisions_total{verdict="deny"} 2.0' in text
    assert 'enforcer_decisions_total{verdict="allow"} 1.0' in text
    assert "enforcer_budget_denials_total 1.0" in text
    assert "latency_seconds_count 0.0" in text


@pytest.mark.parametrize(
    ("outcome", "counted"), [(0, 2), (UnavailableError("no"), 0), ("cancelled", 0)]
)
async def test_latencies_count_when_acknowledged(outcome, counted):
    """A verdict is as late as its acknowledgement; one that failed has no latency."""
    part, metrics = Slice(), Metrics()
    part.add((None, b"v", (), None), RECORD, outcome_of(decision("allow")))
    part.add((None, b"v", (), None), RECORD, outcome_of(None))
    ack = asyncio.get_running_loop().create_future() if outcome == "cancelled" else settled(outcome)
    part.report(metrics, ack)
    if outcome == "cancelled":
        ack.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert f"latency_seconds_count {counted}.0" in metrics.exposition().decode()
