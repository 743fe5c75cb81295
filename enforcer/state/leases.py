"""
A tenant's budget, spent in many partitions: slices that its owner lends, and what may never happen.

Theory of operation
-------------------
A tenant whose account is ``[tenant, team.id]`` stands on many partitions. A budget of the whole tenant has one
*owner*, the partition of the tenant's own key, and *holders*, each partition that spends of it. A holder has an
ordinary budget row (``b/<tenant>/...``) and a lease row (``l/...``); it admits a request if

    spent + reserved + new reservation <= granted - repaid                                     (at the holder)

and the owner, whose row (``g/...``) has granted and repaid of each holder, grants only while

    sum over holders of (granted - repaid) <= limit                                            (at the owner)

but for overruns, which are spent already. Two numbers that only grow, each written by one side alone, make the rest
easy: *granted* is the owner's, *repaid* the holder's, and each word between them says the whole number, never a
difference. A word that comes twice, late or in another order is the larger number or nothing new. What the holder
knows of *granted* is never more than the owner has lent, and what the owner knows of *repaid* never more than the
holder has given up: so the sum of what is spent and reserved stays within the limit under every interleaving,
provided that no side acts on a number before it is durable. That is the rim's promise: every word is a record
of the transaction that makes its row true, and is read committed.

A slice never frees itself. Past its time (``until_us``) the holder gives back what is unused; a holder that is dead
gives back nothing, and its slice counts as spent until somebody owns its partition again.

    holder      nothing ──ask──► asked ──grant──► holding ──ask──► asked (and holding) ...
                                    holding ──recall, or past its time──► repaid what is unused
    owner       lends a part of what is left; when it has not what is needed, answers short and recalls the others

How large a slice is: what the holder used since its last request, twice over, but no more than the owner's
remainder over twice the number of holders. So slices shrink as the budget does, and what is stranded in other
partitions when a request is turned is bounded by what was lent since the last recall.

Exhausted, a holder does not wait: it denies. ``lease_pending`` (429, try again) while the owner has not said that it
is short, ``budget_exceeded`` once it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer.events import BudgetRow, Effect, Holding, Lease, LeaseRow, LentRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.state.rows import Rows

LEASE: Final = "l/"
LENT: Final = "g/"
SECOND_US: Final = 1_000_000
TTL_US: Final = 60 * SECOND_US
"""How long what is unused stays with a holder that has events."""
PENDING_US: Final = 10 * SECOND_US
"""A request that was not answered for so long is made again."""
SHORT_US: Final = SECOND_US
"""After the owner was short, it is asked again no sooner."""
AHEAD_US: Final = 2 * SECOND_US
"""For so long a slice shall last."""
FIRST_PART: Final = 8
"""The first slices of all partitions together are this part of the limit."""


class Demand(NamedTuple):
    """
    What a partition wants of a budget that it holds a slice of, or should.

    Attributes:
        tenant: Whose budget it is.
        need_usd_nano: The smallest reservation that was turned for want of a slice; 0: none was.
        limit_usd_nano: The budget's limit, for the size of the first request.
        window_end_us: End of the row's window, 0 for total.
    """

    tenant: str
    need_usd_nano: int
    limit_usd_nano: int
    window_end_us: int


class Word(NamedTuple):
    """What one side does: effects on its own row, and what it says to the other."""

    effects: tuple[Effect, ...] = ()
    records: tuple[Lease, ...] = ()


NOTHING: Final = Word()


def lease_key(budget_row: str) -> str:
    """The key of the lease row beside a budget row."""
    return LEASE + budget_row[2:]


def lent_key(budget_row: str) -> str:
    """The key of the owner's row of a budget."""
    return LENT + budget_row[2:]


def slice_usd_nano(row: LeaseRow | None) -> int:
    """What a holder may spend and reserve in all."""
    return 0 if row is None else row.granted_usd_nano - row.repaid_usd_nano


def lent_usd_nano(row: LentRow | None) -> int:
    """What is lent and not repaid, and so counts as spent."""
    if row is None:
        return 0
    return sum(h.granted_usd_nano - h.repaid_usd_nano for h in row.holdings)


# -- the holder ---------------------------------------------------------------------------------------------------


