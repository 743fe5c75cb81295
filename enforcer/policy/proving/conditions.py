"""Conditions for the solver: the intermediate form and trees of CEL, in three values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import z3

from enforcer import cel
from enforcer.cel.syntax import (
    Call,
    Chain,
    Conditional,
    Has,
    Ident,
    ListDisplay,
    Literal,
    Logic,
    Macro,
    Node,
    Select,
    Unary,
)
from enforcer.policy.environment import fact_of, fact_of_node
from enforcer.policy.ir import NEGATIONS, All, AnyOf, Expr, Leaf, Not, Test
from enforcer.policy.proving import patterns
from enforcer.policy.proving.symbols import INT_MAX, INT_MIN
from enforcer.policy.proving.values import (
    FALSE,
    NUMBERS,
    TRUE,
    Alternative,
    Truth,
    UndecidableError,
    Value,
    all_of,
    any_of,
    as_real,
    constant,
    equal,
    member,
    scalar,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from enforcer.policy.environment import Environment, Fact
    from enforcer.policy.expressions import Condition
    from enforcer.policy.proving.symbols import Space

_ORDERS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_SIGNS: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_TEXTS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "startsWith": lambda whole, part: z3.PrefixOf(part, whole),
    "endsWith": lambda whole, part: z3.SuffixOf(part, whole),
    "contains": z3.Contains,
}


class Conditions:
    """
    Conditions over one version of the request.

    Args:
        space: The variables.
        edited: What stands in place of facts after the edits; empty of the request as it came.
        version: Tells undecided parts of the two apart.
    """

    def __init__(
        self, space: Space, edited: Mapping[str, Value] | None = None, version: str = ""
    ) -> None:
        self.space = space
        self._edited = edited or {}
        self._version = version

    def fact(self, fact: Fact) -> Value:
        """The value of a fact in this version."""
        found = self._edited.get(fact.name)
        return self.space.fact(fact) if found is None else found

    # --- the intermediate form ------------------------------------------------------------------

    def of(self, expression: Expr) -> Truth:
        """The truth of an expression; what is not decided is free."""
        if isinstance(expression, Not):
            return self.of(expression.term).negated()
        if isinstance(expression, All):
            return all_of([self.of(each) for each in expression.terms])
        if isinstance(expression, AnyOf):
            return any_of([self.of(each) for each in expression.terms])
        if isinstance(expression, Leaf):
            return self.tree(expression.root, expression.condition)
        try:
            return self._test(expression)
        except UndecidableError:
            key = f"{expression.op} {expression.field} {expression.value!r}{self._version}"
            return self.space.undecided(key, expression.span)

    def _test(self, test: Test) -> Truth:
        positive = NEGATIONS.get(test.op)
        if positive is not None:
            return self._test(replace(test, op=positive)).negated()
        fact = fact_of(test.field)
        value = self.fact(fact)
        absent = z3.Not(value.is_present)
        missing = z3.And(absent, z3.BoolVal(val=test.is_strict and test.field.optional))
        if test.op == "exists":
            return Truth(value.is_present)
        if test.field.type.kind.name == "TIME":
            moment = scalar("timestamp", z3.IntVal(test.value * 1_000))
            return self._ordered(_SIGNS.get(test.op, test.op), value, moment, FALSE)
        if test.op == "eq":
            return Truth(equal(value, constant(test.value)))
        if test.op == "in":
            return member(value, constant(list(test.value)))
        if test.op == "contains":
            return self._containment(value, constant(test.value), missing, fact)
        if test.op == "matches":
            return self._matched(value, str(test.value), missing)
        return self._ordered(_SIGNS[test.op], value, constant(test.value), missing)

    def _ordered(self, sign: str, left: Value, right: Value, missing: z3.BoolRef) -> Truth:
        """An order between values; kinds that have none are an error, absence only where *missing* says so."""
        holds, fits = [], []
        for a in left.alternatives:
            for b in right.alternatives:
                both = z3.And(a.when, b.when)
                if {a.kind, b.kind} <= NUMBERS:
                    fits.append(both)
                    exact = a.kind == b.kind == "int"
                    x, y = (a.term, b.term) if exact else (as_real(a), as_real(b))
                    holds.append(z3.And(both, _ORDERS[sign](x, y)))
                elif a.kind == b.kind and a.kind in {"string", "timestamp"}:
                    fits.append(both)
                    holds.append(z3.And(both, _ORDERS[sign](a.term, b.term)))
        present = z3.And(left.is_present, right.is_present)
        errs = z3.Or(left.errs, right.errs, missing, z3.And(present, z3.Not(z3.Or(*fits))))
        return Truth(z3.And(z3.Or(*holds), z3.Not(errs)), errs)

    def _containment(self, value: Value, item: Value, missing: z3.BoolRef, fact: Fact) -> Truth:
        holds, fits = [], []
        for each in value.alternatives:
            if each.kind == "string":
                texts = item.of("string")
                fits += [z3.And(each.when, part.when) for part in texts]
                holds += [z3.And(each.when, z3.Contains(each.term, part.term)) for part in texts]
            elif each.kind in {"members", "list"}:
                fits.append(each.when)
                self._look(fact, item)
                holds.append(z3.And(each.when, member(item, Value((each,))).holds))
        errs = z3.Or(missing, z3.And(value.is_present, z3.Not(z3.Or(*fits))))
        return Truth(z3.And(z3.Or(*holds), z3.Not(errs)), errs)

    def _look(self, fact: Fact, item: Value) -> None:
        for each in item.of("string"):
            self.space.look_for(fact.name, each.term)

    def _matched(self, value: Value, pattern: str, missing: z3.BoolRef) -> Truth:
        try:
            language = patterns.language(pattern)
        except patterns.UnknownPatternError as error:
            raise UndecidableError("this regular expression") from error
        texts = value.of("string")
        fits = z3.Or(*(each.when for each in texts))
        holds = z3.Or(*(z3.And(each.when, z3.InRe(each.term, language)) for each in texts))
        errs = z3.Or(value.errs, missing, z3.And(value.is_present, z3.Not(fits)))
        return Truth(z3.And(holds, z3.Not(errs)), errs)

    # --- trees of CEL ---------------------------------------------------------------------------

    def tree(self, node: Node, condition: Condition) -> Truth:
        """The truth of a tree; its smallest parts that are not decided are free."""
        return _Tree(self, condition).truth(node, {})

    def undecided(self, node: Node, condition: Condition) -> Truth:
        """A part that is not decided here."""
        key = f"{cel.show(node)}{self._version}"
        return self.space.undecided(key, condition.place(node.span[0]))


Scope = dict[str, Value]


class _Tree:
    def __init__(self, conditions: Conditions, condition: Condition) -> None:
        self._conditions = conditions
        self._condition = condition
        self._environment: Environment = condition.environment

    def truth(self, node: Node, scope: Scope) -> Truth:
        if isinstance(node, Logic):
            terms = [self.truth(each, scope) for each in node.operands]
            return all_of(terms) if node.operator == "&&" else any_of(terms)
        if isinstance(node, Unary) and node.operator == "!":
            return self.truth(node.operand, scope).negated()
        if isinstance(node, Conditional):
            return self._choice(node, scope)
        try:
            return self._atom(node, scope)
        except UndecidableError:
            if scope:
                raise  # Its variable is of the macro around it, which is then undecided as a whole.
            return self._conditions.undecided(node, self._condition)

    def _choice(self, node: Conditional, scope: Scope) -> Truth:
        test, then, other = (
            self.truth(each, scope) for each in (node.test, node.then, node.otherwise)
        )
        holds = z3.Or(z3.And(test.holds, then.holds), z3.And(test.fails, other.holds))
        errs = z3.Or(test.errs, z3.And(test.holds, then.errs), z3.And(test.fails, other.errs))
        return Truth(holds, errs)

    def _atom(self, node: Node, scope: Scope) -> Truth:
        if isinstance(node, Has):
            return Truth(self._fact_value(node.select).is_present)
        if isinstance(node, Chain) and len(node.steps) == 1:
            ((sign, right),) = node.steps
            if sign in {"==", "!=", "in"}:
                return self._equality(sign, node.first, right, scope)
            if sign in _ORDERS:
                left, other = self.value(node.first, scope), self.value(right, scope)
                return self._conditions._ordered(sign, left, other, FALSE)  # noqa: SLF001 — of one module
        if isinstance(node, Macro) and node.kind in {"exists", "all"} and len(node.variables) == 1:
            return self._quantified(node, scope)
        if isinstance(node, Call) and node.target is not None and len(node.arguments) == 1:
            found = self._text_call(node, scope)
            if found is not None:
                return found
        value = self.value(node, scope)
        flags = value.of("bool")
        fits = z3.Or(*(each.when for each in flags))
        errs = z3.Or(value.errs, z3.Not(fits))
        holds = z3.Or(*(z3.And(each.when, each.term) for each in flags))
        return Truth(z3.And(holds, z3.Not(errs)), errs)

    def _equality(self, sign: str, left_node: Node, right_node: Node, scope: Scope) -> Truth:
        left, right = (
            self.value(left_node, scope, strict=False),
            self.value(right_node, scope, strict=False),
        )
        errs = z3.Or(left.errs, right.errs)
        if sign == "in":
            fact = self._fact(right_node)
            texts = left.of("string") if fact is not None else []
            for each in texts:
                assert fact is not None
                self._conditions.space.look_for(fact.name, each.term)
            return Truth(z3.And(member(left, right).holds, z3.Not(errs)), errs)
        same = equal(left, right)
        return Truth(z3.And(same if sign == "==" else z3.Not(same), z3.Not(errs)), errs)

    def _quantified(self, node: Macro, scope: Scope) -> Truth:
        """``exists`` and ``all`` over a list of literals: each element in turn."""
        operand = self.value(node.operand, scope)
        lists = operand.of("list")
        if len(lists) != 1 or len(operand.alternatives) != 1:
            raise UndecidableError("a macro over a list that is no literal")
        terms = [
            self.truth(node.bodies[0], {**scope, node.variables[0]: element})
            for element in lists[0].term
        ]
        return any_of(terms) if node.kind == "exists" else all_of(terms)

    def _text_call(self, node: Call, scope: Scope) -> Truth | None:
        assert node.target is not None
        if node.function in _TEXTS:
            left, right = self.value(node.target, scope), self.value(node.arguments[0], scope)
            pairs = [(a, b) for a in left.of("string") for b in right.of("string")]
            fits = z3.Or(*(z3.And(a.when, b.when) for a, b in pairs))
            errs = z3.Or(left.errs, right.errs, z3.Not(fits))
            holds = z3.Or(
                *(z3.And(a.when, b.when, _TEXTS[node.function](a.term, b.term)) for a, b in pairs)
            )
            return Truth(z3.And(holds, z3.Not(errs)), errs)
        pattern = node.arguments[0]
        if node.function == "matches" and isinstance(pattern, Literal):
            value = self.value(node.target, scope)
            return self._conditions._matched(value, pattern.value, FALSE)  # noqa: SLF001 — as above
        return None

    # --- values ---------------------------------------------------------------------------------

    def _fact(self, node: Node) -> Fact | None:
        name = fact_of_node(node)
        return None if name is None else self._environment.fact(name)

    def _fact_value(self, node: Node) -> Value:
        fact = self._fact(node)
        if fact is None:
            raise UndecidableError("a field of a value")
        return self._conditions.fact(fact)

    def value(self, node: Node, scope: Scope, *, strict: bool = True) -> Value:
        """
        What a node comes to.

        Raises: UndecidableError.
        """
        if isinstance(node, Literal):
            return constant(node.value)
        if isinstance(node, Ident) and node.name in scope and not node.absolute:
            return scope[node.name]
        if fact_of_node(node) is not None and not (isinstance(node, Select) and node.optional):
            found = self._fact_value(node)
            return found.strict() if strict else found
        if isinstance(node, ListDisplay) and not node.optionals:
            elements = [self.value(each, scope) for each in node.elements]
            errs = z3.Or(*(each.errs for each in elements))
            return Value((Alternative("list", TRUE, elements),), errs)
        if isinstance(node, Conditional):
            return self._chosen(node, scope)
        if isinstance(node, Chain):
            return self._arithmetic(node, scope)
        if isinstance(node, Call):
            return self._called(node, scope)
        if isinstance(node, Unary | Logic | Has):
            truth = self.truth(node, scope)
            return Value((Alternative("bool", TRUE, truth.holds),), truth.errs)
        raise UndecidableError(f"`{cel.show(node)}`")

    def _chosen(self, node: Conditional, scope: Scope) -> Value:
        test = self.truth(node.test, scope)
        then, other = self.value(node.then, scope), self.value(node.otherwise, scope)
        alternatives = [
            Alternative(each.kind, z3.And(when, each.when), each.term)
            for when, value in ((test.holds, then), (test.fails, other))
            for each in value.alternatives
        ]
        errs = z3.Or(test.errs, z3.And(test.holds, then.errs), z3.And(test.fails, other.errs))
        return Value(tuple(alternatives), errs)

    def _arithmetic(self, node: Chain, scope: Scope) -> Value:
        left = self.value(node.first, scope)
        for sign, right_node in node.steps:
            if sign not in {"+", "-", "*"}:
                raise UndecidableError(f"`{sign}`")
            left = _computed(sign, left, self.value(right_node, scope))
        return left

    def _called(self, node: Call, scope: Scope) -> Value:
        if node.function == "orValue" and node.target is not None:
            target = node.target
            if isinstance(target, Select) and target.optional and fact_of_node(target) is not None:
                found = self._fact_value(replace(target, optional=False))
                other = self.value(node.arguments[0], scope)
                absent = z3.Not(found.is_present)
                rest = [
                    Alternative(e.kind, z3.And(absent, e.when), e.term) for e in other.alternatives
                ]
                return Value((*found.alternatives, *rest), z3.And(absent, other.errs))
        if node.function == "size":
            subject = node.target if node.target is not None else node.arguments[0]
            return _size(self.value(subject, scope))
        moment = ns_of(node)
        if moment is not None:
            return scalar("timestamp", z3.IntVal(moment))
        raise UndecidableError(f"`{node.function}`")


def ns_of(node: Call) -> int | None:
    """The nanoseconds of ``timestamp("…")``; None of other calls."""
    if node.function != "timestamp" or node.target is not None:
        return None
    if not all(isinstance(each, Literal) for each in node.arguments):
        return None
    expression = cel.Expression(node, cel.parse("true").source)
    try:
        found = cel.compile_expression(expression, cel.Environment()).evaluate({})
    except cel.EvaluationError:
        return None
    ns: int = found.ns
    return ns


def _size(value: Value) -> Value:
    alternatives = []
    for each in value.alternatives:
        if each.kind == "string":
            alternatives.append(Alternative("int", each.when, z3.Length(each.term)))
        elif each.kind == "members":
            alternatives.append(Alternative("int", each.when, each.term.size))
        elif each.kind in {"list", "map"}:
            alternatives.append(Alternative("int", each.when, z3.IntVal(len(each.term))))
    found = Value(tuple(alternatives), value.errs)
    return found.strict()


def _computed(sign: str, left: Value, right: Value) -> Value:
    alternatives, errs = [], [left.errs, right.errs]
    for a in left.alternatives:
        for b in right.alternatives:
            both = z3.And(a.when, b.when)
            if a.kind == b.kind == "string" and sign == "+":
                alternatives.append(Alternative("string", both, z3.Concat(a.term, b.term)))
            elif a.kind == b.kind and a.kind in NUMBERS:
                term = {"+": a.term + b.term, "-": a.term - b.term, "*": a.term * b.term}[sign]
                alternatives.append(Alternative(a.kind, both, term))
                if a.kind == "int":
                    errs.append(z3.And(both, z3.Or(term < INT_MIN, term > INT_MAX)))
    return Value(tuple(alternatives), z3.Or(*errs)).strict()
