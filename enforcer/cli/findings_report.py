"""
Findings as people, editors, CI systems and code scanners read them.

The listing shows the source line with carets under what is at fault. Columns count code points, as everywhere; on
the screen a tab is four blanks and wide characters take two columns, so the carets stand where the eye looks.
"""

from __future__ import annotations

import enum
import re
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeAlias

from enforcer.cli.output import OutputFormat, emit, note, write
from enforcer.config import Settings

if TYPE_CHECKING:
    from enforcer.errors import Span
    from enforcer.policy import Finding

Texts: TypeAlias = Mapping[str, str]
"""Sources by name; what is not in it is read from the file of that name."""

_WIDTH_MAX: Final = 140
_TAB: Final = "    "
_TOKEN = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s,\[\]{}:]+""")
_COLOURS: Final = {"error": "31", "warning": "33", "info": "36", "help": "32", "gutter": "34"}


class CheckOutput(enum.StrEnum):
    """The forms of findings."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    GITHUB = "github"
    SARIF = "sarif"


def report(
    findings: Sequence[Finding],
    output: OutputFormat | CheckOutput,
    *,
    texts: Texts | None = None,
    omitted: int = 0,
    say: Callable[[str], None] = write,
) -> None:
    """
    Print findings.

    Args:
        findings: In their order.
        output: For people, programs, a CI system's annotations or a code scanner.
        texts: The sources, where they are at hand.
        omitted: How many more there were beyond the cap.
        say: Takes the lines of a listing; ``note`` where findings are not what the verb was asked for.
    """
    lines = _Lines(texts or {})
    findings = [_measured(finding, lines) for finding in findings]
    if output == "table":
        _write_listing(findings, lines, omitted, say)
    elif output == "github":
        _write_github(findings, omitted)
    elif output == "sarif":
        from enforcer.cli.sarif import sarif_log  # noqa: PLC0415 — only who scans needs it

        emit(sarif_log(findings, omitted=omitted), OutputFormat.JSON)
    else:
        emit([as_json(finding) for finding in findings], OutputFormat(output))


def as_json(finding: Finding) -> dict[str, Any]:
    """A finding as programs read it; the fields are a contract."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        "file": finding.span.file,
        "line": finding.span.line,
        "column": finding.span.column,
        "help": finding.help,
    }


class _Lines:
    """The lines of sources: of those at hand, and of files, read when first asked for."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._lines: dict[str, list[str]] = {}

    def at(self, span: Span) -> str | None:
        """The line of a place; None where there is none, or it cannot be read any more."""
        lines = self._lines.get(span.file)
        if lines is None:
            lines = self._lines[span.file] = self._read(span.file)
        return lines[span.line - 1] if 0 < span.line <= len(lines) else None

    def _read(self, file: str) -> list[str]:
        text = self._texts.get(file)
        if text is None:
            try:
                text = Path(file).read_text(encoding="utf-8-sig")
            except (OSError, ValueError):
                return []  # Gone, or no text.
        return text.split("\n")


def _measured(finding: Finding, lines: _Lines) -> Finding:
    """With a length: where the checker knows none, that of the word at the place."""
    line = lines.at(finding.span)
    if finding.length or line is None:
        return finding
    start = min(finding.span.column - 1, len(line))
    token = _TOKEN.match(line, start)
    return replace(finding, length=token.end() - start if token else 1)


# --- for people -----------------------------------------------------------------------------------


def _write_listing(
    findings: Sequence[Finding], lines: _Lines, omitted: int, say: Callable[[str], None]
) -> None:
    paint = _painter(sys.stderr if say is note else sys.stdout)
    for finding in findings:
        kind = paint(f"{finding.severity}[{finding.code}]", finding.severity)
        say(f"{paint(str(finding.span), 'bold')}: {kind}: {_printable(finding.message)}")
        line = lines.at(finding.span)
        if line is not None:
            _write_source(finding, line, paint, say)
        if finding.help:
            first, *others = finding.help.splitlines()
            say(f"    {paint('help', 'help')}: {_printable(first)}")
            for line in others:
                say(f"    {_printable(line)}")
    if omitted:
        say(f"and {omitted} more")


def _write_source(finding: Finding, line: str, paint: Any, say: Callable[[str], None]) -> None:
    shown, before, width = _excerpt(line, finding.span.column - 1, finding.length)
    number = str(finding.span.line)
    say(f"{paint(f'{number:>5} |', 'gutter')} {shown}".rstrip())
    carets = paint("^" * max(1, width), finding.severity)
    say(f"{paint('      |', 'gutter')} {' ' * before}{carets}")


def _excerpt(line: str, start: int, length: int) -> tuple[str, int, int]:
    """What is shown of a line, and on the screen: columns before what is at fault, and of it."""
    start = min(start, len(line))
    end = min(start + length, len(line))
    first, last = 0, len(line)
    if _columns(line) > _WIDTH_MAX:
        # A window that begins a little before the fault: whole lines of minified JSON help nobody.
        first = max(0, start - 40)
        last = min(len(line), first + _WIDTH_MAX - 2)
        end = min(end, last)
    left, right = "…" * (first > 0), "…" * (last < len(line))
    shown = left + _printable(line[first:last]) + right
    return shown, len(left) + _columns(line[first:start]), _columns(line[start:end])


def _printable(text: str) -> str:
    """*text* with blanks for tabs, and no character that would move a terminal's cursor."""
    text = text.replace("\t", _TAB)
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _columns(text: str) -> int:
    """How many columns of a terminal *text* takes. Source: Unicode Standard Annex 11."""
    return sum(_columns_of(each) for each in text)


def _columns_of(character: str) -> int:
    if character == "\t":
        return len(_TAB)
    if unicodedata.combining(character):
        return 0
    is_wide = unicodedata.east_asian_width(character) in {"W", "F"}
    return 2 if is_wide else 1


def _painter(out: TextIO) -> Any:
    """A function that colours a text, where *out* is a terminal that wants it."""
    if not out.isatty() or Settings.load().no_color:
        return lambda text, _name: text
    return lambda text, name: f"\x1b[1;{_COLOURS.get(name, '1')}m{text}\x1b[0m"


# --- for CI systems -------------------------------------------------------------------------------


def _write_github(findings: Sequence[Finding], omitted: int) -> None:
    """Workflow commands: each is an annotation at its line."""
    commands = {"error": "error", "warning": "warning", "info": "notice"}
    for finding in findings:
        span = finding.span
        place = [f"file={property_text(span.file)}"]
        if span.line:
            place += [f"line={span.line}", f"col={span.column}"]
            place.append(f"endColumn={span.column + max(1, finding.length)}")
        said = finding.message + (f"\nhelp: {finding.help}" if finding.help else "")
        write(
            f"::{commands[finding.severity]} {','.join(place)},"
            f"title={property_text(finding.code)}::{data_text(said)}"
        )
    if omitted:
        write(f"::notice title=enforcer policy check::and {omitted} more")


def data_text(text: str) -> str:
    """*text* as the data of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def property_text(text: str) -> str:
    """*text* as a property of a workflow command."""
    return data_text(text).replace(":", "%3A").replace(",", "%2C")
