"""
A file of the existing engine to documents and a report.

What is written is read again with the checker: a rule with an error there is not possible, for the reason it
gives, and is left out. So the output always checks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from enforcer.policy.existing import convert, is_existing
from enforcer.policy.findings import Finding, Findings
from enforcer.policy.importing import matching, structured
from enforcer.policy.importing.emission import document_text
from enforcer.policy.importing.report import Line, Notes
from enforcer.policy.loader import load
from enforcer.policy.source import Node, plain, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.errors import Span


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file came to: the text of its documents, a line a rule, and findings where it cannot be read."""

    text: str
    lines: tuple[Line, ...]
    findings: tuple[Finding, ...]


def import_source(name: str, text: str, *, tenant: str = "*") -> Imported:
    """
    A file of the existing engine as ``enforcer/v1``.

    Args:
        name: The file's name, for messages; ``.json`` is read as JSON.
        text: One document or several, of either form.
        tenant: Whose the policies become.
    """
    findings = Findings()
    parts: list[str] = []
    lines: list[Line] = []
    for each in read(name, text, findings):
        for node in _documents(each.node):
            if matching.is_matching(node):
                document, told = matching.converted(node, tenant)
            elif is_existing(node):
                document, told = _structured(node, tenant)
            else:
                findings.error(
                    "ENF0602",
                    "this is no document of the existing engine",
                    node.span,
                    help="one has `rules` with `condition` and `action`, or `conditions` and `actions`",
                )
                continue
            written, told = _checked(document, told)
            parts.append(written)
            lines += told
    errors = tuple(each for each in findings.sorted() if each.severity == "error")
    return Imported("---\n".join(parts), tuple(lines), errors)


def _documents(node: Node) -> list[Node]:
    policies = node.get("policies") if node.get("apiVersion") is None else None
    if policies is not None and isinstance(policies.value, list):
        return policies.items()
    return node.items() if isinstance(node.value, list) else [node]


def _structured(node: Node, tenant: str) -> tuple[dict[str, Any], list[Line]]:
    """The structured form: noted while it is still as it was written, then converted as it loads."""
    name = matching.policy_id(node)
    lines: list[Line] = []
    kept: list[Node] = []
    rules = node.get("rules")
    assert rules is not None
    for at, rule in enumerate(rules.items()):
        notes = Notes()
        condition = rule.get("condition")
        if condition is not None:
            structured.note_condition(condition, notes)
        structured.note_action(rule.get("action"), notes)
        given = rule.get("id")
        lines.append(notes.line(rule.span, name, str(given.value) if given else f"rule-{at}"))
        if not notes.impossible:
            kept.append(rule)
    whole = Node(
        {**node.value, "rules": Node(kept, rules.span, "list")}, node.span, "map", node.keys
    )
    document = plain(convert(whole, Findings()))
    labels = document["metadata"].get("labels", {})
    for key in [key for key, value in labels.items() if not isinstance(value, str)]:
        del labels[key]
    document["metadata"]["id"] = name
    if tenant != "*":
        document["metadata"]["tenant"] = tenant
    if document["spec"]["enabled"] is True:
        del document["spec"]["enabled"]
    status = node.get("status")
    if status is not None and status.value != "active":
        lines.insert(
            0,
            Line(
                status.span, name, "", "exact", (f"its status is `{status.value}`: it is disabled",)
            ),
        )
    return document, lines


def _checked(document: dict[str, Any], lines: list[Line]) -> tuple[str, list[Line]]:
    """The text of a document without the rules that the checker refuses, and the report with its reasons."""
    spec = document["spec"]
    for _ in range(len(spec["rules"]) + 2):
        text = document_text(document, _omitted(lines))
        errors = [
            each for each in load([("imported.yaml", text)]).findings if each.severity == "error"
        ]
        if not errors:
            return text, lines
        refused = _refused(text, errors)
        if not refused:
            # Not a rule's: the guard, or the document itself.
            spec.pop("unless", None)
            lines = [
                _refuse(each, errors) if each.rule.startswith("exception ") else each
                for each in lines
            ]
            if not any(each.rule.startswith("exception ") for each in lines):
                spec["rules"] = []
                lines = [_refuse(each, errors) for each in lines]
            continue
        spec["rules"] = [rule for rule in spec["rules"] if str(rule["id"]) not in refused]
        lines = [
            _refuse(each, refused[each.rule]) if each.rule in refused else each for each in lines
        ]
    bare = {**document, "metadata": {"id": document["metadata"]["id"]}, "spec": {"rules": []}}
    return document_text(bare, ()), lines


def _refuse(line: Line, errors: Sequence[Finding]) -> Line:
    return replace(
        line, status="not possible", notes=tuple(dict.fromkeys(e.message for e in errors))
    )


def _refused(text: str, errors: Sequence[Finding]) -> dict[str, list[Finding]]:
    """The rules that *errors* stand in, by the lines of the text."""
    found = read("imported.yaml", text, Findings())
    spec = found[0].node.get("spec") if found else None
    rules = spec.get("rules") if spec is not None else None
    starts = [
        (each.span, str((each.get("id") or each).value))
        for each in (rules.items() if rules else [])
    ]
    refused: dict[str, list[Finding]] = {}
    for error in errors:
        above = [rule for span, rule in starts if _is_at_or_below(error.span, span)]
        if above:
            refused.setdefault(above[-1], []).append(error)
    return refused


def _is_at_or_below(place: Span, start: Span) -> bool:
    return (place.line, place.column) >= (start.line, start.column)


def _omitted(lines: Sequence[Line]) -> list[str]:
    return [
        f"not imported: {each.rule}: {'; '.join(each.notes)}"
        for each in lines
        if each.status == "not possible"
    ]
