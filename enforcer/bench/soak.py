"""
Hours in half an hour: a worker under an even load, all its topics bounded, and whether anything about it grows.

The worker is ``enforcer worker`` in a process of its own. Its tenants' calls live for minutes instead of a day, the topics keep minutes of
traffic, in small segments, and a policy changes now and then, so that all that is to be forgotten *is* forgotten again and again within
the run. Every few seconds what can be seen of it from outside is noted: memory, files, directories, metrics, and what the load got back.

The verdict looks at the second half of each series (``trend``): what still rises there by more than its bound, grows.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from enforcer import policy
from enforcer.bench import machine, vitals, workload
from enforcer.bench.figures import rounded
from enforcer.bench.processes import started
from enforcer.bench.site import installed
from enforcer.bench.trend import Bound, judged
from enforcer.broker import topics
from enforcer.errors import EnforcerError, UnavailableError
from enforcer.stream.config import WorkerConfig
from enforcer.stream.sweep import WALK_EVERY_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from enforcer.bench.processes import Measured
    from enforcer.bench.site import Place, Publish
    from enforcer.broker import KafkaBroker
    from enforcer.broker.topics import TopicSpec

CALL_S: Final = 60
"""So long a reservation is open, and so long again its call is remembered."""
_PERIOD_S: Final = WALK_EVERY_US / 1e6
_WALK_S: Final = 1.2 * _PERIOD_S
ROWS_END_S: Final = 2 * CALL_S + 2 * _WALK_S
"""After so long rows of calls go as fast as they come, and an average over a period shows it: they end, and walks over the table find them."""
POLICY_EVERY_S: Final = 60.0
TELL_EVERY_S: Final = 30.0
KEPT_S: Final = 90
"""So much of the traffic the topics keep; the changelog of calls as long as rows live, and half as long again."""
_SEGMENTS: Final = 4
_SEGMENT_BYTES_MIN: Final = 1 << 20
_TOPIC_BYTES: Final = {
    "requests": 2_500,
    "usage": 200,
    "decisions": 900,
    "audit": 1_100,
    "calls": 2_000,
}
"""Of a call, about: what retention is reckoned with."""
_LATE_S: Final = 30.0
_CACHED_ROWS: Final = int(WorkerConfig.model_fields["cached_rows_max"].default)

BROKER_SETTINGS: Final = {
    # Else a broker looks every five minutes what it may delete, and deletes it a minute later.
    "log.retention.check.interval.ms": "5000",
    "log.segment.delete.delay.ms": "1000",
    "log.cleaner.backoff.ms": "5000",
    "transaction.state.log.segment.bytes": "4194304",
    "offsets.topic.segment.bytes": "4194304",
}
"""Of a broker that is started for it."""

JUDGED: Final = (
    "worker_rss_mb", "readers_rss_mb", "python_blocks", "open_files", "open_reservations", "facts_cached",
    "table_memory_mb", "state_dir_mb", "topics_mb", "lag_records", "p50_ms", "p99_ms",
)  # fmt: skip


def bounds(rate: float) -> dict[str, Bound]:
    """How much each series may rise. Caches fill, calls end and topics are full only after a while, by *rate*."""
    full_s = max(2.0 * CALL_S, 1.1 * _CACHED_ROWS / rate)
    return {
        "worker_rss_mb": Bound(0.05, 8, after_s=full_s),
        "readers_rss_mb": Bound(0.05, 8),
        "python_blocks": Bound(0.03, 20_000, after_s=full_s),
        "open_files": Bound(0, 8),
        "open_reservations": Bound(0.1, 500, after_s=2 * CALL_S),
        "facts_cached": Bound(0.02, 10, after_s=full_s),
        "table_memory_mb": Bound(0.15, 16, after_s=2 * _WALK_S, period_s=_PERIOD_S),
        "state_dir_mb": Bound(0.2, 32, after_s=ROWS_END_S, period_s=_PERIOD_S),
        "topics_mb": Bound(0.1, 64, after_s=2.5 * KEPT_S),
        "lag_records": Bound(0, max(500.0, rate / 2)),
        "p50_ms": Bound(0.5, 10),
        "p99_ms": Bound(0.5, 50),
    }


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, at how many calls a second, and how often to look."""

    minutes: float = 30.0
    rate: float = 1_000.0
    sample_s: float = 5.0


@dataclass(slots=True)
class _Seen:
    """Samples so far. A figure that could not be had at one of them is left out of it."""

    samples: list[dict[str, float]] = field(default_factory=list)
    policy_changes: int = 0
    policy_failures: int = 0

    def series(self, name: str) -> tuple[list[float], list[float]]:
        found = [(s["at_s"], s[name]) for s in self.samples if name in s]
        return [at for at, _ in found], [value for _, value in found]


