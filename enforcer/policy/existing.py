"""
The existing engine's document, turned into this language's while it is still a tree with places.

``metadata``, ``rules[].condition/action`` and ``status`` become ``enforcer/v1``: camelCase paths their
canonical names, ``metadata.x`` an attribute, an undeclared field a read of the raw request (a warning),
``modifications`` edits. What follows (checker, canonical form, digest) knows one form only.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from enforcer.policy.documents import API_VERSION
from enforcer.policy.fields import FieldError, Origin, resolve
from enforcer.policy.paths import format_path
from enforcer.policy.source import Node

if TYPE_CHECKING:
    from enforcer.errors import Span
    from enforcer.policy.findings import Findings

_LABELS = ("name", "version", "namespace")
_METADATA_KEYS = frozenset(
    {"id", "description", "priority", "tags", "createdAt", "updatedAt", "createdBy", *_LABELS}
)
_RULE_KEYS = frozenset({"id", "name", "description", "enabled", "condition", "action"})
_CONDITION_KEYS = ("operator", "field", "value", "conditions")


def is_existing(node: Node) -> bool:
    """Whether a document is in the existing engine's form: rules at the top, no ``apiVersion``."""
    return node.get("apiVersion") is None and isinstance(
        rules.value if (rules := node.get("rules")) else None, list
    )


def convert(node: Node, findings: Findings) -> Node:
    """The document as ``enforcer/v1``. Every part keeps the place it was written at."""
    metadata = node.get("metadata") or _map(node.span, {})
    _warn_unknown(metadata, _METADATA_KEYS, findings)
    rules = node.get("rules")
    assert rules is not None
    spec = {
        "enabled": _enabled(node, findings),
        "rules": Node(
            [_rule(rule, at, findings) for at, rule in enumerate(rules.items())], rules.span, "list"
        ),
    }
    if (priority := metadata.get("priority")) is not None:
        spec["priority"] = priority
    return _map(
        node.span,
        {
            "apiVersion": Node(API_VERSION, node.span, "quoted"),
            "kind": Node("Policy", node.span, "quoted"),
            "metadata": _metadata(metadata),
            "spec": _map(rules.span, spec),
        },
    )


def _map(span: Span, fields: dict[str, Node]) -> Node:
    return Node(fields, span, "map", {key: each.span for key, each in fields.items()})


def _metadata(metadata: Node) -> Node:
    fields = {key: each for key in ("id", "description") if (each := metadata.get(key)) is not None}
    labels = {key: _label(each) for key in _LABELS if (each := metadata.get(key)) is not None}
    if (tags := metadata.get("tags")) is not None and tags.items():
        joined = ", ".join(str(tag.value) for tag in tags.items())
        labels["tags"] = Node(joined, tags.span, "quoted")
    if labels:
        fields["labels"] = _map(metadata.span, labels)
    return _map(metadata.span, fields)


def _label(node: Node) -> Node:
    """A label as text: YAML reads ``version: 1.0`` as a number."""
    value = node.value
    if isinstance(value, bool):
        return Node(str(value).lower(), node.span, "quoted")
    return Node(str(value), node.span, "quoted") if isinstance(value, (int, Decimal)) else node


def _enabled(node: Node, findings: Findings) -> Node:
    status = node.get("status")
    if status is None or status.value == "active":
        return Node(True, node.span)
    findings.warning(
        "ENF0601",
        f"the policy's status is `{status.value}`: it loads disabled",
        status.span,
        help="`status: active` puts it in force",
    )
    return Node(False, status.span)


def _rule(rule: Node, at: int, findings: Findings) -> Node:
    if not isinstance(rule.value, dict):
        return rule
    _warn_unknown(rule, _RULE_KEYS, findings)
    fields = {"id": rule.get("id") or Node(f"rule-{at}", rule.span, "quoted")}
    if (name := rule.get("description") or rule.get("name")) is not None:
        fields["description"] = name
    if (enabled := rule.get("enabled")) is not None:
        fields["enabled"] = Node(enabled.value is not False, enabled.span)
    if (condition := rule.get("condition")) is not None:
        fields["condition"] = _condition(condition, findings)
    fields.update(_action(rule, findings))
    return _map(rule.span, fields)


def _action(rule: Node, findings: Findings) -> dict[str, Node]:
    action = rule.get("action")
    if action is None:
        return {}
    decision = action.get("decision") or Node(None, action.span)
    fields = {"then": decision}
    if (reason := action.get("reason")) is not None and reason.value is not None:
        fields["reason"] = reason
    modifications = action.get("modifications")
    if decision.value == "modify" and modifications and isinstance(modifications.value, dict):
        edits = [
            _map(value.span, {"set": _path(Node(path, value.span), findings), "value": value})
            for path, value in modifications.value.items()
        ]
        listed = Node(edits, modifications.span, "list")
        fields["then"] = _map(action.span, {"verdict": decision, "edits": listed})
    return fields


def _condition(condition: Node, findings: Findings) -> Node:
    """Recursion is bounded by the depth of the document."""
    if not isinstance(condition.value, dict):
        return condition
    _warn_unknown(condition, frozenset(_CONDITION_KEYS), findings)
    kept = {key: each for key in _CONDITION_KEYS if (each := condition.get(key)) is not None}
    if (children := kept.get("conditions")) is not None and isinstance(children.value, list):
        built = [_condition(child, findings) for child in children.items()]
        kept["conditions"] = Node(built, children.span, "list")
    if (field := kept.get("field")) is not None:
        kept["field"] = _path(field, findings)
    return _map(condition.span, kept)


def _path(node: Node, findings: Findings) -> Node:
    """The canonical path; one that cannot be read is left as it is, for the checker to refuse."""
    if not isinstance(node.value, str):
        return node
    try:
        field = resolve(node.value, existing=True)
    except FieldError:
        return node
    path = format_path(field.path)
    if field.origin is Origin.RAW:
        findings.warning(
            "ENF0404",
            f"a request has no field `{node.value}`: it reads the raw request",
            node.span,
            help=f"`attributes.{field.path[-1]}` travels in every form of a request",
        )
    return Node(path, node.span, "quoted")


def _warn_unknown(node: Node, known: frozenset[str], findings: Findings) -> None:
    for key, span in node.keys.items():
        if key not in known:
            findings.warning(
                "ENF0201", f"the field `{key}` means nothing here", span, help="remove it"
            )
