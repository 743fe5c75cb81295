"""``policy check``: everything that is wrong with documents, once or whenever they change."""

from __future__ import annotations

import enum
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from enforcer.cli.findings_report import CheckOutput, report
from enforcer.cli.output import note, write
from enforcer.cli.policy_files import checked, document_files
from enforcer.cli.policy_files import fix as mend
from enforcer.cli.policy_untested import with_untested
from enforcer.errors import ConfigError, EnforcerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from enforcer import policy

PathsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="PATH…", help="Files or folders; `-` is stdin.", allow_dash=True),
]
TenantOption = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        help="Whose documents of the existing engine's form are; default `*`, everybody's.",
    ),
]
_POLL_S: Final = 0.3
_CLEAR: Final = "\x1b[2J\x1b[H"
_EXIT_INVALID: Final = 3


class FailLevel(enum.StrEnum):
    """From which severity on findings are a failure."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


def check(
    paths: PathsArgument,
    tenant: TenantOption = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="First make the fixes that findings have, in the files.")
    ] = False,
    fail_level: Annotated[
        FailLevel, typer.Option("--fail-level", help="From which severity on to fail.")
    ] = FailLevel.ERROR,
    watch: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Check again whenever a file changes; Ctrl-C ends."),
    ] = False,
    output: Annotated[
        CheckOutput,
        typer.Option("--output", "-o", help="For people, programs, CI annotations, or scanners."),
    ] = CheckOutput.TABLE,
) -> int:
    """
    Say everything that is wrong with documents, with file, line, column and the fix.

    With --fix, insert the guards that findings ask for, and say what is left. At most 100 findings are shown, errors
    first kept. Exit code 3 if something of --fail-level or above was found, else 0.
    """

    def once() -> int:
        return _check(paths, tenant, fix=fix, fail_level=fail_level, output=output)

    return _watched(paths, once) if watch else once()


def _check(
    paths: Sequence[Path],
    tenant: str | None,
    *,
    fix: bool,
    fail_level: FailLevel,
    output: CheckOutput,
) -> int:
    if fix:
        for name in mend(paths, tenant=tenant):
            note(f"fixed {name}")
    found = checked(paths, tenant=tenant)
    loaded = with_untested(found.loaded, paths)
    report(loaded.findings, output, texts=found.texts, omitted=loaded.omitted)
    if output is CheckOutput.TABLE:
        note(_summary(loaded))
    elif loaded.omitted:
        note(f"and {loaded.omitted} more findings")
    levels = list(FailLevel)
    failing = {level.value for level in levels[: levels.index(fail_level) + 1]}
    return _EXIT_INVALID if any(each.severity in failing for each in loaded.findings) else 0


def _summary(loaded: policy.Loaded) -> str:
    """What loads, and how much was found."""
    kinds = dict.fromkeys(("Policy", "Tenant", "Values"), 0)
    for document in loaded.documents:
        kinds[document.kind] = kinds.get(document.kind, 0) + 1
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    counts = [
        f"{sum(1 for each in loaded.findings if each.severity == severity)} {severity}s"
        for severity in ("error", "warning")
    ]
    more = f", and {loaded.omitted} more" if loaded.omitted else ""
    return f"{len(loaded.documents)} documents ({listed}), {', '.join(counts)}{more}"


# --- watching -------------------------------------------------------------------------------------


def _watched(paths: Sequence[Path], once: Callable[[], int]) -> int:
    """Check now and after every change, until somebody interrupts."""
    if any(str(path) == "-" for path in paths):
        raise ConfigError("stdin cannot be watched", help="give files or folders", code="usage")
    while True:
        if sys.stdout.isatty():
            write(_CLEAR)
        try:
            once()
        except EnforcerError as error:
            # A file that an editor is about to replace is not there for a moment.
            note(f"error[{error.code}]: {error.message}")
            if error.help:
                note(f"help: {error.help}")
        seen = _snapshot(paths)
        note(f"watching {', '.join(map(str, paths))}; Ctrl-C ends")
        while _snapshot(paths) == seen:
            time.sleep(_POLL_S)


def _snapshot(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """When each document was changed, and its size: what tells that one has."""
    found = {}
    for file in document_files(paths):
        try:
            status = file.stat()
        except OSError:
            continue
        found[file] = (status.st_mtime_ns, status.st_size)
    return found
