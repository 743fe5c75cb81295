"""
What the language will have and this release does not: refused by name, each with what to write now.

Runs on the tree before the models see it, and takes out what it refuses, so that one thing has one finding.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from enforcer.policy.source.nodes import scalar

if TYPE_CHECKING:
    from enforcer.policy.findings import Findings
    from enforcer.policy.source import Node

_BLOCK_HELP = "YAML read it as {what}; write an expression as a block scalar: `{key}: |-`"
_COMPARISON = re.compile(
    r"""\s*([A-Za-z_][\w.\[\]"]*)\s*(==|!=|<=|>=|<|>|\bin\b)\s*("[^"]*"|'[^']*'|\[[^\[\]]*\]|[-\w.]+)\s*"""
)
_OPERATORS = {
    "==": "eq", "!=": "ne", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "in": "in",
}  # fmt: skip
_EXAMPLE = "{operator: eq, field: project.environment, value: production}"


def refuse_later(node: Node, findings: Findings) -> None:
    """Refuse, and take out of *node*, everything that comes with a later release."""
    spec = node.get("spec")
    if spec is None:
        return
    for key in ("match", "unless"):
        _refuse_expression(spec, key, findings, written_as=key)
    _refuse_key(
        spec, "exceptions", "ENF0302", findings, help_line="an `unless` exempts without an end date"
    )
    _refuse_key(
        spec, "variables", "ENF0303", findings, help_line="write the condition out where it is used"
    )
    for rule in _children(spec, "rules"):
        _refuse_expression(rule, "when", findings, written_as="condition")
        _refuse_expression(rule, "condition", findings, written_as="condition")
    for limit in [*_children(spec, "budgets"), *_children(spec, "rate_limits")]:
        _refuse_reaction(limit, findings)


def _children(node: Node, key: str) -> list[Node]:
    child = node.get(key)
    return child.items() if child is not None else []


def _take_out(node: Node, key: str) -> None:
    del node.value[key]
    node.keys.pop(key, None)


def _refuse_key(node: Node, key: str, code: str, findings: Findings, *, help_line: str) -> None:
    if key in node.keys:
        findings.error(
            code,
            f"`{key}` comes with the expression language and is not known yet",
            node.keys[key],
            help=help_line,
        )
        _take_out(node, key)


def _refuse_expression(node: Node, key: str, findings: Findings, *, written_as: str) -> None:
    value = node.get(key)
    if value is None or (key != "when" and isinstance(value.value, dict)):
        return
    if not isinstance(value.value, str):
        what = {dict: "a map", list: "a list", bool: "a boolean"}.get(type(value.value), "a number")
        what = "nothing" if value.value is None else what
        findings.error(
            "ENF0111",
            f"the expression in `{key}` is no text to YAML",
            value.span,
            help=_BLOCK_HELP.format(what=what, key=key),
        )
    else:
        structured = equivalent(value.value) or _EXAMPLE
        findings.error(
            "ENF0301",
            f"`{key}` is an expression, and expressions are not known yet",
            value.span,
            help=f"write a structured condition, such as `{written_as}: {structured}`",
        )
    _take_out(node, key)


def equivalent(expression: str) -> str | None:
    """The structured form of comparisons joined by one kind of ``&&`` or ``||``; None of others."""
    for sign, operator in (("&&", "and"), ("||", "or")):
        if sign in expression:
            terms = [_comparison(part) for part in expression.split(sign)]
            if any(term is None for term in terms):
                return None
            return f"{{operator: {operator}, conditions: [{', '.join(map(str, terms))}]}}"
    return _comparison(expression)


def _comparison(text: str) -> str | None:
    match = _COMPARISON.fullmatch(text)
    if match is None:
        return None
    path, sign, literal = match.groups()
    if literal[0] not in "\"'[" and isinstance(scalar(literal), str):
        return None
    return f"{{operator: {_OPERATORS[sign]}, field: {path}, value: {literal}}}"


def _refuse_reaction(limit: Node, findings: Findings) -> None:
    reaction = limit.get("on_exceeded")
    if reaction is None:
        return
    word = next(iter(reaction.value), "") if isinstance(reaction.value, dict) else reaction.value
    if word in {"cap", "downgrade"}:
        findings.error(
            "ENF0304",
            f"`on_exceeded: {word}` is not known yet",
            reaction.span,
            help="`deny` stops the call, `warn` books past the limit and says so",
        )
        _take_out(limit, "on_exceeded")
