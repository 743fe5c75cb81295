"""
An agent: owner of one partition, from takeover to release.

Theory of operation
-------------------
An agent is two loops over one state. The *decide* loop takes records from both inputs in their one order, in
slices of a few milliseconds, lets the engine decide, and sends the slice's verdicts at once (fast lane). The
*commit* loop cuts what was told since the last cut and writes it to the ledger in one transaction, every
``commit_interval_ms`` or sooner when much is pending, while the decide loop goes on.

Between the two stands only a bound: above ``uncommitted_records_max`` events or ``uncommitted_ms_max``
milliseconds told and not committed, the decide loop waits, the queues fill, the inputs pause.

    created -> taking_over -> deciding -> draining -> released
                   ^             |
                   +-- resetting <        a failed or indefinite commit: both producers are made anew
    any     -> fenced                     another owner: not one byte more
    any     -> failed                     the table could not be written, or the partition is another

Everything decided since the last commit is in memory only: rows in the cache, links of the chain, the
interval. A reset throws all of it away and takes over again, exactly as another process would; the verdicts
already told come back from the tail of ``decisions``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import structlog

from enforcer import events
from enforcer.audit.chain import Chain
from enforcer.engine import Arrival
from enforcer.errors import (
    AgentCorruptedError,
    AgentFencedError,
    ConfigError,
    EnforcerError,
    UnavailableError,
)
from enforcer.state import ExpiryQueue
from enforcer.stream.commit import CommitTarget, TableWriteError, commit
from enforcer.stream.inputs import Inputs
from enforcer.stream.interval import Cut, Interval
from enforcer.stream.rows import RowCache
from enforcer.stream.slice import Slice
from enforcer.stream.sweep import Sweep
from enforcer.stream.takeover import take_over

if TYPE_CHECKING:
    from enforcer.broker.ports import Record
    from enforcer.engine import Outcome
    from enforcer.store.table import Table
    from enforcer.stream.policies import SetInForce
    from enforcer.stream.services import Services
    from enforcer.stream.tail import Told
    from enforcer.stream.takeover import Taken

TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "created": frozenset({"taking_over", "released", "failed"}),
    "taking_over": frozenset({"deciding", "resetting", "draining", "released", "fenced", "failed"}),
    "deciding": frozenset({"draining", "resetting", "released", "fenced", "failed"}),
    "draining": frozenset({"released", "resetting", "fenced", "failed"}),
    "resetting": frozenset({"taking_over", "released", "fenced", "failed"}),
    "fenced": frozenset({"released"}),
    "failed": frozenset({"released"}),
    "released": frozenset(),
}
"""Every legal change of an agent's state. The diagram in docs/ARCHITECTURE.md is held to it by a test."""

RETRY_WAIT_S: Final = 0.2

_log = structlog.get_logger("enforcer.agent")


