"""
Paths into a request: ``llm.model``, ``llm.messages[0].content``, ``attributes["cost.center"]``.

A dot separates names, ``[0]`` addresses an element of a list, ``["a.b"]`` a key with any text in it. A dot
never belongs to a name outside brackets, so a key with a dot can never shadow a path.
"""

from __future__ import annotations

import json
import re

Path = tuple[str | int, ...]

PATH_SEGMENTS_MAX = 32

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOSE_NAME = re.compile(r"[^\s.\[\]\"']+")
_INDEX = re.compile(r"\[(0|[1-9][0-9]{0,8})\]")
_KEY = re.compile(r"\[(\"(?:[^\"\\]|\\.)*\")\]|\['([^'\\]*)'\]")


class PathError(ValueError):
    """A path that cannot be read. The message says why, ``help`` how to write it."""

    def __init__(self, message: str, *, help: str = "") -> None:  # noqa: A002 — the field's word
        super().__init__(message)
        self.help = help


def parse_path(text: str, *, loose: bool = False) -> Path:
    """
    Read a path.

    Args:
        text: As written.
        loose: Allow what the existing engine allows: names with hyphens, ``a.0`` for ``a[0]``.

    Raises: PathError.
    """
    segments: list[str | int] = []
    at = 0
    name = _LOOSE_NAME if loose else _NAME
    while at < len(text) or not segments:
        if segments and text[at] == "[":
            segment, at = _bracket(text, at)
            segments.append(segment)
            continue
        if segments:
            if text[at] != ".":
                raise _unreadable(text)
            at += 1
        match = name.match(text, at)
        if match is None:
            raise _unreadable(text)
        word, at = match.group(), match.end()
        segments.append(int(word) if loose and segments and word.isdecimal() else word)
        if len(segments) > PATH_SEGMENTS_MAX:
            raise PathError(
                f"the path has more than {PATH_SEGMENTS_MAX} steps", help="shorten the path"
            )
    return tuple(segments)


def _bracket(text: str, at: int) -> tuple[str | int, int]:
    match = _INDEX.match(text, at)
    if match is not None:
        return int(match.group(1)), match.end()
    match = _KEY.match(text, at)
    if match is None:
        raise _unreadable(text)
    if match.group(1) is None:
        return match.group(2), match.end()
    try:
        key = json.loads(match.group(1))
    except json.JSONDecodeError:
        raise _unreadable(text) from None
    return str(key), match.end()


def _unreadable(text: str) -> PathError:
    return PathError(
        f"`{text}` is no path",
        help='write names with dots, `[0]` for elements, `["any text"]` for other keys',
    )


def format_path(path: Path) -> str:
    """The one way a path is written: ``parse_path(format_path(p)) == p``."""
    written = ""
    for segment in path:
        if isinstance(segment, int):
            written += f"[{segment}]"
        elif _NAME.fullmatch(segment):
            written += f".{segment}" if written else segment
        else:
            written += f"[{json.dumps(segment, ensure_ascii=False)}]"
    return written


def parse_edited(text: str) -> Path:
    """A path of an edit, in either notation: ``llm.model`` or the JSON pointer ``/llm/model``."""
    if not text.startswith("/"):
        return parse_path(text)
    parts = [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]
    return tuple(int(part) if part.isdecimal() else part for part in parts)
