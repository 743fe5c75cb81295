"""
The proof that an expression has a value on every request, operation by operation.

Theory of operation
===================

An abstract evaluation, once over the tree: of each node what is known of its value (``Known``: type, range,
length, shape of records), under what the conditions around it say (``State``). Each operation that may err asks
for what keeps it from erring: a field for presence, ``+`` for a range within 64 bits, ``xs[i]`` for a length. What is
not known is a ``Problem`` with the guard that would prove it.

``a && b`` absorbs the error of one side where the other is false, in either order. So an operand may rely on
every operand *that is itself proved*, left or right of it: operands are taken from left to right, those that
fail once more with what all proved ones say. None relies on one that relies on it. The same goes for ``||`` with
false for true. ``c ? a : b`` relies on ``c`` in ``a`` and on its contrary in ``b``.

Variables of macros stand for any element, under a key of their own, so what is learned of one holds within
the body. Sound, not complete: what cannot be told is a problem, and an author writes a guard.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from typing import Literal as OneOf

from enforcer.cel import names
from enforcer.cel.syntax import (
    Bind,
    Block,
    Call,
    Chain,
    Conditional,
    Has,
    Ident,
    Index,
    ListDisplay,
    Literal,
    Logic,
    Macro,
    MapDisplay,
    Node,
    Select,
    Unary,
    children,
)
from enforcer.cel.types import BOOL, DYN, INT, STRING, Type
from enforcer.policy import fields
from enforcer.policy.checking import compounds
from enforcer.policy.checking.assumptions import TYPES_OF_VALUES, Assumptions
from enforcer.policy.checking.compounds import CONTAINERS
from enforcer.policy.checking.guards import Guards
from enforcer.policy.checking.known import INTS, LENGTHS, Known, Range, State
from enforcer.policy.checking.operations import (
    constant_parts,
    hold_types,
    known_fact,
    known_literal,
    nearest_field,
    operate,
)
from enforcer.policy.checking.problems import Atom, Problem
from enforcer.policy.checking.scope import is_present, key_of, prefixes
from enforcer.policy.environment import fact_of_node
from enforcer.policy.environment import type_of as cel_type_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.policy.expressions import Condition

_VISITS_MAX: Final = 50_000
"""Visits after which no operand is looked at twice: bounds the work on nested chains."""


def prove(condition: Condition, present: frozenset[str] = frozenset()) -> tuple[Problem, ...]:
    """
    Everything in *condition* that may have no value on some request; nothing, if it is proved.

    Args:
        condition: Parsed, resolved and typed.
        present: Names of facts that are there wherever its value counts.
    """
    proof = Proof(condition)
    proof.condition(condition.resolved.root, State(present), {}, None)
    return tuple(dict.fromkeys(proof.problems))


def prove_value(condition: Condition, present: frozenset[str]) -> tuple[Problem, ...]:
    """As ``prove``, of an expression that comes to any value: no guard stands around it, so nothing is mended."""
    proof = Proof(condition)
    proof.visit(condition.resolved.root, State(present), {})
    return tuple(dict.fromkeys(proof.problems))


class _UnprovedError(Exception):
    """Ends a trial."""


class Proof:
    """One pass over one expression."""

    def __init__(self, condition: Condition) -> None:
        self.environment = condition.environment
        self.types = condition.checked.types
        self.problems: list[Problem] = []
        self.guards = Guards(condition)
        self.assumptions = Assumptions(condition.environment, self.alone)
        self._visits = 0
        self._notes: OneOf["note", "drop", "raise"] = "note"
        self._variables = 0
        self.loops: list[tuple[frozenset[str | None], Known]] = []

    def type(self, node: Node) -> Type:
        """The type that the checker of types found."""
        return self.types.get(id(node), DYN)

    def problem(
        self,
        kind: str,
        message: str,
        node: Node,
        known: Known,
        *,
        guard: str = "",
        help_line: str = "",
        append: str = "",
    ) -> None:
        """Note a problem with the edit that mends it, if there is one."""
        if not self.is_noted:
            return
        found = self.guards.problem(
            kind,
            message,
            node,
            guard=guard,
            help_line=help_line,
            append=append,
            is_declared=known.is_declared,
        )
        self.problems.append(found)

    @property
    def is_noted(self) -> bool:
        """
        Whether a problem is to be noted now.

        Raises: _UnprovedError, where one is enough.
        """
        if self._notes == "raise":
            raise _UnprovedError
        return self._notes == "note"

    # --- conditions -----------------------------------------------------------------------------

    def condition(
        self, node: Node, state: State, scope: Mapping[str, Known], parent: Node | None
    ) -> Known:
        """A node that must be true or false, around which a guard may stand."""
        self.guards.atoms.append(Atom(node, parent, frozenset(scope)))
        try:
            known = self.visit(node, state, scope)
            if known.type != BOOL:
                said = f"{self.guards.quoted(node)} may be no bool"
                self.problem("type", said, node, known, append=" == true")
            return known
        finally:
            self.guards.atoms.pop()

    def logic(self, node: Logic, state: State, scope: Mapping[str, Known]) -> Known:
        """A chain: each operand under what the proved ones say."""
        truth = node.operator == "&&"
        pending: list[Node] = []
        known_state = state
        for each in node.operands:
            if self._visits >= _VISITS_MAX:
                self.condition(each, known_state, scope, node)
            elif self._is_proved(each, known_state, scope, node):
                known_state = self.assumptions.learn(each, truth, known_state, scope)
            else:
                pending.append(each)
        while pending and self._visits < _VISITS_MAX:
            left = []
            for each in pending:
                if self._is_proved(each, known_state, scope, node):
                    known_state = self.assumptions.learn(each, truth, known_state, scope)
                else:
                    left.append(each)
            if len(left) == len(pending):
                break
            pending = left
        for each in pending:
            self.condition(each, known_state, scope, node)
            if truth:
                # As if its guard stood there already, so that one guard is told once.
                known_state = self.assumptions.learn(each, truth, known_state, scope)
                known_state = self._used(each, known_state, scope)
        return Known(BOOL)

    def _is_proved(
        self, node: Node, state: State, scope: Mapping[str, Known], parent: Node
    ) -> bool:
        """Whether *node* has a value for certain. Ends at the first problem, and notes none."""
        outer, loops, atoms = self._notes, len(self.loops), len(self.guards.atoms)
        self._notes = "raise"
        try:
            self.condition(node, state, scope, parent)
        except _UnprovedError:
            del self.loops[loops:]
            del self.guards.atoms[atoms:]
            return False
        finally:
            self._notes = outer
        return True

    def _used(self, node: Node, state: State, scope: Mapping[str, Known]) -> State:
        """What is there once *node* has a value: the facts in it that stand in no deeper condition."""
        stack = [node]
        while stack:
            each = stack.pop()
            name = fact_of_node(each)
            if name is not None:
                state = state.says(*prefixes(self.environment.fact(name)))
            elif isinstance(each, Select):
                key = key_of(each, scope)
                state = state if key is None else state.says(key)
            if not isinstance(each, Logic | Conditional | Macro | Unary | Has | Bind | Block):
                stack.extend(children(each))
        return state

    # --- values ---------------------------------------------------------------------------------

    def visit(self, node: Node, state: State, scope: Mapping[str, Known]) -> Known:
        """What is known of the value of *node*."""
        self._visits += 1
        self.guards.variables = frozenset(scope)
        if fact_of_node(node) is not None:
            return self.fact(node, state)
        known: Known = _VISIT[type(node)](self, node, state, scope)
        return known

    def alone(self, node: Node, scope: Mapping[str, Known]) -> Known:
        """What is known of *node* by itself; notes no problem."""
        outer, self._notes = self._notes, "drop"
        try:
            return self.visit(node, State(), scope)
        finally:
            self._notes = outer

    def tolerant(self, node: Node, state: State, scope: Mapping[str, Known]) -> Known:
        """An operand of ``==``, ``!=`` or ``in``, where an absent fact is no error."""
        name = fact_of_node(node)
        if name is None or (isinstance(node, Select) and node.optional):
            return self.visit(node, state, scope)
        return state.of(known_fact(self.environment.fact(name)))

    def fact(self, node: Node, state: State) -> Known:
        """A fact, which must be there."""
        name = fact_of_node(node)
        assert name is not None
        assert isinstance(node, Select)
        fact = self.environment.fact(name)
        known = known_fact(fact)
        if node.optional:
            return Known(
                self.type(node), known.shape, key=f"{name}?", is_declared=known.is_declared
            )
        if not is_present(fact, state):
            self.absent(node, known)
        return state.of(known)

    def absent(self, node: Node, known: Known) -> None:
        """A field that may not be there, with the guard for it."""
        text = self.guards.text(node)
        name = fact_of_node(node)
        if name is not None and text in self.environment.variables:
            text = name  # The places of a variable's parts are those of its name.
        if text.endswith("]") and "[" in text and text[:-1].rpartition("[")[2].isdigit():
            before, _, at = text[:-1].rpartition("[")
            guard = f"size({before}) > {at}"
        else:
            guard = f"has({text})" if "." in text else f"has(request.{text})"
        self.problem("absent", f"`{text}` may be absent", node, known, guard=guard)

    def literal(self, node: Literal, _state: State, _scope: Mapping[str, Known]) -> Known:
        """What the author wrote."""
        return known_literal(node.value, TYPES_OF_VALUES[node.value.__class__])

    def ident(self, node: Ident, state: State, scope: Mapping[str, Known]) -> Known:
        """A variable, or a type."""
        known = scope.get(node.name)
        return Known(self.type(node)) if known is None else state.of(known)

    def select(self, node: Select, state: State, scope: Mapping[str, Known]) -> Known:
        """``x.name`` of a map or record."""
        if names.type_named(self.environment.cel, node, scope) is not None and not scope:
            return Known(self.type(node))
        operand = self.visit(node.operand, state, scope)
        if operand.type.name == "optional":
            inner = operand.type.parameters[0] if operand.type.parameters else DYN
            self.map_wanted(node.operand, replace(operand, type=inner))
            return Known(self.type(node), key=key_of(node, scope), is_declared=operand.is_declared)
        self.map_wanted(node.operand, operand)
        known = self.entry(node, node.name, operand, scope)
        if node.optional:
            return Known(self.type(node), key=known.key, is_declared=operand.is_declared)
        if self.lacks(operand, node):
            return Known(DYN)
        shape = self.declared(operand, node.name)
        is_sure = shape is not None and not shape.optional
        if not is_sure and known.key not in state.true and not self.has_entry(operand, node.name):
            self.absent(node, known)
        return state.of(known)

    @staticmethod
    def has_entry(operand: Known, key: Any) -> bool:
        """Whether the author wrote the map out, and *key* in it."""
        return isinstance(operand.value, dict) and key in operand.value

    @staticmethod
    def declared(operand: Known, name: str) -> fields.Type | None:
        """The declared type of a field of a record."""
        shape = operand.shape
        return shape.fields.get(name) if shape is not None else None

    def entry(self, node: Node, name: str, operand: Known, scope: Mapping[str, Known]) -> Known:
        """What is known of an entry of a map under a name."""
        shape = self.declared(operand, name)
        type_ = self.type(node)
        if shape is not None:
            type_ = cel_type_of(shape)
        size = replace(LENGTHS, high=operand.size.high) if shape is not None else LENGTHS
        known = Known(
            type_, shape, size=size, key=key_of(node, scope), is_declared=operand.is_declared
        )
        if self.has_entry(operand, name):
            value = operand.value[name]
            known = replace(known, **constant_parts(value))
        return known

    def map_wanted(self, node: Node, known: Known) -> None:
        """A map, where fields are asked for."""
        if known.type.name != "map":
            text = self.guards.text(node)
            said = f"{self.guards.quoted(node)} may be no map, and only maps have fields"
            self.problem("type", said, node, known, guard=f"type({text}) == map")

    def has(self, node: Has, state: State, scope: Mapping[str, Known]) -> Known:
        """``has(x.name)``: its operand must be a map."""
        if fact_of_node(node.select) is None:
            operand = self.visit(node.select.operand, state, scope)
            if operand.type.name != "optional":
                self.map_wanted(node.select.operand, operand)
                self.lacks(operand, node.select)
        return Known(BOOL)

    def lacks(self, operand: Known, node: Select) -> bool:
        """Whether a record has no such field; a problem."""
        shape = operand.shape
        if shape is None or shape.kind is not fields.Kind.RECORD or node.name in shape.fields:
            return False
        said = f"there is no field `{node.name}` here"
        self.problem("unknown", said, node, operand, help_line=nearest_field(operand, node.name))
        return True

    def index(self, node: Index, state: State, scope: Mapping[str, Known]) -> Known:
        """``x[i]`` of a list or map."""
        operand = self.visit(node.operand, state, scope)
        at = self.visit(node.index, state, scope)
        if operand.type.name == "optional":
            inner = operand.type.parameters[0] if operand.type.parameters else DYN
            operand = replace(operand, type=inner)
        text, at_text = self.guards.text(node.operand), self.guards.text(node.index)
        if operand.type.name not in CONTAINERS:
            wanted = "map" if at.type == STRING else "list"
            said = f"{self.guards.quoted(node.operand)} may be no {wanted}"
            self.problem("type", said, node.operand, operand, guard=f"type({text}) == {wanted}")
        is_map = operand.type.name == "map" or (operand.is_dyn and at.type == STRING)
        wanted_type = STRING if is_map else INT
        if at.type != wanted_type:
            said = f"the index may be no {wanted_type}"
            self.problem("type", said, node.index, at, guard=f"type({at_text}) == {wanted_type}")
        shape = operand.shape.element if operand.shape is not None else None
        known = Known(
            self.type(node), shape, key=key_of(node, scope), is_declared=operand.is_declared
        )
        if shape is not None:
            known = replace(known, type=cel_type_of(shape))
        if node.optional or self.type(node).name == "optional":
            return replace(known, type=self.type(node))
        if is_map:
            is_there = known.key in state.true or self.has_entry(operand, at.value)
            guard = f"{at_text} in {text}"
        else:
            relation = f"{at.key} < {f'size({operand.key})' if operand.key else ''}"
            is_below = at.range.high < operand.size.low or relation in state.true
            is_there = at.range.low >= 0 and is_below
            guard = f"size({text}) > {at_text}"
            if at.range.low < 0:
                guard = f"{at_text} >= 0 && {guard}"
        if not is_there:
            said = f"{self.guards.quoted(node)} may not be there"
            self.problem("key", said, node, known, guard=guard)
        return state.of(known)

    # --- operators ------------------------------------------------------------------------------

    def unary(self, node: Unary, state: State, scope: Mapping[str, Known]) -> Known:
        """``!`` and ``-``."""
        if node.operator == "!":
            self.condition(node.operand, state, scope, node)
            return Known(BOOL)
        operand = self.visit(node.operand, state, scope)
        range_ = Range(-operand.range.high, -operand.range.low)
        text = self.guards.text(node.operand)
        if operand.type == INT and not range_.within(INTS):
            guard = f"{text} > -{10**15}"
            self.problem("overflow", "the negation may overflow", node, operand, guard=guard)
            range_ = INTS
        elif operand.type.name not in {"int", "double"}:
            said = f"{self.guards.quoted(node.operand)} may be no number"
            self.problem("type", said, node, operand, guard=f"type({text}) == int")
        return Known(operand.type, range=range_, is_declared=operand.is_declared)

    def chain(self, node: Chain, state: State, scope: Mapping[str, Known]) -> Known:
        """Arithmetic or relations of one precedence."""
        (operator, right), *others = node.steps
        if not others and operator in {"==", "!=", "in"}:
            found = self.tolerant(node.first, state, scope)
            container = self.tolerant(right, state, scope)
            hold_types(self, node, operator, found, container)
            if operator == "in" and container.type.name not in CONTAINERS:
                text = self.guards.text(right)
                said = f"{self.guards.quoted(right)} may be no list"
                self.problem("type", said, right, container, guard=f"type({text}) == list")
            return Known(BOOL)
        left = self.visit(node.first, state, scope)
        left_text = self.guards.text(node.first)
        for operator, right in node.steps:
            found = self.visit(right, state, scope)
            left = operate(self, node, operator, (left, left_text), (found, right), state)
            left_text = ""
        return left

    def conditional(self, node: Conditional, state: State, scope: Mapping[str, Known]) -> Known:
        """``c ? a : b``."""
        self.condition(node.test, state, scope, node)
        found = []
        for each, truth in ((node.then, True), (node.otherwise, False)):
            inner = self.assumptions.learn(node.test, truth, state, scope)
            if self.type(each) == BOOL and self.type(node) == BOOL:
                found.append(self.condition(each, inner, scope, node))
            else:
                found.append(self.visit(each, inner, scope))
        return found[0].joined(found[1])

    def fresh(self) -> str:
        """A key that nothing else has."""
        self._variables += 1
        return f"#{self._variables}"


_VISIT: Final[dict[type, Any]] = {
    Literal: Proof.literal,
    Ident: Proof.ident,
    Select: Proof.select,
    Has: Proof.has,
    Index: Proof.index,
    Call: compounds.prove_call,
    Unary: Proof.unary,
    Logic: Proof.logic,
    Chain: Proof.chain,
    Conditional: Proof.conditional,
    ListDisplay: compounds.prove_list,
    MapDisplay: compounds.prove_map,
    Macro: compounds.prove_macro,
    Bind: compounds.prove_bind,
    Block: compounds.prove_block,
}
