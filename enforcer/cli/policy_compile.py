"""``policy compile``: what documents become, stage by stage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from enforcer.cli.findings_report import report
from enforcer.cli.output import OutputFormat, OutputOption, emit, note, table, write
from enforcer.cli.policy_files import NOTHING, sources


def compile_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files or folders.")],
    tenant: Annotated[
        str, typer.Option("--tenant", help="Whose program to compose with everybody's.")
    ] = "*",
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Stages with times and sizes; policies with the index."),
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> int:
    """Compile documents as a worker does, and say what they became."""
    from enforcer.policy import stages  # noqa: PLC0415 — the compiler takes its time to load

    work = stages.Compilation(list(sources(paths)), tenant)
    timings = stages.run_stages(work, time.perf_counter_ns)
    if any(finding.severity == "error" for finding in work.findings):
        report(work.findings, output)
        return 3
    report([each for each in work.findings if each.code == NOTHING], OutputFormat.TABLE, say=note)
    policies: list[dict[str, Any]] = [
        {
            "policy": code.id,
            "scope": code.scope,
            "rules": len(code.rules),
            "code_bytes": stages.code_bytes(code),
            "needs": {
                ".".join(map(str, path)): sorted(texts)
                for path, texts in sorted(code.requirements.items(), key=str)
            },
        }
        for scope in work.scopes.values()
        for code in scope.policies
    ]
    found: dict[str, Any] = {"policies": len(policies), "documents": len(work.documents)}
    if explain:
        found = {
            "stages": [
                {
                    "stage": each.stage.name,
                    "metric": each.stage.metric,
                    "ms": round(each.took_ns / 1e6, 3),
                    "size": each.size,
                    "does": each.stage.does,
                }
                for each in timings
            ],
            "policies": policies,
        }
    if output is not OutputFormat.TABLE:
        emit(found, output)
    elif explain:
        table(found["stages"])
        write("")
        table([{**each, "needs": _needs(each["needs"])} for each in policies])
    else:
        note(f"{found['policies']} policies of {found['documents']} documents compile")
    return 0


def _needs(columns: dict[str, list[str]]) -> str:
    """What a request must have for a policy to be looked at: its columns of the index."""
    return "; ".join(f"{path} in {', '.join(texts)}" for path, texts in columns.items()) or "-"
