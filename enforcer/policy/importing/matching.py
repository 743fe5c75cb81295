"""
The ``conditions.match`` form: expressions, lists of actions, ``config``, ``exceptions`` and ``fallback``.

No engine evaluates it, so "exact" is measured against what its documents say: all rules are looked at, a deny
wins, every decision is audited.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from enforcer.policy.importing.dialect import translated
from enforcer.policy.importing.report import Line, Notes
from enforcer.policy.source import plain

if TYPE_CHECKING:
    from enforcer.policy.source import Node

_RANK: Final = ("deny", "modify", "warn", "allow")
_TEMPLATE: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Action:
    """What one action becomes: a verdict, a reason, edits."""

    verdict: str
    reason: str = ""
    edits: tuple[dict[str, Any], ...] = ()


def is_matching(node: Node) -> bool:
    """Whether a document is of this form: rules with ``conditions.match``, no ``apiVersion``."""
    rules = node.get("rules")
    if node.get("apiVersion") is not None or rules is None:
        return False
    return any(each.get("conditions") is not None or each.get("actions") for each in rules.items())


def policy_id(node: Node) -> str:
    """The id: its own, or its name."""
    metadata = node.get("metadata")
    found = (metadata.get("id") or metadata.get("name")) if metadata is not None else None
    text = (
        re.sub(r"[^A-Za-z0-9._:@+-]+", "-", str(found.value)).strip("-")
        if found is not None
        else ""
    )
    return text or "imported"


def converted(node: Node, tenant: str) -> tuple[dict[str, Any], list[Line]]:
    """The document as plain data, and the lines of its report; rules that are not possible are left out."""
    name = policy_id(node)
    lines: list[Line] = []
    rules: list[dict[str, Any]] = []
    spec: dict[str, Any] = {}
    about = Notes()
    _config(node, spec, about)
    _exceptions(node, spec, lines, name)
    _fallback(node, spec, about)
    given = node.get("rules")
    for at, rule in enumerate(given.items() if given is not None else []):
        notes = Notes()
        found = _rule(rule, at, notes)
        lines.append(notes.line(rule.span, name, found["id"]))
        if not notes.impossible:
            rules.append(found)
    if about.changed:
        lines.insert(0, about.line(node.span, name, ""))
    spec["rules"] = rules
    metadata: dict[str, Any] = {"id": name}
    if tenant != "*":
        metadata["tenant"] = tenant
    if labels := _labels(node):
        metadata["labels"] = labels
    document = {"apiVersion": "enforcer/v1", "kind": "Policy", "metadata": metadata, "spec": spec}
    return document, lines


def _map(node: Node | None) -> dict[str, Any]:
    """A map as plain data; of anything else, nothing."""
    found = plain(node) if node is not None else None
    return found if isinstance(found, dict) else {}


def _labels(node: Node) -> dict[str, str]:
    metadata = node.get("metadata")
    given = _map(metadata)
    found: dict[str, str] = {
        key: str(given[key]) for key in ("namespace", "owner", "revision") if key in given
    }
    if isinstance(given.get("tags"), list):
        found["tags"] = ", ".join(map(str, given["tags"]))
    return found


def _config(node: Node, spec: dict[str, Any], about: Notes) -> None:
    config = node.get("config")
    given = _map(config)
    if given.get("fail_open") is True:
        spec["on_error"] = "skip"
    if given.get("default_action") == "deny":
        about.change(
            "`default_action: deny` is the tenant's: write `default_verdict: deny` in its Tenant document"
        )
    if given.get("cache_ttl_seconds"):
        about.change(
            "no verdict is cached, for budgets would make it wrong: `cache_ttl_seconds` is left out"
        )


def _fallback(node: Node, spec: dict[str, Any], about: Notes) -> None:
    fallback = node.get("fallback")
    action = fallback.get("action") if fallback is not None else None
    if action is not None and action.value == "allow":
        spec["on_error"] = "skip"
    if action is not None and str(action.value) not in {"allow", "deny"}:
        about.change(f"`fallback: {action.value}` becomes a deny")


def _exceptions(node: Node, spec: dict[str, Any], lines: list[Line], policy: str) -> None:
    """``allow_all`` exempts from this policy: an ``unless``, which has no end date either."""
    found: list[str] = []
    given = node.get("exceptions")
    for at, exception in enumerate(given.items() if given is not None else []):
        name, notes = f"exception {_text(exception, 'id') or at}", Notes()
        enabled = exception.get("enabled")
        if enabled is not None and enabled.value is False:
            notes.refuse("it is disabled")
        expression = _match(exception, notes)
        if _text(exception, "action") not in {"allow_all", ""}:
            notes.refuse(f"there is no exception that does `{_text(exception, 'action')}`")
        approval = exception.get("requires_approval")
        if approval is not None and approval.value is True:
            notes.refuse("a verdict waits for nobody's approval")
        notes.change(
            "it exempts from this policy, as `unless`; `exceptions:` would have an end date and be audited"
        )
        lines.append(notes.line(exception.span, policy, name))
        if not notes.impossible:
            found.append(expression)
    if found:
        spec["unless"] = found[0] if len(found) == 1 else " || ".join(f"({each})" for each in found)


def _rule(rule: Node, at: int, notes: Notes) -> dict[str, Any]:
    found: dict[str, Any] = {"id": _text(rule, "id") or f"rule-{at}"}
    enabled = rule.get("enabled")
    if enabled is not None and enabled.value is False:
        found["enabled"] = False
    if description := _description(rule):
        found["description"] = description
    expression = _match(rule, notes)
    if expression != "true":
        found["when"] = expression
    given = rule.get("actions")
    actions = [_action(each, notes) for each in (given.items() if given is not None else [])]
    if not actions:
        notes.refuse("the rule has no actions")
        return found
    _join(actions, found, notes)
    return found


def _join(actions: list[Action], found: dict[str, Any], notes: Notes) -> None:
    """One verdict of several actions: the strictest, with its reason."""
    strictest = min(actions, key=lambda each: _RANK.index(each.verdict))
    edits = [edit for each in actions for edit in each.edits]
    if strictest.verdict == "modify":
        found["then"] = {"verdict": "modify", "edits": edits}
    else:
        found["then"] = strictest.verdict
        if edits:
            notes.change("a deny carries no edits: `redact` is left out")
    reason = strictest.reason or next((each.reason for each in actions if each.reason), "")
    if reason:
        found["reason"] = reason


def _description(rule: Node) -> str:
    metadata = rule.get("metadata")
    given = _map(metadata)
    parts = [_text(rule, "description") or _text(rule, "name")]
    parts += [str(given[key]) for key in ("severity", "category") if key in given]
    if isinstance(given.get("compliance"), list):
        parts.append(", ".join(map(str, given["compliance"])))
    return "; ".join(part for part in parts if part)


def _match(node: Node, notes: Notes) -> str:
    conditions = node.get("conditions")
    match = conditions.get("match") if conditions is not None else None
    if match is None:
        return "true"
    return translated(
        str(match.value).lower() if isinstance(match.value, bool) else str(match.value), notes
    )


def _action(action: Node, notes: Notes) -> Action:
    kind = _text(action, "type")
    reason = _reason(_text(action, "reason") or _text(action, "message"), notes)
    metadata = action.get("metadata")
    if metadata is not None and "{{" in str(plain(metadata)):
        notes.change(
            "templates of `metadata` are left out: a decision carries the facts themselves"
        )
    if kind in {"deny", "allow", "warn"}:
        return Action(kind, reason)
    if kind in {"audit", "log"}:
        alert = action.get("alert")
        if alert is not None and alert.value is True:
            notes.change("nobody is alerted: follow the audit topic")
        return Action("allow")
    if kind == "redact":
        return _redact(action, notes)
    if kind == "throttle":
        notes.change("a verdict delays nothing: it warns; `rate_limits:` hold rates")
        return Action("warn", reason or "This call would be throttled")
    if kind == "suggest_alternative":
        return _suggest(action, reason, notes)
    notes.refuse(f"there is no action `{kind}`")
    return Action("allow")


def _redact(action: Node, notes: Notes) -> Action:
    pattern = _text(action, "pattern") or "pii"
    if pattern != "pii":
        notes.refuse(f"`redact` knows personal data, not `{pattern}`")
    fields = action.get("fields")
    for field in fields.items() if fields is not None else []:
        if str(field.value) not in {"request.prompt", "request.messages"}:
            notes.refuse(f"`{field.value}` cannot be redacted")
    notes.change("personal data of all messages is redacted, as labels")
    return Action("modify", edits=({"redact": "llm.messages"},))


def _suggest(action: Node, reason: str, notes: Notes) -> Action:
    models = action.get("models")
    names = [str(each.value) for each in models.items()] if models is not None else []
    names += [_text(action, "model")] if action.get("model") is not None else []
    names = [name for name in names if "{{" not in name]
    if not names and not reason:
        notes.refuse("the alternative is computed by a provider that is not here")
    notes.change(
        "an alternative is told in the reason of a warning; `set: llm.model` would take it"
    )
    return Action("warn", reason or f"Use {' or '.join(names)} instead")


def _reason(text: str, notes: Notes) -> str:
    if "{{" not in text:
        return text
    notes.change("templates of the reason are left out")
    return " ".join(_TEMPLATE.sub("", text).split())


def _text(node: Node, key: str) -> str:
    found = node.get(key)
    return "" if found is None or found.value is None else str(found.value).strip()
