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
                                    holding ──recall, or past its time──► repaid what it does not use soon
    owner       lends a part of what is left; when that is the last of it, answers short and recalls the others

When a holder asks, and for how much, follows from its own pace (``enforcer.state.pace``): while what is left lasts until
the grant, for three seconds' worth. An owner gives no more than its remainder over twice the number of holders, so that slices
shrink as the budget does, but no less than what is used until the next grant: smaller ones would turn requests while
there is money, and the end would take longer and be no fairer. With the grant that takes the last of it the owner
says that it is short, so a holder knows before its slice is used up. An owner that could not serve the same request once more
recalls what others were granted since they last spoke and do not use soon, the largest first, and is short only when
little can come of that. What is stranded when a request is turned for good is what holders use soon, and that little.

Exhausted, a holder does not wait: it denies. ``lease_pending`` (429, try again) while the owner has not said that it
is short, ``budget_exceeded`` once it has.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer.events import BudgetRow, Effect, Holding, Lease, LeaseRow, LentRow
from enforcer.state.pace import SCARCE_PART, SECOND_US, Pace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from enforcer.state.rows import Rows

LEASE: Final = "l/"
LENT: Final = "g/"
TTL_US: Final = 60 * SECOND_US
"""How long what is unused stays with a holder."""
PENDING_US: Final = 10 * SECOND_US
"""A request that was not answered for so long is made again."""
SHORT_US: Final = SECOND_US
"""After the owner was short, it is asked again no sooner."""
FIRST_PART: Final = 2
"""The first slices of all partitions together are this part of the limit."""
IDLE_PART: Final = 64
"""What idle holders keep, all together, so that their next request is admitted: this part of the limit, until it is recalled."""
HOPE_PART: Final = 64
"""An owner that has nothing left says so, unless others may give up more than this part of the limit."""
RECALLS_MAX: Final = 8
"""Holders that one answer recalls."""


class Demand(NamedTuple):
    """
    What a partition wants of a budget that it holds a slice of, or should.

    Attributes:
        tenant: Whose budget it is.
        need_usd_nano: The smallest reservation that was turned for want of a slice; 0: none was.
        limit_usd_nano: The budget's limit, for the size of the first request.
        window_end_us: End of the row's window, 0 for total.
        pace: What was seen of the spending.
        clock_us: Now, by the clock of *pace*.
        is_idle: Whether nothing was used for a slice's time, by that clock: event time stands still with the traffic.
    """

    tenant: str
    need_usd_nano: int
    limit_usd_nano: int
    window_end_us: int
    pace: Pace = Pace()
    clock_us: int = 0
    is_idle: bool = False


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
    used = used_usd_nano(rows, budget_row)
    left = slice_usd_nano(row) - used
    if row is not None and (row.is_recalled or row.until_us <= now_us or demand.is_idle):
        kept = min(max(left, 0), _kept(row, demand, partitions))
        back, spare = max(left, 0) - kept, kept if demand.is_idle else 0
        return repay(
            row, budget_row, demand.tenant, back, holder=holder, now_us=now_us, spare=spare
        )
    need = demand.need_usd_nano
    if row is not None:
        is_enough = left >= max(need, _low(row, demand), 1)
        is_unspent = not need and left >= 0 and used == row.used_usd_nano
        if is_enough or is_unspent or not _may_ask(row, demand, now_us):
            return NOTHING
    wanted = _wanted(row, demand, partitions)
    if row is not None and not wanted and left >= 0:
        return NOTHING
    need = max(need - max(left, 0), 0)  # The rest of the last slice is of use with it.
    # What is left is used soon: there is nothing of it to be had.
    least = used + max(left, 0) + (0 if row is None else row.repaid_usd_nano)
    asked = Effect("ask", lease_key(budget_row), wanted, now_us, demand.window_end_us, used)
    sequence = 1 if row is None else row.sequence + 1
    record = Lease(
        "request", demand.tenant, budget_row, holder, sequence, wanted, need, least,
        demand.window_end_us,
    )  # fmt: skip
    return Word((asked,), (record,))


def used_usd_nano(rows: Rows, budget_row: str) -> int:
    """Spent and reserved of a budget row."""
    budget = rows.get(budget_row)
    return budget.spent_usd_nano + budget.reserved_usd_nano if isinstance(budget, BudgetRow) else 0


def _low(row: LeaseRow, demand: Demand) -> int:
    """With less than this left, it is time to ask: half of the last request, until there is a pace."""
    pace = demand.pace
    return pace.low_usd_nano(demand.clock_us) if pace.is_known else row.asked_usd_nano // 2


