"""What a replay found: counts that add up over partitions, examples, and where bytes differed first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from enforcer.control.shadow_report import STRICTNESS
from enforcer.events import CallRow, CodecError, Decision, read_request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from enforcer.engine import Entry
    from enforcer.events import Audit
    from enforcer.state import Rows

EXAMPLES_MAX: Final = 5
"""Of each change of verdict, by rule."""
NAMES_MAX: Final = 1_000
"""Rules, tenants and models told apart; those above are in the sums alone."""
BUCKETS_MAX: Final = 5_000
CHARGES: Final = frozenset({"charge", "settle", "expire"})


def changes_sorted(counts: dict[str, int]) -> dict[str, int]:
    """Changes of verdict, what opens first: deny to allow, then by how far it opens, then the rest."""

    def rank(change: str) -> tuple[int, str]:
        before, _, after = change.partition("->")
        return STRICTNESS.get(after, 0) - STRICTNESS.get(before, 0), change

    return {change: counts[change] for change in sorted(counts, key=rank)}


@dataclass(slots=True)
class Decided:
    """One call: its decision in the ledger, and the one that replay made (None: it made none)."""

    told: Decision
    made: Decision | None
    identical: bool
    request: bytes | None

    @property
    def before(self) -> str:
        """The recorded verdict."""
        return self.told.verdict

    @property
    def after(self) -> str:
        """The verdict of the replay."""
        return "none" if self.made is None else self.made.verdict

    @property
    def model(self) -> str:
        """The model that was asked for."""
        try:
            return read_request(self.request or b"").llm.model
        except CodecError:
            return ""

    @property
    def turns(self) -> bool:
        """Whether the call runs in one of the two and not in the other."""
        return (self.before == "deny") != (self.after == "deny")

    @property
    def is_other_edit(self) -> bool:
        """Whether the verdict is the same and what would be sent is not."""
        return self.made is not None and self.made.edits != self.told.edits


@dataclass(slots=True)
class Findings:
    """Of one partition, or of many added up."""

    partition: int
    is_candidate: bool = False
    rows: str = "folded from the ledger's beginning"
    entries: int = 0
    decisions: int = 0
    identical: int = 0
    taken: int = 0
    recorded_facts: int = 0
    without_input: int = 0
    first_sequence: int | None = None
    last_sequence: int = -1
    first_difference: dict[str, Any] | None = None
    unlike_entries: int = 0
    begin_us: int = 0
    end_us: int = 0
    live_usd_nano: int = 0
    replayed_usd_nano: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    rules: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    tenants: Counter[tuple[str, str]] = field(default_factory=Counter)
    models: Counter[tuple[str, str]] = field(default_factory=Counter)
    digests: Counter[str] = field(default_factory=Counter)
    examples: dict[tuple[str, str, str], list[dict[str, Any]]] = field(default_factory=dict)
    timeline: dict[int, list[int]] = field(default_factory=dict)
    """By second: calls, those with another verdict, nano-USD estimated before, and after."""

    def saw(self, sequence: int, count: int) -> None:
        """A group of the ledger was read."""
        if self.first_sequence is None:
            self.first_sequence = sequence
        self.last_sequence = sequence + count - 1
        self.entries += count

    def differs_at(self, entry: Audit) -> None:
        """What came out of a group is not what the ledger has."""
        self.unlike_entries += 1
        if self.first_difference is None:
            source = entry.source
            self.first_difference = {
                "partition": self.partition,
                "sequence": entry.sequence,
                "kind": entry.kind,
                "topic": source.topic,
                "offset": source.offset,
            }

    def charged(self, entries: Iterable[Audit]) -> None:
        """What the ledger says calls were charged."""
        self.live_usd_nano += _charges(entries)

    def recharged(self, entries: Iterable[Entry]) -> None:
        """What the replay charged them."""
        self.replayed_usd_nano += _charges(entries)

    def decided(self, call: Decided, opened: str) -> None:
        """One call was decided again."""
        told = call.told
        self.decisions += 1
        self.identical += call.identical
        self.digests[told.data_digest] += 1
        self.begin_us = min(self.begin_us or told.time_us, told.time_us)
        self.end_us = max(self.end_us, told.time_us)
        other = call.before != call.after
        counts = other or call.is_other_edit if self.is_candidate else not call.identical
        self._note_time(call, other=other)
        if not counts:
            return
        change = f"{call.before}->{call.after}"
        self.changes[change] += 1
        policy, rule, code = _responsible(call)
        _count(self.rules, (change, policy, rule))
        _count(self.tenants, (change, told.tenant))
        _count(self.models, (change, call.model))
        examples = self.examples.get((change, policy, rule))
        if examples is None:
            if len(self.examples) >= NAMES_MAX:
                return
            examples = self.examples[change, policy, rule] = []
        if len(examples) < EXAMPLES_MAX:
            examples.append(_example(call, change, (policy, rule, code), opened))

    def _note_time(self, call: Decided, *, other: bool) -> None:
        second = call.told.time_us // 1_000_000
        bucket = self.timeline.get(second)
        if bucket is None:
            if len(self.timeline) >= BUCKETS_MAX:
                return
            bucket = self.timeline[second] = [0, 0, 0, 0]
        bucket[0] += 1
        bucket[1] += other
        if call.before != "deny":
            bucket[2] += call.told.facts.estimated_cost_usd_nano or 0
        if call.made is not None and call.after != "deny":
            bucket[3] += call.made.facts.estimated_cost_usd_nano or 0

    def close(self, rows: Rows | None, turned: Collection[str]) -> None:
        """The ledger is read. A call that would have run instead is held to what it has reserved."""
        if rows is None:
            return
        for key in turned:
            row = rows.get(key)
            if isinstance(row, CallRow) and row.status == "open":
                self.replayed_usd_nano += row.reserved_usd_nano

    def add(self, other: Findings) -> None:
        """Add another partition's."""
        for name in (
            "entries", "decisions", "identical", "taken", "recorded_facts", "without_input",
            "unlike_entries", "live_usd_nano", "replayed_usd_nano",
        ):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("changes", "rules", "tenants", "models", "digests"):
            getattr(self, name).update(getattr(other, name))
        if other.rows.startswith("incomplete"):
            self.rows = f"{other.rows} of partition {other.partition}"
        if other.begin_us:
            self.begin_us = min(self.begin_us or other.begin_us, other.begin_us)
        self.end_us = max(self.end_us, other.end_us)
        self.first_difference = self.first_difference or other.first_difference
        for change, found in other.examples.items():
            mine = self.examples.setdefault(change, [])
            mine.extend(found[: EXAMPLES_MAX - len(mine)])
        for second, bucket in other.timeline.items():
            known = self.timeline.get(second, [0, 0, 0, 0])
            self.timeline[second] = [a + b for a, b in zip(known, bucket, strict=True)]


