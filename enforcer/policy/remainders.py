"""
What is left of a document when everything of a wrong shape is taken out.

A document with a fault of its shape is refused; the rest of it is checked nonetheless, so that an author sees
everything at once and not one layer after the other. What only is wrong because something was taken out is not told.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from enforcer.policy.documents import TAG_SIGN
from enforcer.policy.source import Node, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.policy.findings import Finding

M = TypeVar("M", bound=BaseModel)
_ROUNDS_MAX: Final = 8
_CONSEQUENCES: Final = frozenset(
    {"ENF0202", "ENF0209", "ENF0402", "ENF0409", "ENF0501", "ENF0506", "ENF0703", "ENF0707"}
)
"""What may be wrong with a rest alone: names of what was taken out, and what has become empty."""
_STAND_INS: Final = {
    "then": "warn", "verdict": "modify", "per": "day", "approved_by": "_", "reason": "_",
}  # fmt: skip
"""In place of a required field, so that what stands beside it is checked."""


def without_refused(node: Node) -> Node:
    """
    *node* without the values that could not be read.

    Their keys stay in ``keys``, which tells a field that was refused from one that is missing.
    """
    value = node.value
    if isinstance(value, dict):
        kept = {key: without_refused(each) for key, each in value.items() if not each.is_refused}
        return Node(kept, node.span, node.style, node.keys)
    if isinstance(value, list):
        kept_items = [without_refused(each) for each in value if not each.is_refused]
        return Node(kept_items, node.span, node.style)
    return node


def remainder(model: type[M], node: Node) -> tuple[M, Node] | None:
    """
    The model of what has the right shape in *node*, and its tree; None where too little is left.

    A field of the wrong shape goes; an element of a list goes that lacks a field then.
    """
    left = copy.deepcopy(node)
    for _ in range(_ROUNDS_MAX):
        try:
            return model.model_validate(plain(left)), left
        except ValidationError as error:
            places = [
                (each["type"], [s for s in each["loc"] if not str(s).startswith(TAG_SIGN)])
                for each in error.errors(include_url=False)
            ]
        if not _take_out(left, places):
            return None
    return None


def own_findings(found: Iterable[Finding]) -> list[Finding]:
    """Those that are about what is left, and not about what was taken out."""
    return [each for each in found if each.code not in _CONSEQUENCES]


def _take_out(node: Node, places: list[tuple[str, list[Any]]]) -> bool:
    """Take out what stands at *places*; False where that is the whole document."""
    items: dict[int, tuple[list[Node], set[int]]] = {}
    for at, (kind, place) in enumerate(places):
        if _stand_in(node, place, at):
            continue
        parent, key = _outermost(node, place[:-1] if kind == "missing" else place, kind)
        if parent is None:
            return False
        if isinstance(parent.value, list):
            items.setdefault(id(parent), (parent.value, set()))[1].add(int(key))
        else:
            parent.value.pop(key, None)
    for listed, indexes in items.values():
        for at in sorted(indexes, reverse=True):
            del listed[at]
    return True


def _stand_in(node: Node, place: list[Any], at: int) -> bool:
    """Put something of the right shape where a required field should be; False where nothing can stand in."""
    key = place[-1] if place else None
    text = f"_{at}" if key == "id" else _STAND_INS.get(str(key))
    for step in place[:-1]:
        value = node.value
        if isinstance(value, list) and isinstance(step, int) and step < len(value):
            node = value[step]
        else:
            node = node.get(str(step)) or Node(None, node.span)
    if text is None or not isinstance(node.value, dict):
        return False
    found = node.get(str(key))
    if found is not None and found.value == text:
        return False  # It did not help.
    node.value[str(key)] = Node(text, found.span if found is not None else node.span)
    return True


def _outermost(node: Node, place: list[Any], kind: str) -> tuple[Node | None, Any]:
    """The container and key to take out; of what lacks a field, the element of the nearest list."""
    way: list[tuple[Node, Any]] = []
    for step in place:
        value = node.value
        in_map = isinstance(value, dict) and step in value
        in_list = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if not in_map and not in_list:
            break
        way.append((node, step))
        node = value[step]
    if kind == "missing":
        way = [each for each in way if isinstance(each[0].value, list)]
    return way[-1] if way else (None, None)
