"""Structured conditions to the intermediate form, with a finding for everything that is no law."""

from __future__ import annotations

import difflib
import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from enforcer import cel
from enforcer.cel.syntax import Call
from enforcer.cel.types import DYN
from enforcer.policy import expressions, source
from enforcer.policy.documents import OPERATORS, Condition
from enforcer.policy.exemptions import Template
from enforcer.policy.fields import Field, FieldError, Kind, resolve
from enforcer.policy.ir import ORDERINGS, All, AnyOf, Expr, Leaf, Not, Test
from enforcer.policy.narrowing import narrowed
from enforcer.policy.regex import RegexError, compile_search
from enforcer.policy.shape import YAML_BOOLEANS
from enforcer.policy.skeleton import expression_of

if TYPE_CHECKING:
    from enforcer.errors import Span
    from enforcer.policy.environment import Environment
    from enforcer.policy.findings import Findings
    from enforcer.policy.source import Node

# As other engines call them.
_OTHER_WORDS = {
    "equals": "eq", "equal": "eq", "==": "eq", "not_equals": "ne", "!=": "ne",
    "greater_than": "gt", ">": "gt", ">=": "gte", "less_than": "lt", "<": "lt", "<=": "lte",
    "regex": "matches", "&&": "and", "||": "or", "!": "not", "any": "or", "all": "and",
}  # fmt: skip
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
# Of these types no value is a text.
_UNTAINTED = frozenset({"bool", "int", "uint", "double", "timestamp", "duration"})
_LOGICAL = frozenset({"and", "or", "not"})
_UNTYPED = frozenset({Kind.ANY, Kind.JSON})
_NUMBERS = frozenset({"integer", "number"})


