"""
What a worker holds in memory with a million budget rows, and what of it is what.

Two workers, each ``enforcer worker`` in a process of its own under the same load: one whose tables have what the load made, one that reads
the rows of a million users back from the changelog first, as after the loss of a disk, which is the most a worker ever holds. Then every
call is another user's. The first is the baseline. What is loaded before the first record is measured stage by stage in a process that does
nothing else; RocksDB and Python tell their own part through the worker's metrics.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from enforcer import events
from enforcer.bench import machine, soak_load, vitals, workload
from enforcer.bench.figures import rounded
from enforcer.bench.processes import started
from enforcer.bench.site import installed
from enforcer.engine.limits import pseudonym
from enforcer.errors import UnavailableError
from enforcer.stream.config import WorkerConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from enforcer.bench.site import Place, Publish
    from enforcer.broker import KafkaBroker, Outgoing

WANTED_MB: Final = 500
_PSEUDONYM_KEY: Final[bytes] = WorkerConfig.model_fields["pseudonym_key"].default
"""What a worker has that is given none."""
_AT_ONCE: Final = 4_000
_LOAD_SAMPLE_S: Final = 5.0
_READ_S_MAX: Final = 30.0
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Plan:
    """How many users have a budget row, and how long and how fast they call."""

    rows: int = 1_000_000
    seconds: float = 20.0
    rate: float = 500.0


@dataclass(frozen=True, slots=True)
class _Row:
    """A budget row's key with a place for the user's pseudonym, and when its window ends."""

    before: str
    after: str
    end_us: int


async def measure(
    where: Place, plan: Plan, *, publish: Publish, tell: Callable[[str], None]
) -> dict[str, Any]:
    """
    Fill, look, and return the answer of ``bench memory``.

    Raises: UnavailableError when a worker does not get ready or loses its rows.
    """
    async with installed(where, publish) as broker:
        stages = await _stages(where)
        tell("a worker with the rows of its load alone")
        few = await _worker(where, plan, "few", users=workload.USERS)
        tell(f"{few['rss_mb']:.0f} MB; writing {plan.rows:,} budget rows")
        await _fill(broker, where, plan.rows)
        tell("a worker that reads them back")
        many = await _worker(where, plan, "many", users=plan.rows)
        tell(f"{many['rss_mb']:.0f} MB")
    return _answer(where, plan, few, many, stages)


async def _stages(where: Place) -> dict[str, float]:
    async with started("memory_stages", {}, where.directory) as process:
        found: dict[str, float] = process.ready["stages"]
    return found


async def _worker(where: Place, plan: Plan, name: str, *, users: int) -> dict[str, Any]:
    """A worker's memory after some load."""
    begun_s = time.monotonic()
    async with vitals.running(where, name) as worker:
        ready_s = time.monotonic() - begun_s
        at_start = vitals.memory_mb(worker.pid)
        given = {
            "bootstrap": where.bootstrap,
            "prefix": where.prefix,
            "rate": plan.rate,
            "users": users,
            "sample_s": _LOAD_SAMPLE_S,
        }
        async with started("soak_load", given, where.directory) as load:
            until_s = time.monotonic() + plan.seconds
            while time.monotonic() < until_s:
                await load.said(_LOAD_SAMPLE_S + _READ_S_MAX)
            end = await load.stop()
        metrics = await worker.metrics()
        memory = vitals.memory_mb(worker.pid)
        if not memory or end["lost"]:
            raise UnavailableError(
                f"the worker lost {end['lost']} calls: {worker.last_lines()}",
                code="measured_process",
            )
        return {
            **{f"{kind}_mb": value for kind, value in memory.items()},
            "largest_rss_mb": vitals.largest_mb(worker.pid),
            "ready_rss_mb": at_start["rss"],
            "ready_s": ready_s,
            "readers_rss_mb": sum(vitals.resident_mb(pid) for pid in worker.children),
            "restored_rows": int(sum(metrics["enforcer_restored_rows_total"].values())),
            "decided": end["decided"],
            "table_mb": {
                labels.removeprefix('part="').removesuffix('"'): value / _MIB
                for labels, value in metrics["enforcer_table_memory_bytes"].items()
            },
            "python_blocks": sum(metrics["enforcer_python_blocks"].values()),
            "mapped_mb": vitals.mapped_mb(worker.pid),
        }


