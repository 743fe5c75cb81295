"""
Expressions of policies: CEL text to a tree whose every name is a fact, with its types and places.

``parse_condition`` reads the text of a ``when``, ``match`` or ``unless`` and resolves it: the longest chain of
fields, literal indexes and literal keys that is a path becomes one name (see ``environment``), aliases
become the canonical path, ``values.<id>`` a constant, ``budget("id").remaining_usd`` a row. What no request
has is a finding at its place, and so is what the type checker refuses. Macro variables hide facts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from enforcer import cel
from enforcer.cel import limits as cel_limits
from enforcer.cel import names
from enforcer.cel.standard import TYPES
from enforcer.cel.syntax import (
    Bind,
    Block,
    Call,
    Has,
    Ident,
    Index,
    Literal,
    Macro,
    Node,
    Select,
    children,
    rewritten_below,
)
from enforcer.errors import Span
from enforcer.policy import fields, misreadings
from enforcer.policy.chains import Chain, chain_of, is_step
from enforcer.policy.environment import ROW_AMOUNTS, Environment, Fact, fact_of, node_of
from enforcer.policy.fields import FieldError, Kind
from enforcer.policy.paths import format_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.policy import source
    from enforcer.policy.findings import Findings
    from enforcer.policy.paths import Path

DEPTH_MAX: Final = 64
"""How deep an expression may nest; a chain of one precedence counts once."""


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """
    An expression of a policy, parsed, resolved and typed.

    Args:
        expression: As its author wrote it.
        resolved: The same with facts for names; nodes keep the spans of the text.
        checked: The types of ``resolved``, by identity of its nodes. Without issues.
        environment: Which facts the names are.
        facts: Those that ``resolved`` reads, in the order of the text, each once.
        node: Where the text stands in its document.
    """

    expression: cel.Expression
    resolved: cel.Expression
    checked: cel.Checked
    environment: Environment
    facts: tuple[Fact, ...]
    node: source.Node

    def place(self, offset: int) -> Span:
        """The place of a code point of the text, in the document's file."""
        return place_in(self.node, self.expression.source.place(offset))


def place_in(node: source.Node, at: tuple[int, int]) -> Span:
    """
    The place in a file of line and column *at*, from 1, of the text that *node* holds.

    Exact for block scalars (``|``) and for texts on one line; of others the place where the text begins.
    """
    line, column = at
    begin = node.text_at or node.span
    if node.text_at is not None:
        return Span(begin.file, begin.line + line - 1, begin.column + column - 1)
    if line > 1:
        return begin
    return Span(begin.file, begin.line, begin.column + column - 1 + (node.style == "quoted"))


def parse_condition(
    text: str,
    node: source.Node,
    environment: Environment,
    findings: Findings,
    *,
    wanted: cel.Type | None = None,
    as_text: bool = False,
) -> Condition | None:
    """
    Read an expression; None, and findings, where it is none or does not check.

    Args:
        text: The expression.
        node: Where it stands.
        environment: What it may name; learns the facts that it names.
        findings: Where faults go.
        wanted: The type it must have; bool unless given. ``dyn`` takes any.
        as_text: Convert what it comes to with ``string()``.
    """
    try:
        expression = cel.parse(text)
    except cel.CelSyntaxError as error:
        at = place_in(node, (error.span.line, error.span.column))
        code, said, help_line = misreadings.unreadable(error, node)
        findings.error(code, said, at, help=help_line)
        return None
    reading = _Reading(expression, node, environment, findings)
    before = findings.error_count
    reading.hold_yaml(expression)
    reading.hold_depth(expression.root)
    if findings.error_count > before:
        return None
    root = reading.resolve(expression.root, frozenset())
    if as_text:
        root = Call("string", None, (root,), absolute=True, span=root.span)
    resolved = replace(expression, root=root)
    if findings.error_count > before:
        return None
    reading.hold_size(root)
    if findings.error_count > before:
        return None
    checked = cel.check(resolved, environment.cel)
    for issue in checked.issues:
        code, said, help_line = misreadings.mistyped(issue)
        reading.error(code, said, issue.start, help_line, length=issue.end - issue.start)
    if not checked.issues and not _fits(checked.type, wanted or cel.read_type("bool")):
        what = f"the expression is of type {checked.type}, not {wanted or 'bool'}"
        reading.error("ENF0704", what, 0, "a condition is true or false")
    if findings.error_count > before:
        return None
    return Condition(
        expression, resolved, checked, environment, tuple(reading.facts.values()), node
    )


