"""JSON lines in, JSON lines out: one answer for each line, in order, whatever a line holds."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from enforcer.cli.output import OutputFormat, table, write
from enforcer.errors import EnforcerError, NotFoundError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LINE_BYTES_MAX = 16 * 1024 * 1024


def answer_lines(
    source: Path, output: OutputFormat, answer: Callable[[dict[str, Any]], dict[str, Any]]
) -> int:
    """
    Print the answer to each line of *source*.

    Args:
        source: A file of JSON objects, one a line; ``-`` is stdin. Empty lines have no answer.
        output: ``jsonl`` prints each answer as it comes.
        answer: Of one object; an ``EnforcerError`` it raises becomes ``{"error": ...}``, as does a
            line that is no JSON object.

    Returns: The exit code, 0: bad lines have their answers.
    Raises: NotFoundError, if the file cannot be read.
    """
    shown: list[dict[str, Any]] = []
    for line in _lines(source):
        if not line.strip():
            continue
        found = _answer(line, answer)
        if output is OutputFormat.JSONL:
            # Escaped, for a lone surrogate of the input may stand in an error.
            write(json.dumps(found, separators=(",", ":")))
        else:
            shown.append(found)
    if output is OutputFormat.JSON:
        write(json.dumps(shown, indent=2))
    elif output is OutputFormat.TABLE:
        columns = list(dict.fromkeys(name for row in shown for name in row))
        table(shown, columns)
    return 0


def text_of(row: dict[str, Any], name: str) -> str:
    """A text of a row, or a ``RequestError`` that names it."""
    value = row.get(name)
    if not isinstance(value, str):
        wrong = f"`{name}` must be a text" if name in row else f"the line has no `{name}`, a text"
        raise RequestError(wrong, code="invalid_request", place=name)
    return value


def _answer(line: bytes, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    if len(line) >= LINE_BYTES_MAX:
        return {"error": f"the line has more than {LINE_BYTES_MAX} bytes"}
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {"error": "the line is no JSON"}
    if not isinstance(row, dict):
        return {"error": "the line is no JSON object"}
    try:
        return answer(row)
    except EnforcerError as error:
        return {"error": f"{error.code}: {error.message}"}
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        # Values of a type or size that nobody foresaw: this line has no answer, the next has.
        return {"error": f"invalid_request: {type(error).__name__}"}


def _lines(path: Path) -> Iterator[bytes]:
    if str(path) == "-":
        yield from _whole_lines(sys.stdin.buffer.readline)
        return
    try:
        with path.open("rb") as file:
            yield from _whole_lines(file.readline)
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror}", help="give a file, or - for stdin"
        ) from error


def _whole_lines(readline: Callable[[int], bytes]) -> Iterator[bytes]:
    """Lines, one that is too long as its first part only, so that every line has one answer."""
    while line := readline(LINE_BYTES_MAX):
        rest = line
        while len(rest) == LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = readline(LINE_BYTES_MAX)
        yield line
