"""
Taking a partition over: seven steps, in this order.

1. The partition's inputs are not assigned, its table belongs to us alone.
2. The ledger producer starts under the partition's transactional id, which fences the last owner's ledger and
   ends its transaction; a ``claim`` under the new epoch goes to ``decisions``. Once it is acknowledged the
   broker refuses every later verdict of an older owner.
3. Rows are restored, the position row among them: from the stored position to the last stable offset.
4. The inputs are sought to the position row's offsets.
5. ``decisions`` is read from the tail start to the claim: a verdict that was told is kept, and its effects are
   applied in its recorded order when its input comes by again; it is not evaluated again.
6. The policy table must have reached its topic's end as of now, and every policy offset that the position row
   or the tail names: policies never run backwards.
7. A first commit writes ``starts`` + 1, then the inputs are resumed.

Order matters: before 2 nothing read is final, for the old owner may still write; 3 before 5, for the position row
says where the tail begins; 2 before 5, for a verdict told after we looked would be contradicted; 7 before the
first record is taken, for a record that kills must find its start counted.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from enforcer import events
from enforcer.broker.to_end import read_to
from enforcer.errors import EnforcerError, IntegrityError, UnavailableError
from enforcer.stream.commit import offsets_of
from enforcer.stream.installation import MisalignedError
from enforcer.stream.restore import restore
from enforcer.stream.rows import POSITION_KEY, decode_row
from enforcer.stream.tail import Told, read_tail
from enforcer.stream.topology import INPUTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from enforcer.broker.ports import Broker, LedgerProducer, Partition, Record
    from enforcer.store.table import Table
    from enforcer.stream.config import WorkerConfig
    from enforcer.stream.restore import Restored
    from enforcer.stream.services import Services

T = TypeVar("T")

NO_DIGEST: Final = bytes(32)
POLL_MS: Final = 100

_log = structlog.get_logger("enforcer.takeover")


@dataclass(slots=True)
class Taken:
    """What an agent starts from. *is_start* is False where it took over from itself."""

    ledger: LedgerProducer
    position: events.PositionRow
    told: dict[int, Told]
    claim_offset: int
    restored: Restored
    tail_lost: bool
    is_start: bool


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Log starts and ends, as of now, of what a takeover reads, by the topic's short name."""

    begins: Mapping[str, int]
    ends: Mapping[str, int]


async def take_over(
    services: Services, table: Table, ledger: LedgerProducer, *, partition: int, is_start: bool
) -> Taken:
    """
    Steps 2 to 6 for *partition*; the caller did 1 and does 7 with its first commit.

    Args:
        services: The worker.
        table: Of the partition, whatever is in it.
        ledger: New, not started; the caller closes it, whatever this raises.
        partition: Its number.
        is_start: Whether it counts as a start: the agent does not take over from itself.

    Raises: AgentFencedError when a newer owner was faster; MisalignedError for another partition count;
    IntegrityError for a ledger without its position; UnavailableError; AgentCorruptedError.
    """
    config, broker = services.config, services.broker
    seconds = config.step_timeout_ms / 1000
    # 2. Fence, and claim.
    services.check_seat()
    epoch = await ledger.start()
    decisions = config.topic("decisions")
    claim = events.encode_claim(events.Claim(partition, epoch, config.instance_id, 0))
    claim_offset = await _within(
        seconds, ledger.fast.send(decisions, partition, [(None, claim, (), None)]), "claim"
    )

    # 3. Rows, and the position among them.
    restored = await restore(
        broker,
        table,
        partition=partition,
        topic=config.topic,
        identity=services.table_meta,
        now_ms=services.now_ms(),
        age_ms_max=services.table_age_ms_max,
        silence_s=seconds,
        progress=services.restore_progress(partition),
    )
    bounds = await _bounds(broker, config, partition)
    position = await _position(services, table, bounds, partition)
    _check_inputs(position, bounds, partition)

    # 4 is the caller's: it seeks the inputs to this position when it assigns them.

    # 5. The tail.
    tail_lost = position.tail_start < bounds.begins["decisions"]
    if tail_lost:
        _log.error("tail_lost", partition=partition, tail_start=position.tail_start)
    start = max(position.tail_start, bounds.begins["decisions"])
    records = await read_decisions(
        broker, decisions, partition, start, claim_offset, silence_s=seconds
    )
    told = read_tail(records, request_offset=position.request_offset)
    if told and max(told) >= bounds.ends["requests"]:
        raise _truncated("requests", partition)

    # 6. Policies at least as new as anything that was decided under.
    told_under = [t.decision.source.policy_offset for t in told.values()]
    await _policies_reached(services, partition, max([position.policy_offset, *told_under]))

    # 7. Written by the first commit.
    position.starts += 1 if is_start else 0
    return Taken(ledger, position, told, claim_offset, restored, tail_lost, is_start)


async def _position(
    services: Services, table: Table, bounds: _Bounds, partition: int
) -> events.PositionRow:
    """The position row, or the first one. It is the truth; the group's offsets are for lag tools."""
    partitions = services.table_meta.partitions
    stored = table.get(POSITION_KEY.encode())
    if stored is None:
        await _refuse_orphaned_ledger(services, partition)
        return _first_position(bounds.begins, partitions)
    position: events.PositionRow = decode_row(POSITION_KEY, stored)
    if position.partition_count != partitions:
        raise MisalignedError(
            f"partition {partition} was written with {position.partition_count} partitions a topic, "
            f"there are {partitions} now"
        )
    await _compare_group(services, position, partition)
    return position


