"""When an ended process starts again: at once, unless it ends again and again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LIVED_S: Final = 30.0
"""A process that lived so long has done nothing wrong by ending."""
AT_ONCE: Final = 2
"""Short lives in a row that are followed by another one at once: two kills are no loop."""
FIRST_WAIT_S: Final = 0.2
WAIT_S_MAX: Final = 10.0


@dataclass(slots=True)
class Restarts:
    """Of one process. *in_a_row* counts its short lives since the last long one."""

    count: int = 0
    in_a_row: int = 0

    def wait_s(self, lived_s: float) -> float:
        """It has ended after *lived_s*: how long to wait before it starts again."""
        self.count += 1
        self.in_a_row = 1 if lived_s >= LIVED_S else self.in_a_row + 1
        if self.in_a_row <= AT_ONCE:
            return 0.0
        doublings = min(self.in_a_row - AT_ONCE - 1, 16)
        return float(min(FIRST_WAIT_S * 2**doublings, WAIT_S_MAX))

    @property
    def is_loop(self) -> bool:
        """Whether it ends again and again, and so waits before each start."""
        return self.in_a_row > AT_ONCE
