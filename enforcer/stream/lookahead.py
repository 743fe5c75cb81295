"""Requests at the head of a queue, read and scanned together before the first of them is decided."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.broker.ports import Record
    from enforcer.engine.ahead import Ahead, Foresight
    from enforcer.policy import TenantProgram
    from enforcer.stream.inputs import Inputs
    from enforcer.stream.poison import Care

REQUESTS_MAX: Final = 32
"""Requests that are read and scanned together."""
REQUEST_BYTES_MAX: Final = 32 * 1024
"""A larger one is read at its turn: more of them together would hold the loop up."""


class LookAhead:
    """What was foreseen of the next requests of one partition, until their turn comes."""

    __slots__ = ("_foresight", "_found", "_program_of")

    def __init__(self, foresight: Foresight, program_of: Callable[[str], TenantProgram]) -> None:
        self._foresight = foresight
        self._program_of = program_of
        self._found: dict[int, Ahead | None] = {}

    def of(self, record: Record, inputs: Inputs, care: Care, *, now_us: int) -> Ahead | None:
        """
        What was foreseen of a request. If nothing was: of it now, and of those behind it.

        Args:
            record: The request whose turn it is.
            inputs: Where those behind it wait.
            care: Where a death is looked for, no record is touched before its turn.
            now_us: Event time.
        """
        offset, found = record.offset, self._found
        if offset in found:
            return found.pop(offset)
        behind = inputs.requests.records
        if not behind or care.limit(REQUESTS_MAX) < REQUESTS_MAX:
            return None
        records = [record, *islice(behind, REQUESTS_MAX - 1)]
        values = [r.value if len(r.value or b"") <= REQUEST_BYTES_MAX else None for r in records]
        aheads = self._foresight.look_ahead(self._program_of, values, now_us)
        self._found = {r.offset: ahead for r, ahead in zip(records, aheads, strict=True)}
        return self._found.pop(offset)
