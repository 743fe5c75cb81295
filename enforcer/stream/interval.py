"""What an agent has told and not yet committed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from enforcer.broker.ports import Outgoing
    from enforcer.events import PositionRow
    from enforcer.stream.rows import Changes


@dataclass(slots=True)
class Interval:
    """The events between two cuts: their verdicts' acknowledgements, ledger records and dead letters."""

    started_s: float
    events: int = 0
    bytes: int = 0
    """Of ledger records and dead letters: a transaction must fit into its producer's queue."""
    acks: list[tuple[Awaitable[int], int]] = field(default_factory=list)
    """Acknowledgement of a slice's verdicts (the offset of the first) and how many they are."""
    audit: list[Outgoing] = field(default_factory=list)
    dead_letters: list[Outgoing] = field(default_factory=list)
    words: dict[int, list[Outgoing]] = field(default_factory=dict)
    """What is said to other agents (``leases``), by partition."""

    def add_audit(self, record: Outgoing) -> None:
        """A record of the ledger."""
        self.audit.append(record)
        self.bytes += len(record[1] or b"")

    def add_word(self, to: int, record: Outgoing) -> None:
        """A record of ``leases`` for the agent of partition *to*."""
        self.words.setdefault(to, []).append(record)
        self.bytes += len(record[1] or b"")

    def add_dead_letter(self, record: Outgoing) -> None:
        """Input set aside."""
        self.dead_letters.append(record)
        self.bytes += len(record[1] or b"")


@dataclass(slots=True)
class Cut:
    """An interval that is closed: everything one commit writes."""

    interval: Interval
    changes: Changes
    position: PositionRow
    keep_tail_start: bool
    """True while verdicts of the tail are not all redone: the tail start must not pass them."""
    swept: list[bytes]
    """Keys of ended rows of ``calls``, and of lists, to be deleted from the table alone."""
    due: list[tuple[int, str]] = field(default_factory=list)
    """What was opened or renewed and is open still: microseconds of event time, and row key."""
    tells_group: bool = True
    """Whether the group's offsets, for lag tools, go with it."""
