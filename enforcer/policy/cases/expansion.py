"""
Cases before their shape is looked at: matrices to single cases, parameters to their values.

Works on the tree with places, so that what is wrong in an expanded case is told where its author wrote it.
``${name}`` alone stands for the parameter's value, of whatever type; within a text, for its text.
"""

from __future__ import annotations

import difflib
import itertools
import re
from typing import TYPE_CHECKING

from enforcer.policy.canonical import canonical_json
from enforcer.policy.source import Node, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from enforcer.policy.findings import Findings

CASES_MAX = 10_000
"""Of one file: a matrix grows faster than its author thinks."""
_PARAMETER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand(case: Node, findings: Findings) -> list[tuple[Node, dict[str, Node]]]:
    """The cases that one with a matrix stands for, each with its parameters; itself, if it has none."""
    matrix = case.get("matrix")
    if matrix is None:
        return [(substituted(case, {}, findings), {})]
    rows = _rows(matrix, findings)
    without = _without(case, "matrix")
    return [(_named(substituted(without, row, findings), without, row), row) for row in rows]


def _rows(matrix: Node, findings: Findings) -> list[dict[str, Node]]:
    """The rows of parameters: all combinations of a map of lists, or a list of maps as it is."""
    if isinstance(matrix.value, list):
        rows = [node.value for node in matrix.items() if isinstance(node.value, dict)]
        if rows and len(rows) == len(matrix.value):
            return rows[:CASES_MAX]
    elif isinstance(matrix.value, dict):
        lists = [node.items() for node in matrix.value.values()]
        if lists and all(lists):
            names = tuple(matrix.value)
            count = 1
            for each in lists:
                count *= len(each)
            if count > CASES_MAX:
                findings.error(
                    "ENF2004",
                    f"the matrix has {count} combinations, more than {CASES_MAX}",
                    matrix.span,
                    help="write it as a list of the rows that matter",
                )
                return []
            return [dict(zip(names, row, strict=True)) for row in itertools.product(*lists)]
    findings.error(
        "ENF2004",
        "`matrix` is neither a map of lists nor a list of maps",
        matrix.span,
        help="`{tier: [gold, free]}` for every combination, `[{tier: gold, spent: 1}]` for rows",
    )
    return []


def _without(node: Node, key: str) -> Node:
    fields = {name: each for name, each in node.value.items() if name != key}
    return Node(fields, node.span, node.style, {k: s for k, s in node.keys.items() if k in fields})


def _named(case: Node, before: Node, row: Mapping[str, Node]) -> Node:
    """Each expanded case has a name of its own: where the author did not place a parameter, they are added."""
    name, written = case.get("name"), before.get("name")
    if name is None or written is None or name.value != written.value:
        return case
    told = ", ".join(f"{key}={_text(value)}" for key, value in row.items())
    fields = {**case.value, "name": Node(f"{name.value} [{told}]", name.span, "quoted")}
    return Node(fields, case.span, case.style, case.keys)


def substituted(node: Node, parameters: Mapping[str, Node], findings: Findings) -> Node:
    """*node* with every ``${name}`` replaced. Recursion is bounded by the depth of the document."""
    value = node.value
    if isinstance(value, dict):
        fields = {key: substituted(each, parameters, findings) for key, each in value.items()}
        return Node(fields, node.span, node.style, node.keys)
    if isinstance(value, list):
        items = [substituted(each, parameters, findings) for each in value]
        return Node(items, node.span, node.style)
    if not isinstance(value, str) or "${" not in value:
        return node
    for name in _PARAMETER.findall(value):
        if name not in parameters:
            _unknown(name, parameters, node, findings)
            return node
    alone = _PARAMETER.fullmatch(value)
    if alone is not None:
        given = parameters[alone.group(1)]
        return Node(given.value, node.span, given.style, given.keys)
    text = _PARAMETER.sub(lambda match: _text(parameters[match.group(1)]), value)
    return Node(text, node.span, "quoted")


def _unknown(name: str, known: Iterable[str], node: Node, findings: Findings) -> None:
    close = difflib.get_close_matches(name, list(known), n=1)
    findings.error(
        "ENF2001",
        f"no parameter is called `{name}`",
        node.span,
        help=f"did you mean `${{{close[0]}}}`?" if close else "add it to the case's `matrix`",
    )


def _text(node: Node) -> str:
    return node.value if isinstance(node.value, str) else canonical_json(plain(node))
