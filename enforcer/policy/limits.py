"""Budgets and rate limits as the engine meets them: keys, amounts by table, guards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from enforcer.policy.model import EvaluationError, FactsView
from enforcer.policy.reading import ABSENT, reader_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.events import Request
    from enforcer.policy.model import Guard, PolicyCode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Table(Generic[T]):
    """A number, or a number by the value of a field. Only text selects an entry: types compare."""

    default: T
    by: str | None = None
    entries: Mapping[str, T] | None = None

    def of(self, request: Request) -> T:
        """The number for *request*."""
        if self.by is None or self.entries is None:
            return self.default
        value = reader_of(self.by)(request)
        return self.entries.get(value, self.default) if value.__class__ is str else self.default


def key_values(request: Request, paths: tuple[str, ...]) -> list[str | None]:
    """
    The values of *paths* as parts of a key; None for each that is absent or null.

    Text stands as it is, everything else as its JSON: 1 and "1" are one key, true and 1 are two.
    """
    values: list[str | None] = []
    for path in paths:
        value = reader_of(path)(request)
        if value is ABSENT or value is None:
            values.append(None)
        elif value.__class__ is str:
            values.append(value)
        else:
            values.append(json.dumps(value, sort_keys=True, separators=(",", ":")))
    return values


def _guard(guard: Guard, code: PolicyCode, arguments: tuple[Any, FactsView, int | None]) -> bool:
    holds = guard(*arguments)
    if holds is None:
        if code.on_error == "skip":
            return False
        raise EvaluationError(
            f"the match of policy `{code.id}` could not be evaluated",
            help="compare values of the types that requests carry",
        )
    return holds


@dataclass(frozen=True, slots=True, eq=False)
class BudgetLimit:
    """A budget of a policy. Amounts are nano-USD."""

    policy: str
    id: str
    paths: tuple[str, ...]
    per: Literal["hour", "day", "week", "month", "total"]
    on_exceeded: Literal["deny", "warn", "cap", "downgrade"]
    on_missing_key: Literal["deny", "skip", "shared"]
    shadow: bool
    priority: int
    table: Table[int]
    code: PolicyCode
    downgrade_to: str | None = None  # A model, or provider/model.
    span: Literal["account", "tenant"] = "account"

    def limit_usd_nano(self, request: Request) -> int | None:
        """What may be spent in a window."""
        return self.table.of(request)

    def guard(self, request: Request, facts: FactsView, now_us: int | None = None) -> bool:
        """
        Whether the budget applies to *request*: its policy's ``match`` and not ``unless``.

        Raises: EvaluationError, if ``match`` errs and the policy does not say ``on_error: skip``.
        """
        return _guard(self.code.guard, self.code, (request, facts, now_us))


@dataclass(frozen=True, slots=True, eq=False)
class RateLimit:
    """A rate limit of a policy: units of requests or tokens in a period."""

    policy: str
    id: str
    paths: tuple[str, ...]
    period_us: int
    unit: Literal["requests", "tokens"]
    on_exceeded: Literal["deny", "warn", "cap"]
    on_missing_key: Literal["deny", "skip", "shared"]
    shadow: bool
    priority: int
    table: Table[int]
    burst_table: Table[int] | None
    code: PolicyCode

    def limit(self, request: Request) -> int:
        """Units a period."""
        return self.table.of(request)

    def burst(self, request: Request) -> int:
        """Units at most at once; the limit unless the policy says otherwise."""
        return self.limit(request) if self.burst_table is None else self.burst_table.of(request)

    def guard(self, request: Request, facts: FactsView, now_us: int | None = None) -> bool:
        """
        Whether the limit applies to *request*: its policy's ``match`` and not ``unless``.

        Raises: EvaluationError, if ``match`` errs and the policy does not say ``on_error: skip``.
        """
        return _guard(self.code.guard, self.code, (request, facts, now_us))
