"""
A tenure: everything in memory between one takeover of a partition and the next.

Rows that changed, links of the chain, the interval, the queues: all of it is a guess until a commit has
written it down. A failed commit throws the whole object away, so that nothing of the failed one is left behind
by an oversight; the next takeover builds another.

What a tenure does is synchronous. Its agent calls it from two loops, and nothing else runs between the parts of
a slice or of a cut.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from enforcer import events, state
from enforcer.audit.chain import Chain
from enforcer.engine import Arrival, Entry, Outcome
from enforcer.stream.changes import PolicyChanges
from enforcer.stream.commit import CommitTarget
from enforcer.stream.inputs import LEASES, REQUESTS, USAGE, Inputs
from enforcer.stream.interval import Cut, Interval
from enforcer.stream.lending import Lending
from enforcer.stream.lookahead import LookAhead, ReadElsewhere
from enforcer.stream.passing import KEY_BYTES_MAX, FutureSaid, headers_of, key_of
from enforcer.stream.poison import Care, named
from enforcer.stream.rows import CallsSeen, RowCache
from enforcer.stream.slice import Slice
from enforcer.stream.sweep import Sweep, rebuild
from enforcer.stream.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Collection

    from enforcer.broker.ports import Record
    from enforcer.engine.ahead import Ahead
    from enforcer.store.table import Table
    from enforcer.stream.inputs import Taken as Item
    from enforcer.stream.passing import Trace
    from enforcer.stream.poison import Place
    from enforcer.stream.policies import SetInForce
    from enforcer.stream.services import Services
    from enforcer.stream.tail import Told
    from enforcer.stream.takeover import Taken

_log = structlog.get_logger("enforcer.agent")


class Tenure:
    """One agent's state in memory, from a takeover on. Made by ``begin``."""

    def __init__(
        self,
        services: Services,
        table: Table,
        taken: Taken,
        *,
        partition: int,
        condemned: Collection[Place],
    ) -> None:
        config, position = services.config, taken.position
        self.partition = partition
        self.care = Care(
            starts=position.starts,
            trying=position.trying,
            trying_count=position.trying_count,
            counts=taken.is_start,
        )
        self.inputs = Inputs(
            position.request_offset,
            position.usage_offset,
            position.lease_offset,
            told=taken.told.values(),
            lone_wait_s=config.lone_input_wait_ms / 1000,
            at_end=lambda name: services.is_at_end(name, partition),
        )
        self.target = CommitTarget(
            partition=partition,
            group_id=config.group_id,
            topic=config.topic,
            ledger=taken.ledger,
            table=table,
            meta=services.table_meta,
            positions=dict(taken.restored.positions),
            ack_timeout_s=config.ack_timeout_ms / 1000,
        )
        self.interval = Interval(time.monotonic())
        self.committing = 0
        self.lag_ms = 0
        self.is_broken = False
        """True once a slice has failed half way: what it left must never be cut."""
        self._services = services
        self._config = config
        self._log = _log.bind(partition=partition)
        self._fast = taken.ledger.fast
        self._claim_offset = taken.claim_offset
        self._condemned = frozenset(condemned)
        # Of a warm table its own filters know the calls, until a walk is done.
        self._seen = None if taken.restored.cold is None else CallsSeen()
        self._rows = RowCache(table, cached_rows_max=services.cached_rows_max(), seen=self._seen)
        foresight, program_of = services.engine.foresight, services.policies.table.program
        self.elsewhere = ReadElsewhere(services.text_readers, foresight, program_of, self.inputs)
        self._ahead = LookAhead(foresight, program_of, self.elsewhere)
        self.queue = state.ExpiryQueue(notes=True)
        self._timers = Timers(table, self._rows, self.queue)
        self._sweep = Sweep(table, self._rows)
        self.lending = Lending(
            partition,
            position.partition_count,
            self._rows,
            policies=services.policies.table,
            enter=self._enter,
            say=lambda to, said: self.interval.add_word(to, said),  # noqa: PLW0108 — each cut makes another
        )
        self._chain = Chain(position.next_sequence, position.chain_head)
        self._position = position
        self._now_us = position.now_us
        self._oldest_uncommitted_s: float | None = None
        self._policy_changes = PolicyChanges()
        self._slice = Slice()
        self._latest_ms, self._is_stale, self._future = 0, False, FutureSaid(self._log)
        self._is_forgiven = False

    @classmethod
    async def begin(
        cls,
        services: Services,
        table: Table,
        taken: Taken,
        *,
        partition: int,
        condemned: Collection[Place],
    ) -> Tenure:
        """The tenure that begins with what a takeover found. Of a table that was warm only what falls due is looked at."""
        tenure = cls(services, table, taken, partition=partition, condemned=condemned)
        if tenure._seen is not None:
            leaks = await rebuild(table, tenure.queue, seen=tenure._seen)
            tenure.queue.noted = []  # Restored rows stand in lists.
            if leaks:
                tenure._mend(leaks)
        else:
            await tenure._timers.begin(max(taken.position.now_us, services.now_ms() * 1000))
        if taken.tail_lost:
            # Told verdicts may have been deleted unread: what follows might contradict them.
            tenure._enter("exception_use", "*", b"", ("tail_lost",), ())
        # Last, with no turn of the loop between it and the agent's taking note of changes.
        policies = services.policies.table
        tenure._policy_changes = PolicyChanges(policies.changes_since(taken.position.policy_offset))
        tenure.lending.begin(table, services.now_ms())
        return tenure

    def _mend(self, leaks: tuple[events.Effect, ...]) -> None:
        """Charge reservations whose calls the changelog has forgotten: no usage will ever find them."""
        self._log.warning("reservations_leaked", rows=len(leaks) // 2)
        state.apply_all(self._rows, leaks, queue=self.queue)
        for account, effects in state.by_account(leaks):
            self._enter("expiry", account, b"", ("leaked",), effects)

    # -- what the agent's loops ask ------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether there is something to commit."""
        interval = self.interval
        return (
            bool(interval.events or interval.audit)
            or self.care.trying is not None
            or self._is_forgiven
            or (self.lending.has_wants and not self.inputs.redoing)
        )

    @property
    def is_large(self) -> bool:
        """Whether the interval is to be committed now, whatever its age."""
        interval, config = self.interval, self._config
        return (
            interval.events >= self.care.limit(config.commit_records_max)
            or interval.bytes >= config.commit_bytes_max
            or self.care.trying is not None
        )

    def feed(self, name: str, records: list[Record]) -> None:
        """Queue fetched records of the input *name*, as ``Inputs.feed``; large requests begin to be read."""
        fed = self.inputs.feed(name, records)
        if name == REQUESTS:
            self.elsewhere.fed(fed, self.care, now_us=self._now_us)

    def is_backlogged(self) -> bool:
        """Whether so much is told and not committed, or not even acknowledged, that the inputs must wait."""
        config = self._config
        if self.care.trying is not None:
            return True  # The record may be taken when the ledger knows that it is on trial.
        if self._room <= 0 or self.interval.bytes >= config.uncommitted_bytes_max:
            return True
        if self.interval.events and self._fast.queued_bytes >= config.uncommitted_bytes_max:
            return True
        oldest_s = self._oldest_uncommitted_s
        return oldest_s is not None and (
            (time.monotonic() - oldest_s) * 1000 >= config.uncommitted_ms_max
        )

    @property
    def _room(self) -> int:
        uncommitted = self.interval.events + self.committing
        return self.care.limit(self._config.uncommitted_records_max) - uncommitted

    def forgive(self) -> None:
        """A planned stop: who lives to see it has not died of a record, so its start is not counted."""
        self._is_forgiven = self.care.forgive()

    def policy_changed(self, in_force: SetInForce) -> None:
        """A set came into force: it goes into this partition's ledger before the next decision under it."""
        self._policy_changes.append(in_force)
        self.lending.want_first([in_force.scope], self._services.now_ms())

    # -- cutting -------------------------------------------------------------------------------------------

    def cut(self) -> Cut:
        """Close the interval. Nothing is told between the parts of a cut."""
        assert not self.is_broken, "half a slice must not be committed"
        if not self.inputs.redoing:
            self._enter_policy_changes()
            self.lending.speak(self._now_us, self.interval)
        interval, self.interval = self.interval, Interval(time.monotonic())
        self.committing = interval.events
        if interval.events:
            self._oldest_uncommitted_s = interval.started_s
        # Sweep before the rows are cut: what it deletes goes with this very cut.
        swept = self._sweep.step(self._now_us, rows=2 * interval.events + 16)
        swept += self._timers.step(self._now_us)
        before, inputs = self._position, self.inputs
        moved = inputs.have_moved(before)
        tail_start = before.tail_start
        if not inputs.redoing:
            # All of the tail is in this cut or in the ledger, so it may be passed, claim and all.
            tail_start = max(tail_start, self._claim_offset + 1)
        position = events.PositionRow(
            request_offset=inputs.request_offset,
            usage_offset=inputs.usage_offset,
            chain_head=self._chain.head,
            next_sequence=self._chain.sequence,
            tail_start=tail_start,
            now_us=self._now_us,
            policy_offset=self._policy_changes.entered(self._services.policies.table.offset),
            partition_count=before.partition_count,
            starts=self.care.starts_after(moved=moved),
            trying=self.care.trying,
            trying_count=self.care.trying_count,
            lease_offset=inputs.lease_offset,
        )
        due = self.queue.take_noted()
        return Cut(interval, self._rows.cut(), position, inputs.redoing, swept, due)

    def committed(self, cut: Cut) -> None:
        """*cut* is in the ledger and in the table."""
        self.committing = 0
        self._is_forgiven = False
        self._oldest_uncommitted_s = self.interval.started_s if self.interval.events else None
        self._position = cut.position
        self.care.committed(cut.position.starts, cut.position.trying)
        self._rows.cached_rows_max = self._services.cached_rows_max()
        self._rows.settle()

    # -- one slice -----------------------------------------------------------------------------------------

    def take_slice(self) -> int:
        """
        Decide what is there, for one slice at most, and send its verdicts.

        Returns: The events taken.
        Raises: PoisonError, naming the record that cannot be taken; AgentFencedError and UnavailableError of
        the fast lane. After any of them the tenure is broken: it must be thrown away.
        """
        self.is_broken = True
        taken = self._take_slice()
        self.is_broken = False
        return taken

    def _take_slice(self) -> int:
        inputs, interval, config = self.inputs, self.interval, self._config
        now_s = time.monotonic()
        until_s = now_s + config.slice_us / 1e6
        inputs.look()
        self._latest_ms = self._services.now_ms() + config.future_timestamp_ms_max
        self._is_stale = self._services.policies.age_s() * 1000 > config.policy_stale_ms_max
        if self.care.is_single and not self._may_take_head(now_s):
            return 0
        self._slice = Slice(self._services.spans)
        room = min(self._room, config.commit_records_max)
        taken = 0
        requests, plain_ms = inputs.requests, inputs.plain_until_ms(self._latest_ms)
        while taken < room and interval.bytes < config.uncommitted_bytes_max:
            if requests.records and requests.records[0].timestamp <= plain_ms:
                self._take_request(requests.pop(), None)
            elif (item := inputs.take(now_s, self._latest_ms)) is not None:
                self._take(item)
            else:
                break
            taken += 1
            if time.monotonic() > until_s:
                break
        if inputs.ahead is not None:
            self._future.say(inputs.ahead, self._services.now_ms())
        if not taken:
            return 0
        if not interval.events:
            interval.started_s = now_s
        if self._oldest_uncommitted_s is None:
            self._oldest_uncommitted_s = now_s
        interval.events += taken
        self.care.took(taken)
        self._tell()
        return taken

    def _take(self, item: Item) -> None:
        if item.is_request:
            self._take_request(item.record, item.told)
        elif item.is_word:
            self._take_word(item.record)
        else:
            self._take_usage(item.record)

    def _may_take_head(self, now_s: float) -> bool:
        """Whether the next record may be taken by itself now; if not, it is put on trial first."""
        head = self.inputs.peek(now_s, self._latest_ms)
        if head is None:
            return False
        if self.care.may_take(head):
            return True
        if self._services.trial.begin(self.partition):
            self.care.try_next(head)
        return False

    def _tell(self) -> None:
        """Send the slice's verdicts."""
        told = self._slice.told
        if not told:
            self._slice.report(self._services.metrics, None)
            return
        ack = self._fast.send(self._config.topic("decisions"), self.partition, told)
        self.interval.acks.append((ack, len(told)))
        self._slice.report(self._services.metrics, ack)

    # -- one record ----------------------------------------------------------------------------------------

    def _pass(self, record: Record) -> None:
        """Event time goes on, and it is seen how late the record is taken."""
        at_ms = record.timestamp
        self._now_us = max(self._now_us, at_ms * 1000)
        if self._now_us >= self._timers.loaded_us:
            self._timers.catch_up(self._now_us)
        self.lag_ms = max(0, self._services.now_ms() - at_ms)

    def _source(self, topic: str, offset: int, *, late_ms: int) -> events.Source:
        policy_offset = self._services.policies.table.offset
        return self.inputs.source_at((topic, self.partition, offset), policy_offset, late_ms)

    def _arrival(
        self, record: Record, was: events.Source | None = None, ahead: Ahead | None = None
    ) -> Arrival:
        """What is taken, and where and when: of a told verdict's request, as it *was* then."""
        source = was or self._source(record.topic, record.offset, late_ms=self.lag_ms)
        return Arrival(
            record.key,
            record.value,
            source,
            self._now_us,
            record.timestamp * 1000,
            self._position.partition_count,
            self._is_stale,
            ahead,
        )

    def _take_request(self, record: Record, told: Told | None) -> None:
        """Decide or redo one request, extend the ledger, and note what is to be told."""
        place = (REQUESTS, record.offset)
        self._pass(record)
        ahead = None
        if told is not None:
            self._enter_policy_changes(before=told.decision.source.policy_offset)
            self.lending.follow(told.decision)
            self.elsewhere.of(record.offset)  # Not wanted any more.
        else:
            if self._policy_changes and not self.inputs.redoing:
                self._enter_policy_changes()
            ahead = self._ahead.of(record, self.inputs, self.care, now_us=self._now_us)
        arrival = self._arrival(record, told.decision.source if told else None, ahead)
        outcome = self._outcome(place, arrival, told)
        self._write(outcome, arrival, (passed := headers_of(record))[0])
        self.lending.want(outcome.wants)
        if outcome.value is not None and told is None:
            key = record.key if len(record.key or b"") <= KEY_BYTES_MAX else None
            out = (key, outcome.value, passed[1], None)
            self._slice.add(out, record, outcome)

    def _outcome(self, place: Place, arrival: Arrival, told: Told | None) -> Outcome:
        services, rows, queue = self._services, self._rows, self.queue
        engine, program = services.engine, services.policies.table.program
        if told is not None and place in self._condemned and not told.is_refusal:
            # It raised while it was redone. What was told stands, though its effects cannot be found again.
            self._log.error("record_refused", topic=place[0], offset=place[1])
            entry = Entry("decision", told.decision.account, told.value)
            return Outcome(told.value, told.decision, [entry], verdict=told.decision.verdict)
        try:
            if told is not None:
                return engine.redo(
                    arrival, told.decision, told.value, rows, queue, program_of=program
                )
            if self._is_condemned(place):
                return engine.refuse(program, arrival, rows, queue)
            return engine.request(program, arrival, rows, queue)
        except Exception as error:
            raise named(place, error) from error

    def _take_usage(self, record: Record) -> None:
        """Settle one usage report and extend the ledger."""
        place = (USAGE, record.offset)
        self._pass(record)
        arrival = self._arrival(record)
        if not self.inputs.redoing:
            self._enter_policy_changes()
        engine, program = self._services.engine, self._services.policies.table.program
        try:
            if self._is_condemned(place):
                outcome = engine.refuse_usage(arrival)
            else:
                outcome = engine.usage(program, arrival, self._rows, self.queue)
        except Exception as error:
            raise named(place, error) from error
        self._write(outcome, arrival, headers_of(record)[0])
        if outcome.bypass is not None:
            self._services.metrics.bypassed(outcome.bypass)

    def _take_word(self, record: Record) -> None:
        """Take a word of another agent about a tenant's budget. It moves no clock."""
        place = (LEASES, record.offset)
        if self._is_condemned(place):
            return
        try:
            self.lending.take(record.value, max(self._now_us, record.timestamp * 1000))
        except Exception as error:
            raise named(place, error) from error

    def _is_condemned(self, place: Place) -> bool:
        if place not in self._condemned and not self.care.is_condemned(place):
            return False
        self._log.error("record_refused", topic=place[0], offset=place[1])
        return True

    def _write(self, outcome: Outcome, arrival: Arrival, trace: Trace) -> None:
        """Extend the chain and the interval by what one record led to."""
        interval, append = self.interval, self._chain.append
        for entry in outcome.entries:
            if entry.place:
                value = self._chain.append_decision(entry.place, entry.payload)
            else:
                value = append(
                    entry.kind,
                    entry.account,
                    arrival.now_us,
                    arrival.source,
                    entry.payload,
                    entry.notes,
                    entry.effects,
                )
            interval.add_audit((key_of(entry.account), value, trace, None))
        if outcome.dead_letter is not None:
            letter = outcome.dead_letter
            key = f"{letter.topic}/{letter.partition}/{letter.offset}".encode()
            interval.add_dead_letter((key, events.encode_dead_letter(letter), (), None))
            self._services.metrics.dead_letter(letter.code)

    # -- entries of our own --------------------------------------------------------------------------------

    def _enter_policy_changes(self, *, before: int | None = None) -> None:
        """
        Put the sets that came into force into the chain, before what is decided under them.

        Args:
            before: A policy offset. While the tail is redone only those that a told verdict had seen go before it.
        """
        for change in self._policy_changes.take(before):
            notes = ("policy_invalid",) if change.invalid else ()
            self._enter("policy_change", change.scope, change.payload(), notes, ())

    def _enter(
        self,
        kind: str,
        account: str,
        payload: bytes,
        notes: tuple[str, ...],
        effects: tuple[events.Effect, ...],
    ) -> None:
        """Put something that no input record led to into the chain."""
        source = self._source(self._config.topic("requests"), self.inputs.request_offset, late_ms=0)
        value = self._chain.append(kind, account, self._now_us, source, payload, notes, effects)
        self.interval.add_audit((key_of(account), value, (), None))
