"""What a start reports while it runs, for a progress bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Step:
    """How far one step has come. ``total`` 0 means that its length is not known."""

    name: Literal["download", "format", "start", "stop", "train"]
    done: int = 0
    total: int = 0
    unit: Literal["", "bytes"] = ""


Progress: TypeAlias = Callable[[Step], None]


def silent(step: Step) -> None:
    """Report nothing."""
