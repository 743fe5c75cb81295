"""``scan``: personal data, secrets and injection in texts from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from enforcer.cli.line_files import answer_lines, text_of
from enforcer.cli.output import OutputFormat, OutputOption
from enforcer.errors import ConfigError

DETECTORS = ("pii", "secrets", "injection")
_CONFIDENCE_ABOVE = 0.3
_ORIGINS = ("user", "retrieved", "tool")


def scan(
    source: Annotated[
        Path,
        typer.Option(
            "--input", "-i", help="An object a line, as JSON; `-` is stdin.", allow_dash=True
        ),
    ],
    detectors: Annotated[
        str, typer.Option("--detectors", "-d", help="Which of pii, secrets, injection.")
    ] = ",".join(DETECTORS),
    output: OutputOption = OutputFormat.JSONL,
) -> int:
    """
    Look into the `text` of each line, for all kinds at any confidence above 0.3.

    The answer is `{findings, injection}`: a finding has detector, kind, start, end (code points) and
    confidence, never the value; injection has score, attack and signals. A line may say its `origin`
    (user, retrieved, tool). A line without a text is answered `{error}`.
    """
    asked = [name.strip() for name in detectors.split(",") if name.strip()]
    unknown = [name for name in asked if name not in DETECTORS]
    if unknown or not asked:
        raise ConfigError(
            f"no detector is called `{unknown[0] if unknown else ''}`",
            help=f"detectors are {', '.join(DETECTORS)}",
        )
    return answer_lines(source, output, lambda row: _scan(row, frozenset(asked)))


def _scan(row: dict[str, Any], asked: frozenset[str]) -> dict[str, Any]:
    from enforcer.detect import combined, injection  # noqa: PLC0415 — patterns take their time

    text = text_of(row, "text")
    kinds: frozenset[str] = frozenset()
    if "pii" in asked:
        kinds |= combined.PII
    if "secrets" in asked:
        kinds |= combined.SECRETS
    found = combined.scan(text, kinds, at=_CONFIDENCE_ABOVE) if kinds else []
    shown: dict[str, Any] = {
        "findings": [
            {
                "detector": combined.detector_of(finding.kind),
                "kind": finding.kind,
                "start": finding.start,
                "end": finding.end,
                "confidence": round(finding.confidence, 2),
            }
            for finding in found
            if finding.confidence > _CONFIDENCE_ABOVE
        ]
    }
    truncated = getattr(found, "truncated", ())
    if truncated:
        shown["truncated"] = sorted(truncated)
    if "injection" in asked:
        origin = row.get("origin")
        judged = injection.judge(text, origin if origin in _ORIGINS else "user")
        shown["injection"] = {
            "score": round(judged.score, 3),
            "attack": judged.attack,
            "signals": list(judged.signals),
        }
    return shown
