"""What goes into the engine and what comes out: values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from enforcer import events

if TYPE_CHECKING:
    from enforcer.engine.ahead import Ahead
    from enforcer.engine.leasing import Want


class Arrival(NamedTuple):
    """
    One input record, and where and when it was taken.

    Attributes:
        key: The record's key; None where there is no topic (``eval``), then nothing is misrouted.
        value: Its bytes; None is a tombstone, which no input may hold.
        source: Its place in both inputs and the policy topic, and its lateness.
        now_us: Event time of the partition: the largest record time so far.
        record_us: The record's own time; deadlines count from it.
        partitions: Partitions of the topic; 0 where there is no topic.
        is_stale: Whether the policies in force may not be the newest, for longer than is borne.
        ahead: What was foreseen of it, if anything was.
    """

    key: bytes | None
    value: bytes | None
    source: events.Source
    now_us: int
    record_us: int
    partitions: int = 0
    is_stale: bool = False
    ahead: Ahead | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One audit record to come. *effects* are empty for a decision, which carries its own."""

    kind: str
    account: str
    payload: bytes
    notes: tuple[str, ...] = ()
    effects: tuple[events.Effect, ...] = ()
    place: bytes = b""
    """Account, time and source as the chain's records have them, where they are encoded already."""


@dataclass(slots=True)
class Outcome:
    """
    What one record leads to. Its effects are applied to the rows already.

    Attributes:
        value: The decision to tell, encoded; None where there is nobody to tell.
        told: The same as a record, where there is one.
        verdict: Of the decision; "" where none was made: a redelivery's first verdict is told again.
        entries: For the ledger, in order: expiries, the decision, settlements.
        dead_letter: The input, when it could not be taken.
        bypass: What the gateway did without a verdict, when a usage report says so.
        overrun_usd_nano: What settlements cost above their reservations.
        wants: The slices of tenants' budgets that a decision has read.
    """

    value: bytes | None = None
    told: events.Decision | None = None
    entries: list[Entry] = field(default_factory=list)
    dead_letter: events.DeadLetter | None = None
    bypass: str | None = None
    overrun_usd_nano: int = 0
    verdict: str = ""
    wants: list[Want] = field(default_factory=list)

    @property
    def decision(self) -> events.Decision | None:
        """The decision as a record, read from its bytes if need be; None for a redelivery."""
        if self.told is None and self.verdict and self.value is not None:
            self.told = events.decode_decision(self.value)
        return self.told
