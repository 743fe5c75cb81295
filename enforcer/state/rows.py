"""
Rows and their keys.

A row is a generated record of ``enforcer.events``; a key is plain UTF-8, the same in the table and
in the changelog:

* ``b/<account>/<policy>/<id>/<key>/<window>``  BudgetRow
* ``r/<account>/<policy>/<id>/<key>``           RateRow
* ``c/<account>/<request id>/<attempt>``        CallRow
* ``u/<account>/<request id>/<attempt>``        WaitingUsageRow: usage that came before its request
* ``l/<tenant>/<policy>/<id>/<key>/<window>``   LeaseRow: the slice of a tenant's budget that this partition holds
* ``g/<tenant>/<policy>/<id>/<key>/<window>``   LentRow: the slices that this partition, its owner, has lent

In a part ``%`` and ``/`` are percent-encoded, and a part of more than 256 bytes of UTF-8 is
replaced by ``#`` and the hex SHA-256 of it. A key of several values joins them by ``|``. Different
parts never give the same key.

INVARIANT: nobody changes a row that a table gave out. A change is a new row that is put, so that a
    table may
hand out what it holds, and a commit in flight may hold on to it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote

from enforcer.events import (
    BudgetRow,
    CallRow,
    LeaseRow,
    LentRow,
    PositionRow,
    RateRow,
    WaitingUsageRow,
    decode_call_row,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Row = BudgetRow | RateRow | CallRow | WaitingUsageRow | LeaseRow | LentRow | PositionRow

BUDGET = "b/"
RATE = "r/"
CALL = "c/"
WAITING = "u/"
POSITION = "p"

PART_BYTES_MAX = 256
SHARED = "*"  # Stands for an absent value of a key whose budget says on_missing_key: shared.
EMPTY = "%"  # Stands for an empty value: no other value encodes to it.

_SPECIAL = re.compile(r"[%/]")
_SPECIAL_IN_VALUE = re.compile(r"[%/|#*]")


class Rows(Protocol):
    """The tables of one partition, as the transitions see them."""

    def get(self, key: str) -> Row | None:
        """Return the row, or None. The caller must not change it."""

    def put(self, key: str, row: Row) -> None:
        """Write a row over whatever is there."""

    def put_encoded(self, key: str, value: bytes) -> None:
        """Write the row of a call, given as its bytes, over whatever is there."""

    def delete(self, key: str) -> None:
        """Remove a row; one that is not there is none to remove."""


class MemoryRows:
    """Rows in a dict: for tests, for replay and for the driver that needs no broker."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def get(self, key: str) -> Row | None:
        """Return the row, or None."""
        return self.rows.get(key)

    def put(self, key: str, row: Row) -> None:
        """Write a row over whatever is there."""
        self.rows[key] = row

    def put_encoded(self, key: str, value: bytes) -> None:
        """Write the row of a call, given as its bytes."""
        self.put(key, decode_call_row(value))

    def delete(self, key: str) -> None:
        """Remove a row, if it is there."""
        self.rows.pop(key, None)

    def items(self, prefix: str = "") -> Iterator[tuple[str, Row]]:
        """All rows whose key starts with *prefix*, in order of their keys."""
        for key in sorted(self.rows):
            if key.startswith(prefix):
                yield key, self.rows[key]


def key_part(values: Sequence[str | None]) -> str:
    """
    The ``<key>`` part for the values at a budget's key paths, in their order.

    Args:
        values: One per path; None where the field is absent and the budget is shared. None at all:
            the whole account.

    Returns: The encoded part, "" for the whole account.
    """
    if len(values) == 1:
        return _shortened(_value(values[0]))
    return _shortened("|".join([_value(value) for value in values]))


def key_values(part: str) -> list[str | None] | None:
    """The values that a ``<key>`` part was made of; None if it was hashed."""
    if part.startswith("#"):
        return None
    if not part:
        return []
    return [
        None if value == SHARED else "" if value == EMPTY else unquote(value)
        for value in part.split("|")
    ]