def _charges(entries: Iterable[Audit | Entry]) -> int:
    """Nano-USD that calls were charged, or given back, by entries of the ledger."""
    return sum(
        effect.amount
        for entry in entries
        for effect in entry.effects
        if effect.row[0] in "cu" and effect.kind in CHARGES
    )


def _responsible(call: Decided) -> tuple[str, str, str]:
    """Policy, rule and code that make the difference: of the stricter of the two decisions."""
    made = call.made or call.told
    stricter = made if STRICTNESS.get(call.after, 0) >= STRICTNESS[call.before] else call.told
    for reason in stricter.reasons:
        return reason.policy, reason.rule, reason.code
    return "", "", ""


def _example(
    call: Decided, change: str, named: tuple[str, str, str], opened: str
) -> dict[str, Any]:
    told, made = call.told, call.made
    return {
        "request_id": told.request_id,
        "tenant": told.tenant,
        "model": call.model,
        "change": change,
        "policy": named[0],
        "rule": named[1],
        "code": named[2],
        "before": [reason.code for reason in told.reasons],
        "after": [] if made is None else [reason.code for reason in made.reasons],
        "estimated_usd": (told.facts.estimated_cost_usd_nano or 0) / 1e9,
        "time_us": told.time_us,
        "partition": told.source.partition,
        "offset": told.source.offset,
        "call": opened,
    }


def _count(counts: Counter[Any], name: tuple[str, ...]) -> None:
    if name in counts or len(counts) < NAMES_MAX:
        counts[name] += 1
