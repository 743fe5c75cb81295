"""Edits of modify rules: what may be edited, with values of which type."""

from __future__ import annotations

import difflib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from enforcer.detect import combined, pii
from enforcer.policy import documents as models
from enforcer.policy.conditions import to_plain
from enforcer.policy.fields import (
    LLM,
    Field,
    FieldError,
    Kind,
    Origin,
    Type,
    resolve,
)
from enforcer.policy.model import EditSpec

if TYPE_CHECKING:
    from enforcer.errors import Span
    from enforcer.policy.findings import Findings
    from enforcer.policy.source import Node

_NUMBERS = frozenset({Kind.INT, Kind.DOUBLE})
_GROUPS: dict[str, frozenset[str]] = {"pii": pii.DEFAULT, "secrets": combined.SECRETS}
_KEYED_STYLES = frozenset({"hash", "pseudonym"})
_REDACTABLE = frozenset({("llm",), ("llm", "messages"), ("llm", "prompt")})


def fits(type_: Type, value: Any) -> bool:
    """Whether plain data can stand in a field of *type_*."""
    kind = type_.kind
    if value is None:
        return type_.optional or kind in {Kind.ANY, Kind.JSON}
    if kind is Kind.STRING:
        return isinstance(value, str)
    if kind is Kind.BOOL:
        return isinstance(value, bool)
    if kind in _NUMBERS:
        wanted = int if kind is Kind.INT else (int, float, Decimal)
        return isinstance(value, wanted) and not isinstance(value, bool)
    if kind is Kind.LIST and type_.element is not None:
        return isinstance(value, list) and all(fits(type_.element, each) for each in value)
    if kind is Kind.RECORD:
        return isinstance(value, dict) and all(
            key in type_.fields and fits(type_.fields[key], each) for key, each in value.items()
        )
    return True


def is_attribute(value: Any) -> bool:
    """Whether plain data can be the value of an attribute: a scalar, or a list of texts."""
    if isinstance(value, list):
        return all(isinstance(each, str) for each in value)
    return not isinstance(value, dict)


def check_keyed(policy: models.Policy, node: Node, findings: Findings) -> None:
    """Find the redactions of *policy* whose style needs a key, where none is configured."""
    rules = _below(node, "spec", "rules").items()
    for rule, rule_node in zip(policy.spec.rules, rules, strict=False):
        edits = _below(rule_node, "then", "edits").items()
        for edit, edit_node in zip(rule.edits, edits, strict=False):
            if isinstance(edit, models.RedactEdit) and edit.style in _KEYED_STYLES:
                findings.error(
                    "ENF0507",
                    f"the style `{edit.style}` needs a key, and none is configured",
                    edit_node.find(["style"]),
                    help="name a file with 16 random bytes or more in ENFORCER_REDACTION_KEY_FILE, the same for all workers",
                )


def _below(node: Node, *keys: str) -> Node:
    for key in keys:
        node = node.get(key) or node
    return node


