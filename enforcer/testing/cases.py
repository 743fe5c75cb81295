"""
Cases beside policies: ``<name>.cases.yaml`` says what the documents of ``<name>.yaml`` decide.

    request: {...}              # merged over the default request, for every case of the file
    cases:
      - name: a card number is refused
        request: {llm: {messages: [{role: user, content: "4111 1111 1111 1111"}]}}
        rows: {team-day: {spent_usd: 39, reserved_usd: 1}, user-minute: {used: 40}}
        expect: {verdict: deny, codes: [PII-001]}

A request is merged field by field; lists are replaced; null removes what a request may lack. A text may be
written ``{join: [..]}`` or ``{repeat: text, times: n}``. ``rows`` gives budgets and rate limits, by their
ids, what was spent or used before. Expected are the verdict and, where given: ``codes`` of the reasons,
``warnings`` and ``shadow`` (as sets), ``http_status``, ``retry_after_ms``, ``edits`` (paths), and any
part of the request as it may be sent, such as ``llm: {max_tokens: 512}``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from enforcer import detect, events, policy, state
from enforcer.engine import Arrival, Engine, EngineConfig, limits
from enforcer.errors import PolicyError, Span
from enforcer.events.edits import apply_edits_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

# Noon UTC on a weekday in the middle of a month: no window of any zone begins or ends near it.
NOW_US: Final = 1_794_830_400_000_000
DEFAULT_REQUEST: Final[dict[str, Any]] = {
    "id": "case",
    "tenant": "acme",
    "user": {"id": "u1"},
    "team": {"id": "t1", "tier": "gold"},
    "project": {"id": "p1", "environment": "staging"},
    "caller": {"kind": "app"},
    "llm": {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "max_tokens": 256,
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    },
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case, its request complete."""

    name: str
    request: dict[str, Any]
    expect: dict[str, Any]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_cases(text: str, *, file: str) -> tuple[Case, ...]:
    """
    The cases of a file.

    Raises: PolicyError, if it is no such file.
    """
    try:
        loaded: Any = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise PolicyError(f"no YAML: {error}", span=Span(file), code="cases") from None
    try:
        base = _merged(DEFAULT_REQUEST, loaded.get("request") or {})
        return tuple(
            Case(
                name=case["name"],
                request=_merged(base, case.get("request") or {}),
                expect=case["expect"],
                rows=case.get("rows") or {},
            )
            for case in loaded["cases"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise PolicyError(
            f"not a file of cases: {error!r}",
            span=Span(file),
            help="`cases:` is a list of {name, request, expect}",
            code="cases",
        ) from None


def _merged(base: Any, over: Any) -> Any:
    if isinstance(over, dict) and set(over) == {"join"}:
        return "".join(over["join"])
    if isinstance(over, dict) and set(over) == {"repeat", "times"}:
        return over["repeat"] * over["times"]
    if isinstance(over, dict):
        base = base if isinstance(base, dict) else {}
        merged = dict(base)
        for name, value in over.items():
            merged[name] = _merged(base.get(name), value)
        return merged
    if isinstance(over, list):
        return [_merged(None, item) for item in over]
    return over


def run(case: Case, documents: Iterable[policy.Document]) -> list[str]:
    """
    Decide a case under *documents*, by the engine that agents run.

    Returns: What is not as expected, a sentence each; nothing if all is.
    """
    request = events.request_from_json(orjson.dumps(case.request))
    program = _program(tuple(documents), request.tenant)
    rows, queue = state.MemoryRows(), state.ExpiryQueue()
    _place_rows(case, program, request, rows)
    source = events.Source("cases", 0, 0, 0, 0, 0)
    arrival = Arrival(None, orjson.dumps(case.request), source, NOW_US, NOW_US)
    outcome = Engine(_CONFIG).request(lambda _: program, arrival, rows, queue)
    assert outcome.decision is not None, "a request that can be read has a decision"
    return _differences(case, outcome.decision)


_CONFIG: Final = EngineConfig()


def _program(documents: tuple[policy.Document, ...], tenant: str) -> policy.TenantProgram:
    scopes: dict[str, list[policy.Document]] = {}
    for document in documents:
        scopes.setdefault(document.scope, []).append(document)
    compiled = {
        scope: policy.compile_scope(scopes[scope], scope) if scope in scopes else None
        for scope in ("*", tenant)
    }
    return policy.compile_tenant(compiled["*"], compiled[tenant], tenant)


def _place_rows(
    case: Case, program: policy.TenantProgram, request: events.Request, rows: state.MemoryRows
) -> None:
    """Write what was spent and used before into the rows that this request will read."""
    day = datetime.fromtimestamp(NOW_US / 1e6, UTC).date()
    facts = detect.RequestFacts(request, day=day, kinds=program.pii_kinds)
    account = events.account_of(request.tenant, request.team.id, program.settings.account_by)
    planned = limits.plan(
        program, request, facts, account=account, now_us=NOW_US, pseudonym_key=_CONFIG.pseudonym_key
    )
    given = dict(case.rows)
    for budget in planned.budgets:
        row = given.pop(budget.limit.id, None)
        if row is not None:
            spent, reserved = row.get("spent_usd", 0), row.get("reserved_usd", 0)
            rows.put(budget.row, events.BudgetRow(_nano(spent), _nano(reserved), budget.until_us))
    for rate in planned.rates:
        row = given.pop(rate.limit.id, None)
        if row is not None:
            limit, period_us = rate.quota.limit, rate.quota.period_us
            used = events.Effect("take", rate.row, row["used"], NOW_US, 0, limit, period_us)
            state.apply_all(rows, [used])
    assert not given, f"`{case.name}` gives rows of limits that do not apply: {sorted(given)}"


def _nano(usd: float) -> int:
    return round(usd * 1_000_000_000)


def _differences(case: Case, decision: events.Decision) -> list[str]:
    expect = dict(case.expect)
    found: dict[str, Any] = {
        "verdict": decision.verdict,
        "http_status": decision.http_status,
        "retry_after_ms": decision.retry_after_ms,
        "codes": sorted(reason.code for reason in decision.reasons),
        "warnings": sorted(reason.code for reason in decision.warnings),
        "shadow": sorted(reason.code for reason in decision.shadow),
        "edits": sorted(edit.path for edit in decision.edits),
    }
    differences = [
        f"{name}: expected {expected!r}, found {found[name]!r}"
        for name in tuple(found)
        if name in expect and not _same(expected := expect.pop(name), found[name])
    ]
    if expect:
        edited = apply_edits_to_json(case.request, decision.edits)
        differences += _missing(expect, edited, "request")
    if differences:
        told = [
            f"{reason.policy}/{reason.rule} {reason.code}: {reason.message}"
            for reason in (*decision.reasons, *decision.warnings)
        ]
        told += [f"{error.policy}/{error.rule} {error.code}" for error in decision.errors]
        differences.append(f"it was told: {'; '.join(told) or 'nothing'}")
    return differences


def _same(expected: Any, found: Any) -> bool:
    return sorted(expected) == found if isinstance(expected, list) else bool(expected == found)


def _missing(expected: Any, found: Any, where: str) -> list[str]:
    """Every place at which *found* does not hold what is expected of it; more may be there."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            difference
            for name, value in expected.items()
            for difference in _missing(value, found.get(name), f"{where}.{name}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            difference
            for at, (one, other) in enumerate(zip(expected, found, strict=True))
            for difference in _missing(one, other, f"{where}[{at}]")
        ]
    return [] if expected == found else [f"{where}: expected {expected!r}, found {found!r}"]
