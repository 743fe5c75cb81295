"""From a ruling to the records that tell it: the decision, its effects, the call's row, the dead letter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from enforcer import __version__, detect, events, state
from enforcer.engine import limits
from enforcer.engine.outcome import Entry
from enforcer.engine.prices import called
from enforcer.engine.ruling import REASONS_MAX
from enforcer.policy.exemptions import EXCEPTION_USE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.engine.outcome import Arrival, Outcome
    from enforcer.engine.ruling import Ruling
    from enforcer.errors import RequestError
    from enforcer.policy import TenantProgram
    from enforcer.state import ExpiryQueue, Rows

HTTP_STATUS: Final = {
    "invalid_request": 400,
    "too_large": 400,
    "misrouted": 400,
    "request_id_reused": 400,
    "budget_exceeded": 402,
    "rate_limited": 429,
    "exceeds_burst": 429,
    "lease_pending": 429,
}
"""By reason code; every other deny is 403. The first of 400, 403, 402, 429 that a reason has is the decision's."""
_HTTP_ORDER: Final = (400, 403, 402, 429)
_CALLED: Final = frozenset({"/llm/provider", "/llm/model", "/llm/service_tier"})


@dataclass(slots=True)
class Case:
    """One request on its way to a decision: what every step needs of the steps before."""

    arrival: Arrival
    program: TenantProgram
    request: events.Request
    account: str
    rows: Rows
    queue: ExpiryQueue
    outcome: Outcome
    key: str = ""
    """Row key of its call; "" opens no row: the call is not its own."""
    content: bytes = b""
    plan: limits.Plan = limits.NOTHING
    expired: list[events.Effect] = field(default_factory=list)


def own_effects(case: Case, ruling: Ruling) -> list[events.Effect]:
    """The effects of the decision itself, ``open`` last; none where no row is opened."""
    if not case.key:
        return []
    settings, now_us = case.program.settings, case.arrival.now_us
    expires_us, end_us = state.ends(
        now_us,
        reservation_ttl_us=settings.reservation_ttl_us,
        dedup_window_us=settings.dedup_window_us,
    )
    if ruling.verdict == "deny":
        # Nothing is consumed. The rows are named, for usage of a denied request is charged, and flagged.
        booked = [events.Effect("reserve", b.row, 0, 0, b.until_us) for b in case.plan.budgets]
        booked += [
            events.Effect("take", r.row, 0, now_us, expires_us, r.quota.limit, r.quota.period_us)
            for r in case.plan.rates
            if r.limit.unit == "tokens"
        ]
    else:
        booked = ruling.effects(expires_us)
    cost = ruling.cost_usd_nano or 0
    opened = events.Effect(
        "open", case.key, cost, expires_us, end_us, ruling.input_usd_nano, ruling.tokens
    )
    return [*booked, opened]


def call_row(case: Case, decision: events.Decision, value: bytes) -> events.CallRow:
    """The row of a call, less what the effects fill in."""
    settings, llm = case.program.settings, case.request.llm
    made_to = {
        "/llm/provider": llm.provider,
        "/llm/model": llm.model,
        "/llm/service_tier": llm.service_tier,
    }
    for edit in decision.edits:
        # Usage that names no model is priced as the call that was admitted, not as the one asked for.
        if edit.path in _CALLED:
            made_to[edit.path] = None if edit.value is None else orjson.loads(edit.value)
    provider, model = called(settings, made_to["/llm/provider"] or "", made_to["/llm/model"] or "")
    return events.CallRow(
        0,
        "denied" if decision.verdict == "deny" else "open",
        case.content,
        value,
        decision.time_us,
        0,
        provider,
        model,
        made_to["/llm/service_tier"],
        release_on_expiry=settings.on_expiry == "release",
    )


def decision_of(case: Case, ruling: Ruling, own: list[events.Effect]) -> events.Decision:
    """The decision that tells a ruling."""
    arrival, request, program = case.arrival, case.request, case.program
    name = request.id
    if not case.key:
        # Not the call's own decision: its id must not be taken for the first verdict's.
        name = f"{name}@{arrival.source.partition}/{arrival.source.offset}"
    is_denied = ruling.verdict == "deny"
    reservation = None
    if ruling.reserves and own and not is_denied:
        reservation = events.Reservation(ruling.cost_usd_nano or 0, own[-1].at_us)
    return events.Decision(
        id=events.decision_id(case.account, name, request.attempt),
        request_id=request.id,
        attempt=request.attempt,
        tenant=request.tenant,
        account=case.account,
        verdict=ruling.verdict,
        http_status=_http_status(ruling) if is_denied else 200,
        reasons=ruling.reasons[:REASONS_MAX],
        reasons_count=len(ruling.reasons),
        edits=[] if is_denied else ruling.edits,
        warnings=ruling.warnings,
        retry_after_ms=ruling.retry_after_ms if is_denied else None,
        facts=ruling.facts,
        budgets=ruling.views,
        reservation=reservation,
        errors=ruling.errors,
        shadow=ruling.shadow,
        policy_digest=program.policy_digest,
        policy_sets=program.policy_sets,
        data_digest=detect.DATA_DIGEST,
        engine=__version__,
        source=arrival.source,
        time_us=arrival.now_us,
        subject=_subject(request),
        effects=[*case.expired, *own],
    )


def encoded(arrival: Arrival, decision: events.Decision) -> bytes:
    """The decision in the form of its request: who asks in JSON is answered in JSON."""
    if events.is_json(arrival.value or b""):
        return events.to_json_bytes(decision)
    return events.encode_decision(decision)


def _http_status(ruling: Ruling) -> int:
    found = {
        HTTP_STATUS.get(reason.code, 403) for reason in ruling.reasons if reason.verdict == "deny"
    }
    return next((status for status in _HTTP_ORDER if status in found), 403)


def _subject(request: events.Request) -> events.Subject | None:
    """What names a person, apart. Unencrypted for now: the key id says so."""
    named: dict[str, Any] = {
        "user": request.user.id,
        "email": request.user.email,
        "ip": request.caller.ip,
    }
    named = {name: value for name, value in named.items() if value is not None}
    return events.Subject("none", orjson.dumps(named)) if named else None


def said(error: RequestError) -> str:
    """What is wrong, and where."""
    return f"{error.place}: {error.message}" if error.place else error.message


def dead_letter(arrival: Arrival, code: str, why: str) -> events.DeadLetter:
    """The input as it came, for the dead letters."""
    source = arrival.source
    return events.DeadLetter(
        source.topic,
        source.partition,
        source.offset,
        arrival.record_us,
        code,
        why,
        arrival.key,
        arrival.value,
    )


def exception_uses(account: str, decision: events.Decision) -> Iterator[Entry]:
    """A ledger entry for each use of an exception that a decision tells, live and redone alike."""
    for reason in decision.reasons:
        if reason.code == EXCEPTION_USE and reason.verdict == "allow":
            use = {
                "decision": decision.id,
                "request_id": decision.request_id,
                "attempt": decision.attempt,
                "tenant": decision.tenant,
                "policy": reason.policy,
                "rule": reason.rule,
                "message": reason.message,
            }
            yield Entry("exception_use", account, orjson.dumps(use))
