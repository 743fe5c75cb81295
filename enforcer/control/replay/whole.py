"""
Budgets of whole tenants under a candidate: one account each over all partitions, in the place of slices.

Which partition would have held how much of such a budget at which moment depends on how long grants took, and that is no
function of the record. So a candidate's budget with ``span: tenant`` is one row, and the ledgers of all partitions are
folded together, in the order of their time. It admits to the last cent, which lent slices nearly do.
"""

from __future__ import annotations

import json
from heapq import merge
from typing import TYPE_CHECKING, Any

from enforcer import state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from enforcer import policy
    from enforcer.control.replay.differences import Findings
    from enforcer.control.replay.fold import Fold, Link
    from enforcer.state import Row

_ACCOUNT = 1


def is_of_whole_tenant(key: str) -> bool:
    """Whether a row is a budget's of an account that has the tenant's own name: one team's has a slash."""
    return key.startswith("b/") and "%2F" not in key.split("/", 2)[_ACCOUNT]


def spans_tenants(documents: Iterable[policy.Document]) -> bool:
    """Whether any of *documents* has a budget of the whole tenant."""
    for document in documents:
        spec: dict[str, Any] = json.loads(document.canonical).get("spec", {})
        if any(budget.get("span") == "tenant" for budget in spec.get("budgets", ())):
            return True
    return False


class SharedBudgets:
    """The rows that all partitions share."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}


class SharedRows(state.MemoryRows):
    """One partition's rows, and those that it shares."""

    __slots__ = ("_shared",)

    def __init__(self, shared: SharedBudgets) -> None:
        super().__init__()
        self._shared = shared.rows

    def get(self, key: str) -> Row | None:
        """The row, or None."""
        return (self._shared if is_of_whole_tenant(key) else self.rows).get(key)

    def put(self, key: str, row: Row) -> None:
        """Write a row."""
        (self._shared if is_of_whole_tenant(key) else self.rows)[key] = row

    def delete(self, key: str) -> None:
        """Remove a row, if it is there."""
        (self._shared if is_of_whole_tenant(key) else self.rows).pop(key, None)


def fold_together(folds: Iterable[tuple[Fold, Iterable[list[Link]]]]) -> list[Findings]:
    """
    Take the ledgers of all partitions in one order.

    Args:
        folds: Each partition's, and its groups.
    """
    given = list(folds)
    for fold, _ in given:
        fold.open()
    streams = [_numbered(number, groups) for number, (_, groups) in enumerate(given)]
    for _, number, group in merge(*streams, key=lambda each: each[:2]):
        given[number][0].take(group)
    return [fold.close() for fold, _ in given]


def _numbered(number: int, groups: Iterable[list[Link]]) -> Iterator[tuple[int, int, list[Link]]]:
    for group in groups:
        yield group[0].entry.time_us, number, group