def resolve_variable(name: str, environment: Environment, findings: Findings) -> Condition | None:
    """A variable of the policy, read once; None, and a finding, where it cannot be."""
    if name not in environment.resolved:
        text, node = environment.variables[name]
        environment.resolved[name] = None
        environment.resolved[name] = parse_condition(
            text, node, environment, findings, wanted=cel.read_type("dyn")
        )
    return environment.resolved[name]


def _fits(found: cel.Type, wanted: cel.Type) -> bool:
    return found == wanted or "dyn" in {found.name, wanted.name}


class _Reading:
    """One expression on its way from names to facts."""

    def __init__(
        self,
        expression: cel.Expression,
        node: source.Node,
        environment: Environment,
        findings: Findings,
    ) -> None:
        self._source = expression.source
        self._node = node
        self._environment = environment
        self._findings = findings
        self.facts: dict[str, Fact] = {}
        self._taken_over = 0

    def error(
        self, code: str, message: str, offset: int, help_line: str, *, length: int = 0
    ) -> None:
        """A finding at a code point of the text."""
        place = place_in(self._node, self._source.place(offset))
        self._findings.error(code, message, place, help=help_line, length=length)

    def hold_yaml(self, expression: cel.Expression) -> None:
        """Refuse a text that YAML has changed unseen."""
        found = misreadings.altered(expression, self._node)
        if found is not None:
            self._findings.error("ENF0111", found[0], self._node.span, help=found[1])

    def hold_depth(self, root: Node) -> None:
        """Hold the language's bound on nesting, which is half of what the parser takes."""
        level, depth = [root], 0
        while level:
            depth += 1
            if depth > DEPTH_MAX:
                said = f"the expression nests deeper than {DEPTH_MAX}"
                self.error("ENF0702", said, level[0].span[0], "name a part of it under `variables`")
                return
            level = [below for each in level for below in children(each)]

    def hold_size(self, root: Node) -> None:
        """Hold the parser's bounds once more, with variables in place of their names."""
        count, depth, level = 0, 0, [root]
        while level:
            depth, count = depth + 1, count + len(level)
            if depth > cel_limits.DEPTH_MAX or count > cel_limits.NODES_MAX:
                said = "the expression is too large with its variables"
                self.error("ENF0702", said, 0, "split it into several rules")
                return
            level = [below for each in level for below in children(each)]

    def resolve(self, node: Node, hidden: frozenset[str]) -> Node:
        """*node* with facts for names; *hidden* are the variables of macros around it."""
        if isinstance(node, Has):
            return self._has(node, hidden)
        if isinstance(node, Select | Index) and node.optional:
            return self._optional(node, hidden)
        if isinstance(node, Ident | Select | Index):
            return self._path(node, hidden)
        if isinstance(node, Call):
            return self._call(node, hidden)
        if isinstance(node, Macro):
            inner = hidden | set(node.variables)
            return replace(
                node,
                operand=self.resolve(node.operand, hidden),
                bodies=tuple(self.resolve(each, inner) for each in node.bodies),
            )
        if isinstance(node, Bind):
            inner = hidden | {node.variable}
            return replace(
                node, value=self.resolve(node.value, hidden), body=self.resolve(node.body, inner)
            )
        if isinstance(node, Block):
            slots = {f"@index{at}" for at in range(len(node.slots))}
            return rewritten_below(node, lambda each: self.resolve(each, hidden | slots))
        return rewritten_below(node, lambda each: self.resolve(each, hidden))

    # --- names ----------------------------------------------------------------------------------

    def _path(self, node: Node, hidden: frozenset[str]) -> Node:
        """A chain of names and keys: the fact of its longest beginning that is one, and the rest of it."""
        chain = chain_of(node)
        variable = self._variable(chain.root, hidden)
        if variable is not None:
            return self._resolve_steps(chain, 0, variable)
        found = self._longest(chain, hidden)
        if found is None:
            return self._resolve_steps(chain, 0, self._root(chain, hidden))
        fact, length = found
        if self._lacks_field(chain, fact, length, hidden):
            return node
        place = (chain.steps[length - 1][1] if length else chain.root).span
        return self._resolve_steps(chain, length, self._named(fact, place))

    def _variable(self, root: Node, hidden: frozenset[str]) -> Node | None:
        """The tree of a policy's variable, in the place of its name; None of other names."""
        if not isinstance(root, Ident) or self._is_hidden(root, hidden):
            return None
        if root.name not in self._environment.variables:
            return None
        is_being_read = self._environment.resolved.get(root.name, self) is None
        found = resolve_variable(root.name, self._environment, self._findings)
        if found is None:
            if is_being_read:
                said = f"the variable `{root.name}` cannot be used here: it needs itself, or does not check"
                self.error("ENF0706", said, root.span[0], "a variable may use others, in no circle")
            return Literal(None, root.span)
        self.facts.update((fact.name, fact) for fact in found.facts)
        tree = found.resolved.root
        self._taken_over += sum(1 for _ in cel.walk(tree))
        if self._taken_over > cel_limits.NODES_MAX:
            self.error("ENF0702", "the expression is too large with its variables", 0, "split it")
            return Literal(None, root.span)
        return cel.rewritten(tree, lambda each: replace(each, span=root.span))

    def _lacks_field(self, chain: Chain, fact: Fact, length: int, hidden: frozenset[str]) -> bool:
        """Whether *chain* goes on with a field that the declared object *fact* does not have; a finding."""
        is_object = fact.field is not None and fact.field.type.kind is Kind.RECORD
        if not is_object or length == len(chain.steps):
            return False
        self._unknown(chain, hidden)
        return True

    def _resolve_steps(self, chain: Chain, start: int, operand: Node) -> Node:
        """The steps of a chain from *start* on, over another operand."""
        for _, step in chain.steps[start:]:
            assert isinstance(step, Select | Index)
            operand = replace(step, operand=operand)
        return operand

    def _root(self, chain: Chain, hidden: frozenset[str]) -> Node:
        """The beginning of a chain that is no path."""
        root = chain.root
        if isinstance(root, Index) and not root.optional:
            return rewritten_below(root, lambda each: self.resolve(each, hidden))
        if not isinstance(root, Ident):
            return self.resolve(root, hidden)
        if self._is_hidden(root, hidden) or root.name.startswith("@") or self._is_type(chain):
            return root
        self._unknown(chain, hidden)
        return root

    def _is_type(self, chain: Chain) -> bool:
        """Whether a chain names a type, or a variable of the policy."""
        steps = [step for step, _ in chain.steps if isinstance(step, str)]
        assert isinstance(chain.root, Ident)
        dotted = ".".join([chain.root.name, *steps])
        return chain.root.name in TYPES or dotted in TYPES

    @staticmethod
    def _is_hidden(root: Node, hidden: frozenset[str]) -> bool:
        return isinstance(root, Ident) and not root.absolute and root.name in hidden

    def _named(self, fact: Fact, span: tuple[int, int]) -> Select:
        self._environment.declare(fact)
        self.facts.setdefault(fact.name, fact)
        return node_of(fact, span)

    def _longest(self, chain: Chain, hidden: frozenset[str]) -> tuple[Fact, int] | None:
        """The fact of the longest beginning of *chain* that is one, and how many steps it takes."""
        special = self._special(chain, hidden)
        if special is not None:
            return special
        root = chain.root
        if not isinstance(root, Ident) or self._is_hidden(root, hidden):
            return None
        path = (root.name, *(step for step, _ in chain.steps))
        if root.name == "request" and len(path) > 1 and isinstance(path[1], str):
            found = self._longest_of(path[1:])
            return (found[0], found[1] + 1) if found else None
        return self._longest_of(path)

    @staticmethod
    def _longest_of(path: Path) -> tuple[Fact, int] | None:
        for length in range(len(path), 0, -1):
            try:
                found = fields.resolve(format_path(path[:length]))
            except FieldError:
                continue
            return fact_of(found), length - 1
        return None

    def _special(self, chain: Chain, hidden: frozenset[str]) -> tuple[Fact, int] | None:
        """``values.id``, ``budget("id").amount``, ``rate("id").amount``, ``pii.at(0.3).types``."""
        root, steps = chain.root, chain.steps
        if isinstance(root, Ident) and root.name in self._environment.given:
            return self._environment.given[root.name], 0
        if isinstance(root, Ident) and root.name == "values" and not self._is_hidden(root, hidden):
            found = self._environment.value(str(steps[0][0])) if steps else None
            return (found, 1) if found is not None else None
        if not isinstance(root, Call) or not steps:
            return None
        if root.target is None and root.function in ROW_AMOUNTS:
            id_ = _literal(root, str)
            found = None
            if id_ is not None:
                found = self._environment.row(root.function, id_, str(steps[0][0]))
            return (found, 1) if found is not None else None
        if _is_pii_at(root, hidden):
            return self._pii_at(root, steps)
        return None

    def _pii_at(
        self, call: Call, steps: tuple[tuple[str | int, Node], ...]
    ) -> tuple[Fact, int] | None:
        confidence = _literal(call, float)
        for length in range(len(steps), 0, -1):
            rest = ".".join(str(step) for step, _ in steps[:length])
            try:
                return fact_of(fields.pii_at(confidence or 0.0, rest)), length
            except FieldError:
                continue
        return None

    def _unknown(self, chain: Chain, hidden: frozenset[str]) -> None:
        """Say that a chain names nothing."""
        root = chain.root
        assert isinstance(root, Ident)
        path: Path = (root.name, *(step for step, _ in chain.steps))
        if root.name == "values":
            known = ", ".join(sorted(self._environment.values_by_name)) or "none"
            name = f"`values.{path[1]}`" if len(path) > 1 else "`values` alone"
            said = f"no Values document of this scope has {name}"
            self.error("ENF0409", said, root.span[0], f"there are: {known}")
            return
        if root.name == "request":
            path = path[1:] or path
        close = None
        if len(path) == 1:
            close = misreadings.unknown_name(root.name, [*self._environment.variables, *hidden])
        try:
            fields.resolve(format_path(path))
        except FieldError as error:
            length = (chain.steps[-1][1] if chain.steps else root).span[1] - root.span[0]
            self.error(error.code, str(error), root.span[0], close or error.help, length=length)
        else:
            raise AssertionError(path)

    # --- presence -------------------------------------------------------------------------------

    def _has(self, node: Has, hidden: frozenset[str]) -> Node:
        select = node.select
        whole = self._whole(Select(select.operand, select.name, span=select.span), hidden)
        if whole is not None:
            return Has(whole, node.span)
        operand = self.resolve(select.operand, hidden)
        return Has(replace(select, operand=operand), node.span)

    def _optional(self, node: Select | Index, hidden: frozenset[str]) -> Node:
        plain: Node | None = None
        if isinstance(node, Select):
            plain = Select(node.operand, node.name, span=node.span)
        elif is_step(node.index):
            plain = Index(node.operand, node.index, span=node.span)
        whole = None if plain is None else self._whole(plain, hidden)
        if whole is not None:
            return replace(whole, optional=True)
        return rewritten_below(node, lambda each: self.resolve(each, hidden))

    def _whole(self, node: Node, hidden: frozenset[str]) -> Select | None:
        """The node of the fact that all of *node* names, if it is one with a presence of its own."""
        chain = chain_of(node)
        found = self._longest(chain, hidden)
        if (
            found is None
            or self._lacks_field(chain, *found, hidden)
            or found[1] != len(chain.steps)
        ):
            return None
        return self._named(found[0], node.span)

    # --- calls ----------------------------------------------------------------------------------

    def _call(self, node: Call, hidden: frozenset[str]) -> Node:
        if node.target is None and node.function in ROW_AMOUNTS:
            self._unknown_row(node)
            return node
        if _is_pii_at(node, hidden):
            said = (
                "`pii.at` takes a literal confidence, and is asked for `types`, `count` or `counts`"
            )
            self.error("ENF0405", said, node.span[0], "for example `pii.at(0.3).types`")
            return node
        named = names.function_named(self._environment.cel, node, hidden)
        target = node.target
        is_member = target is not None
        if named is None and not self._is_function(node.function, is_member=is_member):
            said, help_line = misreadings.unknown_function(node.function, is_member=is_member)
            self.error("ENF0704", said, node.span[0], help_line, length=node.span[1] - node.span[0])
            return node
        if named is None and target is not None:
            target = self.resolve(target, hidden)
        arguments = tuple(self.resolve(each, hidden) for each in node.arguments)
        return replace(node, target=target, arguments=arguments)

    def _is_function(self, name: str, *, is_member: bool) -> bool:
        return self._environment.cel.function_code(name, is_member=is_member) is not None

    def _unknown_row(self, node: Call) -> None:
        kind = node.function
        known = self._environment.rows.get(kind, {})
        amounts = ", ".join(ROW_AMOUNTS[kind])
        listed = ", ".join(sorted(known)) or "none"
        said = (
            f"`{kind}` takes the literal id of one of the policy's own, and is asked for {amounts}"
        )
        self.error("ENF0703", said, node.span[0], f"there are: {listed}")


def _literal(call: Call, kind: type) -> Any:
    """The one literal argument of a call, of a Python type; None where it is another."""
    if len(call.arguments) != 1 or not isinstance(call.arguments[0], Literal):
        return None
    value = call.arguments[0].value
    if kind is float and value.__class__ is int:
        return float(value)
    return value if value.__class__ is kind else None


def _is_pii_at(node: Node, hidden: frozenset[str]) -> bool:
    if not isinstance(node, Call) or node.function != "at":
        return False
    target = node.target
    return isinstance(target, Ident) and target.name == "pii" and target.name not in hidden


def literals(node: Node) -> Iterator[Any]:
    """Every literal value in a tree."""
    for each in cel.walk(node):
        if isinstance(each, Literal):
            yield each.value
