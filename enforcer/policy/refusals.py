"""
Expressions that YAML read as something else: refused by name, each with what to write.

Runs on the tree before the models see it, and takes out what it refuses, so that one thing has one finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enforcer.policy.findings import Findings
    from enforcer.policy.source import Node

_BLOCK_HELP = "YAML read it as {what}; write an expression as a block scalar: `{key}: |-`"


def refuse_misread(node: Node, findings: Findings) -> None:
    """Refuse, and take out of *node*, every expression that YAML read as something else."""
    spec = node.get("spec")
    if spec is None:
        return
    for key in ("match", "unless"):
        _refuse_expression(spec, key, findings)
    for rule in _children(spec, "rules"):
        for key in ("when", "condition"):
            _refuse_expression(rule, key, findings)
    for exception in _children(spec, "exceptions"):
        _refuse_expression(exception, "when", findings)
    variables = spec.get("variables")
    if variables is not None and isinstance(variables.value, dict):
        for name in list(variables.value):
            _refuse_expression(variables, name, findings, is_variable=True)


def _children(node: Node, key: str) -> list[Node]:
    child = node.get(key)
    return child.items() if child is not None else []


def _take_out(node: Node, key: str) -> None:
    del node.value[key]
    node.keys.pop(key, None)


def _refuse_expression(
    node: Node, key: str, findings: Findings, *, is_variable: bool = False
) -> None:
    """What YAML read as anything but one text is no expression, and of `when` no map either."""
    value = node.get(key)
    if value is None:
        return
    if isinstance(value.value, str):
        _refuse_torn(node, key, value, findings)
        return
    if key != "when" and not is_variable and isinstance(value.value, dict):
        return
    what = {dict: "a map", list: "a list", bool: "a boolean"}.get(type(value.value), "a number")
    what = "nothing" if value.value is None else what
    # An empty value stands where the next token does, which may be lines below.
    span = node.keys.get(key, value.span) if value.value is None else value.span
    findings.error(
        "ENF0111",
        f"the expression in `{key}` is no text to YAML",
        span,
        help=_BLOCK_HELP.format(what=what, key=key),
    )
    _take_out(node, key)


def _refuse_torn(node: Node, key: str, value: Node, findings: Findings) -> None:
    """In braces a comma ends a plain text, and what follows is a key without a value."""
    if value.style != "plain" or value.value.count("(") <= value.value.count(")"):
        return
    rest = [name for name, each in node.value.items() if each.value is None and ")" in name]
    if not rest:
        return
    findings.error(
        "ENF0111",
        f"within braces YAML ends the expression in `{key}` at a comma",
        value.span,
        help="put the expression in single quotes, or give the rule lines of its own",
    )
    for name in (key, *rest):
        _take_out(node, name)
