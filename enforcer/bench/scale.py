"""
Many policies of which few can match, and the 20 rules in the other notation: facts given, detectors excluded.

Of n policies ten are of the caller's team and look at the request; the others are of other teams, and what they cost
is the price of having them. Every second one is written in CEL.
"""

from __future__ import annotations

import json
import tracemalloc
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from enforcer import detect, events, policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

CAN_MATCH: Final = 10
SIZES: Final = (10, 100, 1_000)
TENANT: Final = "bench-scale"
_SIGNS: Final = {"eq": "==", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_REQUEST: Final = {
    "id": "scale",
    "tenant": TENANT,
    "user": {"id": "u1", "roles": ["dev"], "region": "eu"},
    "team": {"id": "team-0", "tier": "gold"},
    "project": {"id": "p1", "environment": "production"},
    "llm": {"provider": "openai", "model": "gpt-4o", "max_tokens": 512, "prompt": "hello"},
    "attributes": {"agent_step": 3},
}


def documents(count: int) -> tuple[policy.Document, ...]:
    """*count* policies of two rules, the first ten of team 0, the others of a team each."""
    return _loaded(bodies(count))


def bodies(count: int) -> list[dict[str, Any]]:
    """:func:`documents` as they are written."""
    return [_policy(at, f"team-{0 if at < CAN_MATCH else at}") for at in range(count)]


def _policy(at: int, team: str) -> dict[str, Any]:
    match: Any = {"operator": "eq", "field": "team.id", "value": team}
    rules: list[dict[str, Any]] = [
        {
            "id": "model",
            "then": "deny",
            "condition": _test("in", "llm.model", [f"m-{at}", "gpt-3"]),
        },
        {"id": "output", "then": "warn", "condition": _test("gt", "llm.max_tokens", 8_000 + at)},
    ]
    if at % 2:
        match = expression(match)
        rules = [as_expression(rule) for rule in rules]
    return {
        "apiVersion": "enforcer/v1",
        "kind": "Policy",
        "metadata": {"id": f"scale-{at}", "tenant": TENANT},
        "spec": {"priority": at % 7, "match": match, "rules": rules},
    }


def _test(name: str, field: str, value: Any) -> dict[str, Any]:
    return {"operator": name, "field": field, "value": value}


def _loaded(found: list[dict[str, Any]]) -> tuple[policy.Document, ...]:
    loaded = policy.load([("scale.json", "\n".join(json.dumps(each) for each in found))])
    assert not loaded.has_errors, loaded.findings[:1]
    return loaded.documents


def in_expressions(documents: Iterable[policy.Document]) -> tuple[policy.Document, ...]:
    """The same policies with every condition in CEL."""
    found = []
    for document in documents:
        data = json.loads(document.canonical)
        if document.kind == "Policy":
            spec = data["spec"]
            if "match" in spec:
                spec["match"] = expression(spec["match"])
            spec["rules"] = [as_expression(rule) for rule in spec.get("rules", [])]
        found.append(data)
    return _loaded(found)


def as_expression(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule with its structured condition as an expression."""
    condition = rule.get("condition")
    rest = {key: value for key, value in rule.items() if key != "condition"}
    return rest if condition is None else {**rest, "when": expression(condition)}


def expression(condition: dict[str, Any]) -> str:
    """A structured condition in CEL, of the same meaning: what is absent has no order."""
    name = condition["operator"]
    if name in {"and", "or"}:
        sign = " && " if name == "and" else " || "
        return "(" + sign.join(map(expression, condition["conditions"])) + ")"
    if name == "not":
        return f"!{expression(condition['conditions'][0])}"
    field, value = condition["field"], json.dumps(condition.get("value"))
    if name == "exists":
        return f"has({field})"
    if name in {"in", "not_in"}:
        return ("" if name == "in" else "!") + f"({field} in {value})"
    if name == "contains":
        return f"({value} in {field})"
    if name == "matches":
        return f"(has({field}) && {field}.matches({value}))"
    if name in {"eq", "ne"}:
        return f"({field} {_SIGNS[name]} {value})"
    return f"(has({field}) && {field} {_SIGNS[name]} {value})"


class Scale:
    """The programs of each size, compiled once, and what they say of one request."""

    def __init__(self) -> None:
        self._programs = {size: program_of(documents(size)) for size in SIZES}
        self._request = events.request_from_json(json.dumps(_REQUEST).encode())
        self._facts = detect.RequestFacts(self._request, day=date(2026, 1, 1))
        assert self._facts.input_tokens

    def round(
        self, count: int, timed: Callable[[Callable[[], object], int], float]
    ) -> dict[str, float]:
        """Microseconds of an evaluation, by size."""
        request, facts = self._request, self._facts
        found: dict[str, float] = {}
        for size, program in self._programs.items():
            work = partial(_evaluations, program, request, facts, count=count)
            found[f"policies_{size}"] = timed(work, count)
        return found


def _evaluations(
    program: policy.TenantProgram,
    request: events.Request,
    facts: detect.RequestFacts,
    *,
    count: int,
) -> None:
    evaluate = program.evaluate
    for _ in range(count):
        evaluate(request, facts)


def program_of(documents: Sequence[policy.Document]) -> policy.TenantProgram:
    """The program of the tenant of :func:`documents`."""
    return policy.compile_tenant(None, policy.compile_scope(documents, TENANT), TENANT)


def allocated_bytes(work: Callable[[], object], count: int) -> float:
    """Bytes that *count* results hold, each: what an evaluation leaves for the collector."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = work()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return (after - before) / count
