"""
Where rows belong under another number of partitions, and what of a tenant's shared budget goes with a call. Pure.

A row goes where its account's key goes. Slices do not: they are a partition's, by its number. A call that moves takes what
it still holds of a shared budget with it, as a repayment by one holder and a grant to the other, both of which the
owner's row says: the sum of all slices is the same before and after.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from enforcer import events, state
from enforcer.errors import IntegrityError
from enforcer.stream.rows import decode_row, encode_row

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED_KINDS = "lg"
SEEN_BYTES_MAX = 256


class Rows(Protocol):
    """The rows of all partitions, as changed so far."""

    def get(self, partition: int, key: str) -> bytes | None:
        """A row's bytes."""

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        """Change a row; None removes it."""


def account_of_row(key: str, value: bytes, known: dict[str, str]) -> str:
    """
    The account whose row it is.

    Args:
        known: Accounts by the hash that stands for them in keys where they are longer than 256 bytes.

    Raises: IntegrityError where only a hash is left of it.
    """
    part = key.split("/", 2)[1]
    if not part.startswith("#"):
        return unquote(part)
    if key[0] == "c":
        decision = events.read_decision(events.decode_call_row(value).decision)
        assert isinstance(decision, events.Decision), key
        return decision.account
    if key[0] == "u":
        return events.decode_waiting_usage_row(value).account
    if part not in known:
        raise IntegrityError(
            "a row's account is too long to stand in its key, and no call of it is left",
            help="wait until its window is closed, or delete the tenant's row",
            code="account_unknown",
        )
    return known[part]


def hashed(account: str) -> str:
    """What stands in keys for an account of more than 256 bytes."""
    return "#" + sha256(account.encode()).hexdigest()


def home_of(key: str, value: bytes, partitions: int, known: dict[str, str]) -> int:
    """The partition where a row belongs."""
    return events.partition_of(account_of_row(key, value, known).encode(), partitions)


def is_slice(rows: Rows, partition: int, key: str) -> bool:
    """Whether a row is of a slice that this partition holds: it stays, whatever the account's key says."""
    if key[0] == "l":
        return True
    return key[0] == "b" and rows.get(partition, state.lease_key(key)) is not None


def held_of_slices(rows: Rows, partition: int, value: bytes) -> Iterator[tuple[str, int]]:
    """What a call still holds of shared budgets: row and nano-USD."""
    call = events.decode_call_row(value)
    if call.status != "open":
        return
    for allocation in call.budgets:
        if is_slice(rows, partition, allocation.row):
            yield allocation.row, max(allocation.amount - call.charged_usd_nano, 0)


def touches_slices(rows: Rows, partition: int, value: bytes) -> Iterator[str]:
    """The shared budgets that a call is booked in, also those of which it holds nothing any more."""
    for allocation in events.decode_call_row(value).budgets:
        if is_slice(rows, partition, allocation.row):
            yield allocation.row


def hand_over(rows: Rows, row: str, amount: int, *, giver: int, taker: int, owner: int) -> None:
    """*amount* that is reserved of *row* at *giver* is reserved at *taker* from now on; the owner's row says so too."""
    given = _decoded(rows, giver, row) or events.BudgetRow(0, 0, 0)
    assert given.reserved_usd_nano >= amount, (row, giver)
    _put(
        rows,
        giver,
        row,
        events.BudgetRow(
            given.spent_usd_nano, given.reserved_usd_nano - amount, given.window_end_us
        ),
    )
    taken = _decoded(rows, taker, row) or events.BudgetRow(0, 0, given.window_end_us)
    _put(
        rows,
        taker,
        row,
        events.BudgetRow(
            taken.spent_usd_nano, taken.reserved_usd_nano + amount, taken.window_end_us
        ),
    )
    lease = _decoded(rows, giver, state.lease_key(row))
    lease.repaid_usd_nano += amount
    _put(rows, giver, state.lease_key(row), lease)
    other = _decoded(rows, taker, state.lease_key(row))
    other = other or events.LeaseRow(0, 0, given.window_end_us)
    other.granted_usd_nano += amount
    _put(rows, taker, state.lease_key(row), other)
    lent = _decoded(rows, owner, state.lent_key(row)) or events.LentRow(given.window_end_us)
    holdings = {holding.holder: holding for holding in lent.holdings}
    for holder in (giver, taker):
        holdings.setdefault(holder, events.Holding(holder, 0, 0, 0))
    # What is on its way to either side is a larger number than these, or no news.
    holdings[giver].repaid_usd_nano += amount
    holdings[taker].granted_usd_nano += amount
    lent.holdings = sorted(holdings.values(), key=lambda holding: holding.holder)
    _put(rows, owner, state.lent_key(row), lent)


def _decoded(rows: Rows, partition: int, key: str) -> Any:
    value = rows.get(partition, key)
    return None if value is None else decode_row(key, value)


def _put(rows: Rows, partition: int, key: str, row: Any) -> None:
    rows.put(partition, key, encode_row(key, row))
