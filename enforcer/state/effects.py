"""
The one place where rows change (those of leases too, by rules that stand in ``enforcer.state.leases``).

Theory of operation
-------------------
Every change of money, limits and calls is a list of effects, made by the engine from rows and an
event, and applied here: at once when the event is taken, and again by the next owner of the
partition, from the decision that was told (DESIGN.md, section 4). Effects are differences, never
after-images: they say "reserve 5 more", so that what was told is redone on the rows as they then
are, and the same list on the same rows gives the same rows.

A list is::

    list    := group* own?
    group   := expire(c/)                          a reservation that ended
             | expire(u/) charge(b/)*              usage whose request never came
    own     := (reserve(b/) | take(r/))* open(c/)? a decision
             | report                              a usage report
             | wait(u/)                            a usage report whose request has not come
             | report? drop(u/)                    the last of those, once the request is there
    report  := moved* (charge(c/) | settle(c/))
    moved   := release(b/) | charge(b/) | give(b/) | take(r/) | give(r/)

and of entries of their own, of slices of tenants' budgets (``enforcer.state.leases``)::

    lease   := (ask | grant | recall | repay)(l/) | (lend | recall | repay)(g/)*

What the kinds do, by the table they name, and what their numbers mean (a number not named is 0):

=======  ==  =======================================================================================
reserve  b/  reserved + amount; until_us: end of the window. The call holds the amount until it is
             settled. An amount of 0 changes no row: it names a budget that usage of a denied
             request will be charged to.
release  b/  reserved - amount.
charge   b/  spent + amount; until_us as above.
give     b/  spent - amount: what was charged too much.
take     r/  amount units; at_us: now; limit and period_us: the quota. until_us above 0: the units
             are an estimate in tokens, which the call holds until usage settles it; 0: they are for
             good (requests). An amount of 0 changes no row, as above.
give     r/  amount units back; at_us, limit, period_us as above.
open     c/  amount: nano-USD reserved (of a denied request: estimated); at_us: when the reservation
             expires; until_us: when the row ends; limit: nano-USD of the input alone; period_us:
             estimated tokens.
charge   c/  a report before the final one: charged + amount; limit: tokens more; at_us above 0: the
             reservation now expires then, and the row ends at until_us.
settle   c/  the final report: charged + amount, limit: tokens more (both may be below 0); at_us:
             now.
expire   c/  at_us: now; amount: nano-USD charged, for readers: the row says what is moved.
expire   u/  at_us: now; amount: nano-USD charged; until_us: how long the emptied row remembers it.
wait     u/  at_us: now; until_us: when the report is charged without its request.
drop     u/  at_us: now. The row stays, empty: a changelog of calls has no tombstones.
=======  ==  =======================================================================================

What an ``open`` cannot carry in numbers (digest of the content, the decision's bytes, provider,
model, service tier, status, what to do on expiry) comes with it as a CallRow; its allocations are
read from the reserve and take effects before it, so that they are the same at a takeover. In the
same way ``wait`` comes with the report.

``expire`` is the header of a group, and the guard of it: it reads its row, and where that is no
longer open (or its reports are gone) the whole group does nothing. So it may be redone on rows that
settled the call meanwhile. Each group is one audit record of kind expiry; :func:`split` takes a
list apart. A fold over the ledger takes groups from there, and from a decision only what follows
them.

Every effect has a meaning on every row, also on none: what adds creates the row, what takes away
from a row that is gone (a window closed 32 days ago) does nothing. Only a reservation that would
fall below 0 is refused: then rows and effects do not belong together, and the agent starts again
from the changelog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from enforcer.errors import AgentCorruptedError
from enforcer.events import (
    Allocation,
    BudgetRow,
    CallRow,
    Effect,
    LeaseRow,
    LentRow,
    RateRow,
    WaitingUsageRow,
)
from enforcer.state import buckets, leases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.state.expiry import ExpiryQueue
    from enforcer.state.rows import Rows

# Of one call. The newest takes the last one's place: a final report holds all before it.
SPENT_USD_NANO_MAX = 9 * 10**18
WAITING_REPORTS_MAX = 64

CALLS = "cu"  # Tables whose rows expire.


class Report(NamedTuple):
    """A usage report as it came, for ``wait``."""

    account: str
    value: bytes


class Group(NamedTuple):
    """One expiry: the row key of the call or of the waiting usage; the effects, header first."""

    row: str
    effects: tuple[Effect, ...]


def apply_all(
    rows: Rows,
    effects: Sequence[Effect],
    *,
    call: CallRow | None = None,
    report: Report | None = None,
    queue: ExpiryQueue | None = None,
) -> None:
    """
    Apply a list of effects in its order.

    Args:
        rows: Read and written.
        effects: By the grammar at the top.
        call: For a list with an ``open``: content, decision, time_us, status, provider, model,
            service_tier and release_on_expiry; all else is filled in from the effects. The object
            becomes the row.
        report: For a list with a ``wait``.
        queue: Kept in step: what opens, renews, waits, settles and expires.

    Raises: AgentCorruptedError, if rows and effects do not belong together.
    """
    skipped = False
    for effect in effects:
        kind = effect.kind
        if kind == "expire":
            skipped = not _expire(rows, effect)
            if queue is not None:
                queue.discard(effect.row)
        elif kind == "open":
            assert call is not None, effect
            _open(rows, effect, call, effects)
            if queue is not None:
                queue.track(effect.row, call)
        elif kind == "wait":
            assert report is not None, effect
            _wait(rows, effect, report, queue)
        elif not (skipped and kind == "charge"):
            apply(rows, effect)
            if queue is not None and effect.row[0] in CALLS:
                _retrack(rows, effect.row, queue)


def apply(rows: Rows, effect: Effect) -> None:
    """
    Apply one effect that stands alone: any but ``expire``, ``open`` and ``wait``.

    Raises: AgentCorruptedError, if a reservation would fall below 0.
    """
    table = effect.row[0]
    if table == "b":
        if effect.amount:
            _budget(rows, effect)
    elif table == "r":
        # A limit of 0 admits nothing, so that there is nothing to settle.
        if effect.amount and effect.limit > 0:
            _rate(rows, effect)
    elif table == "c":
        _report(rows, effect)
    elif table in "lg":
        _lease(rows, effect)
    else:
        assert effect.kind == "drop", effect
        _empty(rows, effect.row)


def split(effects: Sequence[Effect]) -> tuple[list[Group], tuple[Effect, ...]]:
    """Take a decision's list apart: its expiries, each an audit record, and what is its own."""
    groups: list[Group] = []
    start = 0
    for index, effect in enumerate(effects):
        if effect.kind not in {"expire", "charge"}:
            break
        if effect.kind == "expire":
            groups.append(Group(effect.row, (effect,)))
        else:
            assert groups, "a decision charges nobody but by an expiry"
            groups[-1] = Group(groups[-1].row, (*groups[-1].effects, effect))
        start = index + 1
    return groups, tuple(effects[start:])