async def _fill(broker: KafkaBroker, where: Place, count: int) -> None:
    """Budget rows of *count* users, as the engine would have written them."""
    rows = await _rows_seen(broker, where)
    producer = await broker.open_producer()
    try:
        topic = where.topic("state")
        await producer.prepare([topic])
        for first in range(0, count, _AT_ONCE):
            by_partition: dict[int, list[Outgoing]] = {}
            for partition, record in _records(rows, first, min(count, first + _AT_ONCE)):
                by_partition.setdefault(partition, []).append(record)
            await asyncio.gather(
                *(producer.send(topic, at, records) for at, records in by_partition.items())
            )
        await producer.flush()
    finally:
        await producer.close()


def _records(rows: Mapping[str, _Row], first: int, end: int) -> Iterator[tuple[int, Outgoing]]:
    tenants = workload.tenants()
    for number in range(first, end):
        tenant, partition = tenants[number % len(tenants)]
        row = rows[tenant]
        user = pseudonym(soak_load.user_of(number).decode(), _PSEUDONYM_KEY)
        value = events.encode_budget_row(events.BudgetRow(number * 1_000, 0, row.end_us))
        yield partition, (f"{row.before}{user}{row.after}".encode(), value, (), None)


async def _rows_seen(broker: KafkaBroker, where: Place) -> dict[str, _Row]:
    """How each tenant's row is called, from what was decided."""
    wanted = {tenant for tenant, _ in workload.tenants()}
    found: dict[str, _Row] = {}
    reader = await broker.open_reader(read_committed=False)
    try:
        reader.assign([(where.topic("decisions"), n) for n in range(workload.PARTITIONS)])
        await reader.seek_to_beginning()
        async with asyncio.timeout(_READ_S_MAX):
            while wanted - found.keys():
                for records in (await reader.poll(200)).values():
                    for record in records:
                        _note(events.decode(record.value or b""), found)
    except TimeoutError:
        raise UnavailableError(
            f"no budget of {', '.join(sorted(wanted - found.keys()))} was decided on",
            help="give more --seconds",
            code="round_too_short",
        ) from None
    finally:
        await reader.close()
    return found


def _note(decision: object, found: dict[str, _Row]) -> None:
    if not isinstance(decision, events.Decision) or decision.tenant in found:
        return
    for effect in decision.effects:
        if effect.row.startswith("b/"):
            *before, _, window = effect.row.split("/")
            found[decision.tenant] = _Row("/".join(before) + "/", f"/{window}", effect.until_us)


def _answer(
    where: Place,
    plan: Plan,
    few: dict[str, Any],
    many: dict[str, Any],
    stages: dict[str, float],
) -> dict[str, Any]:
    parts = {f"{name}_mb": value for name, value in stages.items()}
    parts |= {f"rocksdb_{name}_mb": value for name, value in many["table_mb"].items()}
    parts["rest_mb"] = many["rss_mb"] - sum(parts.values())
    shown = (
        "rss_mb",
        "pss_mb",
        "uss_mb",
        "largest_rss_mb",
        "ready_rss_mb",
        "ready_s",
        "restored_rows",
    )
    answer = {
        "figures": {name: many[name] for name in shown},
        "baseline": {name: few[name] for name in shown},
        "wanted_mb": WANTED_MB,
        "is_within": many["rss_mb"] < WANTED_MB,
        "bytes_per_row": (many["rss_mb"] - few["rss_mb"]) * _MIB / plan.rows,
        "parts": parts,
        "mapped_mb": many["mapped_mb"],
        "python_blocks": many["python_blocks"],
        "readers_rss_mb": many["readers_rss_mb"],
        "decided": {"few": few["decided"], "many": many["decided"]},
        "noisy": False,
        "machine": {
            **machine.describe(where.jvm_flags),
            "partitions": workload.PARTITIONS,
            "rows": plan.rows,
            "seconds": plan.seconds,
            "calls_per_s": plan.rate,
        },
    }
    done = rounded(answer)
    assert isinstance(done, dict)
    return done
