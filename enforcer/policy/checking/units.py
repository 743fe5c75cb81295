"""
Numbers of two units that meet: USD and millionths, milliseconds and seconds, tokens and characters, shares and percent.

Facts have units by what they are, attributes by how their author named them (``attributes.timeout_s``). A unit passes
through sums, signs, conversions and extremes; a product or quotient has none, for it may be a conversion. Numbers
that are written out have no unit: of a few facts it is told where a number can only be meant in another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer import cel
from enforcer.cel.syntax import Call, Chain, Conditional, Node, Unary
from enforcer.cel.types import DYN, STRING
from enforcer.policy.environment import fact_of_node
from enforcer.policy.fields import Origin
from enforcer.policy.ir import ORDERINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.policy.environment import Fact
    from enforcer.policy.expressions import Condition
    from enforcer.policy.ir import Test

_UNITS: Final = {
    "llm.estimated_cost_usd": "USD",
    "llm.input_tokens": "tokens",
    "llm.max_output_tokens": "tokens",
    "llm.max_tokens": "tokens",
    "deadline_ms": "milliseconds",
}
_SUFFIXES: Final = {
    "usd": "USD", "cents": "cents", "micros": "millionths of a USD", "nanos": "billionths of a USD",
    "ms": "milliseconds", "millis": "milliseconds", "us": "microseconds", "s": "seconds",
    "sec": "seconds", "secs": "seconds", "seconds": "seconds", "minutes": "minutes",
    "hours": "hours", "days": "days", "tokens": "tokens", "chars": "characters",
    "characters": "characters", "bytes": "bytes", "percent": "percent", "pct": "percent",
}  # fmt: skip
_RELATIONS: Final = frozenset({"<", "<=", ">", ">=", "==", "!="})
_SUMS: Final = frozenset({"+", "-"})
_SAME: Final = frozenset({"double", "int", "uint", "math.greatest", "math.least", "math.abs"})
_MICRO_USD: Final = 1_000_000


class UnitFault(NamedTuple):
    """Two units that do not fit: what is wrong, what to do, and where in the expression."""

    message: str
    help: str
    place: tuple[int, int]


def unit_faults(condition: Condition) -> Iterator[UnitFault]:
    """Everything in an expression where two units meet."""
    for node in cel.walk(condition.resolved.root):
        if not isinstance(node, Chain):
            continue
        left, known = node.first, _unit(node.first, condition)
        for operator, right in node.steps:
            unit = _unit(right, condition)
            if operator not in _RELATIONS | _SUMS:
                known = None
                continue
            if known is not None and unit is not None and known != unit:
                said = f"{known} and {unit} do not compare or add up"
                help_line = f"convert one of them, so that both are {known} or {unit}"
                yield UnitFault(said, help_line, (left.span[0], right.span[1]))
            known = None if operator in _RELATIONS else known or unit


def _unit(node: Node, condition: Condition) -> str | None:
    name = fact_of_node(node)
    if name is not None:
        return _unit_of(condition.environment.fact(name))
    if isinstance(node, Unary):
        return _unit(node.operand, condition)
    if isinstance(node, Conditional):
        return _same([node.then, node.otherwise], condition)
    if isinstance(node, Chain) and all(operator in _SUMS for operator, _ in node.steps):
        return _same([node.first, *(right for _, right in node.steps)], condition)
    if isinstance(node, Call):
        return _unit_of_call(node, condition)
    return None


def _unit_of_call(node: Call, condition: Condition) -> str | None:
    if node.function == "size":
        text = node.target if node.target is not None else node.arguments[0]
        return "characters" if condition.checked.types.get(id(text), DYN) == STRING else None
    name = node.function
    target = node.target
    if target is not None and not node.arguments:
        return None
    if target is not None:
        name = f"{getattr(target, 'name', '')}.{name}"
    return _same(list(node.arguments), condition) if name in _SAME else None


def _same(nodes: list[Node], condition: Condition) -> str | None:
    """The one unit of several values; None where they have none or two."""
    units = {unit for each in nodes if (unit := _unit(each, condition)) is not None}
    return units.pop() if len(units) == 1 else None


def _unit_of(fact: Fact) -> str | None:
    if fact.row is not None:
        return "USD" if fact.row[2].endswith("_usd") else None
    if fact.field is not None and fact.field.origin in {Origin.ATTRIBUTES, Origin.RAW}:
        head, _, suffix = str(fact.path[-1]).lower().rpartition("_")
        return _SUFFIXES.get(suffix) if head else None
    return _UNITS.get(fact.name)


def odd_number(test: Test) -> tuple[str, str] | None:
    """Message and help, where a number can only be meant in another unit than its field has."""
    value = test.value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or test.op not in ORDERINGS | {"eq", "ne"}:
        return None
    name = str(test.field)
    if name == "llm.estimated_cost_usd" and value >= 1_000:
        help_line = "the field is in USD"
        if value >= 10_000:
            help_line += f": {value:g} millionths of a USD are {value / _MICRO_USD:g}"
        return f"no call costs {value:,.10g} USD", help_line
    if name == "injection.score" and value > 1:
        help_line = f"write {value / 100:g} for {value:g} %" if value <= 100 else "it is a share"
        return "the score lies between 0 and 1", help_line
    if name == "llm.temperature" and value > 10:
        return "temperatures lie between 0 and 2", f"write {value / 100:g} for {value:g} %"
    if name == "deadline_ms" and value > 0:
        is_least = test.op in {"gt", "gte"} and value <= 60
        if is_least or (test.op in {"lt", "lte", "eq", "ne"} and value < 10):
            return (
                f"the deadline is in milliseconds, not {value:g} seconds",
                f"write {value * 1000:g}",
            )
    if _UNITS.get(name) == "tokens" and value > 10_000_000:
        return f"no call has {value:,.10g} tokens", "a request holds 4 MiB of text at most"
    return None


def odd_limit(limit_usd: float, per: str) -> tuple[str, str] | None:
    """Message and help, where a budget can only be meant in another unit than USD."""
    most = 100_000_000 if per in {"month", "total"} else 10_000_000
    if limit_usd < most:
        return None
    said = f"{limit_usd:,.10g} USD a {per} is more than anybody spends"
    if per == "total":
        said = f"{limit_usd:,.10g} USD is more than anybody spends"
    usd = f"{limit_usd / _MICRO_USD:g}"
    return said, f"limits are in USD: {limit_usd:,.10g} millionths of a USD are {usd}"
