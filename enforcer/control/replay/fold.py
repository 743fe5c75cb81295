"""
One partition's ledger, replayed.

Theory of operation
-------------------
The ledger is the order of events: each entry names its input record, the time, the positions in both inputs and in
the policies, and how late it was. That is all an engine is told, so the same engine on the same rows under the same
policies makes the same entries, to the byte. Entries of one input record stand together and are a *group*; what an agent
entered by itself (a change of policies, a leak mended) is a group of its own and is taken as it is.

Before the start, rows are *rebuilt*: what was decided is redone by its effects, as at a takeover, and nothing is evaluated.
From the start on each record is decided again,

* with the recorded policies, and what comes out is compared with the ledger byte by byte;
* or with a candidate's, in the ledger's order, and what comes out is compared by verdict. Rows then go their own way:
  a call that the candidate denies reports no usage, and one that it admits instead is charged what it reserved.

How many partitions there were, by which a record is known to be misrouted, follows from the entries of moves
(``topics repartition``): each says what it was before and is from there on.

Three things are recorded facts and no function of the rest: verdicts of ``internal_error`` (a record that raised or
killed), policies that were stale, and, where another version of the detectors has decided (``data_digest``), what they had
found. They are taken from the ledger.
"""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer import __version__, detect, events, state
from enforcer.audit.chain import Chain
from enforcer.control.replay.differences import Decided, Findings
from enforcer.control.replay.engine import ReplayEngine
from enforcer.control.replay.policies import Sets
from enforcer.control.replay.whole import SharedRows, is_of_whole_tenant
from enforcer.engine import Arrival, EngineConfig
from enforcer.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from enforcer.control.replay.policies import Candidate, History
    from enforcer.control.replay.recording import Recorded, Recording
    from enforcer.control.replay.whole import SharedBudgets
    from enforcer.engine import Entry, Outcome
    from enforcer.policy.tracing import TracedPolicy, TracedProgram

OWN_KINDS: Final = frozenset({"policy_change", "exception_use", "lease", "move"})
LEAKED: Final = "leaked"
SWEEP_ROWS_MIN: Final = 50_000
EARLY_MAX: Final = 100_000
"""Calls whose reports came before them and are held back; those above wait in rows, as ever."""


class Link(NamedTuple):
    """An entry of the ledger, and its exact bytes."""

    entry: events.Audit
    value: bytes


class Start(NamedTuple):
    """Where deciding again begins: at the first request that is past both."""

    time_us: int = 0
    offset: int = 0


BEGINNING: Final = Start()


class _Input:
    """One input of a partition, read forward only, to the offsets that the ledger names."""

    def __init__(self, records: Iterator[Recorded]) -> None:
        self._records = records
        self._ahead: Recorded | None = None

    def at(self, offset: int) -> Recorded | None:
        """The record at *offset*; None where it is gone. What lies before it led to nothing, and is passed over."""
        found = self._ahead
        while found is None or found.offset < offset:
            found = next(self._records, None)
            if found is None:
                return None
        self._ahead = found
        return found if found.offset == offset else None


