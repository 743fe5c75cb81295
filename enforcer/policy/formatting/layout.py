"""
YAML text to a tree that keeps what data does not: comments, blank lines, styles.

The parser gives events without comments. A comment is a ``#`` at the beginning of a line or behind a blank, outside
of every scalar; where the scalars are, the events' marks say. A comment on a line of its own belongs to the entry
below it, unless it stands deeper than that entry: then it ends the block above. One behind an entry belongs to it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#[^\n]*", re.MULTILINE)


class LayoutError(ValueError):
    """The text is no YAML of a kind that can be laid out anew."""


@dataclass(slots=True)
class Item:
    """A scalar or collection. ``raw`` is a scalar's text in the source, from its first sign to its last."""

    kind: Literal["scalar", "map", "list"]
    start: int
    column: int
    value: str = ""
    style: str | None = None
    raw: str = ""
    is_flow: bool = False
    entries: list[Entry] = field(default_factory=list)

    @property
    def has_comments(self) -> bool:
        """Whether one stands somewhere in it."""
        return any(
            entry.before or entry.after or entry.beside or entry.value.has_comments
            for entry in self.entries
        )


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment from its sign on, and whether a blank line stands above it."""

    text: str
    is_apart: bool = False


@dataclass(slots=True)
class Entry:
    """An element of a list, or a key with its value; and the comments that belong to it."""

    key: Item | None
    value: Item
    column: int
    document: int
    parents: tuple[Entry, ...]
    is_in_flow: bool
    before: list[Comment] = field(default_factory=list)
    beside: str = ""
    after: list[Comment] = field(default_factory=list)
    is_apart: bool = False  # A blank line stands right above it.

    @property
    def start(self) -> int:
        """Where it begins in the source."""
        return self.key.start if self.key is not None else self.value.start


def documents(text: str) -> list[Item]:
    """
    The documents of a stream.

    Raises: LayoutError for what is no YAML, and for comments where nothing is to hold them.
    """
    builder = _Builder(text)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except (YAMLError, ValueError, RecursionError) as error:
        raise LayoutError(str(error)) from None
    _attach(text, builder)
    return builder.roots


class _Builder:
    """Folds events into items; keeps every entry in the order of the text."""

    def __init__(self, text: str) -> None:
        self.roots: list[Item] = []
        self.scalars: list[tuple[int, int]] = []
        self.order: list[Entry] = []
        self.document_starts: list[int] = []
        self._text = text
        self._stack: list[tuple[Item, tuple[Entry, ...]]] = []
        self._key: Item | None = None

    def take(self, event: Any) -> None:
        """Take one event."""
        start, end = event.start_mark, event.end_mark
        if isinstance(event, ScalarEvent):
            raw = self._text[start.index : end.index]
            self.scalars.append((start.index, start.index + len(raw.rstrip())))
            item = Item("scalar", start.index, start.column, event.value, event.style, raw)
            self._place(item)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            kind: Literal["map", "list"] = "map" if isinstance(event, MappingStartEvent) else "list"
            item = Item(kind, start.index, start.column, is_flow=bool(event.flow_style))
            entry = self._place(item)
            self._stack.append((item, () if entry is None else (*entry.parents, entry)))
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self._stack.pop()
        elif isinstance(event, AliasEvent):
            raise LayoutError("an alias")
        elif isinstance(event, DocumentStartEvent):
            self.document_starts.append(start.index)

    def _place(self, item: Item) -> Entry | None:
        if not self._stack:
            self.roots.append(item)
            return None
        parent, parents = self._stack[-1]
        if parent.kind == "map" and self._key is None:
            if item.kind != "scalar":
                raise LayoutError("a key is a collection")
            self._key = item
            return None
        key, self._key = self._key, None
        column = item.column if key is None else key.column
        if key is None and not parent.is_flow:
            column = parent.column  # The dash's.
        entry = Entry(key, item, column, len(self.roots) - 1, parents, parent.is_flow)
        parent.entries.append(entry)
        self.order.append(entry)
        return entry


def _attach(text: str, builder: _Builder) -> None:
    """Give every comment and blank line to its entry."""
    order = builder.order
    starts = [entry.start for entry in order]
    for match in _comments(text, builder.scalars):
        if not order:
            raise LayoutError("a comment with nothing to hold it")
        line_start = text.rfind("\n", 0, match.start()) + 1
        at = bisect_right(starts, match.start())
        left = text[line_start : match.start()].strip()
        if left and not left.strip("- \t") and at < len(order):
            # Behind a dash whose element begins on a later line, or behind `---`.
            order[at].before.append(Comment(match.group().rstrip()))
        elif left:
            _beside(order, at, line_start, match.group().rstrip())
        else:
            comment = Comment(match.group().rstrip(), _is_apart(text, line_start))
            _own_line(builder, at, (match.start(), match.start() - line_start), comment)
    last = -1
    for entry in order:
        line_start = text.rfind("\n", 0, entry.start) + 1
        entry.is_apart = last < line_start and _is_apart(text, line_start)
        last = entry.start


def _comments(text: str, scalars: list[tuple[int, int]]) -> Iterator[re.Match[str]]:
    begins = [start for start, _ in scalars]
    for match in _COMMENT.finditer(text):
        at = bisect_right(begins, match.start()) - 1
        if at < 0 or match.start() >= scalars[at][1]:
            yield match


def _beside(order: list[Entry], at: int, line_start: int, comment: str) -> None:
    """A comment behind something: the last entry that begins on its line has it, braces as one."""
    first = at
    while first and order[first - 1].start >= line_start:
        first -= 1
    outside = [entry for entry in order[first:at] if not entry.is_in_flow] or order[first:at][:1]
    if outside and not outside[-1].beside:
        outside[-1].beside = comment
    elif at:
        order[at - 1].after.append(Comment(comment))
    else:
        order[0].before.append(Comment(comment))


def _own_line(builder: _Builder, at: int, place: tuple[int, int], comment: Comment) -> None:
    """A comment on its own line: of the entry below, or the end of the block above, by how deep it stands."""
    order, (position, column) = builder.order, place
    below = order[at] if at < len(order) else None
    if at == 0:
        order[0].before.append(comment)
        return
    above = order[at - 1]
    if below is not None and below.document == above.document:
        is_inside = above in below.parents  # The first entry of a collection that has just begun.
        if is_inside or column <= below.column:
            below.before.append(comment)
            return
    elif below is not None and position > builder.document_starts[below.document]:
        below.before.append(comment)
        return
    chain = (*above.parents, above)
    holders = [each for each in chain if each.column <= column] or [chain[0]]
    holders[-1].after.append(comment)


def _is_apart(text: str, line_start: int) -> bool:
    """Whether the line above the one that begins here is blank."""
    if not line_start:
        return False
    above = text.rfind("\n", 0, line_start - 1) + 1
    return not text[above : line_start - 1].strip()


def comments_of(text: str) -> list[str]:
    """Every comment of a source, sorted: formatting moves some and loses none."""
    builder = _Builder(text)
    for event in YAML(typ="safe", pure=True).parse(text):
        builder.take(event)
    return sorted(match.group().rstrip() for match in _comments(text, builder.scalars))
