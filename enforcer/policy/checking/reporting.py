"""Problems of expressions as findings, with the edits in the places of the file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from enforcer.policy.checking.problems import CODES, Problem
from enforcer.policy.checking.proof import prove, prove_value
from enforcer.policy.findings import Edit, Finding, Severity
from enforcer.policy.narrowing import absent_false, absent_true

if TYPE_CHECKING:
    from enforcer.policy.checker import Lowered
    from enforcer.policy.exemptions import Template
    from enforcer.policy.expressions import Condition
    from enforcer.policy.findings import Findings
    from enforcer.policy.source import Node

_WARNINGS = frozenset({"cost"})


def prove_policy(
    lowered: Lowered, node: Node, findings: Findings, required: frozenset[str] = frozenset()
) -> None:
    """
    Findings for every operation of a policy's expressions that may have no value.

    Args:
        lowered: The policy.
        node: Where it stands.
        findings: Where they go.
        required: Fields that its tenants require or have defaults for.
    """
    guards = {id(guard) for guard in _guards(node)}
    present = required
    if lowered.match is not None:
        present |= absent_false(lowered.match)
    if lowered.unless is not None:
        present |= absent_true(lowered.unless)
    for condition in lowered.expressions:
        problems = prove(condition, required if id(condition.node) in guards else present)
        is_widened_last = any(each.insertions and each.kind != "overflow" for each in problems)
        findings.extend(
            _finding(each, condition, is_fixed=each.kind != "overflow" or not is_widened_last)
            for each in problems
        )
    for rule in lowered.rules:
        if rule.template is not None:
            _prove_reason(rule.template, present | absent_false(rule.condition), findings)


def _prove_reason(template: Template, present: frozenset[str], findings: Findings) -> None:
    """The expressions of a reason: they are asked where the rule has matched."""
    for part in template.parts:
        if isinstance(part, str):
            continue
        for problem in prove_value(part.condition, present):
            found = _finding(problem, part.condition, is_fixed=False)
            if problem.kind == "absent":
                said = 'ask for it in the rule\'s condition with `has`, or write `a.?b.orValue("none")`'
                found = replace(found, help=said)
            findings.extend([found])


def _guards(node: Node) -> list[Node]:
    """The nodes of ``match`` and ``unless`` and all below them."""
    spec = node.get("spec")
    found = [spec.get(key) for key in ("match", "unless")] if spec is not None else []
    stack = [each for each in found if each is not None]
    every: list[Node] = []
    while stack:
        top = stack.pop()
        every.append(top)
        value = top.value
        below = value.values() if isinstance(value, dict) else value
        stack.extend(below if isinstance(value, dict | list) else ())
    return every


def _finding(problem: Problem, condition: Condition, *, is_fixed: bool) -> Finding:
    severity: Severity = "error"
    if not problem.is_declared or problem.kind in _WARNINGS:
        severity = "warning"
    start, end = problem.place
    first, last = condition.place(start), condition.place(end)
    length = last.column - first.column if last.line == first.line else 0
    edits = tuple(Edit(condition.place(at), text) for at, text in problem.insertions)
    return Finding(
        CODES[problem.kind],
        severity,
        problem.message,
        first,
        problem.help,
        max(0, length),
        edits if is_fixed and _is_exact(condition) else (),
    )


def _is_exact(condition: Condition) -> bool:
    """Whether places in the expression are places in the file and no folded text's."""
    return condition.node.text_at is not None or "\n" not in condition.expression.source.text
