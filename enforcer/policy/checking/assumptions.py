"""
What follows from a condition being true, or false.

Only what is sure: a condition that says nothing here is no fault. An operation that came to a value had its
operands, so presence follows from orderings and calls whatever they came to; but ``==``, ``!=`` and ``in`` take
absent operands, and only their being equal says that they are there.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from enforcer.cel import names
from enforcer.cel.standard import TYPES
from enforcer.cel.syntax import (
    Call,
    Chain,
    Has,
    Ident,
    ListDisplay,
    Literal,
    Logic,
    Node,
    Select,
    Unary,
)
from enforcer.cel.types import BOOL, BYTES, DOUBLE, INT, NULL, STRING, UINT, Type
from enforcer.cel.values import UInt
from enforcer.policy.checking.known import NUMBER, Known, Range, State, compared
from enforcer.policy.checking.scope import entry_key, key_of, prefixes, step_of
from enforcer.policy.environment import Environment, fact_of_node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Truth: TypeAlias = bool
"""What a condition came to."""
CONTRARY: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
TYPES_OF_VALUES: Final[dict[type, Type]] = {
    type(None): NULL, bool: BOOL, int: INT, UInt: UINT, float: DOUBLE, str: STRING, bytes: BYTES,
}  # fmt: skip
DIGITS: Final = re.compile(r"\^-?(?:\[0-9\]|\\d)(?:\{1,(?P<most>\d+)\})?\$")
"""Patterns that only texts of whole numbers match, of up to so many digits."""
DIGITS_MAX: Final = 18
_NUMBERS: Final = frozenset({INT, UINT, DOUBLE})


class Assumptions:
    """
    What conditions say.

    Args:
        environment: What the names are.
        value: What is known of a node by itself, without state: of literals and computed values.
    """

    def __init__(
        self, environment: Environment, value: Callable[[Node, Mapping[str, Known]], Known]
    ) -> None:
        self._environment = environment
        self._value = value

    def learn(self, node: Node, truth: Truth, state: State, scope: Mapping[str, Known]) -> State:
        """*state* and what follows from *node* being *truth*."""
        if isinstance(node, Unary) and node.operator == "!":
            return self.learn(node.operand, not truth, state, scope)
        if isinstance(node, Logic):
            return self._logic(node, truth, state, scope)
        if isinstance(node, Has):
            key = key_of(node.select, scope)
            return state if not truth or key is None else self._there(key, node.select, state)
        if isinstance(node, Chain) and len(node.steps) == 1:
            ((operator, right),) = node.steps
            return self._relation(node.first, operator, right, truth, state, scope)
        if isinstance(node, Call) and truth:
            return self._call(node, state, scope)
        return state

    def _logic(self, node: Logic, truth: Truth, state: State, scope: Mapping[str, Known]) -> State:
        if truth is (node.operator == "&&"):
            for each in node.operands:
                state = self.learn(each, truth, state, scope)
            return state
        found = [self.learn(each, truth, state, scope) for each in node.operands[:16]]
        if len(node.operands) > 16:
            return state
        joined = found[0]
        for other in found[1:]:
            joined = joined.either(other)
        return joined

    def _there(self, key: str, node: Node, state: State) -> State:
        name = fact_of_node(node)
        if name is None:
            return state.says(key)
        return state.says(*prefixes(self._environment.fact(name)))

    # --- relations ------------------------------------------------------------------------------

    def _relation(
        self,
        left: Node,
        operator: str,
        right: Node,
        truth: Truth,
        state: State,
        scope: Mapping[str, Known],
    ) -> State:
        if operator == "in":
            return self._member(left, right, state, scope) if truth else state
        if operator not in CONTRARY:
            return state
        if not truth:
            # Of a NaN neither an ordering nor its contrary holds: doubles say nothing when false.
            if operator not in {"==", "!="} and not self._are_ints(left, right, state, scope):
                return state
            operator = CONTRARY[operator]
        state = self._side(left, operator, right, state, scope)
        return self._side(right, MIRRORED[operator], left, state, scope)

    def _are_ints(self, left: Node, right: Node, state: State, scope: Mapping[str, Known]) -> bool:
        types = {state.of(self._value(each, scope)).type.name for each in (left, right)}
        return types <= {"int", "uint", "timestamp", "duration"}

    def _side(
        self, node: Node, operator: str, other: Node, state: State, scope: Mapping[str, Known]
    ) -> State:
        if operator == "==":
            state = self._typed_by(node, other, state, scope)
        key = key_of(node, scope)
        if key is None:
            return state
        known = state.of(self._value(other, scope))
        literal = other.value if isinstance(other, Literal) else None
        is_literal = literal is not None
        if operator == "==" and is_literal:
            state = self._there(key, node, state)
            state = state.typed(key, _loose(TYPES_OF_VALUES[literal.__class__]))
            if isinstance(literal, str):
                state = state.within(f"size({key})", Range(len(literal), len(literal)))
        if operator == "!=" and is_literal and literal == 0:
            return state.says(f"{key} != 0")
        if operator == "!=":
            return state
        if operator == "<":
            other_key = key_of(other, scope)
            state = state.says(f"{key} < {other_key}") if other_key is not None else state
        if known.type in _NUMBERS or known.type.name in {"timestamp", "duration"}:
            state = state.within(key, self._bounded(node, operator, known, state, scope))
        return state

    def _bounded(
        self, node: Node, operator: str, known: Known, state: State, scope: Mapping[str, Known]
    ) -> Range:
        bound = compared(operator, known.range)
        is_whole = state.of(self._value(node, scope)).type in {INT, UINT} and known.type in {
            INT,
            UINT,
        }
        if is_whole and operator == "<":
            return replace(bound, high=bound.high - 1)
        if is_whole and operator == ">":
            return replace(bound, low=bound.low + 1)
        return bound

    def _typed_by(self, node: Node, other: Node, state: State, scope: Mapping[str, Known]) -> State:
        """``type(x) == string``."""
        if not isinstance(node, Call) or node.function != "type" or len(node.arguments) != 1:
            return state
        key, type_ = key_of(node.arguments[0], scope), self._type_named(other)
        if key is None or type_ is None:
            return state
        return self._there(key, node.arguments[0], state).typed(key, type_)

    def _type_named(self, node: Node) -> Type | None:
        if not isinstance(node, Ident | Select):
            return None
        name = names.type_named(self._environment.cel, node, {})
        return TYPES[name] if name is not None else None

    def _member(
        self, node: Node, container: Node, state: State, scope: Mapping[str, Known]
    ) -> State:
        inner, outer = key_of(node, scope), key_of(container, scope)
        if outer is not None:
            step = step_of(node, scope)
            if step is not None and self._value(container, scope).type.name in {"map", "dyn"}:
                entry = entry_key(outer, step)
                state = state.says(entry)
        if isinstance(node, Call) and node.function == "type" and len(node.arguments) == 1:
            return self._typed_among(node.arguments[0], container, state, scope)
        if inner is None:
            return state
        state = self._there(inner, node, state)
        if isinstance(container, ListDisplay) and container.elements and not container.optionals:
            return self._among(inner, container, state)
        return state

    @staticmethod
    def _among(key: str, container: ListDisplay, state: State) -> State:
        values: list[Any] = []
        for each in container.elements:
            if not isinstance(each, Literal) or each.value is None:
                return state
            values.append(each.value)
        types = {_loose(TYPES_OF_VALUES[each.__class__]) for each in values}
        if len(types) == 1:
            (type_,) = types
            state = state.typed(key, type_)
            if type_ == NUMBER:
                state = state.within(key, Range(min(values), max(values)))
            elif type_ == STRING:
                sizes = [len(each) for each in values]
                state = state.within(f"size({key})", Range(min(sizes), max(sizes)))
        return state

    def _typed_among(
        self, node: Node, container: Node, state: State, scope: Mapping[str, Known]
    ) -> State:
        """``type(x) in [int, double]``."""
        key = key_of(node, scope)
        if key is None or not isinstance(container, ListDisplay) or container.optionals:
            return state
        types = {self._type_named(each) for each in container.elements}
        if not types or None in types:
            return state
        state = self._there(key, node, state)
        if len(types) == 1:
            (only,) = types
            assert only is not None
            return state.typed(key, only)
        return state.typed(key, NUMBER) if types <= _NUMBERS else state

    # --- calls ----------------------------------------------------------------------------------

    def _call(self, node: Call, state: State, scope: Mapping[str, Known]) -> State:
        subject = node.target if node.target is not None else next(iter(node.arguments), None)
        key = None if subject is None else key_of(subject, scope)
        if key is None or subject is None:
            return state
        if node.function in {"isIP", "isCIDR"}:
            return state.says(f"{node.function}({key})")
        if node.function == "hasValue":
            return state.says(f"{key} has a value", *([key[:-1]] if key.endswith("?") else []))
        text = node.arguments[-1] if node.arguments else None
        if not isinstance(text, Literal) or not isinstance(text.value, str):
            return state
        if node.function in {"startsWith", "endsWith", "contains"}:
            return state.within(f"size({key})", Range(low=len(text.value)))
        if node.function == "matches":
            digits = DIGITS.fullmatch(text.value)
            if digits is not None and int(digits["most"] or 1) <= DIGITS_MAX:
                return state.says(f"digits({key})")
        return state


def _loose(type_: Type) -> Type:
    """The type of what equals a literal: numbers of all types may."""
    return NUMBER if type_ in _NUMBERS else type_
