"""
Taking a partition over: seven steps, in this order.

1. The partition's inputs are paused (not yet assigned), its table belongs to us alone.
2. The ledger producer starts under the partition's transactional id, which fences the last owner's ledger and
   ends its transaction; a ``claim`` under the new epoch goes to ``decisions``. Once it is acknowledged the
   broker refuses every later verdict of an older owner.
3. Rows are restored, the position row among them: from the stored position to the last stable offset.
4. Both inputs are sought to the position row's offsets.
5. ``decisions`` is read from the tail start to the claim: a verdict that was told is kept, and its effects are
   applied in its recorded order when its input comes by again; it is not evaluated again.
6. The policy table must have reached its topic's end as of now, and every policy offset that the position row
   or the tail names: policies never run backwards.
7. The first commit writes ``starts`` + 1.

Order matters: before 2 nothing read is final, for the old owner may still write; 3 before 5, for the position row
says where the tail begins; 2 before 5, for a verdict told after we looked would be contradicted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from enforcer import events
from enforcer.errors import ConfigError, IntegrityError
from enforcer.stream.restore import restore
from enforcer.stream.rows import POSITION_KEY, decode_row
from enforcer.stream.tail import Told, read_tail
from enforcer.stream.topology import INPUTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.broker.ports import Broker, LedgerProducer, Record
    from enforcer.store.table import Meta, Table
    from enforcer.stream.config import WorkerConfig
    from enforcer.stream.policies import PolicyFollower
    from enforcer.stream.restore import Restored

NO_DIGEST: Final = bytes(32)

_log = structlog.get_logger("enforcer.takeover")


@dataclass(slots=True)
class Taken:
    """What an agent starts from."""

    ledger: LedgerProducer
    position: events.PositionRow
    told: dict[int, Told]
    claim_offset: int
    restored: Restored
    tail_lost: bool


async def take_over(  # noqa: PLR0913 — each is one thing a takeover needs of its worker
    broker: Broker,
    table: Table,
    *,
    partition: int,
    config: WorkerConfig,
    identity: Meta,
    policies: PolicyFollower,
    ledger: LedgerProducer,
    now_ms: Callable[[], int],
    age_ms_max: int,
    progress: Callable[[int, int], None] | None = None,
) -> Taken:
    """
    Steps 2 to 6 for *partition*; the caller did 1 and does 7 with its first commit.

    Raises: AgentFencedError when a newer owner was faster; ConfigError for another partition count;
    UnavailableError. Whatever it raises, the caller closes *ledger*.
    """
    # 2. Fence, and claim.
    epoch = await ledger.start()
    decisions = config.topic("decisions")
    claim = events.encode_claim(events.Claim(partition, epoch, config.instance_id, 0))
    claim_offset = await ledger.fast.send(decisions, partition, [(None, claim, (), None)])

    # 3. Rows, and the position among them.
    restored = await restore(
        broker,
        table,
        partition=partition,
        topic=config.topic,
        identity=identity,
        now_ms=now_ms(),
        age_ms_max=age_ms_max,
        progress=progress,
    )
    stored = table.get(POSITION_KEY.encode())
    position = decode_row(POSITION_KEY, stored) if stored is not None else None
    begins = await _log_starts(broker, config, partition)
    if position is None:
        position = _first_position(begins, identity.partitions)
    if position.partition_count != identity.partitions:
        raise ConfigError(
            f"partition {partition} was written with {position.partition_count} partitions a topic, "
            f"there are {identity.partitions} now",
            help="accounts live elsewhere now: see `enforcer topics repartition`",
            code="partition_count",
        )
    for name, offset in zip(INPUTS, (position.request_offset, position.usage_offset), strict=True):
        if offset < begins[name]:
            _log.error("input_lost", partition=partition, topic=name, records=begins[name] - offset)

    # 4 is the caller's: it seeks the inputs to this position when it assigns them.

    # 5. The tail.
    tail_lost = position.tail_start < begins["decisions"]
    if tail_lost:
        _log.error("tail_lost", partition=partition, tail_start=position.tail_start)
    start = max(position.tail_start, begins["decisions"])
    told = await _read_tail(
        broker, decisions, partition, start, claim_offset, position.request_offset
    )
    if not told and not tail_lost:
        position.tail_start = claim_offset + 1

    # 6. Policies at least as new as anything that was decided under.
    newest = max(
        [position.policy_offset, *(t.decision.source.policy_offset for t in told.values())]
    )
    await policies.wait_for(max(newest, await policies.end()))

    # 7. Written by the first commit.
    position.starts += 1
    return Taken(ledger, position, told, claim_offset, restored, tail_lost)


def _first_position(begins: dict[str, int], partition_count: int) -> events.PositionRow:
    """Of a partition that no agent has ever committed: everything from the log starts."""
    return events.PositionRow(
        request_offset=begins["requests"],
        usage_offset=begins["usage"],
        chain_head=NO_DIGEST,
        next_sequence=0,
        tail_start=begins["decisions"],
        now_us=0,
        policy_offset=0,
        partition_count=partition_count,
        starts=0,
    )


async def _log_starts(broker: Broker, config: WorkerConfig, partition: int) -> dict[str, int]:
    reader = await broker.open_reader(read_committed=True)
    try:
        partitions = {name: (config.topic(name), partition) for name in (*INPUTS, "decisions")}
        begins = await reader.offsets_begin(list(partitions.values()))
        return {name: begins[tp] for name, tp in partitions.items()}
    finally:
        await reader.close()


async def _read_tail(
    broker: Broker, decisions: str, partition: int, start: int, end: int, request_offset: int
) -> dict[int, Told]:
    """``decisions`` from *start* up to the claim at *end*."""
    if start >= end:
        return {}
    reader = await broker.open_reader(read_committed=False)
    try:
        reader.assign([(decisions, partition)])
        reader.seek(decisions, partition, start)
        records: list[Record] = []
        while (reader.position(decisions, partition) or 0) <= end:
            for batch in (await reader.poll(200)).values():
                records.extend(record for record in batch if record.offset < end)
        if any(record.partition != partition for record in records):
            raise IntegrityError("the broker answered with another partition")
        return read_tail(records, request_offset=request_offset)
    finally:
        await reader.close()
