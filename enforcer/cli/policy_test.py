"""``policy test``: the cases beside policies, decided by the engine, and what they leave untested."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enforcer.cli.findings_report import report
from enforcer.cli.output import OutputFormat, note
from enforcer.cli.policy_files import load, sources
from enforcer.cli.policy_test_report import Run, TestOutput, write_report
from enforcer.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer import policy
    from enforcer.policy.cases import Suite
    from enforcer.testing.coverage import Coverage
    from enforcer.testing.policy_tests import Bench

TEST_SUFFIXES = (".test.yaml", ".test.yml", ".test.json")
_DOCUMENT_SUFFIXES = (".yaml", ".yml", ".json")
_EXIT_INVALID, _EXIT_FAILED = 3, 4


def run_tests(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH…]",
            help="Files of tests, policies, or folders; else the folder `policies`, or this one.",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", "-r", metavar="REGEX", help="Only cases whose `file: name` matches."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", min=0, max=100, metavar="PCT", help="Fail below this coverage."
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", help="Whose documents of the existing engine's form are."),
    ] = None,
    output: Annotated[
        TestOutput,
        typer.Option("--output", "-o", help="For people, programs, or a CI system."),
    ] = TestOutput.TABLE,
) -> int:
    """
    Run the tests that stand beside policies (`NAME.test.yaml`), and say what they do not cover.

    Each case is decided by the engine that workers run, on rows of its own. Coverage counts each rule matched,
    each term of each condition both true and false, and each budget and rate limit within and exceeded.

    Exit code 4 if a case fails or the coverage is below the threshold, 3 for invalid policies or tests, 5 if
    there is no test.
    """
    wanted = _pattern(run)
    given = paths or [Path("policies") if Path("policies").is_dir() else Path()]
    session = _read(given, tenant)
    if any(finding.severity == "error" for finding in session.findings):
        shown = OutputFormat.JSON if output is TestOutput.JSON else OutputFormat.TABLE
        report(session.findings, shown)
        return _EXIT_INVALID
    for finding in session.findings:
        note(f"{finding.span}: {finding.severity}[{finding.code}]: {finding.message}")
    results = _run(session, wanted)
    if not results.cases:
        raise NotFoundError(
            f"no case matches `{run}`" if run else "the files of tests hold no case",
            help="the regular expression is searched in `file: name`",
        )
    write_report(results, session.coverage, output, threshold)
    is_short = threshold is not None and session.coverage.percent < threshold
    return _EXIT_FAILED if is_short or results.failed else 0


@dataclass(slots=True)
class _Session:
    """The files of tests found, each with the documents it is about, and everything wrong with them."""

    coverage: Coverage
    suites: list[tuple[Suite, Bench]] = field(default_factory=list)
    findings: list[policy.Finding] = field(default_factory=list)


def _pattern(run: str | None) -> re.Pattern[str] | None:
    try:
        return None if run is None else re.compile(run)
    except re.error as error:
        raise ConfigError(f"`{run}` is no regular expression: {error}", help="quote it") from None


def _read(paths: Iterable[Path], tenant: str | None) -> _Session:
    from enforcer.policy.cases import read_suite  # noqa: PLC0415 — the checker takes its time to load
    from enforcer.policy.findings import Findings  # noqa: PLC0415 — as above
    from enforcer.testing.coverage import Coverage  # noqa: PLC0415 — as above
    from enforcer.testing.policy_tests import Bench  # noqa: PLC0415 — as above

    session = _Session(Coverage())
    found = [file for path in paths for file in _test_files(path)]
    if not found:
        raise NotFoundError(
            f"no tests in {', '.join(map(str, paths))}",
            help="tests of `cards.yaml` stand beside it, in `cards.test.yaml`",
        )
    benches: dict[tuple[Path, ...], Bench] = {}
    findings = Findings()
    for file in dict.fromkeys(found):
        ((name, text),) = sources([file])
        suite = read_suite(name, text, findings)
        documents = None if suite is None else under_test(file, suite, findings)
        if suite is None or documents is None:
            continue
        if documents not in benches:
            loaded = load(documents, tenant=tenant)
            session.findings += loaded.findings
            benches[documents] = Bench(loaded.documents)
        session.suites.append((suite, benches[documents]))
    session.findings += findings.sorted()
    session.findings = list(dict.fromkeys(session.findings))
    _cover(session, paths, benches.values(), tenant=tenant)
    return session


def _cover(
    session: _Session, paths: Iterable[Path], benches: Iterable[Bench], *, tenant: str | None
) -> None:
    """All policies count: those under test, and those in the folders given that no test is about."""
    from enforcer.policy.tracing import traced_policies  # noqa: PLC0415 — as above

    if any(finding.severity == "error" for finding in session.findings):
        return
    groups = [bench.documents for bench in benches]
    for path in paths:
        if path.is_dir() and any(_is_document(each) for each in path.rglob("*")):
            loaded = load([path], tenant=tenant)
            groups.append(loaded.documents)
            session.findings += [f for f in loaded.findings if f.severity == "error"]
    for documents in groups:
        for scope in sorted({each.scope for each in documents}):
            session.coverage.add(traced_policies(documents, scope), documents)


def _test_files(path: Path) -> list[Path]:
    """The files of tests that a path stands for."""
    if path.is_dir():
        return [
            p for p in sorted(path.rglob("*")) if p.is_file() and p.name.endswith(TEST_SUFFIXES)
        ]
    if not path.exists():
        raise NotFoundError(f"{path} does not exist", help="give a file or a folder")
    if path.name.endswith(TEST_SUFFIXES):
        return [path]
    beside = [path.with_suffix(suffix) for suffix in TEST_SUFFIXES]
    return [each for each in beside if each.is_file()]


def _is_document(path: Path) -> bool:
    return path.name.endswith(_DOCUMENT_SUFFIXES) and not path.name.endswith(TEST_SUFFIXES)


def under_test(
    file: Path, suite: Suite, findings: policy.findings.Findings
) -> tuple[Path, ...] | None:
    """The documents that a file of tests is about; None, and a finding, where one is not there."""
    from enforcer.errors import Span  # noqa: PLC0415 — as above

    if suite.documents is not None:
        found = tuple(file.parent / name for name, _ in suite.documents)
        missing = [
            (name, span)
            for path, (name, span) in zip(found, suite.documents, strict=True)
            if not path.exists()
        ]
        for name, span in missing:
            findings.error(
                "ENF2003",
                f"`{name}` does not exist",
                span,
                help=f"paths are relative to {file.parent}/",
            )
        return None if missing else found
    stem = next(file.name.removesuffix(s) for s in TEST_SUFFIXES if file.name.endswith(s))
    for suffix in _DOCUMENT_SUFFIXES:
        beside = file.with_name(stem + suffix)
        if beside.is_file():
            return (beside,)
    findings.error(
        "ENF2003",
        f"no `{stem}.yaml` stands beside this file",
        Span(str(file), 1, 1),
        help="name the documents under test: `documents: [policy.yaml]`",
    )
    return None


def _run(session: _Session, wanted: re.Pattern[str] | None) -> Run:
    results = Run()
    for suite, bench in session.suites:
        for case in suite.cases:
            if wanted is not None and not wanted.search(f"{suite.file}: {case.name}"):
                continue
            if case.skip:
                results.add(suite.file, case, None, seconds=0.0)
                continue
            start = time.perf_counter()
            tested = bench.run(case)
            session.coverage.note(tested.traces, tested.limits)
            results.add(suite.file, case, tested, seconds=time.perf_counter() - start)
    return results