class Agent:
    """One partition's owner. ``run`` returns when it was released, and raises what the worker must stop for."""

    def __init__(self, partition: int, services: Services) -> None:
        self.partition = partition
        self.state = "created"
        self._services = services
        self._config = services.config
        self._log = _log.bind(partition=partition)
        self._wake = asyncio.Event()
        self._pending = asyncio.Event()
        self._room = asyncio.Event()
        self._release = asyncio.Event()
        self._drain_until_s: float | None = None
        self._policy_changes: list[SetInForce] = []
        self._resets = 0
        self.restored_rows = 0
        self.lag_ms = 0

    # -- life ---------------------------------------------------------------------------------------------

    def _become(self, state: str) -> None:
        assert state in TRANSITIONS[self.state], f"{self.state} -> {state}"
        self._log.debug("agent_state", state=state)
        self.state = state

    async def run(self) -> None:
        """
        Take over, decide and commit until released.

        Raises: ConfigError and TableWriteError, for which the worker stops; AgentFencedError when another owner
        took the partition without the group saying so within its session.
        """
        try:
            while self.state != "released":
                await self._run_once()
        finally:
            self._services.forget(self.partition)

    async def _run_once(self) -> None:
        self._become("taking_over")
        table = self._services.open_table(self.partition)
        ledger = self._services.broker.open_ledger(self._services.transactional_id(self.partition))
        try:
            started_s = time.monotonic()
            async with asyncio.timeout(self._config.takeover_timeout_ms / 1000):
                taken = await take_over(
                    self._services.broker,
                    table,
                    partition=self.partition,
                    config=self._config,
                    identity=self._services.table_meta,
                    policies=self._services.policies,
                    ledger=ledger,
                    now_ms=self._services.now_ms,
                    age_ms_max=self._services.table_age_ms_max,
                    progress=self._services.restore_progress(self.partition),
                )
            self._begin(table, taken)
            self._services.metrics.restored(taken.restored.rows)
            self._log.info(
                "agent_ready",
                offset=taken.position.request_offset,
                usage_offset=taken.position.usage_offset,
                sequence=taken.position.next_sequence,
                restored_rows=taken.restored.rows,
                reason=taken.restored.cold,
                decisions=len(taken.told),
                took_ms=round((time.monotonic() - started_s) * 1000),
            )
            if self.state == "taking_over":
                self._become("deciding")
            self._services.seek_inputs(self.partition, taken.position)
            await self._serve()
            self._become("released")
        except AgentFencedError:
            self._become("fenced")
            self._log.warning("agent_fenced")
            self._become("released")
            if not self._release.is_set():
                raise
        except (ConfigError, TableWriteError):
            self._become("failed")
            raise
        except (UnavailableError, AgentCorruptedError, TimeoutError) as error:
            await self._reset(error)
        finally:
            self._services.unseek_inputs(self.partition)
            # Verdicts not acknowledged may be in the log or not; either way the tail tells the next owner.
            await ledger.close()
            table.close()

    async def _reset(self, error: Exception) -> None:
        """A failed or indefinite step: both producers are destroyed, and the agent takes over from itself."""
        self._become("resetting")
        self._resets += 1
        code = error.code if isinstance(error, EnforcerError) else type(error).__name__
        self._log.error("agent_reset", code=code, error=str(error), attempt=self._resets)
        self._services.metrics.commit_failed()
        if self._release.is_set() or self._resets > self._config.takeovers_in_a_row_max:
            self._become("released" if self._release.is_set() else "failed")
            if self.state == "failed":
                raise error
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._release.wait(), RETRY_WAIT_S * self._resets)

    def release(self, *, drain: bool) -> None:
        """
        Ask the agent to end.

        Args:
            drain: Decide what was fetched, commit, then end; else end where it stands (it was replaced).
        """
        self._release.set()
        if drain and self.state in ("deciding", "draining"):
            self._drain_until_s = time.monotonic() + self._config.drain_timeout_ms / 1000
        elif self._drain_until_s is None:
            self._drain_until_s = 0.0
        self._wake.set()
        self._pending.set()
        self._room.set()

    # -- what a takeover found ------------------------------------------------------------------------------

    def _begin(self, table: Table, taken: Taken) -> None:
        """Build the state in memory from what the takeover found."""
        config, position = self._config, taken.position
        self._rows = RowCache(table, cached_rows_max=config.cached_rows_max)
        self._queue = ExpiryQueue()
        self._sweep = Sweep(table, self._rows)
        self._sweep.rebuild(self._queue)
        self._chain = Chain(position.next_sequence, position.chain_head)
        self._ledger = taken.ledger
        self._target = CommitTarget(
            partition=self.partition,
            group_id=config.group_id,
            topic=config.topic,
            ledger=taken.ledger,
            table=table,
            meta=self._services.table_meta,
            positions=dict(taken.restored.positions),
        )
        self._position = position
        self._now_us = position.now_us
        self._inputs = Inputs(
            position.request_offset,
            position.usage_offset,
            told=taken.told.values(),
            lone_wait_s=config.lone_input_wait_ms / 1000,
            at_end=lambda name: self._services.is_at_end(name, self.partition),
        )
        self._interval = Interval(self._loop_s())
        self._committing = 0
        self._oldest_uncommitted_s: float | None = None
        self._policy_changes = [
            change
            for change in self._services.policies.table.sets()
            if change.offset >= position.policy_offset
        ]
        if taken.tail_lost:
            self._ledger_tail_lost()
        self._started = False
        self.restored_rows = taken.restored.rows

    def _ledger_tail_lost(self) -> None:
        """Told verdicts may have been deleted unread: what follows might contradict them. Said in the ledger."""
        value = self._chain.append(
            "exception_use",
            "*",
            self._now_us,
            events.Source(
                self._config.topic("decisions"),
                self.partition,
                self._position.tail_start,
                self._position.usage_offset,
                self._services.policies.table.offset,
                0,
            ),
            b"",
            ("tail_lost",),
            (),
        )
        self._interval.audit.append((b"*", value, (), None))

    @staticmethod
    def _loop_s() -> float:
        return time.monotonic()

    # -- input ------------------------------------------------------------------------------------------------

    def feed(self, name: str, records: list[Record]) -> bool:
        """
        Queue fetched records.

        Args:
            name: ``requests`` or ``usage``.

        Returns: Whether the inputs must pause: a queue is at its bound.
        """
        if name == "requests":
            self._inputs.feed_requests(records)
        else:
            self._inputs.feed_usage(records)
        self._wake.set()
        return self.is_full

    def nudge(self) -> None:
        """Something an idle agent may wait for has changed: an end became known."""
        if len(self._inputs):
            self._wake.set()

    @property
    def is_full(self) -> bool:
        """Whether a queue is at its bound."""
        return (
            len(self._inputs) >= self._config.queue_records_max
            or self._inputs.bytes_queued >= self._config.queue_bytes_max
        )

    @property
    def has_room(self) -> bool:
        """Whether paused inputs may go on: the queues are half empty."""
        return (
            len(self._inputs) <= self._config.queue_records_max // 2
            and self._inputs.bytes_queued <= self._config.queue_bytes_max // 2
        )

    def behind(self, name: str, end: int) -> int:
        """Records of an input between what was taken and its *end*."""
        if self.state not in ("deciding", "draining"):
            return 0
        inputs = self._inputs
        taken = inputs.request_offset if name == "requests" else inputs.usage_offset
        return max(0, end - taken)

    @property
    def is_ready(self) -> bool:
        """Restored, policies current, deciding; verdicts of the tail redone."""
        return self.state == "deciding"

    def policy_changed(self, in_force: SetInForce) -> None:
        """A set came into force: it goes into this partition's ledger before the next decision under it."""
        self._policy_changes.append(in_force)

    # -- the two loops -------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Both loops until released; the first failure of either ends both."""
        decide = asyncio.create_task(self._decide_loop())
        commits = asyncio.create_task(self._commit_loop())
        try:
            done, _ = await asyncio.wait({decide, commits}, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in (decide, commits):
                task.cancel()
            await asyncio.gather(decide, commits, return_exceptions=True)

    @property
    def _is_draining_over(self) -> bool:
        until_s = self._drain_until_s
        if not self._release.is_set() or until_s is None:
            return False
        return not len(self._inputs) or time.monotonic() >= until_s

    async def _decide_loop(self) -> None:
        wait_s = self._config.lone_input_wait_ms / 1000
        while not self._is_draining_over:
            if self._release.is_set() and self.state == "deciding":
                self._become("draining")
            if self._is_backlogged():
                self._room.clear()
                await self._room.wait()
                continue
            if self._take_slice():
                self._services.made_room(self)
                await asyncio.sleep(0)
                continue
            self._wake.clear()
            # A lone head waits for the other input at most this long; an empty queue waits to be fed.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait_s if len(self._inputs) else None)
        self._pending.set()

    def _is_backlogged(self) -> bool:
        if self._interval.events + self._committing >= self._config.uncommitted_records_max:
            return True
        oldest_s = self._oldest_uncommitted_s
        return oldest_s is not None and (
            (self._loop_s() - oldest_s) * 1000 >= self._config.uncommitted_ms_max
        )

    async def _commit_loop(self) -> None:
        interval_s = self._config.commit_interval_ms / 1000
        while True:
            await self._pending.wait()
            over = self._is_draining_over
            if not self._interval.events and not over:
                self._pending.clear()
                continue
            if not over:
                wait_s = self._interval.started_s + interval_s - self._loop_s()
                if wait_s > 0 and self._interval.events < self._config.commit_records_max:
                    # Short naps, so that a burst is cut early and a release is seen.
                    await asyncio.sleep(min(wait_s, 0.02))
                    continue
                await self._services.commit_gate.turn()
            if self._interval.events or not self._started:
                await self._commit()
            if over:
                return

    async def _commit(self) -> None:
        cut = self._cut()
        started_s = time.monotonic()
        await commit(self._target, cut, now_ms=self._services.now_ms())
        self._committing = 0
        self._oldest_uncommitted_s = self._interval.started_s if self._interval.events else None
        self._started = True
        self._resets = 0
        self._position.tail_start = cut.position.tail_start
        self._rows.settle()
        self._room.set()
        self._services.metrics.committed(time.monotonic() - started_s)

    def _cut(self) -> Cut:
        """Close the interval. Synchronous: nothing is told between the parts of a cut."""
        if self._policy_changes:
            self._ledger_policy_changes()
        interval, self._interval = self._interval, Interval(self._loop_s())
        self._pending.clear()
        self._committing = interval.events
        self._oldest_uncommitted_s = interval.started_s
        swept = self._sweep.step(self._now_us, rows=2 * interval.events + 16)
        return Cut(
            interval=interval,
            changes=self._rows.cut(),
            position=events.PositionRow(
                request_offset=self._inputs.request_offset,
                usage_offset=self._inputs.usage_offset,
                chain_head=self._chain.head,
                next_sequence=self._chain.sequence,
                tail_start=self._position.tail_start,
                now_us=self._now_us,
                policy_offset=self._services.policies.table.offset,
                partition_count=self._position.partition_count,
                starts=self._position.starts,
            ),
            keep_tail_start=self._inputs.redoing,
            swept=swept,
        )

    # -- one slice -----------------------------------------------------------------------------------------------

    def _take_slice(self) -> int:
        """Decide what is there, for one slice at most, and send its verdicts. Returns the events taken."""
        inputs, interval = self._inputs, self._interval
        until_s = time.perf_counter() + self._config.slice_us / 1e6
        now_s = self._loop_s()
        self._slice = Slice()
        taken = 0
        was_empty = not interval.events
        while taken < self._config.commit_records_max:
            if not self._time_is_sane():
                break
            item = inputs.take(now_s)
            if item is None:
                break
            record, verdict, is_request = item
            taken += 1
            if is_request:
                self._request(record, verdict)
            else:
                self._usage(record)
            if time.perf_counter() > until_s:
                break
        if taken:
            if was_empty:
                interval.started_s = now_s
            if self._oldest_uncommitted_s is None:
                self._oldest_uncommitted_s = now_s
            interval.events += taken
            self._pending.set()
        told = self._slice.told
        if told:
            ack = self._ledger.fast.send(self._config.topic("decisions"), self.partition, told)
            interval.acks.append((ack, len(told)))
        self._slice.report(self._services.metrics, ack if told else None)
        return taken

    def _time_is_sane(self) -> bool:
        """False while the next record's time is too far ahead of this clock: it must not move ``now``."""
        inputs = self._inputs
        head = inputs.requests[0] if inputs.requests else None
        if head is None:
            head = inputs.usage[0] if inputs.usage else None
        if head is None:
            return True
        if head.timestamp_type != 1:
            raise ConfigError(
                f"{head.topic} carries the producer's time, not the broker's",
                help="run `enforcer topics apply`: message.timestamp.type must be LogAppendTime",
                code="append_time",
            )
        ahead_ms = head.timestamp - self._services.now_ms()
        if ahead_ms > self._config.future_timestamp_ms_max:
            self._log.error("record_from_the_future", offset=head.offset, ms=ahead_ms)
            return False
        return True

    def _arrival(self, record: Record) -> Arrival:
        inputs = self._inputs
        record_us = record.timestamp * 1000
        self._now_us = max(self._now_us, record_us)
        late_ms = max(0, self._services.now_ms() - record.timestamp)
        self.lag_ms = late_ms
        return Arrival(
            key=record.key,
            value=record.value,
            source=events.Source(
                record.topic,
                record.partition,
                record.offset,
                inputs.usage_offset,
                self._services.policies.table.offset,
                late_ms,
            ),
            now_us=self._now_us,
            record_us=record_us,
            partitions=self._position.partition_count,
        )

    def _request(self, record: Record, told: Told | None) -> None:
        """Decide or redo one request, extend the ledger, and note what is to be told."""
        if self._policy_changes:
            self._ledger_policy_changes()
        arrival = self._arrival(record)
        services = self._services
        engine, program = services.engine, services.policies.table.program
        if told is not None:
            outcome = engine.redo(
                arrival, told.decision, told.value, self._rows, self._queue, program_of=program
            )
        else:
            outcome = engine.request(program, arrival, self._rows, self._queue)
        trace, to_gateway = _headers(record)
        self._write(outcome, arrival, trace)
        if outcome.value is not None and told is None:
            out = (record.key, outcome.value, to_gateway, None)
            self._slice.add(out, record.timestamp, outcome.decision)

    def _usage(self, record: Record) -> None:
        """Settle one usage report and extend the ledger."""
        if self._policy_changes:
            self._ledger_policy_changes()
        arrival = self._arrival(record)
        outcome = self._services.engine.usage(
            self._services.policies.table.program, arrival, self._rows, self._queue
        )
        self._write(outcome, arrival, _headers(record)[0])
        if outcome.bypass is not None:
            self._services.metrics.bypassed(outcome.bypass)

    def _write(
        self, outcome: Outcome, arrival: Arrival, trace: tuple[tuple[str, bytes], ...]
    ) -> None:
        """Extend the chain and the interval by what one record led to."""
        audit = self._interval.audit
        append = self._chain.append
        for entry in outcome.entries:
            value = append(
                entry.kind,
                entry.account,
                arrival.now_us,
                arrival.source,
                entry.payload,
                entry.notes,
                entry.effects,
            )
            audit.append((entry.account.encode(), value, trace, None))
        if outcome.dead_letter is not None:
            letter = outcome.dead_letter
            key = f"{letter.topic}/{letter.partition}/{letter.offset}".encode()
            value = events.encode_dead_letter(letter)
            self._interval.dead_letters.append((key, value, (), None))
            self._services.metrics.dead_letter(letter.code)

    def _ledger_policy_changes(self) -> None:
        """
        Put the sets that came into force into the chain, before what is decided under them.

        While the tail is redone they wait: what was told was decided before them.
        """
        if self._inputs.redoing:
            return
        changes, self._policy_changes = self._policy_changes, []
        source = events.Source(
            self._config.topic("requests"),
            self.partition,
            self._inputs.request_offset,
            self._inputs.usage_offset,
            self._services.policies.table.offset,
            0,
        )
        for change in changes:
            value = self._chain.append(
                "policy_change",
                change.scope,
                self._now_us,
                source,
                change.payload(),
                ("policy_invalid",) if change.invalid else (),
                (),
            )
            self._interval.audit.append((change.scope.encode(), value, (), None))


def _headers(record: Record) -> tuple[tuple[tuple[str, bytes], ...], tuple[tuple[str, bytes], ...]]:
    """What goes on to the audit record (the trace) and to the decision (the trace and the gateway)."""
    headers = record.headers
    if not headers:
        return (), ()
    trace = tuple(h for h in headers if h[0] == "traceparent")
    gateway = tuple(h for h in headers if h[0] == "gateway")
    return trace, trace + gateway
