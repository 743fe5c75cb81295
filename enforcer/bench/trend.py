"""
Whether a series grows: the slope of its second half by Theil and Sen, against a stated bound.

The slope is the median of the slopes between all pairs of samples. Almost a third of the samples may be anything at all (a
pause of the machine, a compaction) before it moves far, where least squares follow a single one. (Theil 1950; Sen 1968.)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLES_MAX: Final = 400
"""All pairs of more are too many; then every second one counts, or every third."""


@dataclass(frozen=True, slots=True)
class Bound:
    """
    How much a series may grow within the time looked at.

    Attributes:
        share: Of its median.
        floor: Or so much, in its own unit: what is small may double.
        after_s: From when on it can stand still at all: no sooner than what it holds has begun to end.
        period_s: What rises and falls in turns so long is averaged over one of them: a saw's teeth all point upwards.
    """

    share: float
    floor: float
    after_s: float = 0.0
    period_s: float = 0.0


def slope(times_s: Sequence[float], values: Sequence[float]) -> float:
    """Units a second; 0 of fewer than two samples."""
    step = -(-len(times_s) // SAMPLES_MAX)
    points = list(zip(times_s[::step], values[::step], strict=True)) if step else []
    slopes = [(v - u) / (t - s) for (s, u), (t, v) in combinations(points, 2) if t > s]
    return median(slopes) if slopes else 0.0


def judged(times_s: Sequence[float], values: Sequence[float], bound: Bound) -> dict[str, Any]:
    """
    What became of a series.

    Returns: ``median``, ``first`` and ``last`` (medians of the first and last tenth of what is looked at), ``growth``
    (slope times the time looked at), ``allowed``, and ``grows``: None where the run was too short to tell.
    """
    if not times_s:
        return {"grows": None, "why": "never seen"}
    half_s = (times_s[0] + times_s[-1]) / 2
    if bound.period_s:
        values = _averaged(times_s, values, bound.period_s)
    looked = [(t, v) for t, v in zip(times_s, values, strict=True) if t >= half_s]
    times, numbers = [t for t, _ in looked], [v for _, v in looked]
    middle, tenth = median(numbers), max(1, len(numbers) // 10)
    growth = slope(times, numbers) * (times[-1] - times[0])
    allowed = max(bound.share * abs(middle), bound.floor)
    found: dict[str, Any] = {
        "median": middle,
        "first": median(numbers[:tenth]),
        "last": median(numbers[-tenth:]),
        "growth": growth,
        "allowed": allowed,
        "grows": growth > allowed,
    }
    if half_s - times_s[0] < bound.after_s:
        found |= {"grows": None, "why": f"its second half begins before {bound.after_s:.0f} s"}
    return found


def _averaged(times_s: Sequence[float], values: Sequence[float], period_s: float) -> list[float]:
    """Each value as the mean of the period that ends with it, as far as there is one."""
    found: list[float] = []
    total, first = 0.0, 0
    for at, value in enumerate(values):
        total += value
        while times_s[at] - times_s[first] >= period_s:
            total -= values[first]
            first += 1
        found.append(total / (at - first + 1))
    return found
