"""Plain data of a document to its text, in the layout that the formatter gives."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from enforcer.policy.canonical import canonical_json
from enforcer.policy.formatting.layout import Entry, Item
from enforcer.policy.formatting.order import arrange
from enforcer.policy.formatting.printing import document_lines, quoted
from enforcer.policy.source.nodes import NumberError, scalar

if TYPE_CHECKING:
    from collections.abc import Iterable

# Written line by line; every other map and list stands in braces where it fits.
_OPEN: Final = frozenset({"metadata", "spec", "rules"})
_UNSAFE: Final = frozenset("-?:,[]{}#&*!|>'\"%@`")


def document_text(document: dict[str, Any], comments: Iterable[str]) -> str:
    """A document, below comments that say what is not in it."""
    root = _item(document, "")
    arrange(root)
    lines = [f"# {comment}" for comment in comments]
    return "\n".join([*lines, *document_lines(root)]) + "\n"


def _item(value: Any, name: str, *, is_flow: bool = False) -> Item:
    if isinstance(value, dict):
        item = Item("map", 0, 0, is_flow=is_flow)
        for key, each in value.items():
            flow = is_flow or key not in _OPEN
            item.entries.append(_entry(_scalar(key), _item(each, key, is_flow=flow)))
        return item
    if isinstance(value, list):
        item = Item("list", 0, 0, is_flow=is_flow)
        for each in value:
            item.entries.append(_entry(None, _item(each, name, is_flow=is_flow)))
        return item
    return _scalar(value, is_expression=name in {"when", "match", "unless"})


def _entry(key: Item | None, value: Item) -> Entry:
    return Entry(key, value, 0, 0, (), is_in_flow=False)


def _scalar(value: Any, *, is_expression: bool = False) -> Item:
    if not isinstance(value, str):
        number = value if not isinstance(value, float) else Decimal(repr(value))
        return Item("scalar", 0, 0, raw=canonical_json(number))
    if _is_plain(value):
        return Item("scalar", 0, 0, value, raw=value)
    if is_expression or "\n" in value.strip("\n"):
        lines = [line.rstrip() for line in value.split("\n")]
        if value.isprintable() or is_expression:
            return Item("scalar", 0, 0, value, "|", "|-\n" + "\n".join(lines))
    return Item("scalar", 0, 0, value, '"', quoted(value))


def _is_plain(text: str) -> bool:
    """Whether YAML reads *text* without quotes as itself, in braces too."""
    if not text or not text.isprintable() or text != text.strip() or text[0] in _UNSAFE:
        return False
    if any(sign in text for sign in (": ", " #", "{", "}", "[", "]", ",", "\\")) or text[-1] == ":":
        return False
    try:
        return bool(scalar(text) == text)
    except NumberError:
        return False
