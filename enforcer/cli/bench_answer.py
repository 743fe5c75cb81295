"""What a benchmark found, for people and for programs."""

from __future__ import annotations

from typing import Any

from enforcer.cli.output import OutputFormat, emit, note, table, write


def show(answer: dict[str, Any], output: OutputFormat) -> None:
    if output is not OutputFormat.TABLE:
        emit(answer, output)
        return
    names = [*answer["figures"], *(n for n in answer["baseline"] if n not in answer["figures"])]
    table(
        [
            {
                "figure": name.replace("_", " "),
                "enforcer": answer["figures"].get(name),
                "baseline": answer["baseline"].get(name),
            }
            for name in names
        ]
    )
    write("")
    rest = {k: v for k, v in answer.items() if k not in {"figures", "baseline", "machine"}}
    emit(rest, output)
    write("")
    emit(answer["machine"], output)
    if answer.get("noisy"):
        note("noisy: the baseline's rounds differ by more than 1.5; repeat on a quieter machine")


def show_soak(answer: dict[str, Any], output: OutputFormat) -> None:
    """As every benchmark, but for people without the samples."""
    if output is OutputFormat.TABLE:
        rows = [{"series": name, **found} for name, found in answer["series"].items()]
        table(rows, ("series", "median", "first", "last", "growth", "allowed", "grows"))
        write("")
        answer = {k: v for k, v in answer.items() if k not in {"series", "samples"}}
    show(answer, output)
