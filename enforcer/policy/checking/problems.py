"""An operation that is not proved: what it is, where, and the guard that would prove it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from enforcer.cel.syntax import Node, Place

CODES: Final = {
    "absent": "ENF0801",
    "type": "ENF0802",
    "overflow": "ENF0803",
    "division": "ENF0804",
    "key": "ENF0805",
    "conversion": "ENF0806",
    "argument": "ENF0807",
    "cost": "ENF0808",
    "unknown": "ENF0403",
    "mismatch": "ENF0704",
}

Insertions = tuple[tuple[int, str], ...]
"""Code points of the expression, each with the text to insert before it."""


@dataclass(frozen=True, slots=True)
class Atom:
    """The smallest condition around a place: where a guard goes, and what it stands in."""

    node: Node
    parent: Node | None
    variables: frozenset[str]


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One operation that may have no value.

    Args:
        kind: One of ``CODES``.
        message: What may go wrong.
        place: Of the operation.
        help: What to do, where no edit does it.
        insertions: The edit that does it.
        is_declared: Whether only declared fields are in it: then it is an error, else a warning.
    """

    kind: str
    message: str
    place: Place
    help: str = ""
    insertions: Insertions = ()
    is_declared: bool = True


def closed(text: str, place: Place) -> Place:
    """*place* with the parentheses that belong to what stands there: spans of nodes leave some out."""
    start, end = place
    depth, least = 0, 0
    for character in _without_texts(text[start:end]):
        depth += (character in "([{") - (character in ")]}")
        least = min(least, depth)
    for _ in range(-least):
        start = text.rindex("(", 0, start)
    for _ in range(depth - least):
        end = text.index(")", end) + 1
    return start, end


def _without_texts(text: str) -> str:
    """*text* with blanks for literals, of the same length."""
    found: list[str] = []
    quote = ""
    at = 0
    while at < len(text):
        character = text[at]
        if not quote and character in "\"'":
            quote = character * 3 if text.startswith(character * 3, at) else character
            found.append(" " * len(quote))
            at += len(quote)
        elif quote and text.startswith(quote, at):
            found.append(" " * len(quote))
            at += len(quote)
            quote = ""
        else:
            step = 2 if quote and character == "\\" else 1
            found.append((" " * step) if quote else character)
            at += step
    return "".join(found)


def is_enclosed(text: str, place: Place) -> bool:
    """Whether parentheses of its own stand around *place*."""
    before, after = text[: place[0]].rstrip(), text[place[1] :].lstrip()
    return before.endswith("(") and after.startswith(")") and not _is_name(before[:-1])


def _is_name(before: str) -> bool:
    return bool(before) and (before[-1].isalnum() or before[-1] == "_")
