"""The tail of ``decisions``: verdicts that were told, and whose input is not yet in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from enforcer import events

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.broker.ports import Record


@dataclass(frozen=True, slots=True)
class Told:
    """A verdict as it was told: its decision, its exact bytes, and the positions it was decided at."""

    offset: int
    usage_offset: int
    decision: events.Decision
    value: bytes
    lease_offset: int = 0

    @property
    def is_refusal(self) -> bool:
        """Whether the request was denied unread. Redone it is not read either, and its dead letter is written."""
        codes = [reason.code for reason in self.decision.reasons[:1]]
        is_opened = any(effect.kind == "open" for effect in self.decision.effects)
        return codes == ["internal_error"] and not is_opened


def read_tail(records: Iterable[Record], *, request_offset: int) -> dict[int, Told]:
    """
    First verdict per input offset, of those not yet in the ledger.

    Args:
        records: ``decisions`` of one partition from the tail start to the claim.
        request_offset: The position row's: inputs below it are in the ledger already.

    A verdict repeated for a call that is redelivered carries the offset of its first input, which is below the
    position, and so falls out here. What cannot be decoded was written by nobody we know and is passed over.
    """
    told: dict[int, Told] = {}
    for record in records:
        if record.value is None:
            continue
        try:
            decision = events.read_decision(record.value)
        except events.CodecError:
            continue
        if isinstance(decision, events.Claim):
            continue
        source = decision.source
        if source.offset >= request_offset and source.partition == record.partition:
            told.setdefault(
                source.offset,
                Told(
                    source.offset,
                    source.usage_offset,
                    decision,
                    record.value,
                    source.lease_offset,
                ),
            )
    return told
