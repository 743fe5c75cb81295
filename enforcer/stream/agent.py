"""
An agent: owner of one partition, from takeover to release.

Theory of operation
-------------------
An agent is two loops over one ``Tenure``. The *decide* loop takes records from both inputs in their one order,
in slices of a few milliseconds, lets the engine decide, and sends the slice's verdicts at once (fast lane). The
*commit* loop cuts what was told since the last cut and writes it to the ledger in one transaction, every
``commit_interval_ms`` or sooner when much is pending, while the decide loop goes on.

Between the two stands only a bound: above ``uncommitted_records_max`` events, ``uncommitted_bytes_max`` bytes or
``uncommitted_ms_max`` milliseconds told and not committed, the decide loop waits, the queues fill, the inputs
pause.

    created -> taking_over -> deciding -> draining -> released
                  ^             |
                  +-- resetting <          a failed or indefinite commit: both producers are made anew
    any     -> fenced                      another owner: not one byte more
    any     -> failed                      the table could not be written, or the partition is another

A reset throws the tenure away and takes over again, exactly as another process would; the verdicts already
told come back from the tail of ``decisions``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import structlog

from enforcer.errors import (
    AgentCorruptedError,
    AgentFencedError,
    EnforcerError,
    OperatorError,
    UnavailableError,
)
from enforcer.stream.commit import GroupPace, TableWriteError, commit, offsets_of
from enforcer.stream.installation import MisalignedError
from enforcer.stream.poison import PoisonError
from enforcer.stream.takeover import take_over
from enforcer.stream.tenure import Tenure
from enforcer.stream.topology import INPUTS

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from enforcer.broker.ports import LedgerProducer, Record
    from enforcer.store.table import Table
    from enforcer.stream.poison import Place
    from enforcer.stream.policies import SetInForce
    from enforcer.stream.services import Services

TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "created": frozenset({"taking_over", "released", "failed"}),
    "taking_over": frozenset({"deciding", "resetting", "released", "fenced", "failed"}),
    "deciding": frozenset({"draining", "resetting", "released", "fenced", "failed"}),
    "draining": frozenset({"released", "resetting", "fenced", "failed"}),
    "resetting": frozenset({"taking_over", "released", "failed"}),
    "fenced": frozenset({"released", "failed"}),
    "failed": frozenset({"released"}),
    "released": frozenset(),
}
"""Every legal change of an agent's state. The diagram in docs/ARCHITECTURE.md is held to it by a test."""

RETRY_WAIT_S: Final = 0.1
RETRY_WAIT_S_MAX: Final = 5.0
FORGIVEN_AFTER_S: Final = 60.0
"""Without a failure for so long, the next one is the first in a row."""
IDLE_S_MIN: Final = 1.0
"""While the tail waits to be redone nothing is given up: so often it is tried."""
NAP_S: Final = 0.01
"""While a commit waits for its interval: so that a burst is cut early."""

_log = structlog.get_logger("enforcer.agent")


