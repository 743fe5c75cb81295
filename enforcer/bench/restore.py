"""
Reading a table back from its changelogs: rows a second, beside a plain read of the same records by the same client.

Half of the rows are budgets (``state``), half are calls with a decision of usual size (``calls``). Rounds alternate: a plain
read that counts, then a restore into an empty table, as a takeover with nothing on disk does it; at the end what a takeover
with a warm table reads.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from enforcer import events
from enforcer.bench import machine
from enforcer.bench.figures import is_noisy, rounded, spread
from enforcer.bench.sampling import rss_mb
from enforcer.bench.site import installed
from enforcer.errors import UnavailableError
from enforcer.stream.config import WorkerConfig
from enforcer.stream.installation import check_installation
from enforcer.stream.restore import CHANGELOGS, restore
from enforcer.stream.tables import open_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from enforcer.bench.site import Place, Publish
    from enforcer.broker import KafkaBroker, Outgoing
    from enforcer.store import Meta

PARTITION: Final = 0
SILENCE_S: Final = 30.0
_AT_ONCE: Final = 2_000
_DECISION_BYTES: Final = 600
_HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How many rows, and how often."""

    rows: int = 1_000_000
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class _Round:
    seconds: float
    cpu_s: float


async def measure(
    where: Place, plan: Plan, *, publish: Publish, tell: Callable[[str], None]
) -> dict[str, Any]:
    """
    Run the rounds and return the answer of ``bench restore``.

    Raises: UnavailableError when the broker gives nothing for long.
    """
    async with installed(where, publish) as broker:
        tell(f"writing {plan.rows:,} rows")
        await _fill(broker, where, plan.rows)
        config = WorkerConfig(
            prefix=where.prefix, instance_id="bench", state_dir=where.directory / "restore"
        )
        meta, _ = await check_installation(broker, config)
        await _read(broker, config, plan.rows)
        reads: list[_Round] = []
        restores: list[_Round] = []
        for number in range(plan.rounds):
            reads.append(await _read(broker, config, plan.rows))
            shutil.rmtree(config.state_dir, ignore_errors=True)
            restores.append(await _restore(broker, config, meta, plan.rows))
            tell(
                f"round {number + 1} of {plan.rounds}: read {plan.rows / reads[-1].seconds:,.0f}, "
                f"restored {plan.rows / restores[-1].seconds:,.0f} rows a second"
            )
        warm = await _restore(broker, config, meta, 0)
    return _answer(where, plan, reads, restores, warm)


def _rows(count: int) -> Iterator[tuple[str, Outgoing]]:
    """Changelog, and record; every key once."""
    now_us = time.time_ns() // 1_000
    decision = b"d" * _DECISION_BYTES
    for number in range(count):
        if number % 2:
            budget = events.BudgetRow(number * 1_000, 0, now_us + 24 * _HOUR_US)
            key = f"b/acme%2Ft{number}/limits/day/u{number}/{number // 1000}"
            yield "state", (key.encode(), events.encode_budget_row(budget), (), None)
        else:
            call = events.CallRow(
                now_us + 24 * _HOUR_US,
                "open",
                number.to_bytes(32, "big"),
                decision,
                now_us,
                now_us + _HOUR_US,
                "openai",
                "gpt-4o",
            )
            key = f"c/acme%2Ft{number % 5_000}/{number:08x}/1"
            yield "calls", (key.encode(), events.encode_call_row(call), (), None)


async def _fill(broker: KafkaBroker, where: Place, count: int) -> None:
    producer = await broker.open_producer()
    try:
        waiting: dict[str, list[Outgoing]] = {name: [] for name in CHANGELOGS}
        for done, (name, record) in enumerate(_rows(count), 1):
            waiting[name].append(record)
            if done % (2 * _AT_ONCE) == 0 or done == count:
                for each, records in waiting.items():
                    if records:
                        await producer.send(where.topic(each), PARTITION, records)
                    waiting[each] = []
        await producer.flush()
    finally:
        await producer.close()


async def _read(broker: KafkaBroker, config: WorkerConfig, count: int) -> _Round:
    """The baseline: the same client and topics, every record looked at and thrown away."""
    reader = await broker.open_reader(read_committed=True)
    places = [(config.topic(name), PARTITION) for name in CHANGELOGS]
    try:
        reader.assign(places)
        await reader.seek_to_beginning()
        begun_s, cpu_s, seen, moved_s = (
            time.perf_counter(),
            time.process_time(),
            0,
            time.monotonic(),
        )
        while seen < count:
            polled = await reader.poll(100)
            if polled:
                moved_s = time.monotonic()
            elif time.monotonic() - moved_s > SILENCE_S:
                raise UnavailableError("the changelog cannot be read")
            for records in polled.values():
                seen += sum(1 for record in records if record.key is not None)
        return _Round(time.perf_counter() - begun_s, time.process_time() - cpu_s)
    finally:
        await reader.close()


async def _restore(broker: KafkaBroker, config: WorkerConfig, meta: Meta, expected: int) -> _Round:
    """What step 3 of a takeover does."""
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    table = open_table(config.state_dir, PARTITION)
    try:
        restored = await restore(
            broker,
            table,
            partition=PARTITION,
            topic=config.topic,
            identity=meta,
            now_ms=time.time_ns() // 1_000_000,
            age_ms_max=24 * 3_600_000,
            silence_s=SILENCE_S,
        )
    finally:
        table.close()
    assert restored.rows == expected, (restored.rows, expected)
    await asyncio.sleep(0)
    return _Round(time.perf_counter() - begun_s, time.process_time() - cpu_s)


def _answer(
    where: Place, plan: Plan, reads: list[_Round], restores: list[_Round], warm: _Round
) -> dict[str, Any]:
    shares = [read.seconds / done.seconds for read, done in zip(reads, restores, strict=True)]
    answer = {
        "figures": {
            "rows_per_s": plan.rows / median(each.seconds for each in restores),
            "seconds": median(each.seconds for each in restores),
            "warm_ms": warm.seconds * 1_000,
        },
        "baseline": {
            "rows_per_s": plan.rows / median(each.seconds for each in reads),
            "seconds": median(each.seconds for each in reads),
            "cpu_us_per_event": median(each.cpu_s for each in reads) / plan.rows * 1e6,
        },
        "share": median(shares),
        "share_spread": spread(shares),
        "cpu_us_per_event": median(each.cpu_s for each in restores) / plan.rows * 1e6,
        "rss_mb": rss_mb(),
        "machine": {
            **machine.describe(where.jvm_flags),
            "rows": plan.rows,
            "rounds": plan.rounds,
        },
        "noisy": is_noisy([each.seconds for each in reads]),
    }
    done = rounded(answer)
    assert isinstance(done, dict)
    return done
