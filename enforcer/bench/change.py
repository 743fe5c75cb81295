"""
A thousand policies arrive while calls are decided: their latency before, meanwhile and after.

Open loop at a given rate, through the client, against one worker process with the policies of every benchmark. In
the middle of a round 1,000 further policies of everybody (none of which concerns these calls) are written at once.
*Meanwhile* lasts from their writing to the first decision under them; the part before is the baseline.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from enforcer import events, policy
from enforcer.bench import machine, scale, workload
from enforcer.bench.figures import is_noisy, percentile, rounded, spread
from enforcer.bench.latency import COMMIT_INTERVAL_MS
from enforcer.bench.openloop import SWITCH_INTERVAL_S, Metronome
from enforcer.bench.processes import started
from enforcer.bench.site import installed
from enforcer.client import Gateway
from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from enforcer.bench.site import Place, Publish
    from enforcer.broker import KafkaBroker, Outgoing

COUNT: Final = 1_000
EVERYBODY: Final = "*"
_WARM_S: Final = 2.0
_GRACE_S: Final = 5.0
_DEADLINE_MS: Final = 5_000
_ARRIVAL_S_MAX: Final = 20.0
_BATCH: Final = 100
_PHASES: Final = ("before", "meanwhile", "after")
_SHARES: Final = (("p50", 0.5), ("p99", 0.99))


@dataclass(frozen=True, slots=True)
class Plan:
    """How often; seconds before and after the arrival; calls a second."""

    rounds: int = 3
    seconds: float = 10.0
    rate: float = 200.0


@dataclass(frozen=True, slots=True)
class _Round:
    ms: dict[str, dict[str, float]]
    in_force_s: float
    lost: int
    load: dict[str, float]
    cpu_us: float
    rss_mb: float


async def measure(
    where: Place, plan: Plan, *, publish: Publish, tell: Callable[[str], None]
) -> dict[str, Any]:
    """
    Run the rounds and return the answer of ``bench policies``.

    Args:
        where: Broker and directory.
        plan: How long, and how many calls a second.
        publish: Puts the first policies in force.
        tell: Gets a line a round.

    Raises: UnavailableError when a process fails, or the policies do not come into force.
    """
    source = workload.Workload(4, tag="c")
    found: list[_Round] = []
    async with installed(where, publish) as broker:
        for number in range(plan.rounds):
            found.append(await _round(where, broker, source, plan, number))
            shown = ", ".join(f"{name} {found[-1].ms[name]['p99']:.2f}" for name in _PHASES)
            tell(f"round {number + 1} of {plan.rounds}: p99 ms {shown}")
    return _answer(where, plan, found)


def _records(number: int) -> tuple[str, list[Outgoing]]:
    """The policies of a round with those that stay, as records, their set last; and the set's digest."""
    bodies = scale.bodies(COUNT)
    for body in bodies:
        # Of everybody, and new in each round.
        body["metadata"] = {"id": f"{body['metadata']['id']}-{number}"}
    loaded = policy.load([("many.json", "\n".join(map(json.dumps, bodies)))])
    stays = [each for each in workload.documents() if each.scope == EVERYBODY]
    digests = [each.digest for each in (*stays, *loaded.documents)]
    assert len(digests) == len(set(digests)) == COUNT + len(stays), loaded.findings[:1]
    named = events.PolicySet(
        EVERYBODY, number + 2, documents=digests, digest=policy.set_digest(digests)
    )
    values = [
        (f"{EVERYBODY}/doc/{each.digest}", events.encode_policy_document(each.to_record()))
        for each in loaded.documents
    ]
    values.append((f"{EVERYBODY}/set", events.encode_policy_set(named)))
    return named.digest, [(key.encode(), value, (), None) for key, value in values]


class _Calls:
    """The calls of one round: when each was due and answered, and when one was first decided under the new set."""

    def __init__(self, gateway: Gateway, requests: Sequence[events.Request], digest: str) -> None:
        self._gateway = gateway
        self._requests = requests
        self._digest = digest
        self.answered_s = [0.0] * len(requests)
        self.fired = 0
        self.open: set[asyncio.Task[None]] = set()
        self.in_force = asyncio.Event()
        self.in_force_s = 0.0

    def fire(self, begin: int, end: int) -> None:
        """Send the calls that are due."""
        self.fired = end
        for at in range(begin, end):
            task = asyncio.create_task(self._call(at))
            self.open.add(task)
            task.add_done_callback(self.open.discard)

    async def _call(self, at: int) -> None:
        outcome = await self._gateway.decide(self._requests[at], _DEADLINE_MS)
        self.answered_s[at] = time.perf_counter()
        decision = outcome.decision
        if decision is None or self.in_force.is_set():
            return
        if decision.policy_sets[EVERYBODY] == self._digest:
            self.in_force_s = self.answered_s[at]
            self.in_force.set()

    def phases_ms(
        self, due_s: Sequence[float], begun_s: float, written_s: float
    ) -> dict[str, list[float]]:
        """Latencies by phase, ascending; what was never answered counts as if it had been at the end."""
        found: dict[str, list[float]] = {name: [] for name in _PHASES}
        ended_s = time.perf_counter()
        for at in range(self.fired):
            if due_s[at] < _WARM_S:
                continue
            due = begun_s + due_s[at]
            phase = (due >= written_s) + (due >= self.in_force_s)
            found[_PHASES[phase]].append(((self.answered_s[at] or ended_s) - due) * 1e3)
        return {name: sorted(values) for name, values in found.items()}


