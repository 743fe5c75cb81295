"""
The laws of step 1 of a decision, written down as plainly as they go: the compiler's oracle.

Works on parsed JSON alone (a policy document, a request, facts) and shares no code with the product. It
interprets everything, for every request, in the order the law names. Slow, and meant to be.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    Reader: TypeAlias = Callable[[str], bool]
    """Of an expression: whether it holds. Raises Error."""

ABSENT = object()
DEFAULTS = {
    "attempt": 1, "phase": "request", "user.roles": [], "user.permissions": [], "llm.operation": "chat",
    "llm.n": 1, "llm.stream": False, "llm.messages": [], "attributes": {},
}  # fmt: skip
FACTS = {
    "llm.prompt", "llm.input_tokens", "llm.max_output_tokens", "llm.estimated_cost_usd",
    "pii.types", "pii.counts", "pii.count",
}  # fmt: skip
ORDER = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
NEGATED = {"ne": "eq", "not_in": "in", "not_contains": "contains"}


class Error(Exception):
    """An evaluation error."""


def steps(path: str) -> list[str | int]:
    """``a.b[0]["c.d"]`` as a list of steps."""
    found: list[str | int] = []
    for name, index, key in re.findall(r"([A-Za-z_]\w*)|\[(\d+)\]|\[\"([^\"]*)\"\]", path):
        found.append(name or (int(index) if index else key))
    return found


def read(path: str, request: dict, facts: dict) -> Any:
    """The value at a path, or ABSENT. Declared fields that are null are absent."""
    if path in FACTS:
        return ABSENT if facts[path] is None else facts[path]
    first, *rest = steps(path)
    if first == "pii":
        return facts["pii.counts"].get(rest[1], 0)
    value: Any = request
    for step in rest if first == "raw" else [first, *rest]:
        is_there = (isinstance(value, dict) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if not is_there:
            return DEFAULTS.get(path, ABSENT)
        value = value[step]
    if value is None and first not in {"attributes", "raw"}:
        return DEFAULTS.get(path, ABSENT)
    return value


def is_number(value: Any) -> bool:
    """Numbers are integers and doubles; a boolean is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def equal(left: Any, right: Any) -> bool:
    """Types compare as they are; integers and doubles by value; collections by structure."""
    if is_number(left) and is_number(right):
        return left == right
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(
            equal(one, other) for one, other in zip(left, right, strict=True)
        )
    if isinstance(left, dict):
        return set(left) == set(right) and all(equal(left[key], right[key]) for key in left)
    return left == right


def compare(name: str, value: Any, literal: Any) -> bool:  # noqa: C901 — one law after another
    """One operator. Raises Error where the law says so."""
    if name in NEGATED:
        return not compare(NEGATED[name], value, literal)
    if name == "exists":
        return value is not ABSENT
    if value is ABSENT:
        return False
    if name == "eq":
        return equal(value, literal)
    if name == "in":
        return any(equal(value, each) for each in literal)
    if name in ORDER:
        both_numbers = is_number(value) and is_number(literal)
        if both_numbers or (isinstance(value, str) and isinstance(literal, str)):
            return ORDER[name](value, literal)
        raise Error
    if name == "matches":
        if isinstance(value, str):
            return re.search(literal, value) is not None
        raise Error
    if isinstance(value, str) and isinstance(literal, str):
        return literal in value
    if isinstance(value, (list, dict)):
        elements = value if isinstance(value, list) else value.values()
        return any(equal(each, literal) for each in elements)
    raise Error


def holds(
    condition: dict | str | None, request: dict, facts: dict, expression: Reader | None = None
) -> bool:
    """A condition. Errors are absorbed: false and error is false, true or error is true."""
    if condition is None:
        return True
    if isinstance(condition, str):
        assert expression is not None
        return expression(condition)
    name = condition["operator"]
    if name == "not":
        return not holds(condition["conditions"][0], request, facts)
    if name not in {"and", "or"}:
        value = read(condition["field"], request, facts)
        return compare(name, value, condition.get("value"))
    decisive, has_error = name == "or", False
    for term in condition["conditions"]:
        try:
            if holds(term, request, facts) is decisive:
                return decisive
        except Error:
            has_error = True
    if has_error:
        raise Error
    return not decisive


def outcome(
    condition: dict | str | None, request: dict, facts: dict, expression: Reader | None = None
) -> bool | None:
    """True, false, or None for an error."""
    try:
        return holds(condition, request, facts, expression)
    except Error:
        return None


def evaluate(
    policies: list[dict],
    request: dict,
    facts: dict,
    reader_of: Callable[[dict], Reader] | None = None,
) -> tuple[list[tuple[str, str, str, str]], set[tuple[str, str]]]:
    """Step 1: (policy, rule, verdict, code) of what matched, in canonical order; (policy, rule) of errors.

    *reader_of* reads the expressions of a policy, of which it is given the spec.
    """
    matches: list[tuple[str, str, str, str]] = []
    errors: set[tuple[str, str]] = set()
    rules = [
        (-policy["spec"].get("priority", 0), policy["metadata"]["id"], rule["id"], policy, rule)
        for policy in policies
        for rule in policy["spec"]["rules"]
    ]
    for _, policy_id, rule_id, policy, rule in sorted(rules, key=lambda each: each[:3]):
        spec = policy["spec"]
        expression = None if reader_of is None else reader_of(spec)
        verdict = rule["then"] if isinstance(rule["then"], str) else rule["then"]["verdict"]
        denied = any(match[2] == "deny" for match in matches)
        if not rule.get("enabled", True) or not spec.get("enabled", True):
            continue
        phases = rule.get("phases") or spec.get("phases") or ["request"]
        if request.get("phase", "request") not in phases or (denied and verdict != "deny"):
            continue
        guard = outcome(spec.get("match"), request, facts, expression)
        exempt = "unless" in spec and outcome(spec["unless"], request, facts, expression)
        if guard is False or exempt is True:
            continue
        if exempt is None:
            errors.add((policy_id, ""))
        condition = rule.get("when", rule.get("condition"))
        result = outcome(condition, request, facts, expression) if guard else None
        if result is True:
            matches.append((policy_id, rule_id, verdict, rule.get("code", f"policy_{verdict}")))
        elif result is None:
            errors.add((policy_id, rule_id))
            if verdict in {"deny", "modify"} and spec.get("on_error", "deny") == "deny":
                matches.append((policy_id, rule_id, "deny", "evaluation_error"))
    return matches, errors
