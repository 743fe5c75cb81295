"""
One tenant over many partitions, and its budget lent in slices: is it ever overspent, what is stranded, who is turned too early.

A company of many teams calls through all partitions at once, so that it spends many times what one partition sees. Its
budget is made for a part of the run: so there is a time when money lasts, an end, and a time when it is used up. Gateways
report what admitted calls have used, less than they had reserved, so that money comes back all along. Decisions are read as
gateways do; everything else is recomputed from the ledgers (``enforcer.bench.spending``).

The baseline is the limit cut into equal parts, one for each partition, over the very same calls: computed, not run.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from enforcer import events, policy, state
from enforcer.bench import machine, spending
from enforcer.bench.figures import percentile, rounded
from enforcer.bench.latency import COMMIT_INTERVAL_MS
from enforcer.bench.processes import started
from enforcer.bench.site import installed
from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from enforcer.bench.processes import Measured
    from enforcer.bench.site import Place, Publish
    from enforcer.broker import KafkaBroker, Outgoing, Reader
    from enforcer.broker.ports import Record

TENANT: Final = "company"
NANO_PER_TOKEN: Final = 1_000_000
OUTPUT_TOKENS: Final = (50, 150)
USED_PART: Final = 0.6
"""Of what a call reserves, what its report says that it used."""
ANSWER_S: Final = 0.3
"""From the verdict to the report."""
HEAD_START_S: Final = 1.5
"""From the policies to the first call."""
GRACE_S: Final = 30.0
_TICK_S: Final = 0.005
_SILENT_POLLS: Final = 15

_TENANT_DOCUMENT: Final = f"""
apiVersion: enforcer/v1
kind: Tenant
metadata: {{id: {TENANT}}}
spec:
  account: [tenant, team.id]
  unknown_model: {{ceiling_usd_per_mtok: {NANO_PER_TOKEN // 1_000}}}
"""
_BUDGET: Final = """
apiVersion: enforcer/v1
kind: Policy
metadata: {{id: whole, tenant: {tenant}}}
spec:
  budgets:
    - {{id: company, per: total, limit_usd: {limit:.6f}, span: tenant}}
"""
_ROW: Final = state.budget_key(TENANT, "whole", "company", "", "total")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how fast, over how many partitions and worker processes; for which part of it the money lasts."""

    seconds: float = 30.0
    rate: float = 800.0
    partitions: int = 16
    workers: int = 2
    lasting: float = 0.6

    @property
    def limit_usd(self) -> float:
        """What the calls of the lasting part use, as reported."""
        tokens = sum(OUTPUT_TOKENS) / 2 + 2
        return self.lasting * self.seconds * self.rate * tokens * USED_PART * NANO_PER_TOKEN / 1e9


def documents(plan: Plan) -> tuple[policy.Document, ...]:
    """The tenant, and its one budget."""
    budget = _BUDGET.format(tenant=TENANT, limit=plan.limit_usd)
    loaded = policy.load([("tenant.yaml", _TENANT_DOCUMENT), ("budget.yaml", budget)])
    assert not loaded.has_errors, loaded.findings[:1]
    return loaded.documents


async def measure(
    where: Place, plan: Plan, *, publish: Publish, tell: Callable[[str], None]
) -> dict[str, Any]:
    """
    Run the company, and return the answer of ``bench leases``.

    Raises: UnavailableError when a process fails, or calls are not decided in time.
    """
    async with (
        installed(where, publish, partitions=plan.partitions, documents=()) as broker,
        _workers(where, plan) as processes,
    ):
        tell(f"{plan.workers} workers own {plan.partitions} partitions")
        published_ms = time.time() * 1_000
        await publish(broker, where.prefix, documents(plan))
        await asyncio.sleep(HEAD_START_S)
        company = _Company(broker, where, plan)
        before = machine.read(where.broker_pid)
        await company.run(tell)
        after = machine.read(where.broker_pid)
        reports = [await process.stop() for process in processes]
        topics = {
            name: await _read(broker, where.topic(name), plan.partitions)
            for name in ("audit", "leases")
        }
    own_cpu_s = sum(r["samples"][-1][1] - r["samples"][0][1] for r in reports)
    return _answer(
        where,
        plan,
        topics=topics,
        sent=company.sent,
        published_ms=published_ms,
        used=(own_cpu_s, max(r["rss_mb"] for r in reports)),
        load=machine.load(before, after, own_cpu_s),
    )


@contextlib.asynccontextmanager
async def _workers(where: Place, plan: Plan) -> AsyncIterator[list[Measured]]:
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number in range(plan.workers):
            task = {
                "bootstrap": where.bootstrap,
                "prefix": where.prefix,
                "state_dir": str(where.directory / f"worker-{number}"),
                "commit_interval_ms": COMMIT_INTERVAL_MS,
                "text_readers": 0,
                "instance_id": f"bench-{number}",
            }
            found.append(
                await stack.enter_async_context(started("worker_round", task, where.directory))
            )
        yield found


class _Company:
    """Calls at an even rate, their verdicts, and the reports of those admitted."""

    def __init__(self, broker: KafkaBroker, where: Place, plan: Plan) -> None:
        self._broker, self._where, self._plan = broker, where, plan
        self._rng = random.Random("company")  # noqa: S311 — traffic, not secrets
        self._teams = [(f"t{n}", *self._place(f"t{n}")) for n in range(plan.partitions * 15)]
        self.sent = 0
        self._decided: set[str] = set()
        self._reports: list[tuple[float, int, Outgoing]] = []

    def _place(self, team: str) -> tuple[bytes, int]:
        key = events.account_of(TENANT, team, ("tenant", "team.id")).encode()
        return key, events.partition_of(key, self._plan.partitions)

    async def run(self, tell: Callable[[str], None]) -> None:
        """The whole course, until every call is decided and every report sent."""
        self._producer = await self._broker.open_producer()
        self._reader = await self._broker.open_reader(read_committed=False)
        names = [self._where.topic(name) for name in ("requests", "usage")]
        await self._producer.prepare(names)
        decisions = self._where.topic("decisions")
        self._reader.assign([(decisions, n) for n in range(self._plan.partitions)])
        await self._reader.seek_to_end()
        reading = asyncio.create_task(self._read())
        try:
            await self._send(names[0], names[1])
            tell(f"{self.sent} calls sent, {len(self._decided)} decided")
            await self._settle(names[1])
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await self._producer.close()
            await self._reader.close()

    async def _send(self, requests: str, usage: str) -> None:
        plan, begun_s = self._plan, time.monotonic()
        while (now_s := time.monotonic() - begun_s) < plan.seconds:
            while self.sent < int(now_s * plan.rate):
                partition, record = self._call()
                self._producer.send(requests, partition, [record])
            self._report(usage)
            await asyncio.sleep(_TICK_S)

    def _call(self) -> tuple[int, Outgoing]:
        self.sent += 1
        team, key, partition = self._teams[self.sent % len(self._teams)]
        llm = events.Llm(
            "nobody", "unpriced", max_tokens=self._rng.randint(*OUTPUT_TOKENS), prompt="hello there"
        )
        asked = events.Request(f"c{self.sent}", TENANT, team=events.Team(team), llm=llm)
        return partition, (key, events.encode_request(asked), (), None)

    def _report(self, topic: str) -> None:
        now_s, reports = time.monotonic(), self._reports
        due = next((n for n, each in enumerate(reports) if each[0] > now_s), len(reports))
        for _, partition, record in reports[:due]:
            self._producer.send(topic, partition, [record])
        del reports[:due]

    async def _settle(self, usage: str) -> None:
        try:
            async with asyncio.timeout(GRACE_S):
                while len(self._decided) < self.sent or self._reports:
                    self._report(usage)
                    await asyncio.sleep(_TICK_S)
        except TimeoutError:
            missing = self.sent - len(self._decided)
            raise UnavailableError(f"{missing} calls were not decided in time") from None
        await asyncio.sleep(1.0)

    async def _read(self) -> None:
        while True:
            for records in (await self._reader.poll(50)).values():
                due_s = time.monotonic() + ANSWER_S
                for record in records:
                    told = events.read_decision(record.value or b"")
                    if not isinstance(told, events.Decision):
                        continue
                    self._decided.add(told.request_id)
                    if told.verdict != "deny" and told.reservation is not None:
                        self._reports.append((due_s, record.partition, _usage(record, told)))


def _usage(record: Record, told: events.Decision) -> Outgoing:
    assert told.reservation is not None
    cost = int(told.reservation.usd_nano * USED_PART)
    team = told.account.partition("/")[2]
    used = events.Usage(told.request_id, TENANT, outcome="completed", cost_usd_nano=cost, team=team)
    return record.key, events.encode_usage(used), (), None


async def _read(broker: KafkaBroker, topic: str, partitions: int) -> list[list[Record]]:
    """Every committed record, by partition."""
    places = [(topic, n) for n in range(partitions)]
    reader: Reader = await broker.open_reader(read_committed=True)
    found: list[list[Record]] = [[] for _ in places]
    try:
        ends = await reader.offsets_end(places)
        reader.assign(places)
        for place in places:
            reader.seek(*place, 0)
        silent = 0
        while silent < _SILENT_POLLS and any(
            (reader.position(*place) or 0) < end for place, end in ends.items()
        ):
            polled = await reader.poll(100)
            silent = 0 if polled else silent + 1
            for (_, partition), records in polled.items():
                found[partition] += records
    finally:
        await reader.close()
    return found


def _answer(
    where: Place,
    plan: Plan,
    *,
    topics: dict[str, list[list[Record]]],
    sent: int,
    published_ms: float,
    used: tuple[float, float],
    load: dict[str, float],
) -> dict[str, Any]:
    limit = int(plan.limit_usd * 1e9)
    ledgers = [spending.read_ledger(p, r, _ROW) for p, r in enumerate(topics["audit"])]
    course = spending.course_of(ledgers, limit)
    leases = [record for records in topics["leases"] for record in records]
    words = spending.word_figures(leases, _ROW)
    firsts: dict[int, float] = {}
    for record in sorted(leases, key=lambda r: r.timestamp):
        said = events.decode_lease(record.value or b"")
        if said.kind == "grant":
            firsts.setdefault(said.holder, record.timestamp - published_ms)
    calls = sum(s.calls for s in course.seconds.values())
    by_partition = [sum(e.code is not None for e in ledger) for ledger in ledgers]
    stranded = sorted(course.stranded) or [1.0]
    begun_s = min((n for n, s in course.seconds.items() if s.calls), default=0)
    lasted_s = 0.0 if course.short_us is None else course.short_us / 1e6 - begun_s
    answer = {
        "figures": {
            "overspent_usd": max(0, course.used_peak - limit) / 1e9,
            "overlent_usd": max(0, course.lent_peak - limit) / 1e9,
            "lost": sent - calls,
            "times_one_partition": calls / max(by_partition),
            "calls_per_s": sent / plan.seconds,
            "money_lasted_s": lasted_s,
            "pending_share": spending.share(course.before, spending.PENDING),
            "pending_share_at_the_end": spending.share(course.after, spending.PENDING),
            "denied_early_share": spending.share(course.before, spending.EXCEEDED),
            "stranded_share": percentile(stranded, 0.5),
            "stranded_share_p99": percentile(stranded, 0.99),
            "requests_per_s": words["words"].get("request", 0) / plan.seconds,
            "words_per_call": sum(words["words"].values()) / max(1, calls),
            "grant_p50_ms": words["grant_p50_ms"],
            "grant_p99_ms": words["grant_p99_ms"],
            "first_slice_ms": max(firsts.values(), default=0.0),
            "holders": len(firsts),
        },
        "baseline": {
            "stranded_share": spending.static_stranded_share(
                {p: int(n * USED_PART) for p, n in course.demand.items()}, limit, plan.partitions
            )
        },
        "words": words["words"],
        "by_second": _by_second(course, limit),
        "cpu_us_per_event": used[0] / max(1, calls) * 1e6,
        "rss_mb": used[1],
        "machine": {
            **machine.describe(where.jvm_flags),
            **load,
            "partitions": plan.partitions,
            "workers": plan.workers,
            "seconds": plan.seconds,
        },
        "noisy": False,
    }
    done = rounded(answer)
    assert isinstance(done, dict)
    return done


def _by_second(course: spending.Course, limit: int) -> list[dict[str, float]]:
    """The course, second by second: shares of the limit, and denials of both kinds."""
    found: list[dict[str, float]] = []
    for number in sorted(course.seconds):
        second = course.seconds[number]
        found.append(
            {
                "calls": second.calls,
                "pending": second.codes[spending.PENDING],
                "exceeded": second.codes[spending.EXCEEDED],
                "used_share": second.used / limit,
                "lent_share": second.lent / limit,
            }
        )
    return found