def bounded(specs: Iterable[TopicSpec], rate: float) -> list[TopicSpec]:
    """The topics, each keeping no more than some ``KEPT_S`` of traffic at *rate*, in small segments."""
    changed = []
    for spec in specs:
        per_call = _TOPIC_BYTES.get(spec.name)
        if per_call is not None:
            kept_s = 3 * CALL_S if spec.name == "calls" else KEPT_S
            kept = int(rate * per_call * kept_s / workload.PARTITIONS)
            segment = max(_SEGMENT_BYTES_MIN, kept // _SEGMENTS)
            sizes = {"retention.bytes": str(max(kept, segment)), "segment.bytes": str(segment)}
            spec = replace(spec, config={**spec.config, **sizes})  # noqa: PLW2901 — the same, bounded
        elif spec.name in {"state", "policy-acks"}:
            small = {"segment.bytes": str(_SEGMENT_BYTES_MIN), "segment.ms": "30000"}
            spec = replace(spec, config={**spec.config, **small})  # noqa: PLW2901 — as above
        changed.append(spec)
    return changed


def documents() -> tuple[policy.Document, ...]:
    """What ``bench stream`` enforces, with calls that end within minutes."""
    return workload.documents(settings=f"reservation_ttl: {CALL_S} s, dedup_window: {CALL_S} s")


def changed(number: int) -> tuple[policy.Document, ...]:
    """One more policy, another at each *number*; no request meets its condition."""
    text = (
        "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: soak-changes}\nspec:\n  rules:\n"
        f"    - id: steps\n      condition: {{operator: gt, field: attributes.agent_step, value: {1_000 + number}}}\n"
        "      then: deny\n      code: SOAK-001\n      reason: More steps than any run takes\n"
    )
    return policy.load([("changes.yaml", text)]).documents


async def measure(
    where: Place, plan: Plan, *, publish: Publish, tell: Callable[[str], None]
) -> dict[str, Any]:
    """
    Run for so long, and return the answer of ``bench soak``, whose ``growing`` names what grows.

    Raises: UnavailableError when the worker or the load ends before its time.
    """
    seen = _Seen()
    specs = bounded(topics.load_specs(), plan.rate)
    async with (
        installed(where, publish, specs=specs, documents=documents()) as broker,
        vitals.running(where, "worker") as worker,
    ):
        given = {
            "bootstrap": where.bootstrap,
            "prefix": where.prefix,
            "rate": plan.rate,
            "users": workload.USERS,
            "sample_s": plan.sample_s,
        }
        before = machine.read(where.broker_pid)
        cpu_s = machine.used(worker.pid)[0]
        async with started("soak_load", given, where.directory) as load:
            await _watch(where, plan, worker, load, seen, _Changes(broker, where, publish), tell)
            end = await load.stop()
        _check_alive(worker)
        metrics = await worker.metrics()
        after = machine.read(where.broker_pid)
        used_s = machine.used(worker.pid)[0] - cpu_s
        used = {
            "worker_cores": used_s / (after.at_s - before.at_s),
            **machine.load(before, after, used_s + end["load_cpu_s"]),
        }
    return _answer(where, plan, seen, end, metrics, used)


class _Changes:
    """A policy that becomes another one, in time."""

    def __init__(self, broker: KafkaBroker, where: Place, publish: Publish) -> None:
        self._broker, self._prefix, self._publish = broker, where.prefix, publish
        self._due_s = time.monotonic() + POLICY_EVERY_S
        self.count = 0
        self.failed = 0

    async def go_on(self) -> None:
        if time.monotonic() < self._due_s:
            return
        self._due_s += POLICY_EVERY_S
        try:
            await self._publish(self._broker, self._prefix, changed(self.count + 1))
        except EnforcerError:
            # Half an hour is not thrown away for it: it is told among the faults.
            self.failed += 1
        else:
            self.count += 1


async def _watch(
    where: Place,
    plan: Plan,
    worker: vitals.Command,
    load: Measured,
    seen: _Seen,
    changes: _Changes,
    tell: Callable[[str], None],
) -> None:
    begun_s = told_s = time.monotonic()
    while True:
        counts = await load.said(plan.sample_s + _LATE_S)
        _check_alive(worker)
        seen.samples.append(await _sample(where, worker, counts))
        await changes.go_on()
        seen.policy_changes, seen.policy_failures = changes.count, changes.failed
        now_s = time.monotonic()
        if now_s - told_s >= TELL_EVERY_S:
            told_s += TELL_EVERY_S
            tell(_line(plan, seen.samples[-1], now_s - begun_s))
        if now_s - begun_s >= plan.minutes * 60:
            return


def _check_alive(worker: vitals.Command) -> None:
    if worker.exit_code is not None:
        raise UnavailableError(
            f"the worker ended with exit code {worker.exit_code}: {worker.last_lines()}",
            code="measured_process",
        )


def _line(plan: Plan, newest: Mapping[str, float], elapsed_s: float) -> str:
    def of(name: str) -> str:
        return f"{newest[name]:,.0f}" if name in newest else "?"

    return (
        f"{elapsed_s / 60:.1f} of {plan.minutes:g} min: {of('decided')} decided, p50/p99 {of('p50_ms')}/{of('p99_ms')} ms, "
        f"worker {of('worker_rss_mb')} MB, reservations {of('open_reservations')}, "
        f"tables {of('state_dir_mb')} MB, topics {of('topics_mb')} MB"
    )


async def _sample(
    where: Place, worker: vitals.Command, counts: Mapping[str, float]
) -> dict[str, float]:
    """One look at everything."""
    metrics = await worker.metrics()
    found = dict(counts)
    found["worker_rss_mb"] = vitals.resident_mb(worker.pid)
    found["readers_rss_mb"] = sum(vitals.resident_mb(pid) for pid in worker.children)
    found["open_files"] = vitals.open_files(worker.pid)
    found["state_dir_mb"] = await asyncio.to_thread(vitals.disk_mb, worker.state_dir)
    data = _data(where)
    if data is not None:
        found["topics_mb"] = await asyncio.to_thread(vitals.disk_mb, data, prefix=where.prefix)
    for name, metric, scale in _METRICS:
        if metric in metrics:
            found[name] = sum(metrics[metric].values()) * scale
    return found


_METRICS: Final = (
    ("python_blocks", "enforcer_python_blocks", 1),
    ("open_reservations", "enforcer_open_reservations", 1),
    ("facts_cached", "enforcer_facts_cached", 1),
    ("table_memory_mb", "enforcer_table_memory_bytes", 1 / 2**20),
    ("lag_records", "enforcer_lag_records", 1),
    ("commits", "enforcer_commits_total", 1),
)


def _data(where: Place) -> Path | None:
    """Where a broker of our own keeps its topics."""
    return None if where.broker_pid is None else where.directory / "kafka" / "data"


def _total(metrics: Mapping[str, Mapping[str, float]], name: str) -> float:
    return sum(metrics.get(name, {}).values())


def _answer(
    where: Place,
    plan: Plan,
    seen: _Seen,
    end: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, float]],
    used: Mapping[str, float],
) -> dict[str, Any]:
    series = {n: judged(*seen.series(n), bound) for n, bound in bounds(plan.rate).items()}
    half = len(seen.samples) // 2
    faults = {
        "lost": end["lost"],
        "held_back": end["held_back"],
        "commit_failures": _total(metrics, "enforcer_commit_failures_total"),
        "dead_letters": _total(metrics, "enforcer_dead_letters_total"),
        "policy_failures": seen.policy_failures,
    }
    growing = sorted(name for name, found in series.items() if found["grows"])
    answer = {
        "figures": _figures(seen.samples[half:]),
        "baseline": _figures(seen.samples[:half]),
        "verdict": "growth" if growing else "no growth",
        "growing": growing,
        "not_judged": {n: found["why"] for n, found in series.items() if found["grows"] is None},
        "faults": {name: int(count) for name, count in faults.items() if count},
        "calls": {name: int(end[name]) for name in ("sent", "decided", "again", "reported")},
        "policy_changes": seen.policy_changes,
        "series": series,
        "samples": _columns(seen.samples),
        "noisy": False,
        "machine": {
            **machine.describe(where.jvm_flags),
            **used,
            "load_cores": end["load_cpu_s"] / max(1.0, plan.minutes * 60),
            "partitions": workload.PARTITIONS,
            "minutes": plan.minutes,
            "calls_per_s": plan.rate,
        },
    }
    done = rounded(answer)
    assert isinstance(done, dict)
    return done


def _figures(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians of a half, and what it did a second."""
    found = {
        name: median(values)
        for name in JUDGED
        if (values := [sample[name] for sample in samples if name in sample])
    }
    if len(samples) > 1:
        first, last = samples[0], samples[-1]
        for name in ("decided", "commits"):
            if name in first and name in last:
                found[f"{name}_per_s"] = (last[name] - first[name]) / (last["at_s"] - first["at_s"])
    return found


def _columns(samples: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """By name, a value a sample; ``at_s`` from the first one on."""
    if not samples:
        return {}
    begun_s = samples[0]["at_s"]
    columns = {
        name: [sample.get(name) for sample in samples]
        for name in (*JUDGED, "decided", "commits", "open")
    }
    return {"at_s": [sample["at_s"] - begun_s for sample in samples], **columns}
