"""
What a usage report, or its absence, changes: settlement, waiting, expiry.

What a call costs is decided here, by these rules:

* A final report's figures are those of the whole call: they take the place of all that was charged
  before, by partial reports or by the expiry. So the order and the number of reports before it do
  not matter, and nothing is charged twice.
* A partial report's figures are what came since the one before: they add up, and the reservation is
  renewed.
* A final report without figures: completed charges the reservation, cancelled the estimate of the
  input, failed nothing; never less than the partial reports did.
* Figures that are absurd or have no price charge the reservation, flagged.
* Figures are read by ``enforcer.state.usage``, at the prices of the request's day.
* A call claims of each of its budgets what it holds or what it was charged, the larger. What a
  report claims on top of that no admission has seen: it is charged, and reported as overrun. So a
  budget is never past its limit by more than its overruns.
* Token limits hold their estimate for good until figures come; then the difference is given back or
  taken.
* All is booked in the windows of the reservation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from enforcer.events import Allocation, CallRow, Effect, Usage, WaitingUsageRow, read_usage
from enforcer.state.effects import apply_all
from enforcer.state.rows import waiting_key_of
from enforcer.state.usage import NOTHING, Model, Reading, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from enforcer.state.expiry import ExpiryQueue
    from enforcer.state.rows import Rows
    from enforcer.state.usage import PriceOf

    # The budgets whose keys a report carries: row and end of window each; amounts are 0.
    BudgetsOf = Callable[[str, Usage], Sequence[Allocation]]

RAN = frozenset({"allow", "modify", "timeout_allow"})
REMEMBERED_US = (
    15 * 60 * 1_000_000
)  # How long usage that was charged without its request stays known.


class Settlement(NamedTuple):
    """
    What an event changes. Nothing is changed before the effects are applied.

    Attributes:
        effects: To be applied in order; empty if there is nothing (more) to change.
        notes: Flags for the audit record.
        charged_usd_nano: What is added to the cost of the call; below 0 if less was used than had
            been charged.
        overrun_usd_nano: How much of that no reservation covered.
        budgets: Row keys of the budgets that the call is booked in.
    """

    effects: tuple[Effect, ...]
    notes: tuple[str, ...] = ()
    charged_usd_nano: int = 0
    overrun_usd_nano: int = 0
    budgets: tuple[str, ...] = ()


class Joined(NamedTuple):
    """A report that had waited, and what it changed once its request was there."""

    report: bytes
    settlement: Settlement


def settle(
    rows: Rows,
    usage: Usage,
    *,
    call_key: str,
    now_us: int,
    reservation_ttl_us: int,
    price_of: PriceOf,
) -> Settlement:
    """
    Work out what a usage report changes. Due rows that it reads must have been expired before.

    Args:
        rows: Read only.
        usage: The report.
        call_key: Row key of the call that it names.
        now_us: Event time of the report.
        reservation_ttl_us: By how much a partial report renews, and how long a report waits for its
            request.
        price_of: Finds rates, see ``enforcer.state.usage``.

    Returns: Effects that end in ``settle`` or ``charge`` of the call; or one ``wait``, to be
        applied with the report; or none.
    """
    row = rows.get(call_key)
    assert row is None or isinstance(row, CallRow), call_key
    if row is None or row.end_us <= now_us:
        return _wait(rows, waiting_key_of(call_key), now_us, now_us + reservation_ttl_us)
    if row.status == "settled":
        return Settlement((), ("duplicate" if usage.final else "after_final",))
    called = Model(row.provider, row.model, row.service_tier, row.time_us)
    reading = read(usage, called, price_of)
    cost = _cost(row, usage, reading)
    effects: list[Effect] = []
    for allocation in row.budgets:
        _move(effects, row, allocation, cost, final=usage.final)
    tokens = row.charged_tokens if not row.token_rates else _tokens(row, usage, reading)
    if tokens is not None:
        for allocation in row.token_rates:
            _level(effects, row, allocation, tokens, now_us, final=usage.final)
    end = _end(row, call_key, final=usage.final, now_us=now_us, ttl_us=reservation_ttl_us)
    end.amount = cost - row.charged_usd_nano
    end.limit = 0 if tokens is None else tokens - row.charged_tokens
    effects.append(end)

    booked = _booked(row, row.reserved_usd_nano, row.charged_usd_nano)
    charged = (cost if usage.final else _booked(row, row.reserved_usd_nano, cost)) - booked
    overrun = max(booked + charged - _claim(row, row.reserved_usd_nano), 0)
    return Settlement(
        tuple(effects),
        _notes(row, usage, reading, charged=charged, overrun=overrun),
        charged,
        overrun,
        tuple([allocation.row for allocation in row.budgets]),
    )


def join(
    rows: Rows,
    *,
    call_key: str,
    now_us: int,
    reservation_ttl_us: int,
    price_of: PriceOf,
    queue: ExpiryQueue | None = None,
) -> list[Joined]:
    """
    Settle, and apply, the reports that waited for a call that has just been opened.

    They are no part of the decision's effects: a new owner of the partition that redoes the
    decision joins them anew.

    Returns: One for each report, for the ledger; the effect that empties the waiting row goes with
        the last.
    """
    waiting_key = waiting_key_of(call_key)
    waiting = rows.get(waiting_key)
    if not isinstance(waiting, WaitingUsageRow) or not waiting.reports:
        return []
    joined: list[Joined] = []
    for report in waiting.reports:
        found = settle(
            rows,
            read_usage(report),
            call_key=call_key,
            now_us=now_us,
            reservation_ttl_us=reservation_ttl_us,
            price_of=price_of,
        )
        effects = found.effects
        if len(joined) == len(waiting.reports) - 1:
            effects = (*effects, Effect("drop", waiting_key, 0, now_us))
        settlement = Settlement(
            effects,
            ("early", *found.notes),
            found.charged_usd_nano,
            found.overrun_usd_nano,
            found.budgets,
        )
        apply_all(rows, effects, queue=queue)
        joined.append(Joined(report, settlement))
    return joined


def expire(
    rows: Rows, key: str, *, now_us: int, price_of: PriceOf, budgets_of: BudgetsOf
) -> Settlement:
    """
    Work out the expiry of a due row: an open call, or usage whose request never came.

    Args:
        rows: Read only.
        key: As the queue gave it.
        now_us: Event time of the event at hand.
        price_of: Finds rates, by the settings of the row's tenant.
        budgets_of: (account, report) to the budgets whose keys the report carries.

    Returns: A group of effects (``enforcer.state.effects``), or none, if the row has nothing to
        expire.
    """
    row = rows.get(key)
    if isinstance(row, WaitingUsageRow) and row.reports:
        return _expire_waiting(row, key, now_us, price_of, budgets_of)
    if not isinstance(row, CallRow) or row.status != "open":
        return Settlement(())
    held = _claim(row, row.reserved_usd_nano) - row.charged_usd_nano
    charged = 0 if row.release_on_expiry else held
    return Settlement(
        (Effect("expire", key, charged, now_us),),
        ("released",) if row.release_on_expiry else (),
        charged,
        0,
        tuple([allocation.row for allocation in row.budgets]),
    )


def _wait(rows: Rows, key: str, now_us: int, until_us: int) -> Settlement:
    row = rows.get(key)
    if isinstance(row, WaitingUsageRow):
        if row.reports:
            until_us = row.end_us  # All wait as long as the first.
        elif now_us < row.end_us:
            return Settlement((), ("duplicate",))  # Charged without its request already.
    return Settlement((Effect("wait", key, 0, now_us, until_us),), ("waiting",))


def _expire_waiting(
    row: WaitingUsageRow, key: str, now_us: int, price_of: PriceOf, budgets_of: BudgetsOf
) -> Settlement:
    notes = ["early"]
    budgets: dict[str, Allocation] = {}
    parts: list[int] = []
    whole: int | None = None
    for report in row.reports:
        usage = read_usage(report)
        called = Model(usage.provider or "", usage.model or "", None, now_us)
        reading = read(usage, called, price_of)
        for allocation in budgets_of(row.account, usage):
            budgets[allocation.row] = allocation
        if reading.flag and reading.flag not in notes:
            notes.append(reading.flag)
        if not usage.final:
            parts.append(reading.cost_usd_nano or 0)
        elif whole is None:
            whole = reading.cost_usd_nano
    cost = sum(parts) if whole is None else whole
    # The emptied row remembers for as long as a report waits that these were charged.
    header = Effect("expire", key, cost, now_us, now_us + REMEMBERED_US)
    if not budgets:
        notes.append("unattributed")
    elif cost:
        notes.append("overrun")
    charges = [Effect("charge", b.row, cost, 0, b.until_us) for b in budgets.values() if cost]
    return Settlement(
        (header, *charges), tuple(notes), cost, cost if charges else 0, tuple(budgets)
    )


def _end(row: CallRow, call_key: str, *, final: bool, now_us: int, ttl_us: int) -> Effect:
    """The effect on the call itself, less its amounts."""
    if final:
        return Effect("settle", call_key, 0, now_us)
    if row.status != "open":
        return Effect("charge", call_key)
    expires_us = max(now_us + ttl_us, row.expires_us)
    return Effect("charge", call_key, 0, expires_us, expires_us + row.end_us - row.expires_us)


def _cost(row: CallRow, usage: Usage, reading: Reading) -> int:
    """What the call has cost after this report; of a partial one, what all so far add up to."""
    charged, reserved = row.charged_usd_nano, row.reserved_usd_nano
    if reading.cost_usd_nano is not None:
        return reading.cost_usd_nano if usage.final else charged + reading.cost_usd_nano
    if reading.flag:
        return max(charged, reserved)
    if not usage.final or usage.outcome == "failed":
        return charged
    return max(charged, reserved if usage.outcome == "completed" else row.input_usd_nano)


def _tokens(row: CallRow, usage: Usage, reading: Reading) -> int | None:
    """The same in tokens; None where the estimates stay."""
    if reading.tokens is not None:
        return reading.tokens if usage.final else row.charged_tokens + reading.tokens
    nothing = usage.final and usage.outcome == "failed" and reading == NOTHING
    return row.charged_tokens if nothing else None


def _booked(row: CallRow, amount: int, charged: int) -> int:
    """What a budget that gave *amount* was charged, if the reports add up to *charged*."""
    expired = row.status == "expired" and not row.release_on_expiry
    return max(charged, amount) if expired else charged


def _claim(row: CallRow, amount: int) -> int:
    """What a budget that gave the call *amount* was charged for it or still holds for it."""
    if row.status == "open":
        return max(row.charged_usd_nano, amount)
    return _booked(row, amount, row.charged_usd_nano)


def _move(
    effects: list[Effect], row: CallRow, allocation: Allocation, cost: int, *, final: bool
) -> None:
    """Move what a budget holds for the call to what it is charged for it."""
    amount, charged = allocation.amount, row.charged_usd_nano
    if row.status == "open":
        held = max(amount - charged, 0)
        release = held if final else held - max(amount - cost, 0)
        if release > 0:
            effects.append(Effect("release", allocation.row, release))
    booked = _booked(row, amount, charged)
    more = (cost if final else _booked(row, amount, cost)) - booked
    if more > 0:
        effects.append(Effect("charge", allocation.row, more, 0, allocation.until_us))
    elif more < 0:
        effects.append(Effect("give", allocation.row, -more))


def _level(
    effects: list[Effect],
    row: CallRow,
    allocation: Allocation,
    tokens: int,
    now_us: int,
    *,
    final: bool,
) -> None:
    """Take from a token limit, or give back, what the tokens differ from those taken."""
    taken = max(allocation.amount, row.charged_tokens)
    more = (tokens if final else max(allocation.amount, tokens)) - taken
    if more:
        kind = "take" if more > 0 else "give"
        limit, period_us = allocation.limit, allocation.period_us
        effects.append(Effect(kind, allocation.row, abs(more), now_us, 0, limit, period_us))


def _notes(
    row: CallRow, usage: Usage, reading: Reading, *, charged: int, overrun: int
) -> tuple[str, ...]:
    notes = [reading.flag] if reading.flag else []
    if row.status == "denied" and (charged or usage.acted in RAN):
        notes.append("denied_request")
    elif row.status == "expired":
        notes.append("expired_request")
    if overrun:
        notes.append("overrun")
    if usage.acted == "timeout_allow":
        notes.append("bypass")
    return tuple(notes)
