"""
The skeleton of an expression: its ``&&``, ``||`` and ``!`` over comparisons, in the intermediate form.

What CEL and structured conditions say alike becomes the same ``Test``, so that guards, the index, sharing and
the order of cost work for both: a fact against a literal (``==``, ``!=``, ``in``, the orderings, ``contains``,
``matches``), presence, a bool fact by itself. The differences: a CEL test is *strict*, an error where the
field is absent, but for equality and membership; and CEL compares an int with a double after rounding, so
literals from 2^53 on stay with CEL. Everything else is a ``Leaf``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from enforcer import cel
from enforcer.cel.syntax import (
    Call,
    Chain,
    Has,
    ListDisplay,
    Literal,
    Logic,
    Node,
    Unary,
)
from enforcer.cel.values import SECOND_NS, Timestamp
from enforcer.policy import fields
from enforcer.policy.environment import fact_of_node
from enforcer.policy.fields import Field, Kind, Origin, is_direct
from enforcer.policy.ir import (
    ALWAYS,
    NEVER,
    ORDERINGS,
    All,
    AnyOf,
    Expr,
    Leaf,
    Not,
    Op,
    Test,
)
from enforcer.policy.paths import format_path
from enforcer.policy.regex import RegexError, compile_search

if TYPE_CHECKING:
    from enforcer.policy.expressions import Condition

_EXACT_MAX: Final = 2**53
_UNTYPED: Final = frozenset({Kind.ANY, Kind.JSON})
_NUMBERS: Final = frozenset({Kind.INT, Kind.DOUBLE})
_OPS: Final[dict[str, Op]] = {
    "==": "eq", "!=": "ne", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "in": "in",
}  # fmt: skip
_MIRRORED: Final[dict[str, Op]] = {
    "==": "eq", "!=": "ne", "<": "gt", "<=": "gte", ">": "lt", ">=": "lte", "in": "contains",
}  # fmt: skip
_CONTRARY: Final[dict[str, Op]] = {
    "eq": "ne", "ne": "eq", "in": "not_in", "not_in": "in",
    "contains": "not_contains", "not_contains": "contains",
}  # fmt: skip
_NO_LITERAL: Final = object()
_US_NS: Final = SECOND_NS // 1_000_000


def expression_of(condition: Condition) -> Expr:
    """The intermediate form of a condition; ``narrowing.narrowed`` comes next."""
    return _Skeleton(condition).of(condition.resolved.root)


def negated(expression: Expr) -> Expr:
    """The contrary, in the form that is compiled best."""
    if isinstance(expression, Not):
        return expression.term
    if isinstance(expression, Test) and expression.op in _CONTRARY:
        return replace(expression, op=_CONTRARY[expression.op])
    return Not(expression)


class _Skeleton:
    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._environment = condition.environment

    def of(self, node: Node) -> Expr:
        """The form of *node*. Recursion is bounded by the expression's depth."""
        if isinstance(node, Logic):
            terms = tuple(self.of(each) for each in node.operands)
            return All(terms) if node.operator == "&&" else AnyOf(terms)
        if isinstance(node, Unary) and node.operator == "!":
            return negated(self.of(node.operand))
        if isinstance(node, Literal) and isinstance(node.value, bool):
            return ALWAYS if node.value else NEVER
        found: Test | None = None
        if isinstance(node, Chain) and len(node.steps) == 1:
            ((operator, right),) = node.steps
            found = self._comparison(operator, node.first, right, node)
        elif isinstance(node, Call):
            found = self._call(node)
        elif isinstance(node, Has):
            field = self._field(node.select)
            found = None if field is None else self._test("exists", field, None, node)
        else:
            field = self._field(node)
            if field is not None and field.type.kind is Kind.BOOL and not field.optional:
                found = self._test("eq", field, True, node)
        return found if found is not None else self._leaf(node)

    def _test(self, op: Op, field: Field, value: Any, node: Node) -> Test:
        is_strict = op in ORDERINGS or op == "matches" or (op == "contains" and _is_text(field))
        return Test(op, field, value, self._condition.place(node.span[0]), is_strict)

    def _leaf(self, node: Node) -> Leaf:
        named = (fact_of_node(each) for each in cel.walk(node))
        facts = {name: self._environment.fact(name) for name in named if name is not None}
        return Leaf(cel.show(node), frozenset(), node, self._condition, tuple(facts.values()))

    def _field(self, node: Node) -> Field | None:
        """The field or derived fact that *node* reads."""
        name = fact_of_node(node)
        return None if name is None else self._environment.fact(name).field

    def _comparison(self, operator: str, left: Node, right: Node, node: Node) -> Test | None:
        if operator not in _OPS:
            return None
        field, literal = self._field(left), self._literal(right)
        op = _OPS[operator]
        if field is None or literal is _NO_LITERAL:
            field, literal = self._field(right), self._literal(left)
            op = _MIRRORED[operator]
        if field is None or literal is _NO_LITERAL:
            return None
        if field.type.kind is Kind.TIME:
            return self._time(op, field, literal, node)
        if op == "contains":
            return self._containment(field, literal, node)
        if op == "in":
            return self._membership(field, literal, node)
        is_fit = self._has_order(field, literal) if op in ORDERINGS else _is_exact(literal)
        return self._test(op, field, literal, node) if is_fit else None

    def _time(self, op: Op, field: Field, literal: Any, node: Node) -> Test | None:
        is_moment = isinstance(literal, Timestamp) and literal.ns % _US_NS == 0
        if not is_moment or op not in ORDERINGS | {"eq", "ne"}:
            return None
        return self._test(op, field, literal.ns // _US_NS, node)

    def _has_order(self, field: Field, literal: Any) -> bool:
        kind = field.type.kind
        if isinstance(literal, str):
            return kind in _UNTYPED or (kind is Kind.STRING and is_direct(field))
        is_number = isinstance(literal, (int, float)) and not isinstance(literal, bool)
        if not is_number or not _is_exact(literal):
            return False
        return kind in _UNTYPED or (kind in _NUMBERS and is_direct(field))

    def _membership(self, field: Field, literal: Any, node: Node) -> Test | None:
        members = list(literal) if isinstance(literal, dict) else literal
        if not isinstance(members, list) or not _is_exact(members):
            return None
        is_single = is_direct(field) and field.type.kind is not Kind.LIST
        if not is_single and field.type.kind not in _UNTYPED:
            return None
        return self._test("in", field, members, node)

    def _containment(self, field: Field, literal: Any, node: Node) -> Test | None:
        """A literal in a list of texts, or a key of ``attributes``."""
        if not isinstance(literal, str):
            return None
        if field.path == ("attributes",):
            key = fields.resolve(format_path(("attributes", literal)))
            return self._test("exists", key, None, node)
        is_texts = is_direct(field) and field.type.kind is Kind.LIST
        return self._test("contains", field, literal, node) if is_texts else None

    def _call(self, node: Call) -> Test | None:
        """``field.contains("text")`` and ``field.matches("pattern")``."""
        if node.target is None or len(node.arguments) != 1:
            return None
        field, literal = self._field(node.target), self._literal(node.arguments[0])
        if field is None or not isinstance(literal, str):
            return None
        if node.function == "contains" and _is_text(field):
            return self._test("contains", field, literal, node)
        if node.function != "matches" or not (_is_text(field) or field.type.kind in _UNTYPED):
            return None
        try:
            compile_search(literal)
        except RegexError:
            return None  # The checker of types has said so.
        return self._test("matches", field, literal, node)

    def _literal(self, node: Node) -> Any:
        """The plain data that *node* stands for, or ``_NO_LITERAL``."""
        if isinstance(node, Literal):
            kind = node.value.__class__
            is_plain = node.value is None or kind in {bool, int, float, str}
            return node.value if is_plain else _NO_LITERAL
        if isinstance(node, ListDisplay) and not node.optionals:
            elements = [self._literal(each) for each in node.elements]
            return _NO_LITERAL if any(each is _NO_LITERAL for each in elements) else elements
        name = fact_of_node(node)
        if name is not None:
            fact = self._environment.fact(name)
            return _NO_LITERAL if fact.field is not None or fact.row is not None else fact.value
        is_moment = isinstance(node, Call) and node.function == "timestamp" and node.target is None
        return self._moment(node) if is_moment else _NO_LITERAL

    def _moment(self, node: Node) -> Any:
        """The value of ``timestamp("…")``."""
        assert isinstance(node, Call)
        if not all(isinstance(each, Literal) for each in node.arguments):
            return _NO_LITERAL
        expression = cel.Expression(node, self._condition.resolved.source)
        try:
            return cel.compile_expression(expression, cel.Environment()).evaluate({})
        except cel.EvaluationError:
            return _NO_LITERAL


def _is_text(field: Field) -> bool:
    return field.type.kind is Kind.STRING and (is_direct(field) or field.origin is Origin.FACT)


def _is_exact(value: Any) -> bool:
    """Whether both notations compare *value* with anything alike: no number beyond 2^53 is in it."""
    if isinstance(value, list):
        return all(map(_is_exact, value))
    if isinstance(value, dict):
        return all(map(_is_exact, value.values()))
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return not is_number or abs(value) < _EXACT_MAX
