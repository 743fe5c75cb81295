"""Regular expressions: RE2, linear in the text whatever the pattern."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import re2

if TYPE_CHECKING:
    from collections.abc import Callable

PATTERN_CHARACTERS_MAX = 4_096
MEMORY_BYTES_MAX = 8 * 1024 * 1024
# A set of one answers twice as fast as search(), which works out where the match stands. But a set has no
# slower way out when its automaton does not fit its memory, so only small programs take it.
_SET_INSTRUCTIONS_MAX = 1_000


_SIGNIFICANT: Final = frozenset("\\.+*?()|[]{}^$")


class RegexError(ValueError):
    """A pattern that RE2 refuses; the message is RE2's."""


class Literal(Enum):
    """Where a pattern that stands for one text is looked for."""

    ANYWHERE = "anywhere"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    WHOLE = "whole"


def literal_of(pattern: str) -> tuple[str, Literal] | None:
    """The text that *pattern* stands for, and where; None of a pattern that stands for several."""
    begins, ends = pattern.startswith("^"), pattern.endswith("$") and not pattern.endswith("\\$")
    text = pattern[begins : len(pattern) - ends]
    if not _SIGNIFICANT.isdisjoint(text):
        return None
    if begins:
        return text, Literal.WHOLE if ends else Literal.PREFIX
    return text, Literal.SUFFIX if ends else Literal.ANYWHERE


@lru_cache(maxsize=4_096)
def compile_search(pattern: str) -> Callable[[str], bool]:
    """
    A function that tells whether *pattern* is found anywhere in a text.

    Raises: RegexError, for what is no RE2 (look-around, back-references) or does not fit its memory.
    """
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise RegexError(f"the pattern has more than {PATTERN_CHARACTERS_MAX} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY_BYTES_MAX
    try:
        compiled = re2.compile(pattern, options=options)
    except (re2.error, UnicodeError) as error:
        raise RegexError(_said(error)) from None
    if compiled.programsize <= _SET_INSTRUCTIONS_MAX:
        patterns = re2.Set.SearchSet(options)
        patterns.Add(pattern)
        patterns.Compile()
        match = patterns.Match
        return lambda text: bool(match(text))
    search = compiled.search
    return lambda text: search(text) is not None


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
