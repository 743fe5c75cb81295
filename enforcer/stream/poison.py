"""
Poison: a record that stops whoever takes it, and how one such record is found without a witness.

A Python exception names its record at once. A death of the process cannot, so the position row counts: every
start of an agent adds one to ``starts``, and a commit that moves the position takes it back to nothing. Kills at
random move the position between them; only a record that kills holds it where it is.

==========  =================  =====================================================================
starts      at most in one     and then
            commit
==========  =================  =====================================================================
1, 2        as configured      the first commit that moves the position ends the count
3           20, for the next   the position comes within 20 records of the one that kills
            20,000 records
4 and more  1, for the next    each record is first committed as ``trying``, by itself, while no
            20 records         other agent of the process decides: a death now has a name
==========  =================  =====================================================================

A planned stop takes an ordinary start back. A record found ``trying`` three times is denied ``internal_error``, unread, and dead-lettered. An agent that takes
over from itself (a failed commit) has not died: it counts neither as a start nor as a trial.

``trying`` is one number in the row: a request's offset, or the complement (below zero) of a usage record's.
"""

from __future__ import annotations

import asyncio
from typing import Final

from enforcer.errors import EnforcerError, RequestError
from enforcer.stream.inputs import REQUESTS

CAREFUL_STARTS: Final = 3
CAREFUL_RECORDS: Final = 20_000
CAREFUL_COMMIT_RECORDS: Final = 20
TRIALS_MAX: Final = 3

Place = tuple[str, int]
"""An input and an offset in it."""


class PoisonError(Exception):
    """An exception that a record raised in the engine: its place, and the exception's name."""

    def __init__(self, place: Place, error: str) -> None:
        super().__init__(f"{place[0]} {place[1]}: {error}")
        self.place = place
        self.error = error


def named(place: Place, error: Exception) -> Exception:
    """What an exception of the engine means: the record's fault, unless the agent's own state is at fault."""
    if isinstance(error, EnforcerError) and not isinstance(error, RequestError):
        return error
    return PoisonError(place, type(error).__name__)


def encode(place: Place) -> int:
    """A place as the position row holds it."""
    name, offset = place
    return offset if name == REQUESTS else ~offset


class Care:
    """
    How many records may go into a commit, and which one is on trial.

    ``trying`` and ``trying_count`` are what the next position row says; ``trial`` what the last committed one said.
    """

    __slots__ = (
        "_careful_left",
        "_condemned",
        "_counts",
        "_found",
        "_single_left",
        "starts",
        "trial",
        "trying",
        "trying_count",
    )

    def __init__(
        self, *, starts: int, trying: int | None, trying_count: int, counts: bool = True
    ) -> None:
        """
        Begin from what the position row says.

        Args:
            starts: At this position, this one included.
            trying: The record that the last owner had on trial when it ended.
            trying_count: How often it had been.
            counts: Whether this is a start. False: the agent takes over from itself.
        """
        self.starts = starts
        self.trying: int | None = None
        self.trying_count = 0
        self.trial: int | None = None
        self._counts = counts
        self._found = (trying, trying_count)
        self._condemned = trying if trying is not None and trying_count >= TRIALS_MAX else None
        self._careful_left = CAREFUL_RECORDS if starts >= CAREFUL_STARTS else 0
        self._single_left = CAREFUL_COMMIT_RECORDS if starts > CAREFUL_STARTS else 0

    @property
    def is_single(self) -> bool:
        """Whether records are tried one by one."""
        return self._single_left > 0

    def limit(self, records_max: int) -> int:
        """How many records may be told and not committed."""
        if self._single_left:
            return 1
        return min(records_max, CAREFUL_COMMIT_RECORDS) if self._careful_left else records_max

    def is_condemned(self, place: Place) -> bool:
        """Whether the record was found on trial too often."""
        return self._condemned is not None and self._condemned == encode(place)

    def may_take(self, place: Place) -> bool:
        """Whether the record may be taken now. If not, ``try_next`` and a commit come first."""
        return not self._single_left or self.trial == encode(place) or self.is_condemned(place)

    def try_next(self, place: Place) -> None:
        """Let the next commit say that this record is on trial."""
        code = encode(place)
        found, count = self._found
        self.trying = code
        self.trying_count = count + (1 if self._counts else 0) if found == code else 1

    def took(self, records: int) -> None:
        """*records* were taken and are in the open interval."""
        self._single_left = max(0, self._single_left - records)
        self._careful_left = max(0, self._careful_left - records)
        self.trying, self.trying_count, self.trial = None, 0, None

    def forgive(self) -> bool:
        """Take an ordinary start back. False if there is none to take back: a search for poison goes on."""
        if not 0 < self.starts < CAREFUL_STARTS:
            return False
        self.starts = 0
        return True

    def starts_after(self, *, moved: bool) -> int:
        """What the next position row says of starts. *moved*: it holds records that the last one did not."""
        if moved and not self._careful_left:
            return 0
        return CAREFUL_STARTS if moved and not self._single_left else self.starts

    def committed(self, starts: int, trying: int | None) -> None:
        """The position row with these was committed."""
        self.starts = starts
        self.trial = trying
        if trying is not None:
            self.trying = None


class Trial:
    """One record of the whole process is on trial at a time, and nothing else is decided meanwhile."""

    __slots__ = ("_free", "_holder")

    def __init__(self) -> None:
        self._holder: int | None = None
        self._free = asyncio.Event()
        self._free.set()

    def bars(self, partition: int) -> bool:
        """Whether another partition's record is on trial."""
        return self._holder is not None and self._holder != partition

    async def wait(self, partition: int) -> None:
        """Return when no other partition's record is on trial."""
        while self.bars(partition):
            await self._free.wait()

    def begin(self, partition: int) -> bool:
        """Begin *partition*'s trial; False if another's is under way."""
        if self.bars(partition):
            return False
        self._holder = partition
        self._free.clear()
        return True

    def end(self, partition: int) -> None:
        """End it; one that is not under way is none to end."""
        if self._holder == partition:
            self._holder = None
            self._free.set()
