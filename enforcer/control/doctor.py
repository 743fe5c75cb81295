"""
Is this installation ready, and what is to be done where it is not: one line a check, each with its fix.

Reads only. What cannot be asked because something before it failed is not guessed: its line is missing.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from enforcer.broker import KafkaBroker, topics
from enforcer.control import acks, policies
from enforcer.errors import EnforcerError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from enforcer.broker import Broker, BrokerConfig, TopicInfo

Status = Literal["ok", "warn", "fail"]
FREE_BYTES_MIN: Final = 1024**3
CLOCK_AHEAD_MS_MAX: Final = 5_000
"""A record further in the future than a minute stops its agent."""
REPLICATION: Final = 3
READ_S: Final = 10.0
APPEND_TIMED: Final = ("requests", "usage")


@dataclass(frozen=True, slots=True)
class Line:
    """One check. *fix* is empty where nothing is to be done."""

    check: str
    status: Status
    message: str
    fix: str = ""


async def examine(config: BrokerConfig, prefix: str, state_dir: Path) -> list[Line]:
    """All checks, in the order in which they are best mended."""
    lines = [_state_directory(state_dir), _disk(state_dir)]
    begun_s = time.perf_counter()
    broker = KafkaBroker(config)
    try:
        try:
            await broker.start()
        except EnforcerError as error:
            return [Line("broker", "fail", error.message, error.help), *lines]
        took_ms = (time.perf_counter() - begun_s) * 1000
        count = await broker.broker_count()
        told = f"{count} brokers, Kafka 4.0 or newer, cluster {await broker.cluster_id()}, {took_ms:.0f} ms"
        found = [Line("broker", "ok", told)]
        found += await _topics(broker, prefix, count)
        if all(line.status != "fail" for line in found):
            found += [await _clock(broker, prefix), *await _policies(broker, prefix)]
        return [*found, *lines]
    finally:
        await broker.stop()


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
    return [
        _line("partitions", counts, "every topic has the same number", "see docs/wire.md: the number is fixed by the rows that exist"),
        _append_time(described, prefix),
        _line("topics", settings, f"{len(specs)} topics as specified", f"enforcer topics apply --prefix {prefix}", bad="warn"),
        _replication(described.values(), brokers),
    ]  # fmt: skip


def _line(check: str, wrong: list[str], good: str, fix: str, *, bad: Status = "fail") -> Line:
    if not wrong:
        return Line(check, "ok", good)
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return Line(check, bad, "; ".join(wrong[:3]) + more, fix)


def _append_time(described: dict[str, TopicInfo], prefix: str) -> Line:
    wrong = [
        f"{name} carries the producer's time"
        for name in (f"{prefix}.{each}" for each in APPEND_TIMED)
        if described[name].config.get("message.timestamp.type") != "LogAppendTime"
    ]
    return _line("append time", wrong, "inputs carry the broker's time", "enforcer topics apply")


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
    return _line("replication", wrong, "three replicas, two in sync for every write", fix)


async def _clock(broker: Broker, prefix: str) -> Line:
    """The newest record of any input against this machine's clock."""
    newest = 0
    reader = await broker.open_reader(read_committed=True)
    try:
        count = await broker.partitions(f"{prefix}.requests")
        places = [(f"{prefix}.{name}", p) for name in APPEND_TIMED for p in range(count)]
        ends, begins = await reader.offsets_end(places), await reader.offsets_begin(places)
        wanted = {place for place in places if ends[place] > begins[place]}
        reader.assign(sorted(wanted))
        for place in wanted:
            reader.seek(*place, ends[place] - 1)
        until_s = time.monotonic() + READ_S
        while wanted and time.monotonic() < until_s:
            for place, found in (await reader.poll(200)).items():
                newest = max([newest, *(record.timestamp for record in found)])
                wanted.discard(place)
            wanted = {p for p in wanted if (reader.position(*p) or 0) < ends[p]}
    finally:
        await reader.close()
    if not newest:
        return Line("clock", "ok", "no record to compare with yet")
    ahead_ms = newest - int(time.time() * 1000)
    if ahead_ms > CLOCK_AHEAD_MS_MAX:
        said = f"the broker's clock is {ahead_ms / 1000:.0f} s ahead of this machine's"
        return Line("clock", "fail", said, "synchronise both (chrony, ntpd)")
    return Line("clock", "ok", f"the newest record is {max(0, -ahead_ms) / 1000:.0f} s old")


async def _policies(broker: Broker, prefix: str) -> list[Line]:
    listed = await policies.list_documents(broker, prefix)
    problems = [f"{d.scope}: {d.problem}" for d in listed if d.problem]
    stops = [d.detail for d in listed if d.kind == "Stop"]
    tenants = {d.scope for d in listed} - {"*", "!"}
    if not listed:
        lines = [Line("policies", "warn", "none is in force: every request is denied", "enforcer policy apply PATH")]  # fmt: skip
    else:
        good = f"{len(listed)} documents, {len(tenants)} tenants"
        lines = [_line("policies", problems, good, "apply the documents again")]
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