def budget_key(account: str, policy: str, limit_id: str, key: str, window: str) -> str:
    """The key of a budget row. *key* comes from :func:`key_part`, *window* is a window's name."""
    return f"{_prefix(BUDGET, account, policy, limit_id)}{key}/{window}"


def rate_key(account: str, policy: str, limit_id: str, key: str) -> str:
    """The key of a rate row. *key* comes from :func:`key_part`."""
    return _prefix(RATE, account, policy, limit_id) + key


def call_row_key(account: str, request_id: str, attempt: int) -> str:
    """The key of the row of one call."""
    return f"{CALL}{_part(account)}/{_part(request_id)}/{attempt}"


def waiting_key(account: str, request_id: str, attempt: int) -> str:
    """The key of the usage that waits for this call."""
    return f"{WAITING}{_part(account)}/{_part(request_id)}/{attempt}"


def waiting_key_of(call_key: str) -> str:
    """The key of the usage that waits for the call of this row key."""
    assert call_key.startswith(CALL), call_key
    return WAITING + call_key[len(CALL) :]


class BudgetName(NamedTuple):
    """The parts of a budget row's key; ``key`` stays encoded, see :func:`key_values`."""

    account: str
    policy: str
    limit_id: str
    key: str
    window: str


class RateName(NamedTuple):
    """The parts of a rate row's key; ``key`` stays encoded, see :func:`key_values`."""

    account: str
    policy: str
    limit_id: str
    key: str


class CallName(NamedTuple):
    """The parts of the key of a call row or of a waiting usage row."""

    account: str
    request_id: str
    attempt: int


def parse_budget_key(key: str) -> BudgetName:
    """Take a budget row's key apart. Hashed parts stay as they are."""
    prefix, account, policy, limit_id, part, window = key.split("/")
    assert prefix + "/" == BUDGET, key
    return BudgetName(unquote(account), unquote(policy), unquote(limit_id), part, window)


def parse_rate_key(key: str) -> RateName:
    """Take a rate row's key apart. Hashed parts stay as they are."""
    prefix, account, policy, limit_id, part = key.split("/")
    assert prefix + "/" == RATE, key
    return RateName(unquote(account), unquote(policy), unquote(limit_id), part)


def parse_call_key(key: str) -> CallName:
    """Take the key of a call row or a waiting usage row apart. Hashed parts stay as they are."""
    prefix, account, request_id, attempt = key.split("/")
    assert prefix + "/" in {CALL, WAITING}, key
    return CallName(unquote(account), unquote(request_id), int(attempt))


@lru_cache(maxsize=16_384)
def _prefix(kind: str, account: str, policy: str, limit_id: str) -> str:
    # Every event asks for the same few thousand of these: cached, a key costs one join.
    return f"{kind}{_part(account)}/{_part(policy)}/{_part(limit_id)}/"


def _value(value: str | None) -> str:
    if value is None:
        return SHARED
    if value.isalnum():  # By far the most, and twice as fast as the search.
        return value
    if not value:
        return EMPTY
    return _SPECIAL_IN_VALUE.sub(_percent, value) if _SPECIAL_IN_VALUE.search(value) else value


def _part(text: str) -> str:
    if text.isalnum():
        return _shortened(text)
    encoded = _SPECIAL.sub(_percent, text) if _SPECIAL.search(text) else text
    # A part that begins like a hash must not be taken for one.
    return _shortened("%23" + encoded[1:] if encoded.startswith("#") else encoded)


def _shortened(part: str) -> str:
    # A code point has at most 4 bytes, so that short parts need no encoding to be known as short.
    if len(part) <= PART_BYTES_MAX // 4:
        return part
    data = part.encode()
    return part if len(data) <= PART_BYTES_MAX else "#" + sha256(data).hexdigest()


def _percent(match: re.Match[str]) -> str:
    return f"%{ord(match.group()):02X}"
