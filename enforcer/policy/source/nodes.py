"""
The tree that a document's text is read into: plain data, and where each of it stands.

YAML and JSON both end here, so that every later stage can name file, line and column of what it refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.errors import Span

Style = Literal["plain", "quoted", "block", "map", "list"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a source may hold. Everything has a limit; these are the language's."""

    document_bytes_max: int = 256 * 1024
    depth_max: int = 64
    nodes_max: int = 20_000


@dataclass(slots=True)
class Node:
    """
    A value and its place.

    ``value`` is None, bool, int, Decimal (a number written with point or exponent), str, a list of
    nodes or a dict of nodes. ``keys`` holds where each key of a map stands, ``text_at`` where the text of a
    block scalar begins, whose lines are then those of the file; ``written`` how an expression stands in the file,
    with the rest of its last line, where YAML may have changed it; ``is_refused`` that it could not be read, and a
    finding says so.
    """

    value: Any
    span: Span
    style: Style = "plain"
    keys: dict[str, Span] = field(default_factory=dict)
    text_at: Span | None = None
    written: str = ""
    is_refused: bool = False

    def get(self, key: str) -> Node | None:
        """The value under *key* of a map; None where there is none, or where this is no map."""
        found: Node | None = self.value.get(key) if isinstance(self.value, dict) else None
        return found

    def items(self) -> list[Node]:
        """The elements of a list; nothing where this is no list."""
        return self.value if isinstance(self.value, list) else []

    def find(self, path: Iterable[str | int]) -> Span:
        """
        The place of *path* below this node, or of the nearest thing on the way there.

        A last step that is a missing key gives the place of the map that lacks it.
        """
        node = self
        for step in path:
            value = node.value
            in_map = isinstance(value, dict) and step in value
            in_list = isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value)
            if in_map or in_list:
                node = value[step]
        return node.span


@dataclass(frozen=True, slots=True)
class Text:
    """One document of a source: its tree, the text it was written in, and whether all of it was read."""

    node: Node
    source: str
    is_whole: bool = True


def plain(node: Node) -> Any:
    """The data alone: None, bool, int, Decimal, str, list, dict. Depth is bounded by the reader."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return value


INT64_MAX = 2**63 - 1
_SURROGATE = re.compile("[\ud800-\udfff]")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip


class NumberError(ValueError):
    """A number that no field of a request can hold; the message says why, the code which finding."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def scalar(text: str) -> Any:
    """
    The value of a plain scalar under YAML 1.2's core schema: ``no`` and ``on`` are strings.

    Raises: NumberError for NaN, infinity, integers beyond 64 bits and absurd exponents.
    Source: YAML 1.2.2, section 10.3.2.
    """
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first not in "+-.0123456789":
        return text
    if _INT.match(text):
        return _bounded(int(text) if len(text) < 40 else INT64_MAX + 1)
    if _OCTAL_OR_HEX.match(text):
        return _bounded(int(text, 0) if len(text) < 40 else INT64_MAX + 1)
    if _NOT_FINITE.match(text):
        raise NumberError("ENF0109", f"`{text}` is no number a policy can compare with")
    return decimal(text) if _FLOAT.match(text) else text


def join_surrogates(text: str) -> str:
    r"""Escapes such as ``\ud83d\ude42``, which JSON in YAML has, to the character they mean together."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def decimal(text: str) -> Decimal:
    """A number with point or exponent, exactly as written. Raises: NumberError, if it is absurd."""
    if len(text) <= 64:
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = None
        # Beyond these a double is infinite or zero, and the canonical form would grow without bound.
        if number is not None and (not number or -300 <= number.adjusted() <= 300):
            return number
    raise NumberError("ENF0112", "the number is out of range")


def _bounded(number: int) -> int:
    if not -INT64_MAX - 1 <= number <= INT64_MAX:
        raise NumberError("ENF0112", "the integer does not fit 64 bits")
    return number
