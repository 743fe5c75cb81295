"""What is known of facts and literals, and of what operators make of two values."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Any, Final, Protocol

from enforcer.cel.types import BOOL, DYN, Type
from enforcer.cel.values import (
    INT_MAX,
    INT_MIN,
    SECOND_NS,
    TIMESTAMP_MAX_NS,
    TIMESTAMP_MIN_NS,
    Duration,
    Timestamp,
)
from enforcer.policy import environment
from enforcer.policy.checking.known import (
    ANY,
    INTS,
    LENGTHS,
    UINTS,
    UNKNOWN,
    Known,
    Range,
    State,
    computed,
)
from enforcer.policy.fields import Origin

if TYPE_CHECKING:
    from enforcer.cel.syntax import Chain, Node
    from enforcer.policy.checking.guards import Guards
    from enforcer.policy.checking.problems import Problem
    from enforcer.policy.environment import Fact

EVENT_TIMES: Final = Range(0, 7_258_118_400 * SECOND_NS)
"""Events happen from 1970 to 2200."""
COUNTS_MAX: Final = 2**40
"""No derived fact counts more in one request."""
_BOUNDS: Final = {
    "int": INTS,
    "uint": UINTS,
    "timestamp": Range(TIMESTAMP_MIN_NS, TIMESTAMP_MAX_NS),
    "duration": Range(INT_MIN, INT_MAX),
}
ORDERED: Final = frozenset(
    {"bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration"}
)
_NUMBERS: Final = frozenset({"int", "uint", "double", "number"})
_COMPARABLE: Final = ORDERED | {"number", "list", "map"}
_ORDERINGS: Final = frozenset({"<", "<=", ">", ">="})
_JOINED: Final = frozenset({"string", "bytes", "list"})


def known_fact(fact: Fact) -> Known:
    """What is known of a fact that is there."""
    field = fact.field
    low = -math.inf if fact.low is None else fact.low
    high = math.inf if fact.high is None else fact.high
    range_ = Range(low, high).cut(_BOUNDS.get(fact.type.name, ANY))
    size = LENGTHS if fact.length_max is None else Range(0, fact.length_max)
    if field is not None and field.origin is Origin.FACT and str(field) != "llm.max_output_tokens":
        range_ = range_.cut(Range(high=COUNTS_MAX))
    value = UNKNOWN
    if field is None and fact.row is None and fact.value is not None:
        value = fact.value
        size = Range(len(value), len(value)) if hasattr(value, "__len__") else size
    if field is not None and field.origin is Origin.NOW:
        range_ = EVENT_TIMES
    return Known(
        fact.type,
        None if field is None else field.type,
        range_,
        size,
        fact.name,
        field is None or field.origin not in {Origin.ATTRIBUTES, Origin.RAW},
        value,
    )


def known_literal(value: Any, type_: Type) -> Known:
    """What is known of a value that the author wrote."""
    is_number = type_.name in {"int", "uint", "double"}
    range_ = Range(value, value) if is_number else ANY
    size = (
        Range(len(value), len(value)) if isinstance(value, str | bytes | list | dict) else LENGTHS
    )
    return Known(type_, None, range_, size, value=value)


def element_of(operand: Known) -> tuple[Known, Known]:
    """What is known of the keys of a map, and of its values or of the elements of a list."""
    parameters = operand.type.parameters
    element = parameters[-1] if parameters else DYN
    key = parameters[0] if len(parameters) == 2 else DYN
    shape = operand.shape.element if operand.shape is not None else None
    if shape is not None:
        element = environment.type_of(shape)
    size = LENGTHS
    if isinstance(operand.value, list) and operand.value:
        if all(isinstance(each, str) for each in operand.value):
            lengths = [len(each) for each in operand.value]
            size = Range(min(lengths), max(lengths))
    elif operand.size.high < LENGTHS.high:
        size = Range(0, operand.size.high)
    range_ = _BOUNDS.get(element.name, ANY)
    declared = operand.is_declared
    return (
        Known(key, size=size, is_declared=declared),
        Known(element, shape, range_, size, is_declared=declared),
    )


class Noter(Protocol):
    """Whoever takes note of problems."""

    guards: Guards
    problems: list[Problem]

    @property
    def is_noted(self) -> bool: ...

    def problem(self, kind: str, message: str, node: Node, known: Known, *, guard: str = "",
                help_line: str = "", append: str = "") -> None: ...  # fmt: skip


def hold_types(noter: Noter, node: Chain, operator: str, left: Known, right: Known) -> None:
    """
    Refuse ``==``, ``!=`` and ``in`` between types that are never equal.

    The checker of types refuses what it knows; here the elements of ``llm.messages`` have types too.
    """
    other = right.type
    if operator == "in":
        other = next(iter(right.type.parameters), DYN)
    names = [left.type.name, other.name]
    if not set(names) <= _COMPARABLE or names[0] == names[1] or set(names) <= _NUMBERS:
        return
    known = Known(is_declared=left.is_declared and right.is_declared)
    said = f"a {names[0]} never equals a {names[1]}"
    help_line = "a number has no quotes, a text has" if "string" in names else "correct the types"
    noter.problem("mismatch", said, node, known, help_line=help_line)


def nearest_field(operand: Known, name: str) -> str:
    """Help for a field that a record does not have."""
    fields = list(operand.shape.fields) if operand.shape is not None else []
    close = difflib.get_close_matches(name, fields, n=1)
    return f"did you mean `{close[0]}`?" if close else f"there are: {', '.join(fields)}"


def operate(
    noter: Noter,
    chain: Chain,
    operator: str,
    left: tuple[Known, str],
    right: tuple[Known, Node],
    state: State,
) -> Known:
    """
    One operator of a chain.

    Args:
        noter: Who takes note of what may go wrong.
        chain: The whole chain.
        operator: Which.
        left: What is known of the left operand; its text, where it is a node of its own.
        right: What is known of the right operand, and the node.
        state: What conditions say.
    """
    (first, first_text), (second, second_node) = left, right
    second_text = noter.guards.text(second_node)
    declared = first.is_declared and second.is_declared
    names = first.type.name, second.type.name
    if operator in {"==", "!=", "in"}:
        return Known(BOOL)
    if not _fits(operator, *names):
        _mistyped(noter, chain, operator, (first, first_text), (second, second_text))
        kind = names[1] if names[0] in {"dyn", "number"} else names[0]
        known = Type(kind) if operator not in _ORDERINGS else BOOL
        return Known(known, range=_BOUNDS.get(kind, ANY), is_declared=declared)
    if operator in _ORDERINGS:
        return Known(BOOL)
    if names[0] in _JOINED:
        size = Range(first.size.low + second.size.low, first.size.high + second.size.high)
        if size.high > LENGTHS.high:
            guard = f"size({second_text}) <= 10000"
            if first.size.high > second.size.high:
                guard = f"size({first_text}) <= 10000" if first_text else ""
            noter.problem(
                "cost",
                "the result may be too long",
                chain,
                Known(is_declared=declared),
                guard=guard,
            )
        return Known(first.type, size=size.cut(LENGTHS), is_declared=declared)
    if names == ("double", "double"):
        return Known(first.type, is_declared=declared)
    return _computed(noter, chain, operator, (first, first_text), (second, second_node), state)


def _computed(
    noter: Noter,
    chain: Chain,
    operator: str,
    left: tuple[Known, str],
    right: tuple[Known, Node],
    state: State,
) -> Known:
    """Arithmetic of integers and times."""
    (first, _), (second, second_node) = left, right
    declared = first.is_declared and second.is_declared
    result = _result(operator, first.type.name, second.type.name)
    bounds = _BOUNDS[result]
    if operator in {"/", "%"} and second.range.holds(0) and f"{second.key} != 0" not in state.true:
        text = noter.guards.text(second_node)
        zero = "0u" if result == "uint" else "0"
        said = f"{noter.guards.quoted(second_node)} may be zero"
        noter.problem(
            "division", said, chain, Known(is_declared=declared), guard=f"{text} != {zero}"
        )
    range_ = computed(operator, first.range, second.range)
    if not range_.within(bounds):
        said = f"`{operator}` may leave the 64 bits of {result}"
        if result in {"timestamp", "duration"}:
            said = f"the {result} may be out of range"
        widened = result == "int" and operator != "%"
        if noter.is_noted:
            noter.problems.append(
                noter.guards.widened(said, chain, is_declared=declared, is_possible=widened)
            )
        range_ = bounds
    return Known(Type(result), range=range_, is_declared=declared)


def _result(operator: str, first: str, second: str) -> str:
    if "timestamp" in {first, second}:
        both = first == second
        return "duration" if both and operator == "-" else "timestamp"
    return first


def _fits(operator: str, first: str, second: str) -> bool:
    if operator in _ORDERINGS:
        if first in _NUMBERS and second in _NUMBERS:
            return True
        return first == second and first in ORDERED
    if first == second:
        if first in {"int", "uint"}:
            return True
        if operator == "%":
            return False
        if first == "double":
            return True
        if operator == "+":
            return first in _JOINED | {"duration"}
        return operator == "-" and first in {"timestamp", "duration"}
    times = {first, second} == {"timestamp", "duration"}
    return times and (operator == "+" or (operator == "-" and first == "timestamp"))


def _mistyped(
    noter: Noter, chain: Chain, operator: str, left: tuple[Known, str], right: tuple[Known, str]
) -> None:
    """Operands whose types show at run time only, with the guard that says them."""
    (first, first_text), (second, second_text) = left, right
    declared = first.is_declared and second.is_declared
    guards: list[str] = []
    for (known, text), other in (((first, first_text), second), ((second, second_text), first)):
        if known.type.name not in {"dyn", "error", "number"} or not text:
            continue
        if known.key is None:
            guards.clear()
            break
        wanted = other.type.name
        if operator in _ORDERINGS and wanted in _NUMBERS:
            guards.append(f"type({text}) in [int, double]")
        elif wanted in {"int", "uint", "double", "string", "bytes", "bool", "list"}:
            guards.append(f"type({text}) == {wanted}")
        else:
            guards.append(f"type({text}) == {'string' if operator in _ORDERINGS else 'int'}")
    said = f"`{operator}` may not take the types of its operands"
    noter.problem("type", said, chain, Known(is_declared=declared), guard=" && ".join(guards))


def constant_parts(value: Any) -> dict[str, Any]:
    """What is known of a value that is the same always, but for its type."""
    found: dict[str, Any] = {"value": value}
    if isinstance(value, Timestamp | Duration):
        found["range"] = Range(value.ns, value.ns)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found["range"] = Range(value, value)
    elif isinstance(value, str | bytes | list | dict):
        found["size"] = Range(len(value), len(value))
    return found
