"""Sets of policies that came into force and are not in a partition's ledger yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enforcer.stream.policies import SetInForce


class PolicyChanges:
    """In the order in which they came. What is decided under one stands behind it in the chain."""

    __slots__ = ("_waiting",)

    def __init__(self, waiting: list[SetInForce] | None = None) -> None:
        self._waiting = waiting or []

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def append(self, in_force: SetInForce) -> None:
        """One more."""
        self._waiting.append(in_force)

    def take(self, before: int | None) -> list[SetInForce]:
        """Those to be entered now: all, or those below the policy offset *before*."""
        if not self._waiting or before is None:
            taken, self._waiting = self._waiting, []
            return taken
        taken = [change for change in self._waiting if change.offset < before]
        self._waiting = [change for change in self._waiting if change.offset >= before]
        return taken

    def entered(self, offset: int) -> int:
        """Up to which policy offset changes are in the ledger, if the table is at *offset*: never past one that waits."""
        return min([offset, *(change.offset for change in self._waiting)])
