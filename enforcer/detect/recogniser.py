"""
What a recogniser is, and what all of them share: boundaries, context words, RE2 settings.

Recognisers work on the UTF-8 bytes of a text, so that a text is encoded once for all of them; the
scanner turns byte offsets into code points at the end. A byte above 0x7F is never part of a
number, and counts as a boundary: digits beside Chinese or Arabic letters are found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import re2

from enforcer.detect import clues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CONTEXT_BYTES_BEFORE = 48
CONTEXT_BYTES_AFTER = 24

_WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_DIGITS = frozenset(b"0123456789")


class Candidate(NamedTuple):
    """A place in the bytes that holds a kind: start, end, confidence and its reason."""

    start: int
    end: int
    confidence: float
    reason: str


PROVEN = "check digit, context word"
"""A reason that says more than any kind's rank: a number that its own word names and its digits prove."""


class TooManyPlacesError(Exception):
    """
    There is more to look at than a scan may: the kind is truncated, and the text counts as holding it.

    Raised by recognisers whose work at a place is dear and whose places can be many.
    """


class Family(Protocol):
    """
    Kinds that are looked for together, in one pass over the text.

    Identity is what tells families apart: an instance is hashed as an object.
    """

    clue: int
    """As a recogniser's."""

    def plan(self, members: tuple[Recogniser, ...], at: float) -> Plan:
        """How *members* are looked for; what is less sure than *at* may be left out."""


class Plan(Protocol):
    """Some members of a family, ready to be looked for."""

    @property
    def patterns(self) -> Sequence[bytes]:
        """RE2 patterns for the set: one of them matches wherever one of the members can be."""

    def find(self, data: bytes) -> Iterator[tuple[Recogniser, Candidate] | None]:
        """Every candidate of the members; a None says that there is too much to look at, and ends."""


def nothing(data: bytes) -> Iterator[Candidate]:
    """What a member of a family finds by itself: nothing, its family looks for it."""
    del data
    yield from ()


@dataclass(frozen=True, slots=True, eq=False)
class Recogniser:
    """
    How one kind is found. Each is itself alone: tables by recogniser are asked at every scan.

    Attributes:
        kind: Its name in policies.
        patterns: RE2 patterns for the set: one of them matches wherever the kind can be.
        find: The exact work: every candidate in the text, from left to right.
        rank: Which finding stands where two overlap: the higher.
        detector: ``pii`` or ``secrets``; overlaps are resolved within one.
        family: Looks for this kind together with others, in place of ``patterns`` and ``find``.
        clue: Of ``clues``: one of them is in every text in which this finds anything; NONE says nothing.
        holds_others: Other kinds may be inside: it stands beside what overlaps it, and hides nothing.
    """

    kind: str
    patterns: tuple[bytes, ...]
    find: Callable[[bytes], Iterator[Candidate]]
    rank: int
    family: Family | None = None
    detector: str = "pii"
    clue: int = clues.NONE
    holds_others: bool = False


def options() -> re2.Options:
    """RE2 settings of every pattern: bounded memory, no logging."""
    made = re2.Options()
    made.max_mem = 64 << 20
    made.log_errors = False
    return made


_BYTE_ESCAPE = re.compile(rb"\\x([89a-f][0-9a-f])")


def utf8(source: bytes) -> bytes:
    """
    A pattern with its escaped bytes above 0x7F as those bytes.

    Sources are raw literals, in which a letter beyond ASCII is written as the bytes of its UTF-8
    (a bytes literal takes no other); RE2 would read each escape as a code point of its own.
    """
    return _BYTE_ESCAPE.sub(lambda match: bytes([int(match.group(1), 16)]), source)


def pattern(source: bytes) -> re2._Regexp:
    """A compiled RE2 pattern over bytes of UTF-8."""
    return re2.compile(utf8(source), options())


_UNANCHORED = re2._re2.RE2.Anchor.UNANCHORED  # noqa: SLF001 — see ``spans``
_NOWHERE = (-1, -1)


def spans(compiled: re2._Regexp, data: bytes) -> Iterator[tuple[int, int]]:
    """
    Where a pattern matches, from left to right; no pattern that matches nothing at all.

    RE2 itself is asked: the objects that ``finditer`` makes of its answers take as long as the search.
    """
    match = compiled._regexp.Match  # noqa: SLF001 — the same call as the package's own
    at, end = 0, len(data)
    while at < end:
        span = match(_UNANCHORED, data, at, end)[0]
        if span == _NOWHERE:
            return
        yield span
        at = span[1]


def word_before(data: bytes, start: int) -> bool:
    """Whether an ASCII letter, digit or underscore stands right before *start*."""
    return start > 0 and data[start - 1] in _WORD


def word_after(data: bytes, end: int) -> bool:
    """Whether an ASCII letter, digit or underscore stands right at *end*."""
    return end < len(data) and data[end] in _WORD


def digit_at(data: bytes, index: int) -> bool:
    """Whether an ASCII digit stands at *index*; False outside the text."""
    return 0 <= index < len(data) and data[index] in _DIGITS


class Words:
    """
    Patterns asked for in short windows around candidates: which of them are there.

    A set of RE2 answers in half a microsecond, a fifth of a search with its match object. The
    windows are short, so a set that ran out of memory is no case: its automaton is tiny.
    """

    __slots__ = ("_match",)

    def __init__(self, *patterns: bytes, whole: bool = False) -> None:
        made = re2.Set.FullMatchSet(options()) if whole else re2.Set.SearchSet(options())
        for source in patterns:
            made.Add(b"(?i)" + utf8(source))
        made.Compile()
        # The package's own set under its wrapper: what that adds is a check for str, at every call.
        self._match: Callable[[bytes], list[int]] = made._set.Match  # noqa: SLF001 — see above

    def of(self, value: bytes) -> Sequence[int]:
        """Indexes of the patterns found, in no particular order."""
        return self._match(value)

    def before(self, data: bytes, start: int) -> Sequence[int]:
        """Those found in the bytes before *start*."""
        return self._match(data[max(0, start - CONTEXT_BYTES_BEFORE) : start])

    def after(self, data: bytes, end: int) -> Sequence[int]:
        """Those found in the bytes after *end*."""
        return self._match(data[end : end + CONTEXT_BYTES_AFTER])

    def around(self, data: bytes, start: int, end: int) -> bool:
        """Whether any stands before *start* or after *end*."""
        return bool(self.before(data, start) or self.after(data, end))
