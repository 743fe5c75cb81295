"""
What a recogniser is, and what all of them share: boundaries, context words, RE2 settings.

Recognisers work on the UTF-8 bytes of a text, so that a text is encoded once for all of them; the
scanner turns byte offsets into code points at the end. A byte above 0x7F is never part of a
number, and counts as a boundary: digits beside Chinese or Arabic letters are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import re2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


@dataclass(frozen=True, slots=True)
class Recogniser:
    """
    How one kind is found.

    Attributes:
        kind: Its name in policies.
        patterns: RE2 patterns for the set: one of them matches wherever the kind can be.
        find: The exact work: every candidate in the text, from left to right.
        rank: Which finding stands where two overlap: the higher.
    """

    kind: str
    patterns: tuple[bytes, ...]
    find: Callable[[bytes], Iterator[Candidate]]
    rank: int


def options() -> re2.Options:
    """RE2 settings of every pattern: bounded memory, no logging."""
    made = re2.Options()
    made.max_mem = 64 << 20
    made.log_errors = False
    return made


def pattern(source: bytes) -> re2._Regexp:
    """A compiled RE2 pattern over bytes of UTF-8."""
    return re2.compile(source, options())


def word_before(data: bytes, start: int) -> bool:
    """Whether an ASCII letter, digit or underscore stands right before *start*."""
    return start > 0 and data[start - 1] in _WORD


def word_after(data: bytes, end: int) -> bool:
    """Whether an ASCII letter, digit or underscore stands right at *end*."""
    return end < len(data) and data[end] in _WORD


def digit_at(data: bytes, index: int) -> bool:
    """Whether an ASCII digit stands at *index*; False outside the text."""
    return 0 <= index < len(data) and data[index] in _DIGITS


class Context:
    """Words whose presence near a candidate says what it is."""

    __slots__ = ("_words",)

    def __init__(self, words: bytes) -> None:
        self._words = pattern(rb"(?i)" + words)

    def before(self, data: bytes, start: int) -> bool:
        """Whether a word stands in the bytes before *start*."""
        window = data[max(0, start - CONTEXT_BYTES_BEFORE) : start]
        return self._words.search(window) is not None

    def around(self, data: bytes, start: int, end: int) -> bool:
        """Whether a word stands in the bytes before *start* or after *end*."""
        return self.before(data, start) or (
            self._words.search(data[end : end + CONTEXT_BYTES_AFTER]) is not None
        )
