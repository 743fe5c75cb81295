"""
What one tenant's shared budget came to, from the ledgers and the words of its agents. Pure: values in, figures out.

Nothing of the code under measurement is used but the readers of records: what was used is added up from the effects that
the ledgers name, what was lent from the owner's entries, and both are put in one order by event time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from enforcer import events
from enforcer.bench.figures import percentile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from enforcer.broker.ports import Record

SECOND_US: Final = 1_000_000
PENDING: Final = "lease_pending"
EXCEEDED: Final = "budget_exceeded"


class Event(NamedTuple):
    """
    One entry of a ledger, as far as the budget is concerned.

    Attributes:
        time_us: Event time.
        partition: Whose ledger it is of.
        used: By how much what is spent and reserved changed, in nano-USD.
        code: The first reason of a denial; "" for an admission, None for what is no decision.
        need: What the call would have reserved, or did.
        lent: What each holder was lent and has not repaid, where the owner says so.
        is_short: The owner said that nothing is left.
    """

    time_us: int
    partition: int
    used: int = 0
    code: str | None = None
    need: int = 0
    lent: tuple[int, int] | None = None
    is_short: bool = False


def read_ledger(partition: int, records: Iterable[Record], row: str) -> list[Event]:
    """The events of one partition's ledger. *row*: the budget's."""
    lent_row, found = "g/" + row[2:], []
    granted: Counter[int] = Counter()
    repaid: dict[int, int] = defaultdict(int)
    for record in records:
        entry = events.decode_audit(record.value or b"")
        effects: Sequence[events.Effect] = entry.effects
        if entry.kind == "lease":
            for effect in effects:
                if effect.row != lent_row or effect.kind == "recall":
                    continue
                holder = effect.limit
                if effect.kind == "lend":
                    granted[holder] += effect.amount
                else:
                    repaid[holder] = max(repaid[holder], effect.amount)
                lent = (holder, granted[holder] - repaid[holder])
                is_short = "short" in entry.notes
                found.append(Event(entry.time_us, partition, lent=lent, is_short=is_short))
            continue
        code, need = None, 0
        if entry.kind == "decision":
            told = events.read_decision(entry.payload)
            assert isinstance(told, events.Decision)
            effects = told.effects
            code = told.reasons[0].code if told.verdict == "deny" and told.reasons else ""
            need = next((e.amount for e in effects if e.kind == "open"), 0)
        used = sum(_used(effect) for effect in effects if effect.row == row)
        if used or code is not None:
            found.append(Event(entry.time_us, partition, used, code, need))
    return found


def _used(effect: events.Effect) -> int:
    if effect.kind in {"reserve", "charge"}:
        return effect.amount
    return -effect.amount if effect.kind in {"release", "expire"} else 0


@dataclass(slots=True)
class Second:
    """What happened in one second of event time; sums are those at its end."""

    calls: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    used: int = 0
    lent: int = 0


@dataclass(slots=True)
class Course:
    """All ledgers together, in the order of their time."""

    limit: int
    seconds: dict[int, Second] = field(default_factory=dict)
    used_peak: int = 0
    lent_peak: int = 0
    short_us: int | None = None
    """When the owner first said that nothing was left."""
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    """Decisions by code, before and after that."""
    stranded: list[float] = field(default_factory=list)
    """Share of the limit that was not used, at each denial that was for good."""
    demand: Counter[int] = field(default_factory=Counter)
    """What all calls together would have reserved, by partition."""


def course_of(ledgers: Iterable[Sequence[Event]], limit: int) -> Course:
    """Put *ledgers* in one order and add them up."""
    course = Course(limit)
    used, lent = 0, Counter[int]()
    for event in sorted((e for ledger in ledgers for e in ledger), key=lambda e: e.time_us):
        second = course.seconds.setdefault(event.time_us // SECOND_US, Second())
        used += event.used
        if event.lent is not None:
            holder, amount = event.lent
            lent[holder] = amount
        if event.is_short and course.short_us is None:
            course.short_us = event.time_us
        course.used_peak = max(course.used_peak, used)
        course.lent_peak = max(course.lent_peak, lent.total())
        if event.code is not None:
            second.calls += 1
            second.codes[event.code] += 1
            (course.before if course.short_us is None else course.after)[event.code] += 1
            course.demand[event.partition] += event.need
            if event.code == EXCEEDED:
                course.stranded.append(1 - used / limit)
        second.used, second.lent = used, lent.total()
    return course


def static_stranded_share(demand: Mapping[int, int], limit: int, partitions: int) -> float:
    """What would be left of the limit, had each partition an equal part of it and the same calls."""
    part = limit // partitions
    return 1 - sum(min(demand.get(p, 0), part) for p in range(partitions)) / limit


def word_figures(records: Sequence[Record], row: str) -> dict[str, Any]:
    """How many words there were of each kind, and milliseconds from a request's record to its grant's."""
    asked: dict[tuple[int, int], int] = {}
    kinds, waits = Counter[str](), []
    for record in sorted(records, key=lambda r: r.timestamp):
        said = events.decode_lease(record.value or b"")
        if said.row != row:
            continue
        kinds[said.kind] += 1
        place = (said.holder, said.sequence)
        if said.kind == "request":
            asked[place] = record.timestamp
        elif said.kind == "grant" and place in asked:
            waits.append(record.timestamp - asked.pop(place))
    ordered = sorted(waits) or [0]
    return {
        "words": dict(kinds),
        "grant_p50_ms": percentile(ordered, 0.5),
        "grant_p99_ms": percentile(ordered, 0.99),
    }


def share(codes: Mapping[str, int], code: str) -> float:
    """Of all decisions counted, those of *code*."""
    return codes.get(code, 0) / max(1, sum(codes.values()))
