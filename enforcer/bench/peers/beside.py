"""``bench peers``: our worker, the frameworks and the echo, on one broker in one run."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from enforcer.bench import machine, workload
from enforcer.bench.figures import is_noisy, rounded
from enforcer.bench.peers import rounds as throughput
from enforcer.bench.peers import trial as trials
from enforcer.bench.peers.systems import NAMES, OURS, systems
from enforcer.bench.site import installed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from enforcer.bench.peers.rounds import Throughput
    from enforcer.bench.site import Place, Publish


@dataclass(frozen=True, slots=True)
class Plan:
    """Which frameworks, how long, and the trial of each; without *kills* nothing is killed."""

    names: tuple[str, ...] = NAMES
    rounds: int = 3
    seconds: float = 8.0
    warm_up_s: float = 20.0
    trial: trials.Trial = field(default_factory=trials.Trial)


async def measure(
    where: Place, plan: Plan, home: Path, *, publish: Publish, tell: Callable[[str], None]
) -> dict[str, Any]:
    """
    Run rounds and trials and return the answer of ``bench peers``.

    Args:
        where: Broker and directory.
        plan: How long.
        home: Where environments are kept.
        publish: Puts policies in force.
        tell: Gets a line of progress.

    Raises: UnavailableError when an environment cannot be made or a process fails.
    """
    all_systems = systems(plan.names, home, tell=tell)
    async with installed(where, publish) as broker:
        found = await throughput.run(
            where,
            broker,
            all_systems,
            rounds=plan.rounds,
            seconds=plan.seconds,
            warm_up_s=plan.warm_up_s,
            tell=tell,
        )
    tried: dict[str, dict[str, float]] = {}
    tight = workload.documents(more=[trials.TIGHT])
    apart = replace(where, prefix=f"{where.prefix}t")
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(installed(apart, publish, documents=tight))
        for system in all_systems:
            trial = replace(plan.trial, settle_s=system.settle_s)
            tried[system.name] = figures = await trials.run(apart, broker, system, trial)
            tell(f"{system.name}: " + ", ".join(f"{k} {v:,.0f}" for k, v in figures.items()))
    return _answer(where, plan, found, tried)


def _answer(
    where: Place, plan: Plan, found: Throughput, tried: dict[str, dict[str, float]]
) -> dict[str, Any]:
    of_system = {name: _figures(found, name) | tried.get(name, {}) for name in found.rates}
    ours, echoed = found.rates[OURS], found.rates[throughput.ECHO]
    multiples = {
        name: median(o.per_s / t.per_s for o, t in zip(ours, found.rates[name], strict=True))
        for name in plan.names
    }
    loads = found.loads
    answer = {
        "figures": of_system[OURS],
        "baseline": of_system[throughput.ECHO],
        "peers": {name: of_system[name] for name in plan.names},
        "multiple": multiples,
        "share": median(o.per_s / e.per_s for o, e in zip(ours, echoed, strict=True)),
        "cpu_us_per_event": of_system[OURS]["cpu_us_per_event"],
        "rss_mb": of_system[OURS]["rss_mb"],
        "machine": {
            **machine.describe(where.jvm_flags),
            **{name: median(load[name] for load in loads) for name in loads[0]},
            "partitions": workload.PARTITIONS,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
        },
        "noisy": is_noisy([rate.per_s for rate in echoed]),
    }
    done = rounded(answer)
    assert isinstance(done, dict)
    return done


def _figures(found: Throughput, name: str) -> dict[str, float]:
    rates = found.rates[name]
    return {
        "events_per_s": median(rate.per_s for rate in rates),
        "cpu_us_per_event": median(rate.cpu_us for rate in rates),
        "rss_mb": found.rss_mb[name],
    }
