"""
Work in steps: a generator that yields wherever its caller may do something else, and returns its result.

It knows no clock: how many steps make a slice is its caller's. Whoever has nothing else to do calls ``finish``.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]


def finish(steps: Steps[T]) -> T:
    """Do all that is left of *steps* at once; their result."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
