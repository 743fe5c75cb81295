"""
One commit: five steps, in this order, and why the order is what it is.

Theory of operation
-------------------
An agent's truth is its position row. It is written in the same transaction as everything it covers, so after
any crash a reader of committed records finds the row and all that it says was done, or neither. The table in
RocksDB is a cache of the changelog: it is written last, and in one batch with the position, so it is never
ahead of the ledger and never half of it.

1. The interval is cut, and its verdicts are acknowledged. A verdict whose send failed must not be in the ledger
   as told, and the tail start of step 2 is known only now: the offset after the last of these verdicts. Verdicts
   told after the cut come later in the partition (one producer, one order), so they are at or above it.
2. Audit, dead letters, changelogs and position row go into the transaction, and *every* send is awaited: the
   client commits a transaction whose sends failed.
3. The group's offsets, for lag tools only, and so only once a second: they are two of five requests. Where they
   differ from the position row, the row wins.
4. The transaction is committed.
5. One WriteBatch: rows, position, and where in the changelogs they end.

What is true if the process dies right there:

* before 4: the transaction is aborted by the next owner (or its timeout). The verdicts told are in ``decisions``
  at or above the *old* position row's tail start; the takeover reads them and tells nothing else.
* in 4, outcome unknown: the next owner's InitProducerId ends the transaction one way or the other before
  it reads, and the position row it then finds is the answer.
* between 4 and 5: the table is behind the changelog; the takeover restores the difference.

A failed or indefinite step 1 to 4 raises, both producers are destroyed, and the agent takes over from itself. A
failed step 5 is a ``TableWriteError``: the worker stops, for the next batch would skip these rows for ever.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from enforcer import events
from enforcer.errors import AgentError, UnavailableError
from enforcer.stream.rows import POSITION_KEY
from enforcer.stream.timers import due_rows, lists_of
from enforcer.stream.topology import INPUTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from enforcer.broker.ports import LedgerProducer, Outgoing
    from enforcer.store.table import Meta, Table
    from enforcer.stream.interval import Cut

_POSITION_KEY = POSITION_KEY.encode()


class TableWriteError(AgentError):
    """Step 5 failed: the ledger is ahead of the table, and only a restore may close the gap."""

    code = "table_write"


class GroupPace:
    """When the group's offsets go with a commit: at most so often, and at last with one of their own."""

    __slots__ = ("_due_s", "_interval_s", "is_behind")

    def __init__(self, interval_ms: int) -> None:
        self._interval_s = interval_ms / 1000
        self._due_s = 0.0
        self.is_behind = False
        """Whether something is committed that the group's offsets do not say yet."""

    @property
    def wait_s(self) -> float:
        """How long until they are due; 0 when they are."""
        return max(0.0, self._due_s - time.monotonic())

    def committed(self, *, told: bool) -> None:
        """A commit is done; *told*, whether they went with it."""
        self.is_behind = not told
        if told:
            self._due_s = time.monotonic() + self._interval_s


@dataclass(frozen=True, slots=True)
class CommitTarget:
    """Where an agent's commits go. *topic* gives a topic's full name."""

    partition: int
    group_id: str
    topic: Callable[[str], str]
    ledger: LedgerProducer
    table: Table
    meta: Meta
    """What the table was written for; its positions are of the last takeover."""
    positions: dict[str, int]
    """Changelog (``state``, ``calls``) to the offset up to which the table is whole."""
    ack_timeout_s: float
    """How long the verdicts of an interval may take to be acknowledged, and then its records."""


def offsets_of(position: events.PositionRow) -> tuple[int, int, int]:
    """Where each of ``INPUTS`` stands."""
    return position.request_offset, position.usage_offset, position.lease_offset