def _kept(row: LeaseRow, demand: Demand, partitions: int) -> int:
    """What a holder keeps that gives up the rest: recalled, what it uses soon; else a slice, or a little."""
    pace, clock_us = demand.pace, demand.clock_us
    if row.is_recalled:
        return 0 if not pace.is_known or demand.is_idle else pace.low_usd_nano(clock_us)
    idle = demand.limit_usd_nano // (IDLE_PART * partitions)
    return idle if demand.is_idle else max(pace.full_usd_nano(clock_us), idle)


def _may_ask(row: LeaseRow, demand: Demand, now_us: int) -> bool:
    waited_us = now_us - row.asked_us
    if row.sequence > row.answered:
        # Once more, before it is answered, only for much more than was asked for.
        full = min(demand.pace.full_usd_nano(demand.clock_us), demand.limit_usd_nano // 2)
        return waited_us >= PENDING_US or full > 2 * max(row.asked_usd_nano, 1)
    return not row.is_short or waited_us >= SHORT_US


def _wanted(row: LeaseRow | None, demand: Demand, partitions: int) -> int:
    """By the holder's pace; the first time, and as long as there is none, a part of the limit."""
    need, pace = demand.need_usd_nano, demand.pace
    wanted = pace.full_usd_nano(demand.clock_us)
    if row is None or not row.asked_usd_nano:
        wanted = max(wanted, demand.limit_usd_nano // (FIRST_PART * partitions))
    elif not pace.is_known:
        wanted = max(wanted, row.asked_usd_nano)
    return max(need, min(wanted, demand.limit_usd_nano // 2))


def repay(
    row: LeaseRow,
    budget_row: str,
    tenant: str,
    back: int,
    *,
    holder: int,
    now_us: int,
    spare: int = 0,
) -> Word:
    """
    Give *back* up, of what is unused; with nothing to give, and not asked to, only the slice's time is renewed.

    It says that all that is kept is used soon, but for what is to *spare*: the owner need not recall it.
    """
    effect = Effect("repay", lease_key(budget_row), back, now_us)
    if not back and not row.is_recalled:
        return Word((effect,))
    repaid_ = row.repaid_usd_nano + back
    soon = row.granted_usd_nano - spare
    record = Lease("repay", tenant, budget_row, holder, row.sequence, repaid_, 0, soon)
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


def answer(
    row: LentRow | None,
    asked: Lease,
    limit_usd_nano: int,
    *,
    known: Mapping[int, int] = MappingProxyType({}),
    awaited_usd_nano: int = 0,
) -> Word:
    """
    What the owner answers a ``request``: a grant, and where little is left a recall of what others hold.

    Args:
        row: The owner's.
        asked: The request. One that was answered before changes nothing.
        limit_usd_nano: In force at the owner; 0 where it knows no such budget.
        known: What each holder had used, repaid or will use soon, in all, by its last word.
        awaited_usd_nano: What was recalled a moment ago, and may yet be repaid.
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
    wanted = max(asked.amount_usd_nano, need)
    given = min(wanted, max(need, wanted // SCARCE_PART, left // (2 * holders)), left)
    if given < need:
        given = 0
    granted = has + overrun + given
    recalls = NOTHING if left - given >= wanted else _recalls(holdings, asked, wanted, known)
    # As long as others may give up more than a little, nobody is turned for good.
    hoped = awaited_usd_nano + sum(recall.amount_usd_nano for recall in recalls.records)
    is_short = (given < need or given == left) and hoped <= limit_usd_nano // HOPE_PART
    lent = Effect("lend", lent_key(asked.row), overrun + given, 0, asked.window_end_us, asked.holder, asked.sequence)  # fmt: skip
    record = Lease(
        "grant", asked.tenant, asked.row, asked.holder, asked.sequence, granted,
        window_end_us=asked.window_end_us, is_short=is_short,
    )  # fmt: skip
    return Word((lent, *recalls.effects), (record, *recalls.records))


def _recalls(
    holdings: Sequence[Holding], asked: Lease, wanted: int, known: Mapping[int, int]
) -> Word:
    """Of those that may have something unused: where nothing was turned for it, only who has as much as would help."""
    least = 1 if asked.need_usd_nano else max(wanted // SCARCE_PART, 1)
    unused = [
        (h.granted_usd_nano - max(known.get(h.holder, 0), h.repaid_usd_nano), h.holder)
        for h in holdings
        if h.holder != asked.holder and not h.is_recalled
    ]
    chosen = [each for each in sorted(unused, reverse=True)[:RECALLS_MAX] if each[0] >= least]
    return Word(
        tuple(Effect("recall", lent_key(asked.row), 0, 0, 0, holder) for _, holder in chosen),
        tuple(Lease("recall", asked.tenant, asked.row, who, 0, much) for much, who in chosen),
    )


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
