"""A layout tree to text. What it prints, read again, prints as the same text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from enforcer.policy.formatting.layout import LayoutError

if TYPE_CHECKING:
    from enforcer.policy.formatting.layout import Comment, Entry, Item

WIDTH: Final = 120
"""A map or list in braces that would be longer is written line by line."""
_STEP: Final = 2
_BLOCK_HEADER = re.compile(r"([|>])(-?)[ \t]*(#.*)?\Z")


def document_lines(root: Item) -> list[str]:
    """The lines of one document. What stood above its first key stays at the top, whatever key comes first."""
    if root.kind == "scalar":
        return [_scalar(root)]
    if not root.entries:
        return ["{}" if root.kind == "map" else "[]"]
    return _block(root, 0)


def _block(item: Item, indent: int) -> list[str]:
    """A collection, an entry a line or more."""
    lines: list[str] = []
    for entry in item.entries:
        _hoist(entry)
        _comments(lines, entry.before, indent)
        if entry.is_apart and lines:
            lines.append("")
        own = _entry(entry, indent)
        if entry.beside:
            own[0] += f"  {entry.beside}"
        lines += own
        _comments(lines, entry.after, indent)
    return lines


def _hoist(entry: Entry) -> None:
    """What stands before the first thing in an element of a list stands before the element."""
    inner = entry.value
    while entry.key is None and inner.kind != "scalar" and inner.entries:
        first = inner.entries[0]
        entry.before += first.before
        first.before = []
        if first.key is not None:
            return
        inner = first.value


def _comments(lines: list[str], comments: list[Comment], indent: int) -> None:
    for comment in comments:
        if comment.is_apart and lines:
            lines.append("")
        lines.append(" " * indent + comment.text)


def _entry(entry: Entry, indent: int) -> list[str]:
    pad = " " * indent
    head = f"{pad}-" if entry.key is None else f"{pad}{_key(entry.key)}:"
    value = entry.value
    if value.kind == "scalar":
        if value.style in {"|", ">"}:
            return _block_scalar(head, value, indent)
        text = _scalar(value)
        return [f"{head} {text}" if text else head]
    if not value.entries:
        return [f"{head} {'{}' if value.kind == 'map' else '[]'}"]
    if value.is_flow and not value.has_comments:
        text = f"{head} {_flow(value)}"
        if len(text) <= WIDTH:
            return [text]
    lines = _block(value, indent + _STEP)
    if entry.key is not None:
        return [head, *lines]
    return [f"{head} {lines[0].lstrip()}", *lines[1:]]


def _flow(item: Item) -> str:
    if item.kind == "scalar":
        return _scalar(item) or "null"
    parts = [
        _flow(entry.value) if entry.key is None else f"{_key(entry.key)}: {_flow(entry.value)}"
        for entry in item.entries
    ]
    return f"{{{', '.join(parts)}}}" if item.kind == "map" else f"[{', '.join(parts)}]"


def _key(key: Item) -> str:
    text = _scalar(key)
    if not text or "\n" in text:
        raise LayoutError("a key that is no single line")
    return text


def _scalar(item: Item) -> str:
    """A scalar on one line. Plain ones stay as written, quoted ones take double quotes where nothing is escaped."""
    if item.style is None:
        raw = item.raw.strip()
        if "\n" not in raw:
            return raw
        return quoted(item.value) if "\n" in item.value else item.value
    return quoted(item.value)


def quoted(text: str) -> str:
    """*text* in the quotes that need no escapes, if there are any."""
    if not text.isprintable():
        return json.dumps(text)
    if '"' in text or "\\" in text:
        return json.dumps(text, ensure_ascii=False) if "'" in text else f"'{text}'"
    return f'"{text}"'


def _block_scalar(head: str, item: Item, indent: int) -> list[str]:
    """The lines of a block scalar as they are, at their new depth; what has no simple header becomes quoted."""
    header, *lines = item.raw.split("\n")
    found = _BLOCK_HEADER.match(header.rstrip())
    filled = [line for line in lines if line.strip()]
    if found is None or not filled:
        return [f"{head} {quoted(item.value)}"]
    depth = len(filled[0]) - len(filled[0].lstrip(" "))
    while lines and not lines[-1].strip():
        lines.pop()
    pad = " " * (indent + _STEP)
    inner = [pad + line[depth:] if line[depth:].strip() else line[depth:] for line in lines]
    inner = ["" if not line.strip() else line for line in inner]
    return [f"{head} {header.rstrip()}", *inner]