def _retrack(rows: Rows, key: str, queue: ExpiryQueue) -> None:
    if key not in queue:
        return
    row = rows.get(key)
    if isinstance(row, (CallRow, WaitingUsageRow)):
        queue.track(key, row)


def _budget(rows: Rows, effect: Effect) -> None:
    kind, amount = effect.kind, effect.amount
    row = rows.get(effect.row)
    if row is None:
        if kind == "reserve":
            rows.put(effect.row, BudgetRow(0, amount, effect.until_us))
        elif kind == "charge":
            rows.put(effect.row, BudgetRow(amount, 0, effect.until_us))
        return
    assert isinstance(row, BudgetRow), effect
    spent, reserved = row.spent_usd_nano, row.reserved_usd_nano
    if kind == "reserve":
        reserved += amount
    elif kind == "release":
        reserved -= amount
        if reserved < 0:
            raise AgentCorruptedError(f"{effect.row}: releases {amount} of a smaller reservation")
    elif kind == "charge":
        # Nine billion dollars is as good as more: rows are 64 bits wide.
        spent = min(spent + amount, SPENT_USD_NANO_MAX)
    else:
        assert kind == "give", effect
        # Below 0 only if the row was swept and made anew between charge and correction.
        spent = max(spent - amount, 0)
    rows.put(effect.row, BudgetRow(spent, reserved, row.window_end_us))


def _rate(rows: Rows, effect: Effect) -> None:
    key = effect.row
    row = rows.get(key)
    assert row is None or isinstance(row, RateRow), effect
    change = buckets.take if effect.kind == "take" else buckets.give
    quota = buckets.Quota(effect.limit, effect.period_us)
    rows.put(key, change(row, quota, units=effect.amount, now_us=effect.at_us))


