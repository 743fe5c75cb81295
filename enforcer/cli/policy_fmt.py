"""``policy fmt``: one layout for policies and their tests."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enforcer.cli.findings_report import report
from enforcer.cli.output import OutputFormat, OutputOption, emit, note, write
from enforcer.cli.policy_files import NOTHING, STDIN, sources
from enforcer.errors import PolicyError, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer import policy

_EXIT_INVALID, _EXIT_CHANGES = 3, 10


def fmt(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH…", help="Files or folders; `-` is stdin.", allow_dash=True),
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 10 if something would change.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; show what would change.")
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> int:
    """
    Lay out policies and their tests (`*.test.yaml`) in place: indentation, key order, quotes, long lines.

    Data, comments, expressions and the choice between braces and lines stay. What is read from stdin goes to
    stdout. Exit code 3, and no change, for a file that cannot be read.
    """
    rows: list[dict[str, object]] = []
    findings: list[policy.Finding] = []
    for name, text in _texts(paths):
        found, faults = _formatted(name, text)
        findings += faults
        if found is None:
            continue
        changed = found != text
        rows.append({"file": name, "changed": changed})
        if name == STDIN and not (check or diff):
            sys.stdout.write(found)
        elif diff and changed:
            _write_diff(name, text, found)
        elif changed and not check:
            Path(name).write_text(found, encoding="utf-8")
    report(findings, OutputFormat.TABLE, say=note)
    _tell(rows, output, written=not (check or diff), shown=diff)
    if any(each.severity == "error" for each in findings):
        return _EXIT_INVALID
    return _EXIT_CHANGES if check and any(row["changed"] for row in rows) else 0


def _texts(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """Every source: of a folder, documents and tests."""
    for path in paths:
        yield from sources([path], with_tests=True)


def _formatted(name: str, text: str) -> tuple[str | None, list[policy.Finding]]:
    from enforcer.policy.formatting import (  # noqa: PLC0415 — the reader takes its time to load
        LayoutError,
        formatted,
    )

    try:
        found, faults = formatted(name, text)
    except LayoutError as error:
        raise PolicyError(
            f"cannot be laid out: {error}",
            span=Span(name),
            help="write each key on one line, and every comment beside or above an entry",
        ) from None
    wrong = [each for each in faults if each.severity == "error"]
    return found, wrong or _nothing(name, text)


def _nothing(name: str, text: str) -> list[policy.Finding]:
    """The warning about a source that holds comments only, or nothing."""
    from enforcer import policy  # noqa: PLC0415 — as above

    if any(
        line.strip() not in {"", "---"} and line.lstrip()[0] != "#" for line in text.splitlines()
    ):
        return []
    message = "the source holds no document"
    return [policy.Finding(NOTHING, "warning", message, Span(name, 1, 1), help="remove the file")]


def _write_diff(name: str, text: str, found: str) -> None:
    lines = difflib.unified_diff(text.splitlines(), found.splitlines(), name, name, lineterm="")
    for line in lines:
        write(line)


def _tell(
    rows: list[dict[str, object]], output: OutputFormat, *, written: bool, shown: bool
) -> None:
    changed = [str(row["file"]) for row in rows if row["changed"] and row["file"] != STDIN]
    if output is not OutputFormat.TABLE:
        emit(rows, output)
        return
    if not shown:
        for name in changed:
            write(name)
    what = "laid out anew" if written else "would change"
    if len(rows) != 1 or rows[0]["file"] != STDIN:
        note(f"{len(changed)} of {len(rows)} files {what}")