def _first_position(begins: Mapping[str, int], partition_count: int) -> events.PositionRow:
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
        lease_offset=begins["leases"],
    )


async def _refuse_orphaned_ledger(services: Services, partition: int) -> None:
    """A ledger whose position row is gone cannot be continued: a second chain from zero would fork it."""
    topic = services.config.topic("audit")
    reader = await services.broker.open_reader(read_committed=True)
    try:
        end = (await reader.offsets_end([(topic, partition)]))[topic, partition]
        reader.assign([(topic, partition)])
        await reader.seek_to_beginning((topic, partition))
        silence_s = services.config.step_timeout_ms / 1000
        async for polled in read_to(reader, {(topic, partition): end}, silence_s=silence_s):
            if polled:
                raise IntegrityError(
                    f"partition {partition} has a ledger, but its position is gone from "
                    f"{services.config.topic('state')}",
                    help="restore the changelog, or move the ledger away and begin a new one",
                    code="position_lost",
                )
    finally:
        await reader.close()


async def _compare_group(services: Services, position: events.PositionRow, partition: int) -> None:
    """Say so where what lag tools see is not what is true. The row wins."""
    config = services.config
    try:
        group = await services.broker.group_offsets(config.group_id)
    except EnforcerError:
        return  # Nothing hangs on it.
    for name, offset in zip(INPUTS, offsets_of(position), strict=True):
        committed = group.get((config.topic(name), partition))
        # Behind by what the last owner committed in its last second is usual; ahead cannot be.
        if committed is not None and committed != offset:
            (_log.warning if committed > offset else _log.info)(
                "group_offset_differs",
                partition=partition,
                topic=name,
                offset=offset,
                records=committed - offset,
            )


def _check_inputs(position: events.PositionRow, bounds: _Bounds, partition: int) -> None:
    """What lies before the log start is lost, loudly; a log that ends before its position is another log."""
    for name, offset in zip(INPUTS, offsets_of(position), strict=True):
        if offset < bounds.begins[name]:
            lost = bounds.begins[name] - offset
            _log.error("input_lost", partition=partition, topic=name, offset=offset, records=lost)
        if offset > bounds.ends[name]:
            raise _truncated(name, partition)


def _truncated(name: str, partition: int) -> UnavailableError:
    # It may be a new leader that does not know its followers yet: tried again, then the worker ends.
    return UnavailableError(
        f"partition {partition} of {name} ends before what was already decided",
        help="the topic was truncated, or deleted and made again",
        code="input_truncated",
    )


async def _policies_reached(services: Services, partition: int, decided_under: int) -> None:
    """The table is at its topic's end as of now, and at *decided_under*."""
    seconds = services.config.step_timeout_ms / 1000
    end = await _within(seconds, services.policies.end(), "policies")
    try:
        await _within(seconds, services.policies.wait_for(max(decided_under, end)), "policies")
    except UnavailableError as error:
        if end >= decided_under:
            raise
        # Not at once: a new leader may not know its followers yet.
        raise UnavailableError(
            f"partition {partition} was decided under policies up to offset {decided_under}, "
            f"and {services.config.topic('policies')} ends at {end}",
            help="it was deleted and made again: apply the policies again, which moves its end past where it was",
            code="policies_truncated",
        ) from error


async def _bounds(broker: Broker, config: WorkerConfig, partition: int) -> _Bounds:
    names = (*INPUTS, "decisions")
    reader = await broker.open_reader(read_committed=True)
    try:
        partitions: list[Partition] = [(config.topic(name), partition) for name in names]
        begins = await reader.offsets_begin(partitions)
        ends = await reader.offsets_end(partitions)
    finally:
        await reader.close()
    return _Bounds(
        {name: begins[tp] for name, tp in zip(names, partitions, strict=True)},
        {name: ends[tp] for name, tp in zip(names, partitions, strict=True)},
    )


async def read_decisions(
    broker: Broker, decisions: str, partition: int, start: int, claim: int, *, silence_s: float
) -> list[Record]:
    """
    ``decisions`` of *partition* from *start* up to the claim at *claim*, that one left out.

    Raises: UnavailableError when the broker gives nothing for *silence_s*.
    """
    records: list[Record] = []
    if start >= claim:
        return records
    reader = await broker.open_reader(read_committed=False)
    try:
        reader.assign([(decisions, partition)])
        reader.seek(decisions, partition, start)
        silent = asyncio.get_running_loop().time()
        while (reader.position(decisions, partition) or 0) <= claim:
            polled = await reader.poll(POLL_MS)
            now_s = asyncio.get_running_loop().time()
            silent = now_s if polled else silent
            if now_s - silent > silence_s:
                raise UnavailableError(f"{decisions}-{partition} cannot be read")
            for batch in polled.values():
                records.extend(record for record in batch if record.offset < claim)
    finally:
        await reader.close()
    return records


async def _within(seconds: float, step: Awaitable[T], name: str) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await step
    except TimeoutError as error:
        raise UnavailableError(
            f"takeover: no end of step `{name}` in {seconds:.0f} s", code="indefinite"
        ) from error