class Fold:
    """Replays one partition. ``run`` once."""

    def __init__(
        self,
        recording: Recording,
        history: History,
        partition: int,
        *,
        candidate: Candidate | None = None,
        start: Start = BEGINNING,
        pseudonym_key: bytes | None = None,
        shared: SharedBudgets | None = None,
    ) -> None:
        """*shared*: a candidate's budgets of whole tenants, over all partitions; they are folded together."""
        config = EngineConfig(fact_cache=detect.FactCache(os.urandom(32)))
        if pseudonym_key is not None:
            config = replace(config, pseudonym_key=pseudonym_key)
        self.rows = state.MemoryRows() if shared is None else SharedRows(shared)
        self.findings = Findings(partition, is_candidate=candidate is not None)
        self._recording = recording
        self._partition = partition
        self._partitions = recording.partitions
        """How many there were where the ledger is being read."""
        self._is_candidate = candidate is not None
        self._start = start
        self._engine = ReplayEngine(config, is_whole=shared is not None)
        self._is_whole = shared is not None
        self._queue = state.ExpiryQueue()
        self._recorded = Sets(history)
        """What was in force, for rebuilding; and for deciding again where there is no candidate."""
        self._sets = Sets(history, candidate) if candidate is not None else self._recorded
        self._requests = _Input(iter(()))
        self._usage = _Input(iter(()))
        self._has_started = False
        self._chain = Chain()
        self._sweep_at = SWEEP_ROWS_MIN
        self._early: dict[str, list[Arrival]] = {}
        self._not_run: set[str] = set()
        """Row keys of calls that the candidate turned: their reports tell of what would not have been."""

    def use(self, rows: state.MemoryRows) -> None:
        """Fold into *rows*, and group by group: the caller reads the ledger and calls ``take``."""
        self.rows = rows
        self.open()

    def open(self) -> None:
        """Begin to read, before the first group is taken."""
        self._partitions = partitions_at_first(self._recording, self._partition)
        self._requests = _Input(self._recording.records("requests", self._partition))
        self._usage = _Input(self._recording.records("usage", self._partition))

    def traced(
        self, told: events.Decision
    ) -> tuple[TracedProgram, tuple[TracedPolicy, ...]] | None:
        """The program that is about to decide *told* again, made to remember what it is asked."""
        self._recorded.adopt(told.policy_sets)
        return self._recorded.traced(told.tenant)

    def run(self) -> Findings:
        """Read the ledger to its end. Raises: IntegrityError where it cannot be decided again; UnavailableError."""
        self.open()
        with rare_collections():
            for group in groups(self._recording.records("audit", self._partition)):
                self.take(group)
        return self.close()

    def close(self) -> Findings:
        """What was found, the ledger being read to its end."""
        self.findings.close(self.rows if self._is_candidate else None, self._not_run)
        return self.findings

    def take(self, group: list[Link]) -> None:
        """Take one group in."""
        first = group[0].entry
        if len(self.rows.rows) > self._sweep_at:
            self._sweep(first.time_us)
        if self.findings.first_sequence is None and first.sequence:
            self.findings.rows = f"incomplete: the ledger begins at its record {first.sequence}"
        self.findings.saw(first.sequence, len(group))
        if _is_own(first):
            self._take_own(first)
            return
        name = first.source.topic.rpartition(".")[2]
        record = (self._usage if name == "usage" else self._requests).at(first.source.offset)
        if record is None:
            self._take_without_input(group)
        elif name == "usage":
            self._take_usage(group, record)
        else:
            self._take_request(group, record)

    def _sweep(self, now_us: int) -> None:
        """Forget rows that count as absent, so that memory grows with what is open and not with the ledger."""
        rows = self.rows.rows
        for key in [key for key, row in rows.items() if state.is_spent(row, now_us)]:
            del rows[key]
        self._sweep_at = 2 * len(rows) + SWEEP_ROWS_MIN

    # -- groups ---------------------------------------------------------------------------------------------------

    def _take_own(self, entry: events.Audit) -> None:
        if entry.kind == "policy_change":
            self._recorded.change(entry.payload)
            if self._sets is not self._recorded:
                self._sets.change(entry.payload)
        elif entry.kind in {"expiry", "lease"}:
            state.apply_all(self.rows, entry.effects, queue=self._queue)
        elif entry.kind == "move":
            self._take_move(events.decode_move(entry.payload))

    def _take_move(self, move: events.Move) -> None:
        """Rows that came to this partition, changed here with others', or went to another; and how many there are now."""
        self._partitions = move.partition_count
        for moved in move.rows:
            if self._is_whole and is_of_whole_tenant(moved.key):
                continue  # There is one row of it, wherever it stood.
            if moved.value is None:
                self.rows.delete(moved.key)
                self._queue.discard(moved.key)
                continue
            row = events.decode(moved.value)
            self.rows.put(moved.key, row)
            if isinstance(row, (events.CallRow, events.WaitingUsageRow)):
                self._queue.track(moved.key, row)

    def _take_without_input(self, group: list[Link]) -> None:
        """Retention has deleted the input: the rows follow the ledger, as far as it says."""
        self.findings.without_input += 1
        for link in group:
            entry = link.entry
            effects = list(entry.effects)
            if entry.kind == "decision":
                told = events.read_decision(entry.payload)
                assert isinstance(told, events.Decision)
                effects = list(state.split(told.effects)[1])
                status = "denied" if told.verdict == "deny" else "open"
                call = events.CallRow(0, status, b"", entry.payload, told.time_us, 0, "", "", None)
                state.apply_all(self.rows, effects, call=call, queue=self._queue)
            else:
                report = state.Report(entry.account, entry.payload)
                state.apply_all(self.rows, effects, report=report, queue=self._queue)

    def _take_usage(self, group: list[Link], record: Recorded) -> None:
        last = group[-1].entry
        if not self._has_started:
            for link in group:
                report = state.Report(link.entry.account, record.value or b"")
                state.apply_all(self.rows, link.entry.effects, report=report, queue=self._queue)
            return
        self.findings.charged(link.entry for link in group)
        if "internal_error" in last.notes:
            self._compare(group, self._engine.refuse_usage(_arrival(last, record)).entries)
            return
        arrival = _arrival(last, record, self._partitions)
        if self._is_candidate and self._holds_back(last.account, arrival):
            return
        self._settle(group, arrival)

    def _settle(self, group: list[Link], arrival: Arrival) -> None:
        outcome = self._engine.usage(self._sets.program, arrival, self.rows, self._queue)
        self.findings.recharged(outcome.entries)
        self._compare(group, outcome.entries)

    def _holds_back(self, account: str, arrival: Arrival) -> bool:
        """
        Whether a report is not to be settled, or not yet: of a call that the candidate turned, or has yet to decide.

        In the ledger a report that comes before its request waits in a row, and is charged whatever becomes of it.
        """
        try:
            usage = events.read_usage(arrival.value or b"")
        except events.CodecError:
            return False
        call = state.call_row_key(account, usage.request_id, usage.attempt)
        if call in self._not_run:
            return True
        if self.rows.get(call) is not None or len(self._early) >= EARLY_MAX:
            return False
        self._early.setdefault(call, []).append(arrival)
        return True

    def _take_request(self, group: list[Link], record: Recorded) -> None:
        told_link = next((link for link in group if link.entry.kind == "decision"), None)
        told: events.Decision | None = None
        if told_link is not None:
            read = events.read_decision(told_link.entry.payload)
            assert isinstance(read, events.Decision)
            told = read
            self._recorded.adopt(told.policy_sets)
            if self._sets is not self._recorded:
                self._sets.adopt(told.policy_sets)
        entry = (told_link or group[0]).entry
        arrival = _arrival(entry, record, self._partitions)
        begins = entry.time_us >= self._start.time_us and record.offset >= self._start.offset
        self._has_started = self._has_started or begins
        if told is None and not self._has_started:
            for link in group:
                state.apply_all(self.rows, link.entry.effects, queue=self._queue)
        elif told is None:
            # A repeat: it told the first verdict again, and what was due by then expired.
            outcome = self._engine.request(self._program, arrival, self.rows, self._queue)
            self._compare(group, outcome.entries)
        elif not self._has_started:
            self._redo(arrival, told, entry.payload)
        else:
            self._decide(group, arrival, told, entry.payload)

    @property
    def _program(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 — a bound method of Sets
        return self._sets.program if self._has_started else self._recorded.program

    def _redo(self, arrival: Arrival, told: events.Decision, value: bytes) -> Outcome:
        return self._engine.redo(
            arrival, told, value, self.rows, self._queue, program_of=self._program
        )

    def _decide(
        self, group: list[Link], arrival: Arrival, told: events.Decision, value: bytes
    ) -> None:
        codes = {reason.code for reason in told.reasons[:1]}
        self.findings.charged(link.entry for link in group)
        if "internal_error" in codes:
            outcome = self._redo(arrival, told, value)
            self.findings.taken += 1
        else:
            arrival = arrival._replace(is_stale="policy_stale" in codes)
            is_other = told.data_digest != detect.DATA_DIGEST
            self._engine.record(told if is_other else None)
            outcome = self._engine.request(self._program, arrival, self.rows, self._queue)
            self._engine.record(None)
            self.findings.recorded_facts += is_other
            self._as_recorded(outcome, told)
        self.findings.recharged(outcome.entries)
        made = outcome.decision
        if made is None and outcome.value is not None:
            read = events.read_decision(outcome.value)
            made = read if isinstance(read, events.Decision) else None
        identical = self._compare(group, outcome.entries)
        opened = next((e.row for e in told.effects if e.kind == "open"), "")
        call = Decided(told, made, identical=identical, request=arrival.value)
        early = self._early.pop(opened, [])
        if self._is_candidate and call.turns and opened:
            self._not_run.add(opened)
        else:
            for report in early:
                self._settle([], report._replace(now_us=arrival.now_us))
        self.findings.decided(call, opened)

    @staticmethod
    def _as_recorded(outcome: Outcome, told: events.Decision) -> None:
        """Name the engine and the data that decided then: what differs in nothing else is the same."""
        made = outcome.decision
        same = (told.data_digest, told.engine) == (detect.DATA_DIGEST, __version__)
        if made is None or same or outcome.value is None:
            return
        made.data_digest, made.engine = told.data_digest, told.engine
        is_json = events.is_json(outcome.value)
        value = events.to_json_bytes(made) if is_json else events.encode_decision(made)
        outcome.entries = [
            replace(entry, payload=value) if entry.payload == outcome.value else entry
            for entry in outcome.entries
        ]
        outcome.value = value

    # -- comparing ------------------------------------------------------------------------------------------------

    def _compare(self, group: list[Link], made: list[Entry]) -> bool:
        """Whether the entries *made* are those of *group*, by the bytes they would have in the ledger."""
        if not self._has_started or self._is_candidate:
            return False
        chain = self._chain
        same = len(made) == len(group)
        for link, entry in zip(group, made, strict=False):
            recorded = link.entry
            chain.sequence, chain.head = recorded.sequence, recorded.previous
            value = chain.append(
                entry.kind,
                entry.account,
                recorded.time_us,
                recorded.source,
                entry.payload,
                entry.notes,
                entry.effects,
            )
            same = same and value == link.value
        if not same:
            self.findings.differs_at(group[0].entry)
        return same


@contextmanager
def rare_collections() -> Iterator[None]:
    """Rows live for long, and what is made of an event makes no cycles: looking for them costs a third."""
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000, 50, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def partitions_at_first(recording: Recording, partition: int) -> int:
    """
    How many partitions there were where a ledger begins: today's, unless it tells of a move.

    Entries of moves have no key, and hardly any other has none, so the ledger is passed over without being decoded.
    """
    for record in recording.records("audit", partition):
        if record.key is None and record.value is not None:
            with suppress(events.CodecError):
                entry = events.decode_audit(record.value)
                if entry.kind == "move":
                    move = events.decode_move(entry.payload)
                    return move.partition_count_before or recording.partitions
    return recording.partitions


def groups(records: Iterable[Recorded]) -> Iterator[list[Link]]:
    """
    The ledger's entries by the input record that led to them, in order.

    Raises: IntegrityError for an entry that cannot be read.
    """
    for _, found in groupby(_links(records), key=lambda link: _place(link.entry)):
        yield list(found)


def _links(records: Iterable[Recorded]) -> Iterator[Link]:
    for record in records:
        try:
            yield Link(events.decode_audit(record.value or b""), record.value or b"")
        except events.CodecError as error:
            raise IntegrityError(
                f"the ledger's record at offset {record.offset} of partition {record.partition} "
                "cannot be read",
                help="enforcer audit verify",
            ) from error


def _is_own(entry: events.Audit) -> bool:
    return entry.kind in OWN_KINDS or LEAKED in entry.notes


def _place(entry: events.Audit) -> tuple[object, ...]:
    if _is_own(entry):
        return ("own", entry.sequence)
    return (entry.source.topic, entry.source.offset)


def _arrival(entry: events.Audit, record: Recorded, partitions: int = 0) -> Arrival:
    return Arrival(
        key=record.key,
        value=record.value,
        source=entry.source,
        now_us=entry.time_us,
        record_us=record.time_ms * 1000,
        partitions=partitions,
    )
