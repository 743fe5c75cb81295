"""The order of the language's own keys; keys of data (labels, values, requests) keep their author's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from enforcer.policy.formatting.layout import Entry, Item

_LIMIT: Final = (
    "id", "key", "per", "limit_usd", "limit_requests", "limit_tokens", "burst", "on_exceeded", "on_missing_key",
)  # fmt: skip
_CONDITION: Final = ("operator", "field", "value", "conditions")
# By the key whose map it is: "" is the document.
POLICY: Final[dict[str, tuple[str, ...]]] = {
    "": ("apiVersion", "kind", "metadata", "spec"),
    "metadata": ("id", "tenant", "labels", "description"),
    "spec": (
        "priority", "enabled", "mode", "match", "unless", "phases", "on_error", "variables", "rules", "budgets",
        "rate_limits", "exceptions",
    ),
    "rules": ("id", "description", "enabled", "phases", "when", "condition", "then", "code", "reason"),
    "then": ("verdict", "edits"),
    "edits": ("set", "remove", "cap", "append", "redact", "value", "types", "style"),
    "budgets": _LIMIT,
    "rate_limits": _LIMIT,
    "exceptions": ("id", "when", "condition", "rules", "expires", "approved_by", "reason"),
    "match": _CONDITION,
    "unless": _CONDITION,
    "condition": _CONDITION,
    "conditions": _CONDITION,
}  # fmt: skip
TENANT: Final[dict[str, tuple[str, ...]]] = {
    "": POLICY[""],
    "metadata": POLICY["metadata"],
    "spec": (
        "default_verdict", "account", "time_zone", "required", "defaults", "models", "unknown_model",
        "assumed_output_tokens", "reservation_ttl", "on_expiry", "dedup_window", "on_timeout",
        "on_stale_policies", "pii_kinds", "principals",
    ),
}  # fmt: skip
VALUES: Final[dict[str, tuple[str, ...]]] = {"": POLICY[""], "metadata": POLICY["metadata"]}
TESTS: Final[dict[str, tuple[str, ...]]] = {
    "": ("documents", "now", "request", "rows", "fixtures", "cases"),
    "cases": ("name", "skip", "use", "matrix", "now", "request", "rows", "expect"),
    "expect": (
        "verdict", "http_status", "codes", "reasons", "warnings", "shadow", "errors", "edits", "retry_after_ms",
        "facts", "budgets", "request",
    ),
}  # fmt: skip
STOP: Final[dict[str, tuple[str, ...]]] = {
    "": POLICY[""],
    "metadata": POLICY["metadata"],
    "spec": ("tenant", "provider", "model", "reason"),
}
KINDS: Final = {"Policy": POLICY, "Tenant": TENANT, "Values": VALUES, "Stop": STOP}


def arrange(document: Item) -> None:
    """Put the keys of a document in order, where its kind is known."""
    named = {_name(entry): entry.value.value for entry in document.entries}
    order = KINDS.get(named.get("kind", ""), {})
    if not order and "cases" in named and "apiVersion" not in named:
        order = TESTS
    if order:
        _arrange(document, "", order)


def _arrange(item: Item, name: str, order: dict[str, tuple[str, ...]]) -> None:
    if item.kind == "list":
        for entry in item.entries:
            _arrange(entry.value, name, order)
        return
    known = order.get(name)
    if item.kind != "map" or known is None:
        return
    places = {key: at for at, key in enumerate(known)}
    item.entries.sort(key=lambda entry: places.get(_name(entry), len(places)))
    for entry in item.entries:
        key = _name(entry)
        if key in known and key in order:
            _arrange(entry.value, key, order)


def _name(entry: Entry) -> str:
    return "" if entry.key is None else entry.key.value