def _lease(rows: Rows, effect: Effect) -> None:
    key = effect.row
    row = rows.get(key)
    new: LeaseRow | LentRow | None
    if key[0] == "l":
        assert row is None or isinstance(row, LeaseRow), effect
        new = leases.apply_lease(row, effect)
    else:
        assert row is None or isinstance(row, LentRow), effect
        new = leases.apply_lent(row, effect)
    if new is not None:
        rows.put(key, new)


def _open(rows: Rows, effect: Effect, call: CallRow, effects: Sequence[Effect]) -> None:
    call.end_us = effect.until_us
    call.expires_us = effect.at_us
    call.reserved_usd_nano = effect.amount
    call.input_usd_nano = effect.limit
    call.estimated_tokens = effect.period_us
    call.budgets, call.token_rates = [], []
    for held in effects:
        if held.kind == "reserve":
            call.budgets.append(Allocation(held.row, held.amount, held.until_us))
        elif held.kind == "take" and held.until_us:
            call.token_rates.append(
                Allocation(held.row, held.amount, 0, held.limit, held.period_us)
            )
    rows.put(effect.row, call)


def _report(rows: Rows, effect: Effect) -> None:
    row = rows.get(effect.row)
    if row is None:
        return
    assert isinstance(row, CallRow), effect
    final = effect.kind == "settle"
    renewed = not final and effect.at_us > 0
    rows.put(
        effect.row,
        changed_call(
            row,
            status="settled" if final else row.status,
            expires_us=effect.at_us if renewed else row.expires_us,
            end_us=effect.until_us if renewed else row.end_us,
            charged_usd_nano=row.charged_usd_nano + effect.amount,
            charged_tokens=row.charged_tokens + effect.limit,
        ),
    )


def changed_call(
    row: CallRow,
    *,
    status: str,
    expires_us: int,
    end_us: int,
    charged_usd_nano: int,
    charged_tokens: int,
) -> CallRow:
    """A new row that differs in what changes after a call was opened."""
    return CallRow(
        end_us,
        status,
        row.content,
        row.decision,
        row.time_us,
        expires_us,
        row.provider,
        row.model,
        row.service_tier,
        row.reserved_usd_nano,
        row.input_usd_nano,
        row.estimated_tokens,
        charged_usd_nano,
        charged_tokens,
        row.release_on_expiry,
        row.budgets,
        row.token_rates,
    )


def _expire(rows: Rows, effect: Effect) -> bool:
    """Expire a call or waiting usage; False if there was nothing to, and the group is void."""
    row = rows.get(effect.row)
    if isinstance(row, WaitingUsageRow):
        if not row.reports:
            return False
        rows.put(effect.row, WaitingUsageRow(effect.until_us, row.account, []))
        return True
    if not isinstance(row, CallRow) or row.status != "open":
        return False
    for allocation in row.budgets:
        held = max(allocation.amount - row.charged_usd_nano, 0)
        if not held:
            continue
        apply(rows, Effect("release", allocation.row, held))
        if not row.release_on_expiry:
            apply(rows, Effect("charge", allocation.row, held, 0, allocation.until_us))
    rows.put(
        effect.row,
        changed_call(
            row,
            status="expired",
            expires_us=row.expires_us,
            # As long after its expiry as it would have stayed: usage that comes late still finds
            # the call.
            end_us=max(row.end_us, effect.at_us + row.end_us - row.expires_us),
            charged_usd_nano=row.charged_usd_nano,
            charged_tokens=row.charged_tokens,
        ),
    )
    return True


def _wait(rows: Rows, effect: Effect, report: Report, queue: ExpiryQueue | None) -> None:
    row = rows.get(effect.row)
    assert row is None or isinstance(row, WaitingUsageRow), effect
    reports = row.reports[: WAITING_REPORTS_MAX - 1] if row is not None else []
    waiting = WaitingUsageRow(effect.until_us, report.account, [*reports, report.value])
    rows.put(effect.row, waiting)
    if queue is not None:
        queue.track(effect.row, waiting)


def _empty(rows: Rows, key: str) -> None:
    row = rows.get(key)
    if isinstance(row, WaitingUsageRow):
        rows.put(key, WaitingUsageRow(row.end_us, row.account, []))
