"""``policy import``: the existing engine's files as ``enforcer/v1``, and what became of every rule."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enforcer.cli.findings_report import report
from enforcer.cli.output import OutputFormat, OutputOption, note, write
from enforcer.cli.policy_files import STDIN, sources
from enforcer.errors import ConflictError

if TYPE_CHECKING:
    from enforcer.policy.importing import Imported, Line

_EXIT_INVALID = 3
_EXIT_LEFT_OUT = 4


def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="Files or folders; `-` is stdin.", allow_dash=True),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write a file for each file read.")
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", help="Whose the policies become; default `*`, everybody's."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files that are there already.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 4 where a rule is `not possible`.")
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> int:
    """
    Turn the existing engine's files into policies of this one, and tell of every rule how it decides here.

    `exact` decides as it did, `changed` otherwise in the cases named, `not possible` is left out and stands in a
    comment. Documents go to `--out`, else to stdout; the report goes to stdout with `--out`, else to stderr. What
    is written passes `policy check` and `policy fmt --check`.
    """
    from enforcer.policy.importing import import_source  # noqa: PLC0415 — takes its time to load

    found = [
        (name, import_source(name, text, tenant=tenant or "*")) for name, text in sources(paths)
    ]
    findings = [finding for _, each in found for finding in each.findings]
    if out is not None:
        _write_files(found, out, force=force)
    if output is not OutputFormat.TABLE:
        _write_json(found, output)
    else:
        if out is None:
            sys.stdout.write("---\n".join(each.text for _, each in found if each.text))
        tell = note if out is None else write
        for _, each in found:
            for line in each.lines:
                _tell(line, tell)
    report(findings, OutputFormat.TABLE)
    lines = [line for _, each in found for line in each.lines if line.rule]
    counts = {status: sum(line.status == status for line in lines) for status in _STATUSES}
    note(", ".join(f"{count} {status}" for status, count in counts.items()))
    if findings:
        return _EXIT_INVALID
    return _EXIT_LEFT_OUT if strict and counts["not possible"] else 0


_STATUSES = ("exact", "changed", "not possible")


def _write_files(found: list[tuple[str, Imported]], out: Path, *, force: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, each in found:
        if not each.text:
            continue
        stem = "imported" if name == STDIN else Path(name).stem
        path = out / f"{stem}.yaml"
        if path.exists() and not force:
            raise ConflictError(f"{path} is there already", help="--force overwrites it")
        path.write_text(each.text, encoding="utf-8")


def _write_json(found: list[tuple[str, Imported]], output: OutputFormat) -> None:
    rules = [_as_json(line) for _, each in found for line in each.lines]
    if output is OutputFormat.JSONL:
        for row in rules:
            write(json.dumps(row, ensure_ascii=False))
        return
    documents = [{"file": name, "text": each.text} for name, each in found]
    write(json.dumps({"documents": documents, "rules": rules}, indent=2, ensure_ascii=False))


def _as_json(line: Line) -> dict[str, object]:
    span = line.span
    where = {"file": span.file, "line": span.line, "column": span.column}
    return {
        **where,
        "policy": line.policy,
        "rule": line.rule,
        "status": line.status,
        "notes": line.notes,
    }


def _tell(line: Line, tell: object) -> None:
    assert callable(tell)
    name = f"{line.policy}/{line.rule}" if line.rule else line.policy
    tell(f"{line.span}: {name}: {line.status}")
    for each in line.notes:
        tell(f"    {each}")