def to_plain(value: Any) -> Any:
    """Literals as they are compared: decimals become doubles, as JSON numbers are."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: to_plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(each) for each in value]
    return value


def kind_of(value: Any) -> str:
    """The type of a literal, in the words of ``Kind``; ``null`` for None."""
    if value is None:
        return "null"
    for type_, word in _WORDS:
        if isinstance(value, type_):
            return word
    raise AssertionError(type(value))


# bool first: to Python it is an int.
_WORDS: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "list"),
    (dict, "map"),
)


class Conditions:
    """
    Builds the conditions of one document, in both notations.

    ``expressions`` are those of CEL that were read so far.
    """

    def __init__(self, findings: Findings, environment: Environment) -> None:
        self._findings = findings
        self.environment = environment
        self._values = environment.values_by_name
        self.expressions: list[expressions.Condition] = []

    def build(
        self, condition: Condition | str, node: Node, present: frozenset[str] = frozenset()
    ) -> Expr | None:
        """
        The intermediate form of a condition; None if it has an error.

        Args:
            condition: As the model has it.
            node: Where it stands.
            present: Fields that are there wherever it counts.
        """
        built = self._build(condition, node)
        return None if built is None else narrowed(built, present)

    def _build(self, condition: Condition | str, node: Node) -> Expr | None:
        if isinstance(condition, str):
            return self._expression(condition, node)
        operator = condition.operator
        if condition.when is not None:
            if len(condition.model_fields_set) == 1:
                return self._expression(condition.when, node.get("when") or node)
            said, help_line = "`when` stands alone in a condition", "join conditions with `and`"
            self._findings.error("ENF0402", said, node.span, help=help_line)
            return None
        if operator is None:
            said, help_line = "a condition has an `operator` or a `when`", "add `operator:`"
            self._findings.error("ENF0202", said, node.span, help=help_line)
            return None
        if operator not in OPERATORS:
            self._unknown_operator(operator, _at(node, "operator"))
            return None
        if operator in _LOGICAL:
            return self._logical(condition, node)
        return self._test(condition, node)

    def template(self, text: str, node: Node) -> Template | None:
        """
        A reason with ``{{ expression }}`` in it. Each comes to one number, flag, time or text.

        None, and findings, where one cannot be read or would tell what people wrote.
        """
        parts: list[str | Leaf] = []
        before = self._findings.error_count
        end = 0
        for found in _EXPRESSION.finditer(text):
            parts.append(text[end : found.start()])
            end = found.end()
            begin = found.end(1) - len(found[1].lstrip())
            leaf = self._told(found[1].strip(), _part_of(node, text, begin))
            if leaf is not None:
                parts.append(leaf)
        parts.append(text[end:])
        if "{{" in _EXPRESSION.sub("", text):
            said, help_line = "a `{{` is not closed", "write `{{ llm.model }}`"
            self._findings.error("ENF0705", said, node.span, help=help_line)
        return None if self._findings.error_count > before else Template(tuple(parts))

    def _told(self, text: str, node: Node) -> Leaf | None:
        """An expression whose value a reason tells."""
        found = expressions.parse_condition(
            text, node, self.environment, self._findings, wanted=DYN, as_text=True
        )
        if found is None:
            return None
        root = found.resolved.root
        assert isinstance(root, Call)
        type_ = found.checked.types[id(root.arguments[0])]
        tainted = next((fact for fact in found.facts if fact.taint), None)
        if tainted is not None and type_.name not in _UNTAINTED:
            whose = "what people wrote" if tainted.taint == "text" else "who somebody is"
            said = f"`{tainted.name}` may hold {whose}, and no reason tells it"
            help_line = "tell a count, a type, the model, the team or the project"
            self._findings.error("ENF0705", said, node.span, help=help_line)
            return None
        return Leaf(cel.show(root), frozenset(), root, found, found.facts)

    def _expression(self, text: str, node: Node) -> Expr | None:
        found = expressions.parse_condition(text, node, self.environment, self._findings)
        if found is None:
            return None
        self.expressions.append(found)
        return expression_of(found)

    def _unknown_operator(self, operator: str, span: Span) -> None:
        word = _OTHER_WORDS.get(operator.lower(), operator.lower())
        close = difflib.get_close_matches(word, OPERATORS, n=1)
        help_line = f"did you mean `{close[0]}`?" if close else f"one of {', '.join(OPERATORS)}"
        self._findings.error("ENF0401", f"there is no operator `{operator}`", span, help=help_line)

    def _logical(self, condition: Condition, node: Node) -> Expr | None:
        operator = condition.operator
        children = condition.conditions
        given = condition.model_fields_set & {"field", "value"}
        if children is None or given or (operator == "not" and len(children) != 1):
            count = "one condition" if operator == "not" else "a list of conditions"
            self._findings.error(
                "ENF0402",
                f"`{operator}` takes {count} in `conditions`, and nothing else",
                node.span,
                help=f"write `operator: {operator}` with `conditions: [...]`",
            )
            return None
        child_nodes = (node.get("conditions") or node).items()
        built = [
            self._build(child, child_node)
            for child, child_node in zip(children, child_nodes, strict=True)
        ]
        terms = tuple(term for term in built if term is not None)
        if len(terms) < len(built):
            return None
        if operator == "not":
            return Not(terms[0])
        return All(terms) if operator == "and" else AnyOf(terms)

    def _test(self, condition: Condition, node: Node) -> Expr | None:
        operator = condition.operator or ""
        has_value = "value" in condition.model_fields_set
        wants_value = operator != "exists"
        if condition.field is None or has_value != wants_value or condition.conditions is not None:
            takes = "`field` and `value`" if wants_value else "`field` alone"
            help_line = "a field that may be missing is asked for with `exists`"
            self._findings.error(
                "ENF0402", f"`{operator}` takes {takes}", node.span, help=help_line
            )
            return None
        span = _at(node, "value") if wants_value else node.span
        field = self._field(condition.field, _at(node, "field"))
        found, value = self._value(condition, span) if wants_value else (True, None)
        if field is None or not found:
            return None
        check = _Check(self._findings, field, operator, span)
        found, value = check.literal(value)
        return Test(operator, field, value, node.span) if found else None  # type: ignore[arg-type]

    def _field(self, text: str, span: Span) -> Field | None:
        try:
            return resolve(text)
        except FieldError as error:
            self._findings.error(error.code, str(error), span, help=error.help)
            return None

    def _value(self, condition: Condition, span: Span) -> tuple[bool, Any]:
        """The literal, or the list or map that ``{values: id}`` names; whether there is one."""
        value = condition.value
        if not (isinstance(value, dict) and set(value) == {"values"}):
            return True, to_plain(value)
        name = value["values"]
        if isinstance(name, str) and name in self._values:
            found = to_plain(self._values[name])
            if condition.operator in {"in", "not_in"} and isinstance(found, dict):
                found = list(found)
            return True, found
        close = difflib.get_close_matches(str(name), self._values, n=1)
        self._findings.error(
            "ENF0409",
            f"no Values document of this scope has `{name}`",
            span,
            help=f"did you mean `{close[0]}`?"
            if close
            else "a policy reads values of its own tenant",
        )
        return False, None


def _part_of(node: Node, text: str, offset: int) -> Node:
    """The node of an expression within a text, from *offset* on."""
    before = text[:offset]
    line, column = before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
    return source.Node(text, expressions.place_in(node, (line, column)))


def _at(node: Node, key: str) -> Span:
    child = node.get(key)
    return child.span if child else node.span


class _Check:
    """Whether a literal fits an operator and the type of a field."""

    def __init__(self, findings: Findings, field: Field, operator: str, span: Span) -> None:
        self._findings = findings
        self._field = field
        self._kind = field.type.kind
        self._operator = operator
        self._span = span

    def literal(self, value: Any) -> tuple[bool, Any]:
        """Whether it fits, and the literal to compare with."""
        operator = self._operator
        if operator == "exists":
            return True, None
        if self._kind is Kind.TIME:
            return self._time(value)
        if operator in ORDERINGS:
            return self._ordering(value), value
        if operator in {"eq", "ne"}:
            self._equality([value])
            return True, value
        if operator in {"in", "not_in"}:
            return self._membership(value), value
        if operator == "matches":
            return self._regex(value), value
        return self._containment(value), value

    def _time(self, value: Any) -> tuple[bool, Any]:
        if self._operator not in ORDERINGS | {"eq", "ne"}:
            return self._refuse("compare a time with gt, gte, lt or lte"), None
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            return self._refuse('write a time with its offset: "2026-12-31T00:00:00Z"'), None
        delta = moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        return True, (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds

    def _ordering(self, value: Any) -> bool:
        word = kind_of(value)
        if self._kind in _UNTYPED:
            fits = word in _NUMBERS or word == "string"
            return fits or self._refuse("numbers and strings have an order, other values have none")
        if self._kind in {Kind.INT, Kind.DOUBLE}:
            return word in _NUMBERS or self._refuse(
                "compare a number with a number, without quotes"
            )
        if self._kind is Kind.STRING:
            return word == "string" or self._refuse("compare text with text, in quotes")
        return self._refuse("numbers and strings have an order, other values have none")

    def _membership(self, value: Any) -> bool:
        if not isinstance(value, list):
            return self._refuse("`value` is a list, or `{values: id}`")
        if self._kind is Kind.LIST:
            self._constant("a list is never an element of these; use `contains` for its elements")
        else:
            self._equality(value)
        return True

    def _equality(self, values: list[Any]) -> None:
        """Warn where no literal can ever equal the field, for its type is known."""
        if self._kind in _UNTYPED or not values:
            return
        words = {kind_of(value) for value in values}
        if words == {"null"}:
            self._constant("a declared field that is null counts as absent; ask with `exists`")
        elif not words & _equal_to(self._kind):
            self._constant(f"`{self._field}` is a {self._field.type}{self._meant(values)}")

    def _meant(self, values: list[Any]) -> str:
        """What to write instead, where YAML read another type than its author saw."""
        first = values[0]
        if self._kind is Kind.BOOL and isinstance(first, str):
            meant = YAML_BOOLEANS.get(first.lower())
            return f": write `{meant}`, to YAML 1.2 `{first}` is a text" if meant else ""
        if self._kind is Kind.STRING and not isinstance(first, (str, list, dict)):
            return ": write the value in quotes"
        is_quoted = self._kind in {Kind.INT, Kind.DOUBLE} and isinstance(first, str)
        return ": write the value without quotes" if is_quoted else ""

    def _containment(self, value: Any) -> bool:
        if self._kind is Kind.STRING:
            return isinstance(value, str) or self._refuse("text contains text; write it in quotes")
        if self._kind is Kind.LIST:
            element = self._field.type.element
            is_typed = element is not None and element.kind not in _UNTYPED | {Kind.RECORD}
            if is_typed and element and kind_of(value) not in _equal_to(element.kind):
                self._constant(f"the elements of `{self._field}` are of type {element}")
            return True
        if self._kind in _UNTYPED | {Kind.MAP}:
            return True
        return self._refuse("texts, lists and maps contain something, other values do not")

    def _regex(self, value: Any) -> bool:
        if self._kind not in _UNTYPED | {Kind.STRING}:
            return self._refuse("only text can match a regular expression")
        if not isinstance(value, str):
            return self._refuse("`value` is a regular expression, as text")
        try:
            compile_search(value)
        except RegexError as error:
            self._findings.error(
                "ENF0408",
                f"the regular expression is refused by RE2: {error}",
                self._span,
                help="RE2 has no look-around and no back-references; everything else is Perl's",
            )
            return False
        return True

    def _refuse(self, help_line: str) -> bool:
        self._findings.error(
            "ENF0406",
            f"`{self._operator}` does not fit `{self._field}`, a {self._field.type}",
            self._span,
            help=help_line,
        )
        return False

    def _constant(self, help_line: str) -> None:
        always = "true" if self._operator in {"ne", "not_in", "not_contains"} else "false"
        self._findings.warning(
            "ENF0407", f"`{self._operator}` is always {always} here", self._span, help=help_line
        )


def _equal_to(kind: Kind) -> frozenset[str]:
    """Of which types a literal can equal a field of *kind*."""
    if kind in {Kind.INT, Kind.DOUBLE}:
        return _NUMBERS
    if kind in {Kind.MAP, Kind.RECORD}:
        return frozenset({"map"})
    return frozenset({kind.value})
