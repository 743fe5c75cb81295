"""Medians, spreads and percentiles of rounds."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

NOISY_FACTOR: Final = 1.5
"""Baselines of one run that differ by more than this were not measured on one and the same machine."""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest of the rounds."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of *ordered* (ascending, not empty) that at least *share* of them do not exceed."""
    # In integers, for 0.99 x 100 is more than 99 in floating point.
    rank = -(-round(share * 1_000_000) * len(ordered) // 1_000_000)
    return ordered[max(0, rank - 1)]


def is_noisy(baselines: Sequence[float]) -> bool:
    """Whether the baseline's rounds differ by more than ``NOISY_FACTOR``."""
    return max(baselines) > NOISY_FACTOR * min(baselines)


def rounded(value: object, digits: int = 4) -> object:
    """*value* with its floats to so many significant digits, all the way down."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if abs(value) < 10**digits else float(round(value))
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    return value
