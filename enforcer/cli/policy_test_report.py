"""What ``policy test`` prints: for people, for programs, and for CI systems."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from enforcer.cli.findings_report import data_text, property_text
from enforcer.cli.output import note, write

if TYPE_CHECKING:
    from enforcer.policy.cases import ReadCase
    from enforcer.testing.coverage import Coverage
    from enforcer.testing.policy_tests import Tested

_INDENT = " " * 6


class TestOutput(enum.StrEnum):
    """The forms of a report."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"
    GITHUB = "github"


@dataclass(frozen=True, slots=True)
class Result:
    """One case that ran, or was skipped: then it has nothing tested."""

    file: str
    case: ReadCase
    tested: Tested | None
    seconds: float

    @property
    def status(self) -> str:
        """``passed``, ``failed`` or ``skipped``."""
        if self.tested is None:
            return "skipped"
        return "passed" if self.tested.passed else "failed"


@dataclass(slots=True)
class Run:
    """The cases of one run, in order."""

    cases: list[Result] = field(default_factory=list)

    def add(self, file: str, case: ReadCase, tested: Tested | None, *, seconds: float) -> None:
        """One more."""
        self.cases.append(Result(file, case, tested, seconds))

    def count(self, status: str) -> int:
        """How many cases have *status*."""
        return sum(1 for each in self.cases if each.status == status)

    @property
    def failed(self) -> int:
        """How many failed."""
        return self.count("failed")


def write_report(run: Run, coverage: Coverage, output: TestOutput, threshold: float | None) -> None:
    """Print what became of *run*: data to stdout, the summary to stderr."""
    if output is TestOutput.JSON:
        write(json.dumps(_as_json(run, coverage, threshold), indent=2, ensure_ascii=False))
    elif output is TestOutput.JUNIT:
        write(_as_junit(run))
    elif output is TestOutput.GITHUB:
        _write_github(run, coverage)
    else:
        _write_table(run, coverage)
    counts = f"{run.count('passed')} passed, {run.failed} failed"
    if skipped := run.count("skipped"):
        counts += f", {skipped} skipped"
    note(f"{counts}, coverage {coverage.percent:.1f} %")
    if threshold is not None and coverage.percent < threshold:
        note(f"the coverage is below the threshold of {threshold:g} %")


def differences_of(tested: Tested) -> list[str]:
    """The differences of a failed case as lines: expected with ``-``, found with ``+``."""
    lines: list[str] = []
    for each in tested.differences:
        lines.append(each.place)
        lines.append(f"  - {_shown(each.expected)}")
        lines.append(f"  + {_shown(each.found)}")
    told = tested.decision
    reasons = [*told.get("reasons", []), *told.get("warnings", [])]
    for reason in reasons:
        where = "/".join(part for part in (reason["policy"], reason["rule"]) if part)
        said = f"{reason['verdict']} {reason['code']}: {reason['message']}"
        lines.append(f"because  {where} {said}".replace("  ", " ") if where else f"because {said}")
    lines += [
        f"error {each['policy']}/{each['rule']}: {each['message']}"
        for each in told.get("errors", [])
    ]
    return lines


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _write_table(run: Run, coverage: Coverage) -> None:
    words = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}
    for each in run.cases:
        place = each.file if each.status != "failed" else str(each.case.span)
        write(f"{words[each.status]}  {place}: {each.case.name}")
        if each.tested is not None and not each.tested.passed:
            for line in differences_of(each.tested):
                write(_INDENT + line)
    write("")
    names = [f"{part.policy}/{part.part}" for part in coverage.parts]
    width = max((len(name) for name in names), default=0)
    for name, part in zip(names, coverage.parts, strict=True):
        total = len(part.branches)
        percent = 100 * len(part.seen) / total if total else 100.0
        write(f"{name:<{width}}  {len(part.seen):>3}/{total:<3} {percent:5.1f} %")
        for branch in part.missing:
            write(f"{_INDENT}{branch}")


def _as_json(run: Run, coverage: Coverage, threshold: float | None) -> dict[str, Any]:
    return {
        "cases": [_case_as_json(each) for each in run.cases],
        "passed": run.count("passed"),
        "failed": run.failed,
        "skipped": run.count("skipped"),
        "coverage": {
            "percent": round(coverage.percent, 2),
            "threshold": threshold,
            "parts": [
                {
                    "policy": part.policy,
                    "scope": part.scope,
                    "part": part.part,
                    "branches": len(part.branches),
                    "covered": len(part.seen),
                    "missing": [
                        {
                            "file": branch.span.file,
                            "line": branch.span.line,
                            "column": branch.span.column,
                            "text": branch.text,
                            "never": branch.wanted,
                        }
                        for branch in part.missing
                    ],
                }
                for part in coverage.parts
            ],
        },
    }


def _case_as_json(each: Result) -> dict[str, Any]:
    tested = each.tested
    return {
        "file": each.file,
        "line": each.case.span.line,
        "column": each.case.span.column,
        "name": each.case.name,
        "status": each.status,
        "differences": [
            {"place": d.place, "expected": d.expected, "found": d.found}
            for d in (() if tested is None else tested.differences)
        ],
        "verdict": None if tested is None else tested.decision.get("verdict"),
    }


def _as_junit(run: Run) -> str:
    """One suite a file, as CI systems read it."""
    from xml.etree import ElementTree as ET  # noqa: PLC0415 — as it is known; only this form needs it

    root = ET.Element("testsuites", name="enforcer policy test")
    by_file: dict[str, list[Result]] = {}
    for each in run.cases:
        by_file.setdefault(each.file, []).append(each)
    for file, results in by_file.items():
        counts = {
            "tests": str(len(results)),
            "failures": str(sum(each.status == "failed" for each in results)),
            "skipped": str(sum(each.status == "skipped" for each in results)),
            "time": f"{sum(each.seconds for each in results):.6f}",
        }
        suite = ET.SubElement(root, "testsuite", {"name": file, **counts})
        for each in results:
            named = {"name": each.case.name, "classname": file, "file": file}
            named |= {"line": str(each.case.span.line), "time": f"{each.seconds:.6f}"}
            case = ET.SubElement(suite, "testcase", named)
            if each.status == "skipped":
                ET.SubElement(case, "skipped")
            elif each.tested is not None and not each.tested.passed:
                places = ", ".join(d.place for d in each.tested.differences)
                failure = ET.SubElement(case, "failure", message=f"not as expected: {places}")
                failure.text = "\n".join(differences_of(each.tested))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode")


def _write_github(run: Run, coverage: Coverage) -> None:
    """Workflow commands: failures are errors at their cases, uncovered branches warnings at their terms."""
    for each in run.cases:
        if each.tested is not None and not each.tested.passed:
            span = each.case.span
            text = "\n".join(differences_of(each.tested))
            write(
                f"::error file={property_text(span.file)},line={span.line},col={span.column},"
                f"title={property_text(each.case.name)}::{data_text(text)}"
            )
    for part in coverage.parts:
        for branch in part.missing:
            span = branch.span
            write(
                f"::warning file={property_text(span.file)},line={span.line},col={span.column},"
                f"title=not tested::{data_text(f'never {branch.wanted}: {branch.text}')}"
            )
