"""
Is this installation ready, and what is to be done where it is not: one line a check, each with its fix.

Reads only. What cannot be asked because something before it failed is not guessed: its line is missing.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from enforcer.broker import KafkaBroker, topics
from enforcer.broker.client import PINNED_VERSION
from enforcer.control import acks, policies
from enforcer.control import doctor_trust as trust
from enforcer.control.doctor_line import Line, line
from enforcer.errors import EnforcerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping
    from pathlib import Path

    from enforcer.broker import Broker, BrokerConfig, TopicInfo
    from enforcer.policy.signing import Verifier

FREE_BYTES_MIN: Final = 1024**3
CLOCK_AHEAD_MS_MAX: Final = 5_000
"""A record further in the future than a minute stops its agent."""
REPLICATION: Final = 3
_TOPICS: Final = frozenset({"topics", "partitions", "append time"})
"""Where one of these fails, what stands in the topics is not asked."""
APPEND_TIMED: Final = ("requests", "usage")


async def examine(
    config: BrokerConfig,
    prefix: str,
    state_dir: Path,
    *,
    group: str | None = None,
    principals: Mapping[str, str] | None = None,
    verifier: Verifier | None = None,
) -> list[Line]:
    """
    All checks, in the order in which they are best mended.

    Args:
        config: How to reach the brokers.
        prefix: Of the topics' names.
        state_dir: Of the worker that shall run here.
        group: The workers' consumer group; the prefix unless given.
        principals: Role to principal, where it is not ``User:<prefix>-<role>``.
        verifier: Whose signatures of policies are believed, if any.
    """
    lines = [_state_directory(state_dir), _disk(state_dir)]
    begun_s = time.perf_counter()
    broker = KafkaBroker(config)
    try:
        try:
            await broker.start()
        except EnforcerError as error:
            return [Line("broker", "fail", error.message, error.help), _versions(), *lines]
        took_ms = (time.perf_counter() - begun_s) * 1000
        count = await broker.broker_count()
        told = f"{count} brokers, Kafka 4.0 or newer, cluster {await broker.cluster_id()}, {took_ms:.0f} ms"
        found = [Line("broker", "ok", told), _versions()]
        found += [await trust.certificates(config), trust.secret_files(config)]
        found += await trust.permissions(
            broker, prefix, group=group or prefix, principals=principals or {}
        )
        found += await _asked("topics", _topics(broker, prefix, count))
        if all(each.check not in _TOPICS or each.status != "fail" for each in found):
            found += await _asked("policies", _data(broker, prefix, verifier))
        return [*found, *lines]
    finally:
        await broker.stop()


async def _asked(name: str, checks: Awaitable[list[Line]]) -> list[Line]:
    """The lines of *checks*, or the one that says why they cannot be asked."""
    try:
        return await checks
    except EnforcerError as error:
        return [Line(name, "fail", error.message, error.help)]


def _versions() -> Line:
    """Whether what runs here is what was tested together."""
    client = version("aiokafka")
    said = (
        f"enforcer {version('llm-enforcer')}, Python {platform.python_version()}, aiokafka {client}"
    )
    if client != PINNED_VERSION:
        fix = f"pip install aiokafka=={PINNED_VERSION}: the fast lane leans on its private names"
        return Line("versions", "fail", said, fix)
    return Line("versions", "ok", said)


async def _data(broker: Broker, prefix: str, verifier: Verifier | None) -> list[Line]:
    return [await _clock(broker, prefix), *await _policies(broker, prefix, verifier)]


async def _topics(broker: Broker, prefix: str, brokers: int) -> list[Line]:
    specs = topics.load_specs()
    different = await topics.differences(broker, specs, prefix=prefix, partitions=None)
    missing = [d.topic for d in different if d.kind == "missing"]
    if missing:
        said = f"{len(missing)} of {len(specs)} topics do not exist: {', '.join(missing[:4])}"
        return [Line("topics", "fail", said, f"enforcer topics apply --prefix {prefix}")]
    counts = [str(d) for d in different if d.kind == "partitions"]
    settings = [str(d) for d in different if d.kind == "setting"]
    described = await broker.describe_topics([f"{prefix}.{spec.name}" for spec in specs])
    most = max((info.partitions for info in described.values()), default=1)
    return [
        line("partitions", counts, "every topic has the same number", f"stop the workers, then: enforcer topics repartition --partitions {most} --prefix {prefix}"),
        _append_time(described, prefix),
        line("topics", settings, f"{len(specs)} topics as specified", f"enforcer topics apply --prefix {prefix}", bad="warn"),
        _replication(described.values(), brokers),
    ]  # fmt: skip


def _append_time(described: dict[str, TopicInfo], prefix: str) -> Line:
    wrong = [
        f"{name} carries the producer's time"
        for name in (f"{prefix}.{each}" for each in APPEND_TIMED)
        if described[name].config.get("message.timestamp.type") != "LogAppendTime"
    ]
    return line("append time", wrong, "inputs carry the broker's time", "enforcer topics apply")


def _replication(described: Iterable[TopicInfo], brokers: int) -> Line:
    if brokers < REPLICATION:
        return Line(
            "replication",
            "warn",
            f"{brokers} brokers: a lost disk loses the ledger",
            "for production, three brokers or more, before the topics are made",
        )
    wrong = [
        f"{t.name} has {t.replication_factor} replicas, min.insync.replicas {t.config.get('min.insync.replicas', 'not set')}"
        for t in described
        if t.replication_factor < REPLICATION or t.config.get("min.insync.replicas", "1") == "1"
    ]
    fix = "enforcer topics apply; replicas of topics that exist: kafka-reassign-partitions"
    return line("replication", wrong, "three replicas, two in sync for every write", fix)


async def _clock(broker: Broker, prefix: str) -> Line:
    """
    Whether an input holds a record of this machine's future.

    Asked by time, so that nobody needs the right to read prompts for it.
    """
    reader = await broker.open_reader(read_committed=True)
    try:
        count = await broker.partitions(f"{prefix}.requests")
        places = [(f"{prefix}.{name}", p) for name in APPEND_TIMED for p in range(count)]
        ahead_ms = int(time.time() * 1000) + CLOCK_AHEAD_MS_MAX
        found = await reader.offsets_for_times(dict.fromkeys(places, ahead_ms))
    finally:
        await reader.close()
    future = [place for place, offset in found.items() if offset is not None]
    if future:
        topic, partition = future[0]
        said = f"{topic}-{partition} has records more than {CLOCK_AHEAD_MS_MAX // 1000} s ahead of this machine's clock"
        return Line(
            "clock", "fail", said, "synchronise the brokers' clocks and this one (chrony, ntpd)"
        )
    return Line("clock", "ok", "no record is ahead of this machine's clock")


async def _policies(broker: Broker, prefix: str, verifier: Verifier | None) -> list[Line]:
    listed = await policies.list_documents(broker, prefix, verifier)
    problems = [f"{d.scope}: {d.problem}" for d in listed if d.problem]
    stops = [d.detail for d in listed if d.kind == "Stop"]
    tenants = {d.scope for d in listed} - {"*", "!"}
    if not listed:
        lines = [Line("policies", "warn", "none is in force: every request is denied", "enforcer policy apply PATH")]  # fmt: skip
    else:
        good = f"{len(listed)} documents, {len(tenants)} tenants"
        lines = [
            line(
                "policies",
                problems,
                good,
                "apply the documents again; with --sign-key where they are refused",
            )
        ]
    if stops:
        lines.append(Line("stops", "warn", f"stopped: {'; '.join(stops[:3])}", "enforcer policy stop ... --undo"))  # fmt: skip
    return [*lines, await _agents(broker, prefix, listed)]


async def _agents(broker: Broker, prefix: str, listed: list[Any]) -> Line:
    """Whether every agent decides under the newest policies, by what workers have said."""
    offset = await policies.set_offset(broker, prefix, {each.scope for each in listed})
    try:
        state = await acks.wait_in_force(broker, prefix, offset, scopes=["*"], timeout_s=1.0)
    except EnforcerError as error:
        return Line(
            "agents", "warn", error.message, "enforcer worker, on as many machines as you like"
        )
    return Line("agents", "ok", f"{state.agents} of {state.of} decide under the newest policies")


def _state_directory(path: Path) -> Line:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path):
            return Line("state directory", "ok", f"{path} can be written")
    except OSError as error:
        said = f"{path} cannot be written: {error.strerror}"
        return Line("state directory", "fail", said, "name another, with --state-dir")


def _disk(path: Path) -> Line:
    at = path
    while not at.exists():
        at = at.parent
    free = shutil.disk_usage(at).free
    said = f"{free / 1024**3:.1f} GiB free at {at}"
    if free < FREE_BYTES_MIN:
        return Line("disk", "fail", said, "make room: a worker that cannot write its table stops")
    return Line("disk", "ok", said)
