"""Policy documents from files, folders and stdin, and what the checker says of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from enforcer.cli.output import OutputFormat, emit, write
from enforcer.errors import NotFoundError, PolicyError, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from enforcer.policy import Finding

SUFFIXES = (".yaml", ".yml", ".json")
NOT_DOCUMENTS = (".cases.yaml", ".cases.yml", ".test.yaml", ".test.yml")
"""Cases stand beside their policies, and are no policies."""
SOURCE_BYTES_MAX = 64 * 1024 * 1024


def sources(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """
    Name and text of every source, folders walked in order of their names.

    Raises: NotFoundError for a path that is not there, or a folder without documents; PolicyError for a
    file that is no text.
    """
    for path in paths:
        if str(path) == "-":
            yield "<stdin>", sys.stdin.read(SOURCE_BYTES_MAX)
        elif path.is_dir():
            found = [p for p in sorted(path.rglob("*")) if p.is_file() and _is_document(p)]
            if not found:
                raise NotFoundError(
                    f"{path} holds no documents", help=f"their names end in {', '.join(SUFFIXES)}"
                )
            for file in found:
                yield str(file), _text(file)
        elif path.exists():
            yield str(path), _text(path)
        else:
            raise NotFoundError(
                f"{path} does not exist", help="give a file, a folder, or - for stdin"
            )


def _is_document(path: Path) -> bool:
    return path.name.endswith(SUFFIXES) and not path.name.endswith(NOT_DOCUMENTS)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError(
            f"the file is no UTF-8 text (byte {error.start})",
            span=Span(str(path)),
            help="save it as UTF-8",
        ) from None
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}") from error


def report(findings: Sequence[Finding], output: OutputFormat) -> None:
    """Print findings: as editors and CI systems read them, or as JSON."""
    if output is OutputFormat.TABLE:
        for finding in findings:
            write(f"{finding.span}: {finding.severity}[{finding.code}]: {finding.message}")
            if finding.help:
                write(f"    help: {finding.help}")
        return
    emit(
        [
            {
                "code": f.code,
                "severity": f.severity,
                "message": f.message,
                "file": f.span.file,
                "line": f.span.line,
                "column": f.span.column,
                "help": f.help,
            }
            for f in findings
        ],
        output,
    )
