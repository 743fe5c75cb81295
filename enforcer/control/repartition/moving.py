"""
From one number of partitions to a larger one, on the broker: grow, rewrite by key, switch.

Theory of operation
-------------------
Kafka adds partitions and never takes one away, so the number grows. From the first topic that has grown on no worker starts
(the counts differ, or a position row says another one), and none runs: while the group has members nothing is changed.

1. *Drained?* Every verdict that was told is in the ledger, and few inputs wait; else a worker has to run and stop first.
2. *Fence*: the transactional id of each partition is taken over, so that a worker nobody knew of writes nothing more.
3. *Grow* all topics that share their partitions.
4. *Move*, partition by partition, in transactions of at most ``ROWS_MAX`` rows. Each says everything about the rows it moves:
   the row where it belongs, a tombstone where it was, an entry in the ledgers of both partitions, and both position rows. The last
   one of a partition also sends on the inputs that wait there, and writes the new count into its position row: it is *switched*.
5. When all are switched, workers start.

Killed anywhere, the same command goes on: what was committed stands where it belongs and is not looked at again; what was not was
never moved. There is no state but the topics' own.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from enforcer import events, state
from enforcer.audit.chain import Chain
from enforcer.control.repartition import placing, reading
from enforcer.control.repartition.house import Batch, House
from enforcer.errors import ConflictError
from enforcer.store import RocksTable
from enforcer.stream.commit import offsets_of
from enforcer.stream.rows import POSITION_KEY, changelog_of
from enforcer.stream.topology import INPUTS, PARTITIONED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from enforcer.broker.ports import Broker, LedgerProducer, Record

GROWING: Final = (*PARTITIONED, "dead-letters")


@dataclass(slots=True)
class Moved:
    """What was done."""

    before: int
    partitions: int
    rows: int = 0
    inputs: int = 0
    already: int = 0
    """Partitions that an earlier run had switched."""


async def repartition(
    broker: Broker,
    prefix: str,
    partitions: int,
    *,
    group: str,
    tell: Callable[[str], None],
) -> Moved:
    """
    Move the installation *prefix* to *partitions*.

    Args:
        group: The workers' consumer group.
        tell: Told in a line what is being done.

    Raises: ConflictError while workers run, for fewer partitions than there are, and for what is not drained; nothing
    is changed then. UnavailableError: run it again.
    """
    names = {name: f"{prefix}.{name}" for name in GROWING}
    counts = await _counts(broker, names)
    before, most = counts["requests"], max(counts.values())
    if partitions < most:
        raise ConflictError(
            f"there are {most} partitions, and Kafka takes none away: {partitions} cannot be had",
            help=f"choose {most} or more, or begin an installation under another --prefix",
            code="partitions_fewer",
        )
    await _refuse_members(broker, group)
    with tempfile.TemporaryDirectory(prefix="enforcer-repartition-") as folder:
        move = _Move(broker, prefix, partitions, group=group, tell=tell)
        try:
            return await move.run(Path(folder), counts, Moved(before, partitions))
        finally:
            await move.close()


async def _counts(broker: Broker, names: dict[str, str]) -> dict[str, int]:
    described = await broker.describe_topics(list(names.values()))
    missing = [name for name in names.values() if name not in described]
    if missing:
        raise ConflictError(
            f"topics are missing: {', '.join(missing)}",
            help="run `enforcer topics apply` first",
            code="topics_missing",
        )
    return {name: described[full].partitions for name, full in names.items()}


async def _refuse_members(broker: Broker, group: str) -> None:
    members = await broker.group_members(group)
    if members:
        raise ConflictError(
            f"{len(members)} workers run in the group {group}: {', '.join(sorted(members)[:4])}",
            help="stop all of them (SIGTERM: they drain); one that was killed is forgotten after its session, 6 s",
            code="workers_run",
        )


class _Move:
    """One run of the command."""

    def __init__(
        self,
        broker: Broker,
        prefix: str,
        partitions: int,
        *,
        group: str,
        tell: Callable[[str], None],
    ) -> None:
        self._broker = broker
        self._prefix = prefix
        self._count = partitions
        self._group = group
        self._tell = tell
        self._ledgers: dict[int, LedgerProducer] = {}
        self._known: dict[str, str] = {}
        self._now_us: dict[int, int] = {}
        """Event time of each partition: who gets its rows is not behind it."""
        self._begins: dict[tuple[str, int], int] = {}
        self._house = House()

    async def close(self) -> None:
        """Let producers and tables go."""
        for ledger in self._ledgers.values():
            await ledger.close()
        for table in self._house.tables.values():
            table.close()

    async def run(self, folder: Path, counts: dict[str, int], moved: Moved) -> Moved:
        """All steps. *counts*: of each topic, before."""
        old = range(min(counts["state"], counts["calls"]))
        self._tell(f"{len(old)} partitions are fenced, and their rows read")
        for partition in old:
            ledger = self._broker.open_ledger(f"{self._group}-{partition}")
            self._ledgers[partition] = ledger
            await ledger.start()
        # Workers may have started before they were fenced; from here on none can write.
        await _refuse_members(self._broker, self._group)
        for partition in old:
            self._house.tables[partition] = await reading.restored(
                self._broker,
                self._prefix,
                partition,
                partitions=counts["state"],
                path=folder / f"p{partition}",
            )
        waiting = await self._waiting(old, counts, moved)
        grown = {
            f"{self._prefix}.{name}": self._count for name in GROWING if counts[name] < self._count
        }
        if grown:
            self._tell(f"{len(grown)} topics grow to {self._count} partitions")
            await self._broker.grow_topics(grown)
        for partition in range(len(old), self._count):
            self._house.tables[partition] = RocksTable(folder / f"p{partition}")
        await self._find_begins()
        await self._move_owners(moved)
        for partition in old:
            await self._move(partition, waiting[partition], moved)
        return moved

    async def _waiting(
        self, old: range, counts: dict[str, int], moved: Moved
    ) -> dict[int, dict[str, list[Record]]]:
        """What waits in each partition, once it is known that all of them are drained."""
        broker, prefix, found = self._broker, self._prefix, {}
        before = [counts["requests"]]
        for partition in old:
            position = self._house.position(partition)
            inputs = found[partition] = await reading.waiting(
                broker, prefix, partition, position=position, counts=counts
            )
            await reading.check_drained(broker, prefix, partition, position=position, inputs=inputs)
            if position is not None:
                self._now_us[partition] = position.now_us
                before.append(position.partition_count)
        moved.before = min(before)
        return found

    async def _find_begins(self) -> None:
        reader = await self._broker.open_reader(read_committed=True)
        try:
            places = [
                (f"{self._prefix}.{name}", p)
                for name in (*INPUTS, "decisions")
                for p in range(self._count)
            ]
            self._begins = await reader.offsets_begin(places)
        finally:
            await reader.close()

    # -- rows -------------------------------------------------------------------------------------------------

    async def _move_owners(self, moved: Moved) -> None:
        """What owners have lent goes first, so that whoever takes over a slice finds the owner where it belongs."""
        house = self._house
        for partition in sorted(self._ledgers):
            for key, value in house.rows(partition):
                if key[0] == "g" and (to := self._home(key, value)) != partition:
                    house.put(to, key, value)
                    house.put(partition, key, None)
                    moved.rows += 1
                if house.batch.is_full:
                    await self._commit(partition, switched=False)
            await self._commit(partition, switched=False)

    def _home(self, key: str, value: bytes) -> int:
        return placing.home_of(key, value, self._count, self._known)

    async def _move(self, partition: int, waiting: dict[str, list[Record]], moved: Moved) -> None:
        position = self._house.position(partition)
        if position is not None and position.partition_count == self._count:
            moved.already += 1
            return
        rows = 0
        for key, value in self._house.rows(partition):
            if key[0] in "cu":
                account = placing.account_of_row(key, value, self._known)
                if len(account.encode()) > placing.SEEN_BYTES_MAX:
                    self._known[placing.hashed(account)] = account
        for key, value in self._house.rows(partition):
            if key[0] == "g" or placing.is_slice(self._house, partition, key):
                continue
            to = self._home(key, value)
            if to == partition:
                continue
            if key[0] == "c":
                self._hand_over(value, partition, to)
            self._house.put(to, key, value)
            self._house.put(partition, key, None)
            rows += 1
            if self._house.batch.is_full:
                await self._commit(partition, switched=False)
        inputs = self._send_on(partition, waiting)
        await self._commit(partition, switched=True, waiting=waiting)
        moved.rows += rows
        moved.inputs += inputs
        self._tell(f"partition {partition}: {rows} rows moved, {inputs} inputs sent on")

    def _hand_over(self, value: bytes, giver: int, taker: int) -> None:
        held = dict(placing.held_of_slices(self._house, giver, value))
        for row in placing.touches_slices(self._house, giver, value):
            account = state.parse_budget_key(row).account
            owner = events.partition_of(account.encode(), self._count)
            placing.hand_over(
                self._house, row, held.get(row, 0), giver=giver, taker=taker, owner=owner
            )

    def _send_on(self, partition: int, waiting: dict[str, list[Record]]) -> int:
        """Inputs that wait go where their key belongs now; words of other agents to whom they are for."""
        inputs = self._house.batch.inputs
        count = 0
        for name, records in waiting.items():
            for record in records:
                if name == "leases":
                    to = self._hearer(record, partition)
                else:
                    to = (
                        partition
                        if record.key is None
                        else events.partition_of(record.key, self._count)
                    )
                headers = tuple((k, v) for k, v in record.headers)
                inputs.setdefault((name, to), []).append((record.key, record.value, headers, None))
                count += 1
        return count

    def _hearer(self, record: Record, partition: int) -> int:
        try:
            said = events.decode_lease(record.value or b"")
        except events.CodecError:
            return partition
        if said.kind in ("grant", "recall"):
            return said.holder
        return events.partition_of(events.account_of(said.tenant, None).encode(), self._count)

    # -- one transaction --------------------------------------------------------------------------------------

    async def _commit(
        self,
        partition: int,
        *,
        switched: bool,
        waiting: dict[str, list[Record]] | None = None,
    ) -> None:
        """Write the batch under the transactional id of *partition*: rows, ledgers, positions, inputs, all or nothing."""
        house, batch, waiting = self._house, self._house.batch, waiting or {}
        if not batch.changes and not switched:
            return
        changed: dict[int, list[tuple[str, bytes | None]]] = {}
        for (at, key), value in batch.changes.items():
            changed.setdefault(at, []).append((key, value))
        if switched:
            changed.setdefault(partition, [])
        ledger = self._ledgers[partition]
        await ledger.begin()
        sends = []
        for at, rows in sorted(changed.items()):
            passed = waiting if switched and at == partition else None
            sends += self._sends_of(ledger, partition, at, rows=rows, passed=passed)
        for (name, to), inputs in batch.inputs.items():
            sends.append(ledger.send(f"{self._prefix}.{name}", to, inputs))
        for send in sends:
            await send
        if switched:
            offsets = zip(INPUTS, offsets_of(house.position(partition)), strict=True)
            places = {(f"{self._prefix}.{name}", partition): offset for name, offset in offsets}
            await ledger.offsets(self._group, places)
        await ledger.commit()
        house.batch = Batch()

    def _sends_of(
        self,
        ledger: LedgerProducer,
        giver: int,
        at: int,
        *,
        rows: list[tuple[str, bytes | None]],
        passed: dict[str, list[Record]] | None,
    ) -> list[Awaitable[int]]:
        """What one partition gets of a transaction. *passed*: it is the one that is switched, and these are behind it."""
        topic, sends = f"{self._prefix}.", []
        position = self._house.position(at) or self._first_position(at)
        position.now_us = max(position.now_us, self._now_us.get(giver, 0))
        if rows or passed is not None:
            # Also where nothing moved: who decides this ledger again finds the number of partitions here.
            moved = [events.MovedRow(key, value) for key, value in rows]
            before = position.partition_count
            entry = events.encode_move(events.Move(giver, at, self._count, moved, before))
            value = self._enter(position, at, entry)
            sends.append(ledger.send(f"{topic}audit", at, [(None, value, (), None)]))
        if passed is not None:
            position.partition_count = self._count
            self._pass(position, passed)
        stored = events.encode_position_row(position)
        self._house.remember(at, stored)
        calls = [(k.encode(), v, (), None) for k, v in rows if changelog_of(k) == "calls"]
        if calls:
            sends.append(ledger.send(f"{topic}calls", at, calls))
        kept = [(k.encode(), v, (), None) for k, v in rows if changelog_of(k) == "state"]
        kept.append((POSITION_KEY.encode(), stored, (), None))
        sends.append(ledger.send(f"{topic}state", at, kept))
        return sends

    def _enter(self, position: events.PositionRow, at: int, payload: bytes) -> bytes:
        chain = Chain(position.next_sequence, position.chain_head)
        source = events.Source(
            f"{self._prefix}.requests",
            at,
            position.request_offset,
            position.usage_offset,
            position.policy_offset,
            0,
            position.lease_offset,
        )
        value = chain.append("move", "*", position.now_us, source, payload)
        position.next_sequence, position.chain_head = chain.sequence, chain.head
        return value

    @staticmethod
    def _pass(position: events.PositionRow, waiting: dict[str, list[Record]]) -> None:
        """The inputs that were sent on are behind this partition."""
        for name, attribute in zip(
            INPUTS, ("request_offset", "usage_offset", "lease_offset"), strict=True
        ):
            records = waiting.get(name)
            if records:
                position.trying, position.trying_count = None, 0
                setattr(position, attribute, records[-1].offset + 1)

    def _first_position(self, at: int) -> events.PositionRow:
        """Of a partition that no agent has owned yet."""
        begins = {
            name: self._begins[f"{self._prefix}.{name}", at] for name in (*INPUTS, "decisions")
        }
        return events.PositionRow(
            request_offset=begins["requests"],
            usage_offset=begins["usage"],
            chain_head=bytes(32),
            next_sequence=0,
            tail_start=begins["decisions"],
            now_us=0,
            policy_offset=0,
            partition_count=self._count,
            starts=0,
            lease_offset=begins["leases"],
        )
