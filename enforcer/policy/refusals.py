"""
What the language will have and this release does not: refused by name, each with what to write now.

Runs on the tree before the models see it, and takes out what it refuses, so that one thing has one finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enforcer.policy.findings import Findings
    from enforcer.policy.source import Node

_BLOCK_HELP = "YAML read it as {what}; write an expression as a block scalar: `{key}: |-`"


def refuse_later(node: Node, findings: Findings) -> None:
    """Refuse, and take out of *node*, everything that comes with a later release."""
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


def _children(node: Node, key: str) -> list[Node]:
    child = node.get(key)
    return child.items() if child is not None else []


def _take_out(node: Node, key: str) -> None:
    del node.value[key]
    node.keys.pop(key, None)


def _refuse_expression(node: Node, key: str, findings: Findings) -> None:
    """What YAML read as anything but one text is no expression, and of `when` no map either."""
    value = node.get(key)
    if value is None or isinstance(value.value, str):
        return
    if key != "when" and isinstance(value.value, dict):
        return
    what = {dict: "a map", list: "a list", bool: "a boolean"}.get(type(value.value), "a number")
    what = "nothing" if value.value is None else what
    findings.error(
        "ENF0111",
        f"the expression in `{key}` is no text to YAML",
        value.span,
        help=_BLOCK_HELP.format(what=what, key=key),
    )
    _take_out(node, key)
