"""
Data to stdout, everything else to stderr.

``--output table`` is for people, ``json`` is one document, ``jsonl`` one document a line, written as
it comes. No colour and no animation without a terminal, nor with NO_COLOR.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from enforcer.config import Settings

if TYPE_CHECKING:
    from rich.console import Console


class OutputFormat(enum.StrEnum):
    """The forms that every verb with data knows."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


OutputOption: TypeAlias = Annotated[
    OutputFormat,
    typer.Option("--output", "-o", help="For people, as one JSON document, or one a line."),
]


def emit(value: object, output: OutputFormat) -> None:
    """
    Print one answer: a mapping, a dataclass or a list of them.

    Args:
        value: What was asked for.
        output: As a table, a mapping is a name and a value a line and a list has a row for each.
    """
    plain = _plain(value)
    if output is OutputFormat.JSON:
        write(json.dumps(plain, indent=2, ensure_ascii=False))
    elif output is OutputFormat.JSONL:
        for item in plain if isinstance(plain, list) else [plain]:
            write(json.dumps(item, ensure_ascii=False, separators=(",", ":")))
    elif isinstance(plain, list):
        table(plain)
    elif isinstance(plain, dict):
        width = max((len(name) for name in plain), default=0)
        for name, item in plain.items():
            write(f"{name.replace('_', ' '):<{width}}  {_cell(item)}")
    else:
        write(_cell(plain))


def table(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> None:
    """Print *rows* in columns as wide as they need; *columns* are those of the first row."""
    columns = columns or (list(rows[0]) if rows else [])
    if not columns:
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    heads = [column.replace("_", " ") for column in columns]
    widths = [max(len(text) for text in texts) for texts in zip(heads, *cells, strict=True)]
    for line in (heads, *cells):
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        write("  ".join(padded).rstrip())


def write(line: str) -> None:
    """One line of data, to stdout, at once: a follower may be waiting for it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """One line about what is going on, to stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def is_animated() -> bool:
    """May progress be drawn in place? Only where a person looks at stderr."""
    return sys.stderr.isatty()


def console() -> Console:
    """A rich console on stderr that honours NO_COLOR; it draws nothing in place without a terminal."""
    from rich.console import Console  # noqa: PLC0415 — 50 ms that most verbs need not pay

    return Console(stderr=True, no_color=Settings.load().no_color or None)


def _plain(value: object) -> object:
    """*value* as JSON knows it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return str(value)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.1f}"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
