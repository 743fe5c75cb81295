"""Regular expressions: RE2, linear in the text whatever the pattern."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import re2

from enforcer.cel.errors import EvaluationError
from enforcer.cel.registry import declare

if TYPE_CHECKING:
    from collections.abc import Callable

PATTERN_CHARACTERS_MAX: Final = 4_096
MEMORY_BYTES_MAX: Final = 8 * 1024 * 1024


@lru_cache(maxsize=4_096)
def searcher(pattern: str) -> Callable[[str], bool]:
    """
    A function that tells whether *pattern* is found anywhere in a text.

    Raises: EvaluationError, for what RE2 refuses: look-around, back-references, too large.
    """
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise EvaluationError(
            "invalid_argument", f"the pattern has more than {PATTERN_CHARACTERS_MAX} characters"
        )
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY_BYTES_MAX
    try:
        search = re2.compile(pattern, options=options).search
    except (re2.error, UnicodeError) as error:
        raise EvaluationError(
            "invalid_argument", f"RE2 refuses the pattern: {_said(error)}"
        ) from None

    def found(text: str) -> bool:
        try:
            return search(text) is not None
        except UnicodeError:
            raise EvaluationError("invalid_argument", "a string is not valid Unicode") from None

    return found


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


@declare("string:matches(string) -> bool", "matches(string, string) -> bool")
def _matches(text: str, pattern: str) -> bool:
    return searcher(pattern)(text)
