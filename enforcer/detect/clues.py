r"""
Clues: small patterns that have to match for a kind to be in a text.

The automaton of a hundred patterns does not fit a processor's cache: between the steps of a decision a scan with it
costs several times what it costs alone. That of the clues does, for prose visits few of its states. Only the
patterns behind the clues that a text gives are looked for in it, each clue's in a set of their own.

A clue is necessary: wherever a recogniser finds anything, one of its clues is. The converse does not hold, and need
not. ``tests/unit/detect/test_detect_clues.py`` holds every kind to it.
"""

from __future__ import annotations

NONE = 0
"""No clue: the patterns are as cheap as a clue, and stand beside them."""

SIX_DIGITS, CODE, CAPITALS, YEAR, FILE, PLATE, OCTETS, WALLET, TOKEN, LOGIN, DIGIT = (
    1 << at for at in range(11)
)
NUMBER = SIX_DIGITS | CODE | CAPITALS
"""What authorities, banks and others number people with."""
RECORD = YEAR | FILE
"""Dates of birth, and files of patients: one set for both."""

_BETWEEN = rb"[A-Z .\-/()+]{0,5}"
_HEX = rb"[0-9A-Fa-f]"

PATTERNS: dict[int, bytes] = {
    # Digits of one number stand close together: capitals and separators may be between them, words may not.
    SIX_DIGITS: rb"\d(?:" + _BETWEEN + rb"\d){5}",
    # A capital before digits: what has fewer than six of them.
    CODE: rb"[A-Z]\d{4}|[A-Z]\d{2,4}[\- ]\d|\d[A-Z][A-Z0-9]\d-?[A-Z]",
    CAPITALS: rb"[A-Z0-9]{8}",
    # The parts of a date: in numbers, or a year behind a word or a day.
    YEAR: rb"\d[/.\-]\d{1,2}[/.\-]\d|\d\. \d{1,2}\. \d|(?:19|20)\d{6}|[^\d\s][.,]{0,2}[ \-](?:del? )?\d{4}|\d[^\d\s]{0,3},? \d{4}|\d(?:\xe5\xb9\xb4|\xeb\x85\x84)",
    # The file number of a patient.
    FILE: rb"\d{5}|\d{2}-\d{2}",
    PLATE: rb"[A-Z][ \-]?\d|\d[ \-]?[A-Z]",
    OCTETS: rb"::|(?:" + _HEX + rb"{1,4}:){3}|(?:" + _HEX + rb"{2}-){3}|(?:" + _HEX + rb"{4}\.){2}",
    WALLET: rb"[0-9A-Za-z]{26}",
    TOKEN: rb"[A-Za-z0-9_\-./%:+~$=]{16}",
    LOGIN: rb"://[^\s/@]*:[^\s/@]*@",
    DIGIT: rb"\d",
}


def bits(mask: int) -> list[int]:
    """The clues of a mask, one by one."""
    return [clue for clue in PATTERNS if clue & mask]
