"""
The environment of expressions: every name that a policy's CEL may use, with what is known of it.

A *fact* is anything a policy reads: a field of the request, a derived fact, a named value, a row. Its name is
its canonical path: ``user.id``, ``user.roles[0]``, ``attributes["a.b"]``, ``pii.at(0.3).types``,
``values.own_providers``, ``budget("team-day").remaining_usd``.

In a resolved tree (``expressions.parse_condition``) a fact is one node, ``Select(Ident("@"), name)``, with the
span of all of the text that names it; ``has(a.b)`` and ``a.?b`` are ``Has`` and an optional ``Select`` of that
node. So no analysis has to know aliases, macros' variables or paths again: ``fact_of_node`` tells a fact from
other nodes, ``Environment.fact(name)`` what is known of it, and ``Environment.cel`` declares all of them to the
type checker and the compiler, as variables named ``@.user.id``. ``facts()`` lists the declared ones.

``is_optional`` means that reading it may find nothing: ``==``, ``!=`` and ``in`` then say that absent equals
nothing, and any other read outside a guard errs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from enforcer import cel
from enforcer.cel.standard import TYPES
from enforcer.cel.syntax import Ident, Node, Select
from enforcer.cel.types import BOOL, DOUBLE, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of
from enforcer.policy import fields
from enforcer.policy.fields import Cost, Field, Kind, Origin
from enforcer.policy.paths import format_path

if TYPE_CHECKING:
    from enforcer.policy import source
    from enforcer.policy.expressions import Condition
    from enforcer.policy.paths import Path

Taint = Literal["", "text", "person"]
"""Whose words a value may hold: "text" of messages, tools or attributes; "person" names somebody."""

TEXT_LENGTH_MAX: Final = 4 * 1024 * 1024
"""No text or list of a request is longer: the request itself is not."""

BUDGET_AMOUNTS: Final = ("limit_usd", "spent_usd", "reserved_usd", "remaining_usd")
RATE_AMOUNTS: Final = ("remaining",)
ROW_AMOUNTS: Final[Mapping[str, tuple[str, ...]]] = {
    "budget": BUDGET_AMOUNTS,
    "rate": RATE_AMOUNTS,
}

FACT: Final = "@"
"""What a fact's node selects from; no author can write it."""

RESERVED_NAMES: Final = frozenset(
    {
        *TYPES, *fields.REQUEST.fields, *ROW_AMOUNTS,
        "pii", "secrets", "injection", "now", "raw", "values", "request",
        "cel", "math", "strings", "optional", "base64", "lists", "sets", "net",
    }
)  # fmt: skip
"""What no variable may be called: it would hide a fact, a type or a namespace."""

_SCALARS: Final = {
    Kind.STRING: STRING,
    Kind.INT: INT,
    Kind.DOUBLE: DOUBLE,
    Kind.BOOL: BOOL,
    Kind.TIME: TIMESTAMP,
}
_TEXTS: Final = frozenset({"messages", "prompt", "tools", "tool_choice", "response_format"})
_PERSONAL: Final = frozenset({("user", "id"), ("user", "email"), ("caller", "ip"), ("user",)})
# Facts that cannot be below zero, beside those that count something.
_NEVER_NEGATIVE: Final = frozenset({"llm.estimated_cost_usd"})


@dataclass(frozen=True, slots=True, eq=False)
class Fact:
    """
    One name, and what is known of it before a request comes.

    Args:
        name: As the resolved tree has it.
        type: Of its value where it is there.
        is_optional: Whether it may be absent.
        cost: What reading it costs, in classes.
        taint: Whose words its value may hold.
        low: The least it can be, of a number; None: not bounded.
        high: The most.
        length_max: Of a text or list; None where it has no length.
        field: The field of a request or derived fact; None of values, rows and variables.
        value: Of ``values.<id>``: the list or map itself.
        row: Of a budget or rate limit: which kind; scope, policy and id; the amount asked for.
    """

    name: str
    type: Type
    is_optional: bool = False
    cost: Cost = Cost.FIELD
    taint: Taint = ""
    low: float | None = None
    high: float | None = None
    length_max: int | None = None
    field: Field | None = None
    value: Any = None
    row: tuple[str, tuple[str, str, str], str] | None = None

    @property
    def path(self) -> Path:
        """The path of a field; of anything else, one step with its name."""
        return (self.name,) if self.field is None else self.field.path


def type_of(type_: fields.Type) -> Type:
    """The CEL type of a field's type: records are maps, and what shows at run time only is dyn."""
    if type_.kind in _SCALARS:
        return _SCALARS[type_.kind]
    if type_.kind is Kind.LIST and type_.element is not None:
        return list_of(type_of(type_.element))
    if type_.kind is Kind.MAP and type_.element is not None:
        return map_of(STRING, type_of(type_.element))
    if type_.kind is Kind.RECORD:
        return map_of(STRING, DYN)
    return DYN