async def commit(target: CommitTarget, cut: Cut, *, now_ms: int) -> None:
    """
    Write *cut* to the ledger, then to the table. Sets ``cut.position.tail_start``.

    Args:
        now_ms: The worker's clock, for the table's age.

    Raises: AgentFencedError, UnavailableError: steps 1 to 4, nothing or everything is committed, the
    ledger producer is of no use any more. TableWriteError: step 5.
    """
    partition, topic, ledger = target.partition, target.topic, target.ledger
    position = cut.position

    # 1. The verdicts are acknowledged; the tail start follows them.
    tail_start = await _acknowledged(target, cut)
    if tail_start is not None and not cut.keep_tail_start:
        position.tail_start = max(position.tail_start, tail_start)

    # 2. Everything the position row covers, and the row; every send awaited.
    position_value = events.encode_position_row(position)
    await ledger.begin()
    interval = cut.interval
    sends = [
        ledger.send(topic(name), partition, records)
        for name, records in (("audit", interval.audit), ("dead-letters", interval.dead_letters))
        if records
    ]
    # A word between agents is said in the transaction that makes it true.
    sends += [ledger.send(topic("leases"), to, records) for to, records in interval.words.items()]
    calls = (
        ledger.send(topic("calls"), partition, _records(cut.changes.calls))
        if cut.changes.calls
        else None
    )
    state = ledger.send(
        topic("state"),
        partition,
        [*_records(cut.changes.state), (_POSITION_KEY, position_value, (), None)],
    )
    async with _in_time(target, "records"):
        for send in sends:
            await send
        calls_end = await calls + len(cut.changes.calls) if calls is not None else None
        state_end = await state + len(cut.changes.state) + 1

    # 3. For lag tools.
    if cut.tells_group:
        offsets = zip(INPUTS, offsets_of(position), strict=True)
        await ledger.offsets(
            target.group_id, {(topic(name), partition): at for name, at in offsets}
        )

    # 4. From here on it has happened.
    await ledger.commit()

    # 5. The table follows, in one batch.
    target.positions["state"] = state_end
    if calls_end is not None:
        target.positions["calls"] = calls_end
    try:
        write_table(
            target.table,
            [*cut.changes.state, *cut.changes.calls, (_POSITION_KEY, position_value)],
            cut.swept,
            meta=replace(target.meta, positions=dict(target.positions), written_ms=now_ms),
            due=cut.due,
        )
    except Exception as error:
        raise TableWriteError(f"the table of partition {partition} could not be written") from error


async def _acknowledged(target: CommitTarget, cut: Cut) -> int | None:
    """The offset after the last verdict of the interval; None if it told nothing."""
    end: int | None = None
    async with _in_time(target, "verdicts"):
        for ack, count in cut.interval.acks:
            end = await ack + count
    return end


@asynccontextmanager
async def _in_time(target: CommitTarget, what: str) -> AsyncIterator[None]:
    """A broker that says neither yes nor no is given so long; begin, offsets and commit have a bound of the ledger's own."""
    try:
        async with asyncio.timeout(target.ack_timeout_s):
            yield
    except TimeoutError as error:
        raise UnavailableError(
            f"{what} of partition {target.partition} were not acknowledged in time",
            code="indefinite",
        ) from error


def _records(changes: list[tuple[bytes, bytes | None]]) -> list[Outgoing]:
    return [(key, value, (), None) for key, value in changes]


def write_table(
    table: Table,
    changes: list[tuple[bytes, bytes | None]],
    deletes: list[bytes],
    *,
    meta: Meta,
    due: Iterable[tuple[int, str]] | None = None,
) -> None:
    """
    Rows, when they fall due, and the changelog offsets up to which they are whole, in one batch.

    Args:
        changes: In the order of the changelog: of one key, the last counts. None is a tombstone.
        deletes: Rows, and lists of timers, that go without a tombstone.
        due: What of the changes falls due, and when; None: as the rows themselves say.

    Raises: AgentCorruptedError, where these must say it, and one is no row.
    """
    newest = dict(changes)
    puts = {key: value for key, value in newest.items() if value is not None}
    removed = [key for key, value in newest.items() if value is None]
    lists = lists_of(due_rows(puts) if due is None else due, meta.positions)
    table.write(puts | lists if lists else puts, [*removed, *deletes], meta=meta)
