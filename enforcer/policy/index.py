"""The index of policies: which of them a request can concern at all."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.events import Request
    from enforcer.policy.model import PolicyCode
    from enforcer.policy.paths import Path

# So that hostile requests cannot make it grow.
_CACHE_ENTRIES_MAX = 4_096


class Index:
    """
    Which policies a request can concern at all, by the values of the fields they ask for.

    A column per field: for each value asked for, the policies that a request with it can concern, as
    bits; other values concern those that do not ask. The columns are joined by *and*.
    """

    def __init__(self, policies: tuple[PolicyCode, ...]) -> None:
        self._policies = policies
        self._all = (1 << len(policies)) - 1
        paths = sorted({path for policy in policies for path in policy.requirements})
        self._columns = [self._column(path) for path in paths]
        self._cache: dict[int, tuple[PolicyCode, ...]] = {}

    def _column(self, path: Path) -> tuple[Callable[[Any], Any], dict[Any, int], int]:
        default = 0
        table: dict[Any, int] = {}
        for at, policy in enumerate(self._policies):
            texts = policy.requirements.get(path)
            if texts is None:
                default |= 1 << at
            else:
                for text in texts:
                    table[text] = table.get(text, 0) | 1 << at
        table = {text: bits | default for text, bits in table.items()}
        return _getter(path), table, default

    def candidates(self, request: Request) -> tuple[PolicyCode, ...]:
        bits = self._all
        for get, table, default in self._columns:
            bits &= table.get(get(request), default)
        found = self._cache.get(bits)
        if found is None:
            found = tuple(each for at, each in enumerate(self._policies) if bits >> at & 1)
            if len(self._cache) >= _CACHE_ENTRIES_MAX:
                self._cache.clear()
            self._cache[bits] = found
        return found


def _getter(path: Path) -> Callable[[Any], Any]:
    """What reads a column's value; of an attribute, None for what is no text and may not be hashed."""
    if path[0] != "attributes":
        return attrgetter(".".join(map(str, path)))
    key = path[1]

    def attribute(request: Request) -> str | None:
        value = request.attributes.get(str(key))
        return value if isinstance(value, str) else None

    return attribute