async def _round(
    where: Place, broker: KafkaBroker, source: workload.Workload, plan: Plan, number: int
) -> _Round:
    length_s = _WARM_S + 2 * plan.seconds + _ARRIVAL_S_MAX
    due_s = [at / plan.rate for at in range(int(length_s * plan.rate))]
    requests = [source.request()[0] for _ in due_s]
    digest, records = _records(number)
    task = {
        "bootstrap": where.bootstrap,
        "prefix": where.prefix,
        "state_dir": str(where.directory / "worker"),
        "commit_interval_ms": COMMIT_INTERVAL_MS,
    }
    async with (
        started("worker_round", task, where.directory) as process,
        Gateway(broker, prefix=where.prefix) as gateway,
    ):
        calls = _Calls(gateway, requests, digest)
        gc.collect()
        gc.freeze()
        before, own_s = machine.read(where.broker_pid), time.process_time()
        begun_s, written_s = await _course(broker, where, plan, calls, due_s, records)
        after, own_s = machine.read(where.broker_pid), time.process_time() - own_s
        gc.unfreeze()
        phases_ms = calls.phases_ms(due_s, begun_s, written_s)
        report = await process.stop()
    samples = report["samples"]
    used_s = samples[-1][1] - samples[0][1]
    return _Round(
        {
            name: {share: percentile(ms or [0.0], of) for share, of in _SHARES}
            | {"max": max(ms, default=0.0), "calls": len(ms)}
            for name, ms in phases_ms.items()
        },
        calls.in_force_s - written_s,
        sum(not each for each in calls.answered_s[: calls.fired]),
        machine.load(before, after, used_s + own_s),
        used_s / calls.fired * 1e6,
        report["rss_mb"],
    )


async def _course(
    broker: KafkaBroker,
    where: Place,
    plan: Plan,
    calls: _Calls,
    due_s: Sequence[float],
    records: Sequence[Outgoing],
) -> tuple[float, float]:
    """Call, and write the policies in the middle; when the schedule began, and when they were written."""
    topic = where.topic("policies")
    producer = await broker.open_producer()
    metronome = Metronome(due_s, calls.fire)
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        await producer.prepare([topic])
        metronome.start()
        await asyncio.sleep(_WARM_S + plan.seconds)
        written_s = time.perf_counter()
        for at in range(0, len(records), _BATCH):
            await producer.send(topic, 0, records[at : at + _BATCH])
        await _in_force(calls)
        await asyncio.sleep(plan.seconds)
    finally:
        metronome.end()
        sys.setswitchinterval(before_s)
        await producer.close()
    if calls.open:
        await asyncio.wait(calls.open, timeout=_GRACE_S)
    return metronome.begun_s, written_s


async def _in_force(calls: _Calls) -> None:
    try:
        async with asyncio.timeout(_ARRIVAL_S_MAX):
            await calls.in_force.wait()
    except TimeoutError:
        raise UnavailableError(
            f"no decision under the new policies within {_ARRIVAL_S_MAX:g} s",
            help="see the worker's log, with --keep",
        ) from None


def _answer(where: Place, plan: Plan, rounds: list[_Round]) -> dict[str, Any]:
    names = [name for name, _ in _SHARES]
    multiples = {
        name: [each.ms["meanwhile"][name] / each.ms["before"][name] for each in rounds]
        for name in names
    }
    shown = {
        f"{name}_{phase}_ms": median(each.ms[phase][name] for each in rounds)
        for phase in _PHASES[1:]
        for name in names
    }
    loads = [each.load for each in rounds]
    answer = {
        "figures": {
            **shown,
            "max_meanwhile_ms": max(each.ms["meanwhile"]["max"] for each in rounds),
            "calls_meanwhile": sum(each.ms["meanwhile"]["calls"] for each in rounds),
            "in_force_s": median(each.in_force_s for each in rounds),
            "lost": sum(each.lost for each in rounds),
        },
        "baseline": {
            **{
                f"{name}_before_ms": median(each.ms["before"][name] for each in rounds)
                for name in names
            },
            "max_before_ms": max(each.ms["before"]["max"] for each in rounds),
        },
        "multiple": {name: median(values) for name, values in multiples.items()},
        "multiple_spread": {name: spread(values) for name, values in multiples.items()},
        "cpu_us_per_event": median(each.cpu_us for each in rounds),
        "rss_mb": max(each.rss_mb for each in rounds),
        "machine": {
            **machine.describe(where.jvm_flags),
            **{name: median(load[name] for load in loads) for name in loads[0]},
            "policies": COUNT,
            "calls_per_s": plan.rate,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
        },
        "noisy": is_noisy([each.ms["before"]["p50"] for each in rounds]),
    }
    done = rounded(answer)
    assert isinstance(done, dict)
    return done
