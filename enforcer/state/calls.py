"""
Is a request's call new to its account, and how long is it known?

::

    new ──open──► open ──final report──► settled          denied ──final report──► settled
                   │ ▲                      ▲
                   │ └ partial report: renewed
                   └──expiry──► expired ──final report──┘

A row ends a dedup window after its reservation, so that usage that comes late still finds the call
it belongs to. The topic ``calls`` keeps a row an hour longer than both together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from enforcer.events import CallRow
from enforcer.state.rows import call_row_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.state.rows import Rows


class Lookup(NamedTuple):
    """
    What a request's call is to its account.

    ``kind`` is ``new``; ``redelivery``: the verdict of *row* is told again and nothing is charged;
    or ``reused``: another content under the same id, to be denied as ``request_id_reused`` without
    a row.
    """

    kind: str
    row: CallRow | None


NEW = Lookup("new", None)
REUSED = Lookup("reused", None)


def call_keys(account: str, request_id: str, attempt: int) -> tuple[str, ...]:
    """
    The rows that :func:`lookup` reads: of the call itself, of the first attempt and of the one
    before.
    """
    own = call_row_key(account, request_id, attempt)
    if attempt <= 1:
        return (own,)
    first = call_row_key(account, request_id, 1)
    if attempt == 2:
        return own, first
    return own, first, call_row_key(account, request_id, attempt - 1)


def ends(time_us: int, *, reservation_ttl_us: int, dedup_window_us: int) -> tuple[int, int]:
    """
    When the reservation of a call of *time_us* expires and when its row ends: at_us and until_us of
    its ``open``.
    """
    expires_us = time_us + reservation_ttl_us
    return expires_us, expires_us + dedup_window_us


def lookup(
    rows: Rows, keys: Sequence[str], *, content: bytes, now_us: int, dedup_window_us: int
) -> Lookup:
    """
    Tell whether a request is new. Its due rows must have been expired before.

    Args:
        rows: Read only.
        keys: Of :func:`call_keys`.
        content: Digest of the request's content.
        now_us: Event time.
        dedup_window_us: How long a call is known by its id; with an open reservation it is known
            until that ends.
    """
    row = _known(rows, keys[0], now_us, dedup_window_us)
    if row is not None:
        return Lookup("redelivery", row) if row.content == content else REUSED
    for key in keys[1:]:
        first = _known(rows, key, now_us, dedup_window_us)
        if first is not None:
            return NEW if first.content == content else REUSED
    return NEW


def _known(rows: Rows, key: str, now_us: int, dedup_window_us: int) -> CallRow | None:
    row = rows.get(key)
    if row is None:
        return None
    assert isinstance(row, CallRow), key
    if now_us < row.time_us + dedup_window_us:
        return row
    # Opened anew, the call would lose sight of a reservation that is still held.
    return row if row.status == "open" and now_us < row.expires_us else None