def tend(
    rows: Rows,
    budget_row: str,
    demand: Demand,
    *,
    holder: int,
    partitions: int,
    now_us: int,
) -> Word:
    """
    What a holder says now of one budget: it asks, it repays, or nothing.

    Only when every verdict that was told is in the rows, or money that is reserved would be given back.

    Args:
        rows: Of the holder.
        budget_row: Its budget row's key.
        demand: What is wanted.
        holder: Its partition.
        partitions: How many there are.
        now_us: Event time.
    """
    row = rows.get(lease_key(budget_row))
    assert row is None or isinstance(row, LeaseRow), budget_row
    budget = rows.get(budget_row)
    used = budget.spent_usd_nano + budget.reserved_usd_nano if isinstance(budget, BudgetRow) else 0
    left = slice_usd_nano(row) - used
    if row is not None and (row.is_recalled or row.until_us <= now_us):
        return repay(row, budget_row, demand.tenant, max(left, 0), holder, now_us)
    need = demand.need_usd_nano
    if row is not None and left >= max(need, row.asked_usd_nano // 2, 1):
        return NOTHING
    if row is not None and not _may_ask(row, now_us):
        return NOTHING
    if row is not None and not need and left >= 0 and used == row.used_usd_nano:
        return NOTHING  # Nobody spends of it.
    wanted = _wanted(row, demand, used=used, partitions=partitions, now_us=now_us)
    if row is not None and not wanted and left >= 0:
        return NOTHING
    need = max(need - max(left, 0), 0)  # The rest of the last slice is of use with it.
    repaid_ = 0 if row is None else row.repaid_usd_nano
    asked = Effect("ask", lease_key(budget_row), wanted, now_us, demand.window_end_us, used)
    sequence = 1 if row is None else row.sequence + 1
    record = Lease(
        "request", demand.tenant, budget_row, holder, sequence, wanted, need, used + repaid_,
        demand.window_end_us,
    )  # fmt: skip
    return Word((asked,), (record,))


def _may_ask(row: LeaseRow, now_us: int) -> bool:
    waited_us = now_us - row.asked_us
    if row.sequence > row.answered:
        return waited_us >= PENDING_US
    return not row.is_short or waited_us >= SHORT_US


def _wanted(
    row: LeaseRow | None, demand: Demand, *, used: int, partitions: int, now_us: int
) -> int:
    """Enough for two seconds as they have been; twice as much as last time if that did not last one."""
    need = demand.need_usd_nano
    if row is None or not row.asked_usd_nano:
        return max(need, demand.limit_usd_nano // (FIRST_PART * partitions))
    since_us = now_us - row.asked_us
    if since_us < SECOND_US:
        wanted = 2 * row.asked_usd_nano
    else:
        wanted = (used - row.used_usd_nano) * AHEAD_US // since_us
    return max(need, min(wanted, demand.limit_usd_nano // 2))


def repay(row: LeaseRow, budget_row: str, tenant: str, back: int, holder: int, now_us: int) -> Word:
    """Give *back* up, of what is unused; with nothing to give, and not asked to, only the slice's time is renewed."""
    effect = Effect("repay", lease_key(budget_row), back, now_us)
    if not back and not row.is_recalled:
        return Word((effect,))
    repaid_ = row.repaid_usd_nano + back
    record = Lease("repay", tenant, budget_row, holder, row.sequence, repaid_)
    return Word((effect,), (record,))


def heard(record: Lease, now_us: int) -> Word:
    """What a holder's row becomes when it hears a ``grant`` or a ``recall``. It says nothing at once."""
    key = lease_key(record.row)
    if record.kind == "recall":
        return Word((Effect("recall", key, 0, now_us),))
    assert record.kind == "grant", record
    return Word((
        Effect(
            "grant", key, record.amount_usd_nano, now_us, record.window_end_us, record.sequence,
            int(record.is_short),
        ),
    ))  # fmt: skip


# -- the owner ----------------------------------------------------------------------------------------------------


def answer(row: LentRow | None, asked: Lease, limit_usd_nano: int) -> Word:
    """
    What the owner answers a ``request``: a grant, and where it is short a recall of what others hold.

    Args:
        row: The owner's.
        asked: The request. One that was answered before changes nothing.
        limit_usd_nano: In force at the owner; 0 where it knows no such budget.
    """
    holdings = [] if row is None else row.holdings
    mine = next((h for h in holdings if h.holder == asked.holder), None)
    if mine is not None and asked.sequence <= mine.sequence:
        return NOTHING
    # What is overrun is spent: it is booked, whatever is left. As a whole number, so that it is booked once.
    has = 0 if mine is None else mine.granted_usd_nano
    overrun = max(asked.least_usd_nano - has, 0)
    left = max(limit_usd_nano - lent_usd_nano(row) - overrun, 0)
    holders = max(len(holdings), 1)
    need = max(asked.need_usd_nano, 0)
    given = min(max(asked.amount_usd_nano, need), max(need, left // (2 * holders)), left)
    is_short = given < need or not left
    if given < need:
        given = 0
    granted = has + overrun + given
    effects = [
        Effect("lend", lent_key(asked.row), overrun + given, 0, asked.window_end_us, asked.holder, asked.sequence)
    ]  # fmt: skip
    records = [
        Lease(
            "grant", asked.tenant, asked.row, asked.holder, asked.sequence, granted,
            window_end_us=asked.window_end_us, is_short=is_short,
        )
    ]  # fmt: skip
    if is_short and asked.need_usd_nano:
        for other in holdings:
            holds = other.granted_usd_nano > other.repaid_usd_nano
            if holds and other.holder != asked.holder and not other.is_recalled:
                effects.append(Effect("recall", lent_key(asked.row), 0, 0, 0, other.holder))
                records.append(Lease("recall", asked.tenant, asked.row, other.holder))
    return Word(tuple(effects), tuple(records))


def repaid(record: Lease) -> Word:
    """What the owner's row becomes when it hears a ``repay``."""
    amount, holder = record.amount_usd_nano, record.holder
    return Word((Effect("repay", lent_key(record.row), amount, 0, 0, holder),))


# -- rows ---------------------------------------------------------------------------------------------------------


def apply_lease(row: LeaseRow | None, effect: Effect) -> LeaseRow | None:
    """
    The holder's row after one effect; what it meant for a row that is gone is nothing, but for ``ask`` and ``grant``.

    ======  =================================================================================================
    ask     amount: wanted; at_us: now; until_us: end of the window; limit: spent and reserved
    grant   amount: granted in all; at_us: now; until_us as above; limit: the request answered; period_us: 1 if short
    recall
    repay   repaid + amount; at_us: now
    ======  =================================================================================================
    """
    if row is None:
        if effect.kind not in {"ask", "grant"}:
            return None
        row = LeaseRow(0, 0, effect.until_us)
    granted, repaid_, sequence = row.granted_usd_nano, row.repaid_usd_nano, row.sequence
    answered, asked_us, asked = row.answered, row.asked_us, row.asked_usd_nano
    used, until_us = row.used_usd_nano, row.until_us
    is_short, is_recalled = row.is_short, row.is_recalled
    if effect.kind == "ask":
        sequence += 1
        asked_us, asked, used = effect.at_us, effect.amount, effect.limit
        until_us = until_us or effect.at_us + TTL_US
    elif effect.kind == "grant":
        granted = max(granted, effect.amount)
        if effect.limit >= answered:
            answered, is_short = effect.limit, effect.period_us > 0
            until_us = effect.at_us + TTL_US
    elif effect.kind == "recall":
        is_recalled = True
    else:
        assert effect.kind == "repay", effect
        repaid_ += effect.amount
        is_recalled, until_us = False, effect.at_us + TTL_US
    return LeaseRow(
        granted, repaid_, row.window_end_us, sequence, answered, asked_us, asked, used, until_us,
        is_short, is_recalled,
    )  # fmt: skip


def apply_lent(row: LentRow | None, effect: Effect) -> LentRow | None:
    """
    The owner's row after one effect. *limit* is the holder.

    ======  ======================================================================
    lend    granted + amount; period_us: the request answered; until_us: end of the window
    recall
    repay   amount: repaid in all
    ======  ======================================================================
    """
    holdings: Sequence[Holding] = [] if row is None else row.holdings
    mine = next((h for h in holdings if h.holder == effect.limit), None)
    if mine is None:
        if effect.kind != "lend":
            return row
        mine = Holding(effect.limit, 0, 0, 0)
    granted, repaid_, sequence = mine.granted_usd_nano, mine.repaid_usd_nano, mine.sequence
    is_recalled = mine.is_recalled
    if effect.kind == "lend":
        granted += effect.amount
        sequence = max(sequence, effect.period_us)
    elif effect.kind == "recall":
        is_recalled = True
    else:
        assert effect.kind == "repay", effect
        repaid_ = max(repaid_, min(effect.amount, granted))
        is_recalled = False
    others = [h for h in holdings if h.holder != effect.limit]
    others.append(Holding(effect.limit, granted, repaid_, sequence, is_recalled))
    end_us = effect.until_us if row is None else row.window_end_us
    return LentRow(end_us, sorted(others, key=lambda h: h.holder))
