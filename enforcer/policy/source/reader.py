"""A source's text to the documents in it: JSON where it is JSON, YAML otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.errors import Span
from enforcer.policy.source import json_text, yaml_events
from enforcer.policy.source.nodes import Limits, Text

if TYPE_CHECKING:
    from enforcer.policy.findings import Findings

# A stream may hold many documents; each has its own limit, and this is the stream's.
STREAM_BYTES_MAX = 64 * 1024 * 1024


def read(name: str, text: str, findings: Findings, *, limits: Limits | None = None) -> list[Text]:
    """
    The documents of one source. What cannot be read is left out, and is in *findings*.

    Args:
        name: The file's name, for messages; ``.json`` is read as JSON only.
        text: The whole text: one document, a YAML stream, or JSON values one after another.
        findings: Where faults go.
        limits: Of one document; the language's unless given.
    """
    limits = limits or Limits()
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    if len(text) > STREAM_BYTES_MAX:
        findings.error(
            "ENF0102", "the source has more than 64 MiB", Span(name, 1, 1), help="split the file"
        )
        return []
    before = findings.error_count
    found = _documents(name, text, findings, limits)
    if not found and findings.error_count == before:
        findings.warning(
            "ENF0113", "the source holds no document", Span(name, 1, 1), help="remove the file"
        )
    return found


def _documents(name: str, text: str, findings: Findings, limits: Limits) -> list[Text]:
    must_be_json = name.endswith((".json", ".jsonl"))
    if must_be_json or text.lstrip()[:1] in {"{", "["}:
        try:
            return json_text.documents(text, name, findings, limits)
        except json_text.JsonSyntaxError as error:
            if must_be_json:
                line = text.count("\n", 0, error.offset) + 1
                column = error.offset - text.rfind("\n", 0, error.offset)
                findings.error(
                    "ENF0101",
                    f"cannot be read as JSON: {error}",
                    Span(name, line, column),
                    help="correct the text",
                )
                return []
    return yaml_events.documents(text, name, findings, limits)