def _suggest_kind(word: str) -> str:
    close = difflib.get_close_matches(word, [*_GROUPS, *combined.KINDS], n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"one of {', '.join(pii.KINDS)}; of secrets, see docs/detectors.md; or `pii`, `secrets`"


class Edits:
    """Builds the edits of one rule."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def build(self, rule: models.Rule, node: Node) -> tuple[EditSpec, ...]:
        """The edits of *rule*, which stands at *node*."""
        then = node.get("then") or node
        if rule.edits and rule.verdict != "modify":
            self._error("ENF0501", f"a {rule.verdict} carries no edits", then.span, "use modify")
            return ()
        if rule.verdict == "modify" and not rule.edits:
            self._findings.warning(
                "ENF0501",
                "a modify without edits never matches",
                then.span,
                help="write `then: {verdict: modify, edits: [...]}`",
            )
        nodes = (then.get("edits") or then).items()
        built: list[EditSpec] = []
        for edit, edit_node in zip(rule.edits, nodes, strict=False):
            spec = self._edit(edit, edit_node)
            if spec is not None:
                self._check_conflict(spec, built, edit_node.span)
                built.append(spec)
        return tuple(built)

    def _check_conflict(self, spec: EditSpec, before: list[EditSpec], span: Span) -> None:
        exclusive = {"set", "remove"}
        if spec.op in exclusive and any(
            other.path == spec.path and other.op in exclusive for other in before
        ):
            self._error(
                "ENF0504",
                f"`{spec.path}` is set or removed twice by one rule",
                span,
                "keep one of the edits",
            )

    def _edit(self, edit: models.Edit, node: Node) -> EditSpec | None:
        span = node.span
        if isinstance(edit, models.SetEdit):
            return self._set(edit, span)
        if isinstance(edit, models.RemoveEdit):
            return self._remove(edit, span)
        if isinstance(edit, models.CapEdit):
            return self._cap(edit, span)
        if isinstance(edit, models.AppendEdit):
            return self._append(edit, span)
        assert isinstance(edit, models.RedactEdit)
        return self._redact(edit, span)

    def _set(self, edit: models.SetEdit, span: Span) -> EditSpec | None:
        field = self._editable(edit.set, span)
        if field is None:
            return None
        if edit.value is None:
            self._wrong_value(edit.set, "null: use `remove`", span)
            return None
        if not self._is_value(field, edit.value):
            self._wrong_value(edit.set, f"no {field.type}", span)
            return None
        return EditSpec("set", str(field), to_plain(edit.value))

    def _remove(self, edit: models.RemoveEdit, span: Span) -> EditSpec | None:
        field = self._editable(edit.remove, span)
        if field is None:
            return None
        is_last_index = isinstance(field.path[-1], int)
        removable = field.type.optional or field.type.kind is Kind.LIST or is_last_index
        if not removable and field.origin is not Origin.ATTRIBUTES:
            self._not_editable(edit.remove, "a call cannot be without it", span)
            return None
        return EditSpec("remove", str(field))

    def _cap(self, edit: models.CapEdit, span: Span) -> EditSpec | None:
        field = self._editable(edit.cap, span)
        if field is None:
            return None
        if field.type.kind not in _NUMBERS and field.origin is not Origin.ATTRIBUTES:
            self._not_editable(edit.cap, "only a number can be capped", span)
            return None
        if field.type.kind is Kind.INT and not isinstance(edit.value, int):
            self._wrong_value(edit.cap, "no whole number", span)
            return None
        return EditSpec("cap", str(field), to_plain(edit.value))

    def _append(self, edit: models.AppendEdit, span: Span) -> EditSpec | None:
        field = self._editable(edit.append, span)
        if field is None:
            return None
        if field.origin is Origin.ATTRIBUTES:
            if not isinstance(edit.value, str):
                self._wrong_value(edit.append, "no text", span)
                return None
            return EditSpec("append", str(field), edit.value)
        if field.type.kind is not Kind.LIST or field.type.element is None:
            self._not_editable(edit.append, "only a list can be appended to", span)
            return None
        if not fits(field.type.element, edit.value):
            self._wrong_value(edit.append, f"no {field.type.element}", span)
            return None
        return EditSpec("append", str(field), to_plain(edit.value))

    def _redact(self, edit: models.RedactEdit, span: Span) -> EditSpec | None:
        field = self._editable(edit.redact, span, whole=True)
        if field is None:
            return None
        if field.path not in _REDACTABLE and field.path[:2] != ("llm", "messages"):
            self._not_editable(edit.redact, "redact llm.messages or llm.prompt", span)
            return None
        kinds: set[str] = set()
        for word in edit.types or ():
            if word not in _GROUPS and word not in combined.KINDS:
                self._error("ENF0505", f"there is no kind `{word}`", span, _suggest_kind(word))
            kinds |= _GROUPS.get(word, {word})
        asked = tuple(sorted(kinds)) if edit.types is not None else None
        return EditSpec("redact", str(field), kinds=asked, style=edit.style)

    def _editable(self, text: str, span: Span, *, whole: bool = False) -> Field | None:
        """The field to edit: one of the call itself, or an attribute. Never who asks, or the id."""
        try:
            field = resolve(text)
        except FieldError as error:
            self._error(error.code, str(error), span, error.help)
            return None
        if field.path == ("llm", "prompt"):  # As a fact it is all text; as a field, what was sent.
            prompt = LLM.fields["prompt"]
            return Field(field.path, prompt, optional=True, origin=Origin.RECORD)
        is_call = field.origin is Origin.RECORD and field.path[0] == "llm"
        if field.origin is Origin.ATTRIBUTES or (is_call and (whole or len(field.path) > 1)):
            return field
        self._not_editable(text, "edits change `llm.*` and `attributes.*`", span)
        return None

    def _is_value(self, field: Field, value: Any) -> bool:
        if field.origin is Origin.ATTRIBUTES:
            return is_attribute(value)
        return fits(field.type, value)

    def _not_editable(self, path: str, why: str, span: Span) -> None:
        self._error("ENF0502", f"`{path}` cannot be edited so", span, why)

    def _wrong_value(self, path: str, what: str, span: Span) -> None:
        self._error("ENF0503", f"the value for `{path}` is {what}", span, "correct the value")

    def _error(self, code: str, message: str, span: Span, help_line: str) -> None:
        self._findings.error(code, message, span, help=help_line)
