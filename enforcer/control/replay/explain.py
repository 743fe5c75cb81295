"""One past decision, explained: what it was decided on, with its rows before and after, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from enforcer import events, state
from enforcer.control.replay.fold import groups
from enforcer.control.replay.running import fold_of, history_of, opened
from enforcer.errors import NotFoundError
from enforcer.policy.tracing import trace_policies

if TYPE_CHECKING:
    from enforcer.control.replay.fold import Link
    from enforcer.control.replay.recording import Recording
    from enforcer.control.replay.running import Job
    from enforcer.state import Row


class TracedRows(state.MemoryRows):
    """Rows that remember, while ``trace`` is set, which were read and what they were before."""

    __slots__ = ("before", "trace")

    def __init__(self) -> None:
        super().__init__()
        self.trace = False
        self.before: dict[str, bytes | None] = {}

    def get(self, key: str) -> Row | None:
        """The row; the first answer for a key is kept."""
        row = super().get(key)
        if self.trace and key not in self.before:
            self.before[key] = None if row is None else events.to_json_bytes(row)
        return row

    def put(self, key: str, row: Row) -> None:
        """Write; what was there before is kept."""
        if self.trace and key not in self.before:
            self.get(key)
        super().put(key, row)


def explain(job: Job, request_id: str, *, tenant: str | None = None) -> list[dict[str, Any]]:
    """
    Every decision of the ledger for *request_id* (one an attempt and account), decided again.

    Returns: For each: the decision, whether the replay makes the same, the rows it read before and after, the sets
    it was decided under, the ledger's entries of its call, and the trace: what each rule looked at, as
    ``PolicyTrace`` objects, with the texts that its places are in by their names; empty where it was denied before
    any rule was.
    Raises: NotFoundError; IntegrityError, UnavailableError.
    """
    recording = opened(job)
    try:
        wanted = _places(recording, request_id, tenant)
        if not wanted:
            raise NotFoundError(
                f"the ledger has no decision of the request `{request_id}`",
                help="is it older than the ledger's retention? `enforcer tail audit --from-beginning`",
            )
        history = history_of(recording)
        found: list[dict[str, Any]] = []
        for partition, sequences in sorted(wanted.items()):
            found.extend(_explained(job, recording, history, partition, sequences))
        return found
    finally:
        recording.close()


def _places(recording: Recording, request_id: str, tenant: str | None) -> dict[int, set[int]]:
    """Sequence numbers of its decisions, by partition."""
    wanted: dict[int, set[int]] = {}
    sign = request_id.encode()
    for partition in range(recording.partitions):
        for record in recording.records("audit", partition):
            if sign not in (record.value or b""):
                continue
            entry = events.decode_audit(record.value or b"")
            if entry.kind != "decision":
                continue
            told = events.read_decision(entry.payload)
            if not isinstance(told, events.Decision) or told.request_id != request_id:
                continue
            if tenant in (None, told.tenant):
                wanted.setdefault(partition, set()).add(entry.sequence)
    return wanted


def _explained(
    job: Job, recording: Recording, history: Any, partition: int, sequences: set[int]
) -> list[dict[str, Any]]:
    fold = fold_of(job, recording, history, partition)
    rows = TracedRows()
    fold.use(rows)
    found: list[dict[str, Any]] = []
    calls: dict[str, dict[str, Any]] = {}
    for group in groups(recording.records("audit", partition)):
        own = next((link for link in group if link.entry.sequence in sequences), None)
        if own is None:
            fold.take(group)
        else:
            same = fold.findings.identical
            told = events.read_decision(own.entry.payload)
            assert isinstance(told, events.Decision)
            watched = fold.traced(told)
            rows.trace, rows.before = True, {}
            fold.take(group)
            rows.trace = False
            one = _decision(own, told, rows, partition)
            one["reproduced"] = fold.findings.identical > same
            one["trace"], one["sources"] = [], {}
            asked = watched[0].asked if watched is not None else None
            if watched is not None and asked is not None:
                program, policies = watched
                one["trace"] = trace_policies(
                    policies, asked, program.indexed, exempt=program.exempt
                )
                one["sources"] = {
                    each.document.place.file: each.document.source for each in policies
                }
            one["ledger"] = []
            found.append(one)
            calls[one.pop("call")] = one
        _follow(group, calls)
    return found


def _decision(
    link: Link, told: events.Decision, rows: TracedRows, partition: int
) -> dict[str, Any]:
    entry = link.entry
    return {
        "request_id": told.request_id,
        "partition": partition,
        "sequence": entry.sequence,
        "verdict": told.verdict,
        "decision": events.to_json(told),
        "call": next((e.row for e in told.effects if e.kind == "open"), told.id),
        "rows": [
            {
                "key": key,
                "before": None if before is None else orjson.loads(before),
                "after": _json(rows.rows.get(key)),
            }
            for key, before in sorted(rows.before.items())
        ],
    }


def _json(row: Row | None) -> Any:
    return None if row is None else events.to_json(row)


def _follow(group: list[Link], calls: dict[str, dict[str, Any]]) -> None:
    """Note what the ledger says of these calls after they were decided."""
    for link in group:
        for effect in link.entry.effects:
            one = calls.get(effect.row)
            if one is not None:
                one["ledger"].append(
                    {
                        "sequence": link.entry.sequence,
                        "kind": link.entry.kind,
                        "time_us": link.entry.time_us,
                        "notes": list(link.entry.notes),
                        "charged_usd": effect.amount / 1e9,
                    }
                )
