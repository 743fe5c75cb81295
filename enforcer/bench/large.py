"""
What large prompts cost everybody else: latency of ordinary calls to the other partitions, beside large ones to one.

Three kinds of rounds take turns, the same but for the large calls: without any, with their texts read by the worker
itself, and with their texts read by its other process.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final

from enforcer.bench import machine, workload
from enforcer.bench.figures import is_noisy, rounded, spread
from enforcer.bench.latency import Plan, product_round, schedule
from enforcer.bench.site import installed

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer import events
    from enforcer.bench.site import Place, Publish

CHARACTERS: Final = 400_000
CROWDED: Final = 0
"""The partition of all large calls."""
_KINDS: Final = {"none": 1, "inline": 0, "elsewhere": 1}
"""Kinds of rounds, and the worker's processes for long texts."""
_SHARES: Final = ("p50", "p99", "p999")


def requests_of(
    source: workload.Workload, count: int, share: float
) -> tuple[list[events.Request], list[bool]]:
    """
    As many requests, every so-manieth of them large and to the crowded partition.

    Returns: The requests, and for each whether it is ordinary and to another partition.
    """
    every = round(1 / share) if share else 0
    requests: list[events.Request] = []
    others: list[bool] = []
    while len(requests) < count:
        is_large = every > 0 and len(requests) % every == every - 1
        request, partition = source.request()
        if is_large:
            while partition != CROWDED:
                request, partition = source.request(20)
            (message,) = request.llm.messages
            message.content = source.text(CHARACTERS)
        requests.append(request)
        others.append(not is_large and partition != CROWDED)
    return requests, others


async def measure(
    where: Place, plan: Plan, share: float, *, publish: Publish, tell: Callable[[str], None]
) -> dict[str, Any]:
    """
    Run the rounds and return the answer of ``bench latency --large``.

    Args:
        where: Broker and directory.
        plan: How long, and how many calls a second.
        share: Of large calls.
        publish: Puts the policies in force.
        tell: Gets a line a round.

    Raises: UnavailableError when a process fails.
    """
    source = workload.Workload(3, tag="x")
    found: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
    async with installed(where, publish) as broker:
        for number in range(-1, plan.rounds):
            due_s, _ = schedule(plan if number >= 0 else Plan(1, 1.0, plan.rate), 0)
            for kind, readers in _KINDS.items():
                part = share if kind != "none" else 0.0
                requests, others = requests_of(source, len(due_s), part)
                made = await product_round(
                    where,
                    broker,
                    requests,
                    due_s,
                    text_readers=readers,
                    measured=others.__getitem__,
                )
                if number < 0:
                    continue  # Warming up.
                found[kind].append(made)
                tell(
                    f"round {number + 1} of {plan.rounds}, large texts {kind}: "
                    f"others {made.ms['p50']:.2f} / {made.ms['p99']:.2f} ms"
                )
    return _answer(where, plan, found)


def _answer(where: Place, plan: Plan, found: dict[str, list[Any]]) -> dict[str, Any]:
    def delay(kind: str, name: str) -> dict[str, float]:
        pairs = zip(found[kind], found["none"], strict=True)
        return spread([crowded.ms[name] - quiet.ms[name] for crowded, quiet in pairs])

    loads = [made.load for rounds in found.values() for made in rounds]
    answer = {
        "others_ms": {
            kind: {name: median(made.ms[name] for made in rounds) for name in _SHARES}
            for kind, rounds in found.items()
        },
        "delay_ms": {
            kind: {name: delay(kind, name) for name in _SHARES} for kind in ("inline", "elsewhere")
        },
        "bypass_rate": {kind: max(m.bypass_rate for m in rounds) for kind, rounds in found.items()},
        "rss_mb": max(made.rss_mb for rounds in found.values() for made in rounds),
        "machine": {
            **machine.describe(where.jvm_flags),
            **{name: median(load[name] for load in loads) for name in loads[0]},
            "partitions": workload.PARTITIONS,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
        },
        "noisy": is_noisy([made.ms["p50"] for made in found["none"]]),
    }
    done = rounded(answer)
    assert isinstance(done, dict)
    return done