def type_of_value(value: Any) -> Type:
    """The CEL type of plain data: of a list or map, that of its elements where they have one."""
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, dict):
        return map_of(STRING, _joined(value.values()))
    if isinstance(value, list):
        return list_of(_joined(value))
    return {int: INT, float: DOUBLE, str: STRING}.get(type(value), DYN)


def _joined(values: Any) -> Type:
    types = {type_of_value(each) for each in values}
    return next(iter(types)) if len(types) == 1 else DYN


def fact_of(found: Field) -> Fact:
    """What is known of a field."""
    name, kind = str(found), found.type.kind
    counts = found.origin is Origin.FACT and kind is Kind.INT
    low: float | None = 0 if counts or name in _NEVER_NEGATIVE else None
    high: float | None = None
    if name == "injection.score":
        low, high = 0.0, 1.0
    has_length = kind in {Kind.STRING, Kind.LIST, Kind.MAP}
    return Fact(
        name,
        type_of(found.type),
        is_optional=found.optional,
        cost=found.cost,
        taint=_taint(found),
        low=low,
        high=high,
        length_max=TEXT_LENGTH_MAX if has_length else None,
        field=found,
    )


def _taint(found: Field) -> Taint:
    path = found.path
    if found.origin in {Origin.ATTRIBUTES, Origin.RAW} or path[0] == "attributes":
        return "text"
    if path == ("llm",) or (path[0] == "llm" and len(path) > 1 and path[1] in _TEXTS):
        return "text"
    return "person" if path in _PERSONAL or path[:2] in _PERSONAL else ""


def node_of(fact: Fact, span: tuple[int, int]) -> Select:
    """The node of a fact. The dot before it keeps variables of macros from hiding it."""
    return Select(Ident(FACT, absolute=True, span=span), fact.name, span=span)


def fact_of_node(node: Node) -> str | None:
    """The name of the fact that a node of a resolved tree reads; None of other nodes."""
    if not isinstance(node, Select) or not isinstance(node.operand, Ident):
        return None
    return node.name if node.operand.name == FACT else None


def facts() -> Iterator[Fact]:
    """Every declared fact, without those that an index, a key or an id makes."""
    for text in fields.declared_paths():
        yield fact_of(fields.resolve(text))


class Environment(Mapping[str, Type]):
    """
    What the expressions of one policy may name.

    As a mapping it is the variables of ``enforcer.cel.Environment``: ``@.name`` to type, for every fact that an
    expression was found to name.

    Args:
        policy: Scope and id of the policy.
        values: The named lists and maps of the policy's scope, plain data.
        variables: Text and place of each; an expression that names one has its tree in the name's place.
        rows: ``budget`` and ``rate`` to the ids that the policy has, and whether the row may be missing.
    """

    def __init__(
        self,
        policy: tuple[str, str],
        values: Mapping[str, Any] | None = None,
        rows: Mapping[str, Mapping[str, bool]] | None = None,
        variables: Mapping[str, tuple[str, source.Node]] | None = None,
    ) -> None:
        self.policy = policy
        self.variables: Mapping[str, tuple[str, source.Node]] = variables or {}
        self.resolved: dict[str, Condition | None] = {}
        """Variables that were read so far; None for one that cannot be, or is being read."""
        self.values_by_name: Mapping[str, Any] = values or {}
        self.rows: Mapping[str, Mapping[str, bool]] = rows or {}
        self._facts: dict[str, Fact] = {}
        self.given: Mapping[str, Fact] = {}
        """Facts of one question alone, such as the verdict in what is to be proved."""
        self.cel = cel.Environment(self)

    def fact(self, name: str) -> Fact:
        """
        The fact of a name that the resolved tree has.

        Raises: KeyError, for a name that ``declare`` was not told.
        """
        return self._facts[name.removeprefix(f"{FACT}.")]

    def declare(self, fact: Fact) -> Fact:
        """Note a fact that an expression names: its type is known from now on."""
        return self._facts.setdefault(fact.name, fact)

    def value(self, name: str) -> Fact | None:
        """The fact of ``values.<name>``."""
        if name not in self.values_by_name:
            return None
        value = self.values_by_name[name]
        return Fact(format_path(("values", name)), type_of_value(value), value=value)

    def row(self, kind: str, id_: str, amount: str) -> Fact | None:
        """The fact of ``budget("id").amount`` or ``rate("id").amount``; rows stand as before the request."""
        ids = self.rows.get(kind, {})
        if id_ not in ids or amount not in ROW_AMOUNTS[kind]:
            return None
        return Fact(
            f"{kind}({json.dumps(id_, ensure_ascii=False)}).{amount}",
            DOUBLE if kind == "budget" else INT,
            is_optional=ids[id_],
            low=None if amount == "remaining_usd" else 0,
            row=(kind, (*self.policy, id_), amount),
        )

    def __getitem__(self, name: str) -> Type:
        if not name.startswith(f"{FACT}."):
            raise KeyError(name)
        return self._facts[name[len(FACT) + 1 :]].type

    def __iter__(self) -> Iterator[str]:
        return (f"{FACT}.{name}" for name in self._facts)

    def __len__(self) -> int:
        return len(self._facts)
