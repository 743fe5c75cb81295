"""
Findings as a SARIF log: what code scanners and their dashboards read.

Source: OASIS, Static Analysis Results Interchange Format 2.1.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from enforcer import __version__
from enforcer.cli.explain import sections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.errors import Span
    from enforcer.policy import Finding

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: Final = {"error": "error", "warning": "warning", "info": "note"}


def sarif_log(findings: Sequence[Finding], *, omitted: int = 0) -> dict[str, Any]:
    """
    One run with a result for each finding, and of each code that occurs its page as a rule.

    Args:
        findings: In their order.
        omitted: How many more there were beyond the cap: a notification of the run.
    """
    codes = sorted({finding.code for finding in findings})
    pages = sections()
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "enforcer",
                "semanticVersion": __version__,
                "rules": [_rule(code, *pages[code]) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, codes.index(finding.code)) for finding in findings],
    }
    if omitted:
        said = {"text": f"and {omitted} more findings"}
        notes = [{"level": "note", "message": said}]
        run["invocations"] = [{"executionSuccessful": True, "toolExecutionNotifications": notes}]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str, title: str, text: str) -> dict[str, Any]:
    return {
        "id": code,
        "shortDescription": {"text": title},
        "help": {"text": text, "markdown": text},
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    said = finding.message + (f"\nhelp: {finding.help}" if finding.help else "")
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": said},
        "locations": [{"physicalLocation": _location(finding.span, finding.length)}],
    }
    if finding.fix:
        result["fixes"] = [_fix(finding)]
    return result


def _location(span: Span, length: int) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": _uri(span.file)}}
    if span.line:
        location["region"] = _region(span, max(1, length))
    return location


def _region(span: Span, length: int) -> dict[str, int]:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endColumn": span.column + length,
    }


def _uri(file: str) -> str:
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _fix(finding: Finding) -> dict[str, Any]:
    """The edits of a finding: each inserts a text."""
    by_file: dict[str, list[dict[str, Any]]] = {}
    for edit in finding.fix:
        replacement = {
            "deletedRegion": _region(edit.place, 0),
            "insertedContent": {"text": edit.text},
        }
        by_file.setdefault(edit.place.file, []).append(replacement)
    return {
        "description": {"text": finding.help or "insert the guard"},
        "artifactChanges": [
            {"artifactLocation": {"uri": _uri(file)}, "replacements": replacements}
            for file, replacements in by_file.items()
        ],
    }