class Agent:
    """One partition's owner. ``run`` returns when it was released, and raises what the worker must stop for."""

    def __init__(self, partition: int, services: Services) -> None:
        self.partition = partition
        self.state = "created"
        self.restored_rows = 0
        self._services = services
        self._config = services.config
        self._log = _log.bind(partition=partition)
        self._wake = asyncio.Event()
        """The decide loop has something to look at."""
        self._pending = asyncio.Event()
        """The commit loop has something to look at."""
        self._room = asyncio.Event()
        """A commit is done, or nobody waits for one any more."""
        self._release = asyncio.Event()
        self._drain_until_s = 0.0
        self._is_decided = False
        self._tenure: Tenure | None = None
        self._takeovers = 0
        self._failures = 0
        self._failed_s = 0.0
        self._condemned: set[Place] = set()
        self._group = GroupPace(self._config.group_offsets_interval_ms)

    # -- life ---------------------------------------------------------------------------------------------

    def _become(self, state: str) -> None:
        assert state in TRANSITIONS[self.state], f"{self.state} -> {state}"
        self._log.debug("agent_state", state=state)
        self.state = state

    async def run(self) -> None:
        """
        Take over, decide and commit until released.

        Raises: TableWriteError, MisalignedError, ConfigError and IntegrityError, for which the worker stops;
        AgentFencedError when the seat in the group is lost or another owner holds the partition for good;
        UnavailableError when it could not be taken over for long.
        """
        try:
            while self.state != "released":
                if self._release.is_set():
                    self._become("released")
                else:
                    await self._hold()
        finally:
            self._services.forget(self.partition)

    async def _hold(self) -> None:
        """One tenure, from takeover to whatever ends it."""
        self._become("taking_over")
        try:
            await self._hold_until_error()
            self._become("released")
        except AgentFencedError as error:
            self._become("fenced")
            await self._fenced(error)
        except PoisonError as error:
            self._condemned.add(error.place)
            name, offset = error.place
            self._log.error("record_raised", topic=name, offset=offset, exc_info=error.__cause__)
            await self._reset(error)
        except (TableWriteError, MisalignedError):
            self._become("failed")
            raise
        except (UnavailableError, AgentCorruptedError) as error:
            if error.code == "disk_full":
                # No takeover of ours makes room; the partition may go to a worker that has some.
                self._become("failed")
                raise
            await self._reset(error)
        except OperatorError:
            self._become("failed")
            raise

    async def _hold_until_error(self) -> None:
        services = self._services
        table = services.open_table(self.partition)
        ledger = services.broker.open_ledger(services.transactional_id(self.partition))
        try:
            tenure = await self._unless_released(self._take_over(table, ledger))
            if tenure is not None:
                await self._serve(tenure)
        except AgentCorruptedError:
            table.wipe()  # What cannot be trusted is not looked at twice.
            raise
        finally:
            if self._tenure is not None:
                self._tenure.elsewhere.close()
            self._tenure = None
            services.trial.end(self.partition)
            services.unseek_inputs(self.partition)
            # Verdicts not acknowledged may be in the log or not; either way the tail tells the next owner.
            await ledger.close()
            table.close()

    async def _take_over(self, table: Table, ledger: LedgerProducer) -> Tenure:
        """Seven steps: the last, the first commit, counts this start before any record is taken."""
        services, started_s = self._services, time.monotonic()
        self._group = GroupPace(self._config.group_offsets_interval_ms)
        is_start = self._takeovers == 0
        self._takeovers += 1
        taken = await take_over(
            services, table, ledger, partition=self.partition, is_start=is_start
        )
        tenure = await Tenure.begin(
            services, table, taken, partition=self.partition, condemned=self._condemned
        )
        # From here on it hears of policy changes; what was in force before, it has read in this same turn.
        self._tenure = tenure
        tenure.elsewhere.on_ready = self._wake.set
        await services.commit_gate.turn()
        await self._commit(tenure)
        self.restored_rows = taken.restored.rows
        services.metrics.restored(taken.restored.rows)
        self._log.info(
            "agent_ready",
            offset=tenure.inputs.request_offset,
            usage_offset=tenure.inputs.usage_offset,
            sequence=taken.position.next_sequence,
            starts=taken.position.starts,
            restored_rows=taken.restored.rows,
            reason=taken.restored.cold,
            decisions=len(taken.told),
            took_ms=round((time.monotonic() - started_s) * 1000),
        )
        return tenure

    async def _unless_released(self, step: Coroutine[None, None, Tenure]) -> Tenure | None:
        """Await *step*; None, and the step is cancelled, when the agent is released first."""
        doing = asyncio.ensure_future(step)
        released = asyncio.ensure_future(self._release.wait())
        try:
            await asyncio.wait({doing, released}, return_when=asyncio.FIRST_COMPLETED)
            # A takeover that goes on after the partition was given away would fence its rightful owner.
            return doing.result() if doing.done() else None
        finally:
            released.cancel()
            doing.cancel()
            await asyncio.gather(doing, released, return_exceptions=True)

    async def _fenced(self, error: AgentFencedError) -> None:
        """
        Another owner has the partition. If the group has given it away, its word is on the way to us.

        Without it we are the ones who know nothing: then this process ends, and does not come back by itself.
        """
        self._log.warning("agent_fenced", code=error.code)
        self._services.metrics.commit_failed()
        self._services.check_seat()
        if not await self._released_within(self._config.fenced_wait_ms / 1000):
            self._become("failed")
            raise error
        self._become("released")

    async def _reset(self, error: Exception) -> None:
        """A failed or indefinite step: both producers are destroyed, and the agent takes over from itself."""
        self._become("resetting")
        now_s = time.monotonic()
        if now_s - self._failed_s > FORGIVEN_AFTER_S:
            self._failures = 0
        self._failed_s = now_s
        self._failures += 1
        code = error.code if isinstance(error, EnforcerError) else type(error).__name__
        self._log.error("agent_reset", code=code, error=str(error), attempt=self._failures)
        self._services.metrics.commit_failed()
        if self._failures > self._config.takeovers_in_a_row_max and not self._release.is_set():
            self._become("failed")
            raise error
        await self._released_within(min(RETRY_WAIT_S * 2 ** (self._failures - 1), RETRY_WAIT_S_MAX))

    async def _released_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._release.wait()
        return self._release.is_set()

    def release(self, *, drain: bool) -> None:
        """
        Ask the agent to end.

        Args:
            drain: Decide what was fetched, commit, then end; else commit what was told, and end (it was replaced).
        """
        if drain:
            self._drain_until_s = time.monotonic() + self._config.drain_timeout_ms / 1000
        self._release.set()
        self._wake.set()
        self._pending.set()
        self._room.set()

    # -- input ------------------------------------------------------------------------------------------------

    def feed(self, name: str, records: list[Record]) -> None:
        """
        Queue fetched records of the input *name*, one of ``INPUTS``.

        Raises: ConfigError for a record whose time is not the broker's.
        """
        if self._tenure is not None:
            self._tenure.feed(name, records)
            self._wake.set()

    def is_full(self, name: str) -> bool:
        """Whether the input's queue is at its bound, so that the input must pause."""
        records, size = self._queued(name)
        return records >= self._config.queue_records_max or size >= self._config.queue_bytes_max

    def has_room(self, name: str) -> bool:
        """Whether a paused input may go on: its queue is half empty."""
        records, size = self._queued(name)
        config = self._config
        return records <= config.queue_records_max // 2 and size <= config.queue_bytes_max // 2

    def _queued(self, name: str) -> tuple[int, int]:
        return self._tenure.inputs.size(name) if self._tenure is not None else (0, 0)

    @property
    def open_reservations(self) -> int:
        """How many calls, and reports without one, wait for their end."""
        return 0 if self._tenure is None else len(self._tenure.queue)

    @property
    def lag_ms(self) -> int:
        """How late the newest record was taken."""
        return self._tenure.lag_ms if self._tenure is not None else 0

    def behind(self, name: str, end: int) -> int:
        """Records of an input between what was taken and its *end*."""
        if self._tenure is None:
            return 0
        return max(0, end - self._tenure.inputs.offset_of(name))

    @property
    def is_ready(self) -> bool:
        """Restored, policies current, deciding; verdicts of the tail redone."""
        return self.state == "deciding"

    def policy_changed(self, in_force: SetInForce) -> None:
        """A set came into force."""
        if self._tenure is not None:
            self._tenure.policy_changed(in_force)
            if self._tenure.has_work:
                self._pending.set()

    # -- the two loops -------------------------------------------------------------------------------------------

    async def _serve(self, tenure: Tenure) -> None:
        """Both loops until released; the first failure of either ends both."""
        self._become("deciding")
        self._is_decided = False
        self._services.seek_inputs(
            self.partition, {name: tenure.inputs.offset_of(name) for name in INPUTS}
        )
        decide = asyncio.create_task(self._decide_loop(tenure))
        commits = asyncio.create_task(self._commit_loop(tenure))
        try:
            done, _ = await asyncio.wait({decide, commits}, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in (decide, commits):
                task.cancel()
            await asyncio.gather(decide, commits, return_exceptions=True)

    def _is_over(self, tenure: Tenure) -> bool:
        """Whether nothing more is to be decided: released, and drained or out of time."""
        if not self._release.is_set():
            return False
        return not len(tenure.inputs) or time.monotonic() >= self._drain_until_s

    async def _decide_loop(self, tenure: Tenure) -> None:
        wait_s = max(self._config.lone_input_wait_ms / 1000, NAP_S)
        while not self._is_over(tenure):
            if self._release.is_set() and self.state == "deciding":
                self._become("draining")
            if self._services.trial.bars(self.partition):
                await self._services.trial.wait(self.partition)
                continue
            if tenure.is_backlogged():
                # The commit that makes room is pending: every way here set it so.
                self._room.clear()
                await self._room.wait()
                continue
            self._services.check_seat()
            self._wake.clear()
            taken = tenure.take_slice()
            if tenure.has_work:
                self._pending.set()
            if taken:
                self._services.made_room(self)
                await asyncio.sleep(0)
                continue
            if tenure.is_backlogged():
                continue
            # A lone head waits for the other input at most this long; an empty queue waits to be fed.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s if len(tenure.inputs) else None):
                    await self._wake.wait()
        tenure.forgive()
        self._is_decided = True
        self._pending.set()

    async def _commit_loop(self, tenure: Tenure) -> None:
        interval_s = self._config.commit_interval_ms / 1000
        while True:
            idle_s = self._config.idle_commit_ms / 1000
            if self._group.is_behind:
                idle_s = min(idle_s, self._group.wait_s)
            if (due_s := tenure.lending.idle_s) is not None:
                idle_s = min(idle_s, max(due_s, IDLE_S_MIN))
            if not await self._pending_within(idle_s):
                await self._commit(tenure)
                continue
            if tenure.is_broken:
                return  # Half a slice: its exception ends this tenure, and nothing of it is cut.
            if not tenure.has_work and not (self._is_decided and self._group.is_behind):
                if self._is_decided:
                    return
                self._pending.clear()
                continue
            if not self._is_decided:
                # An answer that others wait for is not kept back for company.
                is_urgent = bool(tenure.interval.words)
                may_wait_s = interval_s / 2 if is_urgent else interval_s
                wait_s = tenure.interval.started_s + may_wait_s - time.monotonic()
                if wait_s > 0 and not tenure.is_large:
                    await asyncio.sleep(min(wait_s, NAP_S))
                    continue
                await self._services.commit_gate.turn(is_urgent=is_urgent)
            await self._commit(tenure)

    async def _pending_within(self, seconds: float) -> bool:
        if self._pending.is_set():
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._pending.wait()
        return self._pending.is_set()

    async def _commit(self, tenure: Tenure) -> None:
        if tenure.is_broken:
            return
        cut = tenure.cut()
        cut.tells_group = self._is_decided or not self._group.wait_s
        # Once all is decided nobody sets it again, and the commit loop must come by to end.
        if not tenure.has_work and not self._is_decided:
            self._pending.clear()
        started_s = time.monotonic()
        await commit(tenure.target, cut, now_ms=self._services.now_ms())
        tenure.committed(cut)
        self._group.committed(told=cut.tells_group)
        position = cut.position
        if position.trying is None:
            self._services.trial.end(self.partition)
        if cut.interval.events:
            self._failures = 0
            taken = dict(zip(INPUTS, offsets_of(position), strict=True))
            self._condemned = {p for p in self._condemned if p[1] >= taken[p[0]]}
        self._room.set()
        self._services.metrics.committed(time.monotonic() - started_s)
