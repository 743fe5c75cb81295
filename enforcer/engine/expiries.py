"""
Reservations that ended, and usage whose request never came: a function of the order of events.

Taking an event first expires the due rows that it reads, then at most 8 others in order. What it reads is bounded
too, for a decision carries its expiries: after a long silence of a busy account the rest waits for the next event,
and until then a reservation counts as what it is, reserved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from enforcer import events, state
from enforcer.engine.outcome import Entry, Outcome
from enforcer.engine.prices import price_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enforcer.policy import TenantProgram
    from enforcer.state import ExpiryQueue, Rows
    from enforcer.state.settlement import BudgetsOf

CARRIED_BYTES_MAX: Final = 256 * 1024
"""Of the effects of expiries in one decision, in its longest form: half of what a decision may have."""
EFFECT_BYTES: Final = 200
"""Of an effect as JSON, without its row's key."""


def expire_due(
    program_of: Callable[[str], TenantProgram],
    reads: Iterable[str],
    now_us: int,
    rows: Rows,
    queue: ExpiryQueue,
    *,
    outcome: Outcome,
    budgets_of: BudgetsOf,
) -> list[events.Effect]:
    """
    Expire the due rows that the event reads, then at most 8 others in order.

    Args:
        program_of: For what a row's tenant does on expiry, and its prices.
        reads: Keys of all rows that the event reads.
        now_us: Event time.
        rows: Read and written.
        queue: Kept in step.
        outcome: Gets an entry for each.
        budgets_of: As for ``state.expire``.

    Returns: The effects, applied already.
    """
    first = queue.due_for(reads, now_us)
    others = queue.due(now_us, len(first) + state.OTHERS_MAX)
    if not others:
        return []
    reading = frozenset(first)
    effects: list[events.Effect] = []
    room = CARRIED_BYTES_MAX
    for key in [*first, *[k for k in others if k not in reading][: state.OTHERS_MAX]]:
        settlement = state.expire(
            rows,
            key,
            now_us=now_us,
            price_of=price_of(program_of(_tenant_of(key))),
            budgets_of=budgets_of,
        )
        if not settlement.effects:
            queue.discard(key)
            continue
        room -= sum(EFFECT_BYTES + len(effect.row) for effect in settlement.effects)
        if room < 0 and effects:
            break
        effects.extend(settlement.effects)
        apply_expiry(state.Group(key, settlement.effects), rows, queue, outcome)
    return effects


def apply_expiry(group: state.Group, rows: Rows, queue: ExpiryQueue, outcome: Outcome) -> None:
    """Apply one expiry and enter it; one whose row has moved on meanwhile is void, and not entered."""
    row = rows.get(group.row)
    notes: tuple[str, ...]
    if isinstance(row, events.CallRow):
        is_void = row.status != "open"
        notes = ("released",) if row.release_on_expiry else ()
    else:
        is_void = row is None or not row.reports  # type: ignore[union-attr]
        charges = len(group.effects) > 1
        notes = ("early", "overrun") if charges else ("early", "unattributed")
        if charges and not is_void:
            outcome.overrun_usd_nano += group.effects[0].amount
    if is_void:
        queue.discard(group.row)
        return
    state.apply_all(rows, group.effects, queue=queue)
    account = state.parse_call_key(group.row).account
    outcome.entries.append(Entry("expiry", account, b"", notes, group.effects))


def _tenant_of(key: str) -> str:
    """The tenant of a call's or a waiting report's row: the first part of its account."""
    return unquote(state.parse_call_key(key).account.partition("/")[0])
