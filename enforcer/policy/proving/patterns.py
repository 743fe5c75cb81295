"""Regular expressions of RE2, as languages of the solver: those without flags, boundaries and back references."""

from __future__ import annotations

from re import _constants as codes  # type: ignore[attr-defined]  # The parser's own names, since 3.11.
from re import _parser as parser  # type: ignore[attr-defined]  # As above.
from typing import Any, Final

import z3

_REPEAT_MAX: Final = 1_000
_CHARACTER_MAX: Final = 0x2FFFF
"""The solver's largest character."""


class UnknownPatternError(ValueError):
    """The pattern has something that no language here stands for."""


def language(pattern: str) -> z3.ReRef:
    """
    The texts in which *pattern* is found, as RE2 finds it.

    Raises: UnknownPatternError.
    """
    if "(?" in pattern.replace("(?:", "") or "\\b" in pattern or "\\p" in pattern:
        raise UnknownPatternError(pattern)
    try:
        tree = parser.parse(pattern)
    except Exception as error:
        raise UnknownPatternError(pattern) from error
    branches = _branches(list(tree))
    found = [_anchored(branch) for branch in branches]
    return z3.Union(*found) if len(found) > 1 else found[0]


def _branches(items: list[Any]) -> list[list[Any]]:
    if len(items) == 1 and items[0][0] is codes.BRANCH:
        return [list(branch) for branch in items[0][1][1]]
    return [items]


def _anchored(items: list[Any]) -> z3.ReRef:
    anything = z3.Star(_any(with_newline=True))
    parts: list[z3.ReRef] = []
    if items and items[0] == (codes.AT, codes.AT_BEGINNING):
        items = items[1:]
    else:
        parts.append(anything)
    ends = bool(items) and items[-1] == (codes.AT, codes.AT_END)
    parts.extend(_item(item) for item in (items[:-1] if ends else items))
    if not ends:
        parts.append(anything)
    return _sequence(parts)


def _sequence(parts: list[z3.ReRef]) -> z3.ReRef:
    if not parts:
        return z3.Re("")
    return z3.Concat(*parts) if len(parts) > 1 else parts[0]


def _any(*, with_newline: bool) -> z3.ReRef:
    if with_newline:
        return z3.Range(chr(0), chr(_CHARACTER_MAX))
    return z3.Union(z3.Range(chr(0), chr(9)), z3.Range(chr(11), chr(_CHARACTER_MAX)))


def _item(item: Any) -> z3.ReRef:
    code, given = item
    if code is codes.LITERAL:
        return z3.Re(_character(given))
    if code is codes.ANY:
        return _any(with_newline=False)
    if code is codes.NOT_LITERAL:
        return _without([z3.Re(_character(given))])
    if code is codes.IN:
        return _class(list(given))
    if code is codes.BRANCH:
        found = [_sequence([_item(each) for each in branch]) for branch in given[1]]
        return z3.Union(*found) if len(found) > 1 else found[0]
    if code is codes.SUBPATTERN:
        return _sequence([_item(each) for each in given[-1]])
    if code in {codes.MAX_REPEAT, codes.MIN_REPEAT}:
        return _repeat(*given)
    raise UnknownPatternError(str(code))


def _repeat(least: int, most: int, of: Any) -> z3.ReRef:
    inner = _sequence([_item(each) for each in of])
    if most is codes.MAXREPEAT:
        rest = z3.Star(inner)
        return rest if not least else z3.Concat(*([inner] * least), rest)
    if most > _REPEAT_MAX:
        raise UnknownPatternError("a repetition is too long")
    if most == 0:
        return z3.Re("")
    return z3.Loop(inner, least, most)


_CATEGORIES: Final = {
    codes.CATEGORY_DIGIT: (("0", "9"),),
    codes.CATEGORY_WORD: (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z")),
    codes.CATEGORY_SPACE: (("\t", "\n"), ("\f", "\r"), (" ", " ")),
}
_CONTRARY: Final = {
    codes.CATEGORY_NOT_DIGIT: codes.CATEGORY_DIGIT,
    codes.CATEGORY_NOT_WORD: codes.CATEGORY_WORD,
    codes.CATEGORY_NOT_SPACE: codes.CATEGORY_SPACE,
}


def _class(items: list[Any]) -> z3.ReRef:
    is_negated = bool(items) and items[0][0] is codes.NEGATE
    found = [_member(item) for item in (items[1:] if is_negated else items)]
    if is_negated:
        return _without(found)
    return z3.Union(*found) if len(found) > 1 else found[0]


def _member(item: Any) -> z3.ReRef:
    code, given = item
    if code is codes.LITERAL:
        return z3.Re(_character(given))
    if code is codes.RANGE:
        return z3.Range(_character(given[0]), _character(given[1]))
    if code is codes.CATEGORY and given in _CATEGORIES:
        ranges = [z3.Range(low, high) for low, high in _CATEGORIES[given]]
        return z3.Union(*ranges) if len(ranges) > 1 else ranges[0]
    if code is codes.CATEGORY and given in _CONTRARY:
        return _without([_member((code, _CONTRARY[given]))])
    raise UnknownPatternError(str(code))


def _without(found: list[z3.ReRef]) -> z3.ReRef:
    excluded = z3.Union(*found) if len(found) > 1 else found[0]
    return z3.Intersect(_any(with_newline=True), z3.Complement(excluded))


def _character(code: int) -> str:
    if code > _CHARACTER_MAX:
        raise UnknownPatternError("a character beyond the solver's")
    return chr(code)
