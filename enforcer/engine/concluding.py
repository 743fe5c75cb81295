"""Concluding: the decision of a ruling, its effects on the rows, and its entries in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enforcer import events, state
from enforcer.engine import leasing
from enforcer.engine.denials import deny
from enforcer.engine.outcome import Entry, Outcome
from enforcer.engine.prices import price_of
from enforcer.engine.recording import (
    Case,
    call_row,
    dead_letter,
    decision_of,
    encoded,
    exception_uses,
    own_effects,
)

if TYPE_CHECKING:
    from enforcer.engine.ruling import Ruling

DECISION_BYTES_MAX: Final = 512 * 1024


def conclude(case: Case, ruling: Ruling) -> Outcome:
    """Make the decision of a ruling, apply its effects, and add its ledger entries."""
    own = own_effects(case, ruling)
    decision = decision_of(case, ruling, own)
    value = encoded(case.arrival, decision)
    if len(value) > DECISION_BYTES_MAX and decision.shadow:
        decision.shadow = []  # What is only tried out makes no verdict another.
        value = encoded(case.arrival, decision)
    if len(value) > DECISION_BYTES_MAX:
        return _conclude_too_large(case, len(value))
    return _told(case, decision, value, own)


def _conclude_too_large(case: Case, found: int) -> Outcome:
    """Deny instead, naming less: first without what the ruling said, then without the rows and the person."""
    message = f"its decision has {found} bytes, at most {DECISION_BYTES_MAX} are told"
    ruling = deny("too_large", message)
    own = own_effects(case, ruling)
    decision = decision_of(case, ruling, own)
    value = encoded(case.arrival, decision)
    if len(value) > DECISION_BYTES_MAX:
        own = own[-1:]
        decision.subject, decision.effects = None, [*case.expired, *own]
        value = encoded(case.arrival, decision)
    if len(value) > DECISION_BYTES_MAX:
        # Its very names are too long for any answer.
        case.outcome.dead_letter = dead_letter(case.arrival, "too_large", message)
        return case.outcome
    return _told(case, decision, value, own)


def _told(case: Case, decision: events.Decision, value: bytes, own: list[events.Effect]) -> Outcome:
    case.outcome.value, case.outcome.told = value, decision
    case.outcome.verdict = decision.verdict
    enter(case, decision, value, own)
    if case.plan.is_leased and case.arrival.partitions and own:
        case.outcome.wants = leasing.wants(case.plan, decision, case.rows, own[-1].amount)
    return case.outcome


def enter(case: Case, decision: events.Decision, value: bytes, own: list[events.Effect]) -> None:
    """Apply a decision's own effects, enter it in the ledger, and settle usage that waited for it."""
    case.outcome.entries.append(Entry("decision", case.account, value))
    case.outcome.entries.extend(exception_uses(case.account, decision))
    if not case.key:
        return
    row = call_row(case, decision, value)
    state.apply_all(case.rows, own, call=row, queue=case.queue)
    if not case.queue.may_wait(state.waiting_key_of(case.key)):
        return  # Nearly always: no usage came before its request.
    joined = state.join(
        case.rows,
        call_key=case.key,
        now_us=decision.time_us,
        reservation_ttl_us=case.program.settings.reservation_ttl_us,
        price_of=price_of(case.program),
        queue=case.queue,
    )
    for report, settlement in joined:
        case.outcome.overrun_usd_nano += settlement.overrun_usd_nano
        case.outcome.entries.append(
            Entry("settlement", case.account, report, settlement.notes, settlement.effects)
        )
