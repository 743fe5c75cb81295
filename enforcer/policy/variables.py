"""How expressions read facts in the code of a policy: the seam between ``cel.lowering`` and ``lowering``."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Final

from enforcer import cel
from enforcer.cel.errors import EvaluationError
from enforcer.cel.values import Timestamp, from_host
from enforcer.policy.fields import Cost, Kind, Origin, is_direct

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.cel import Node
    from enforcer.policy.environment import Fact
    from enforcer.policy.ir import Leaf
    from enforcer.policy.model import LimitsView

_PARSED: Final = frozenset({Kind.JSON, Kind.ANY})
"""Kinds whose value may come from JSON text, with numbers that CEL has none for."""


def moment(now_us: int | None) -> Timestamp:
    """
    ``now``, from event time in microseconds.

    Raises: EvaluationError, where the caller has given no time.
    """
    if now_us is None:
        raise EvaluationError("unbound", "the time of the event is not known")
    return Timestamp(now_us * 1_000)


def row(limits: LimitsView | None, asked: tuple[str, tuple[str, str, str], str]) -> float | None:
    """An amount of a budget or rate limit as it was before the request; None where none applies to it."""
    return None if limits is None else limits.amount(*asked)


def known_row(amount: float | None) -> float:
    """
    The amount of a row.

    Raises: EvaluationError, where there is none: the limit does not apply to this request.
    """
    if amount is None:
        raise EvaluationError("absent", "no budget or rate limit of the id applies to the request")
    return amount


VARIABLE_HELPERS: Final[dict[str, Any]] = {
    "host": from_host,
    "known_row": known_row,
    "moment": moment,
    "row": row,
}


def variable_of(
    fact: Fact, value: ast.expr, constant: Callable[[Any], ast.expr], *, is_present: bool
) -> cel.Variable:
    """
    How a fact is read.

    Args:
        fact: Which.
        value: What stands for it: a local name, or an attribute of the facts.
        constant: Makes a constant of a value.
        is_present: Whether it is known to be there.
    """
    field = fact.field
    if field is None:
        if fact.row is None:
            return cel.Variable(constant(from_host(fact.value)), certain=True)
        if not fact.is_optional or is_present:
            return cel.Variable(_call("known_row", value), certain=False)
        return _optional(fact, value, ast.Constant(None), is_present=False)
    if field.origin is Origin.NOW:
        return cel.Variable(_call("moment", value), certain=False)
    is_detected = field.origin is Origin.FACT and fact.cost is Cost.DETECTOR
    absent: ast.expr = ast.Constant(None)
    code = value
    if not is_direct(field):
        absent = ast.Name("ABSENT", ast.Load())
        may_be_large = field.type.kind in _PARSED and field.origin is not Origin.ATTRIBUTES
        code = _call("host", value) if may_be_large else value
    certain = code is value and not is_detected
    if not fact.is_optional:
        return cel.Variable(code, certain=certain)
    found = _optional(fact, value, absent, is_present=is_present)
    return cel.Variable(
        code,
        certain=certain,
        present=found.present,
        presence_certain=not is_detected,
        absent=found.absent,
    )


def _optional(fact: Fact, value: ast.expr, absent: ast.expr, *, is_present: bool) -> cel.Variable:
    if is_present or not fact.is_optional:
        return cel.Variable(value, certain=True)
    present = ast.Compare(value, [ast.IsNot()], [absent])
    return cel.Variable(value, certain=True, present=present, absent=f"`{fact.name}` is absent")


def is_certain(leaf: Leaf) -> bool:
    """Whether the code of a leaf can neither raise nor come to anything but a bool: found out by writing it."""

    def reading(name: str, constant: Callable[[Any], ast.expr]) -> cel.Variable:
        fact = leaf.condition.environment.fact(name)
        value = ast.Name("v", ast.Load())
        return variable_of(fact, value, constant, is_present=fact.name in leaf.present)

    value = lowered(leaf, reading, ()).value
    return value.certain and value.kind == "bool"


def lowered(
    leaf: Leaf,
    reading: Any,
    parameters: tuple[str, ...],
    *,
    prefix: str = "",
    part: Callable[[Node], ast.expr | None] | None = None,
) -> cel.Lowered:
    """The code of a leaf; *part* says how parts of it are read that are computed elsewhere."""
    condition = leaf.condition
    return cel.lower(
        cel.Expression(leaf.root, condition.resolved.source),
        condition.environment.cel,
        reading=reading,
        parameters=parameters,
        checked=condition.checked,
        prefix=prefix,
        part=part,
    )


def _call(function: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(function, ast.Load()), list(arguments), [])
