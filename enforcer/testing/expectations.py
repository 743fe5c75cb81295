"""What a case expects of a decision, compared with what it was: differences an author can act on."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from enforcer.events.edits import apply_edits_to_json
from enforcer.policy.conditions import to_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from enforcer import events
    from enforcer.policy.cases import Expect


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which a decision is not as expected."""

    place: str
    expected: Any
    found: Any


def near(name: str, known: Iterable[str]) -> str:
    """What to write instead of a name that is not there."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"none; did you mean `{close[0]}`?"
    return f"none; these apply: {', '.join(names)}" if names else "none; no limit applies to it"


def differences(
    expect: Expect, told: dict[str, Any], request: dict[str, Any], edits: Sequence[events.Edit]
) -> list[Difference]:
    """
    Everything that is not as expected.

    Args:
        expect: What was given is compared, nothing else.
        told: The decision as JSON.
        request: As it was asked.
        edits: The decision's, to see the request as it may be sent.
    """
    wanted: dict[str, Any] = {
        name: to_plain(value)
        for name, value in expect.model_dump(exclude_unset=True).items()
        if value is not None
    }
    found: list[Difference] = []
    scalars = {name: told[name] for name in ("verdict", "http_status", "retry_after_ms")}
    sets = {
        "codes": [each["code"] for each in told["reasons"]],
        "warnings": [each["code"] for each in told["warnings"]],
        "shadow": [each["code"] for each in told["shadow"]],
        "errors": [f"{each['policy']}/{each['rule']}" for each in told["errors"]],
    }
    for name, value in wanted.items():
        if name in scalars:
            if value != scalars[name]:
                found.append(Difference(name, value, scalars[name]))
        elif name in sets:
            if sorted(value) != sorted(sets[name]):
                found.append(Difference(name, sorted(value), sorted(sets[name])))
        elif name == "reasons":
            found += parts(value, told["reasons"], "reasons")
        elif name == "edits":
            found += _edits(value, told["edits"])
        elif name == "facts":
            found += parts(value, told["facts"], "facts")
        elif name == "budgets":
            found += _budgets(value, told["budgets"])
        else:
            assert name == "request", name
            found += parts(value, apply_edits_to_json(request, edits), "request")
    return found


def parts(expected: Any, found: Any, place: str) -> list[Difference]:
    """Every place at which *found* does not hold what is expected of it; more may be there."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            each
            for name, value in expected.items()
            for each in parts(value, found.get(name), f"{place}.{name}")
        ]
    if isinstance(expected, (list, tuple)) and isinstance(found, list):
        if len(expected) == len(found):
            pairs = zip(expected, found, strict=True)
            return [
                each
                for at, (one, other) in enumerate(pairs)
                for each in parts(one, other, f"{place}[{at}]")
            ]
        return [Difference(place, list(expected), found)]
    return [] if _same(expected, found) else [Difference(place, expected, found)]


def _same(expected: Any, found: Any) -> bool:
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, (int, float)) and isinstance(found, (int, float, Decimal)):
        return float(expected) == float(found)
    return bool(expected == found)


def _edits(expected: Sequence[Any], told: list[dict[str, Any]]) -> list[Difference]:
    """Each expected edit has one of its own among those told, and none is left."""
    left = list(told)
    missing: list[Any] = []
    for edit in expected:
        wanted = {"path": edit} if isinstance(edit, str) else edit
        fitting = next((each for each in left if not parts(wanted, each, "")), None)
        if fitting is None:
            missing.append(edit)
        else:
            left.remove(fitting)
    if not missing and not left:
        return []
    shown = [each["path"] if isinstance(each, dict) and "path" in each else each for each in told]
    return [Difference("edits", list(expected), shown if missing else [e["path"] for e in told])]


def _budgets(expected: dict[str, Any], told: list[dict[str, Any]]) -> list[Difference]:
    by_id = {each["id"]: each for each in told}
    return [
        each
        for name, value in expected.items()
        for each in parts(value, by_id.get(name), f"budgets.{name}")
    ]
