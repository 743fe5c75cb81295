"""Names of values: the key that is the same wherever an expression reads the same value."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from enforcer.cel.syntax import Call, Ident, Index, Literal, Node, Select
from enforcer.policy import fields
from enforcer.policy.environment import fact_of_node
from enforcer.policy.fields import FieldError, Kind, Origin
from enforcer.policy.paths import format_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.policy.checking.known import Known, State
    from enforcer.policy.environment import Fact


def key_of(node: Node, scope: Mapping[str, Known]) -> str | None:
    """The key of what *node* reads; None of what is computed, but for ``size(x)``."""
    name = fact_of_node(node)
    if name is not None:
        return f"{name}?" if isinstance(node, Select) and node.optional else name
    if isinstance(node, Ident):
        known = scope.get(node.name)
        return known.key if known is not None else None
    if isinstance(node, Select):
        operand = key_of(node.operand, scope)
        return None if operand is None else entry_key(operand, node.name, optional=node.optional)
    if isinstance(node, Index):
        operand = key_of(node.operand, scope)
        step = step_of(node.index, scope)
        if operand is None or step is None:
            return None
        return entry_key(operand, step, optional=node.optional)
    if isinstance(node, Call) and node.function == "size":
        inner = node.target if node.target is not None else node.arguments[0]
        operand = key_of(inner, scope)
        return None if operand is None else f"size({operand})"
    return None


def step_of(node: Node, scope: Mapping[str, Known]) -> str | int | None:
    """A key or position as a step: what is written out, or the key of a value in brackets."""
    if isinstance(node, Literal):
        value = node.value
        if value.__class__ in {str, int}:
            step: str | int = value
            return step
        return f"[{value!r}]"
    key = key_of(node, scope)
    return None if key is None else f"[{key}]"


def entry_key(operand: str, step: str | int, *, optional: bool = False) -> str:
    """The key of an entry; that of a fact where the entry is one."""
    found = f"{operand}[{step}]" if isinstance(step, int) else f"{operand}.{step}"
    if isinstance(step, str) and operand == "attributes":
        with suppress(FieldError):
            found = str(fields.resolve(format_path(("attributes", step))))
    return f"{found}?" if optional else found


def prefixes(fact: Fact) -> list[str]:
    """The keys of a fact and of all that has to be there for it to be."""
    if fact.field is None or fact.field.origin not in {Origin.RECORD, Origin.ATTRIBUTES}:
        return [fact.name]
    path = fact.field.path
    return [fact.name, *(format_path(path[:at]) for at in range(1, len(path)))]


def is_present(fact: Fact, state: State) -> bool:
    """Whether a fact is there, by its declaration and by what conditions say."""
    if not fact.is_optional or fact.name in state.true:
        return True
    found = fact.field
    if found is None or found.origin is not Origin.RECORD:
        return False
    type_ = fields.REQUEST
    for at, step in enumerate(found.path):
        key = format_path(found.path[: at + 1])
        if type_.kind is Kind.RECORD and isinstance(step, str) and step in type_.fields:
            type_ = type_.fields[step]
            if type_.optional and key not in state.true:
                return False
        elif type_.kind is Kind.LIST and isinstance(step, int) and type_.element is not None:
            size = state.ranges.get(f"size({format_path(found.path[:at])})")
            if key not in state.true and (size is None or size.low <= step):
                return False
            type_ = type_.element
        else:
            return False
    return True
