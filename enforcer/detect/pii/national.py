"""
The family of national numbers: words first, then the numbers behind them; or a form that says enough.

Most of these numbers are digits of which one in ten or eleven would pass the check, so digits alone are
not looked at: a word of the country's own, or a general one, has to stand before them. What is written in
a form of its own (separators, letters) is found without a word. A text with more than 20,000 places to
check is given up: it counts as holding what was asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from enforcer.detect import clues
from enforcer.detect.pii.national_checks import check_of
from enforcer.detect.pii.national_numbers import GENERIC_WORDS, ROWS, Row
from enforcer.detect.recogniser import (
    PROVEN,
    Candidate,
    Recogniser,
    Words,
    nothing,
    pattern,
    spans,
    word_after,
    word_before,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import re2

CHECKS_MAX = 20_000
_WINDOW_BYTES = 72
_OWN_WORD, _GENERAL_WORD, _COMMON_WORD = 0.95, 0.6, 0.4
# As that of social security numbers: where both could be, the surer stands.
_RANK = 80
_SOME_DIGITS = pattern(rb"\d[\d .\-/]{2,}\d|[A-Z]{1,6}\d{2}|\d{2}[A-Z]")
_LOOKS_LIKE_OTHER = Words(
    rb"(?:order|invoice|ticket|serial|version|tracking|isbn|ean|sku|part|build|commit|case)\s*(?:no|number|id|#|:)*\s*$"
)


def _words(row: Row) -> str:
    """
    A row's words, as a pattern.

    Those in Latin letters begin where a word begins, or a part of a key (``customer_cpf``); short ones
    end there, too, for "since" speaks of no SIN. Blanks may be what keys have in their place. Other
    scripts have no such places.
    """
    alternatives = re.split(r"\|(?![^(]*\))", row.words)
    latin = [
        each + _SHORT_END if _is_short(each) else each for each in alternatives if each[0].isascii()
    ]
    others = [each for each in alternatives if not each[0].isascii()]
    return "|".join(([rf"(?:\b|_)(?:{_as_key('|'.join(latin))})"] if latin else []) + others)


_SHORT_CHARACTERS_MAX = 5
_SHORT_END = r"(?:\b|_|s\b|(?:nummer|number|num|nr|no|id|code)\b)"


def _is_short(word: str) -> bool:
    return len(word) <= _SHORT_CHARACTERS_MAX and word.isalpha()


def _as_key(words: str) -> str:
    """Words whose blanks may be underscores, hyphens or, where they are optional, nothing."""
    return words.replace(" ?", "[ _-]?").replace(" ", "[ _-]").replace("[[ _-]_-]", "[ _-]")


GENERIC_PATTERN = _as_key(GENERIC_WORDS)


@dataclass(frozen=True, eq=False)
class _Plan:
    """What a subset of the rows is looked for with."""

    patterns: tuple[bytes, ...]
    rows: tuple[Row, ...]
    members: tuple[Recogniser, ...]
    forms: tuple[re2._Regexp, ...]
    strict: tuple[re2._Regexp | None, ...]
    any_word: re2._Regexp
    whose_word: Words
    which_form: Words
    which_strict: Words
    strict_rows: tuple[int, ...]

    def find(self, data: bytes) -> Iterator[tuple[Recogniser, Candidate] | None]:
        """Every number of the members' rows, checked."""
        left = CHECKS_MAX
        words = list(islice(spans(self.any_word, data), CHECKS_MAX + 1))
        if len(words) > CHECKS_MAX:
            yield None
            return
        for index, start, end, confidence, reason in _places(self, data, words):
            if left == 0:
                yield None
                return
            left -= 1
            if check_of(self.rows[index].check)(data[start:end].decode("ascii")):
                yield self.members[index], Candidate(start, end, confidence, reason)


class NationalNumbers:
    """The family; one instance holds all rows."""

    clue = clues.NUMBER

    def plan(self, members: tuple[Recogniser, ...], at: float) -> _Plan:
        """Every word, and the forms that need none; of these those that are sure enough."""
        by_kind = {row.kind: row for row in ROWS}
        rows = tuple(by_kind[member.kind] for member in members)
        words = "|".join([_words(row) for row in rows] + [GENERIC_PATTERN])
        alone = tuple(i for i, row in enumerate(rows) if row.alone and row.alone >= at)
        strict = [_strict(rows[index]) for index in alone]
        return _Plan(
            (rf"(?i)(?:{words})(?s:.*)\d".encode(), *[form.encode() for form in strict]),
            rows,
            members,
            tuple(pattern(row.form.encode()) for row in rows),
            tuple(pattern(_strict(row).encode()) if row.alone else None for row in rows),
            pattern(rf"(?i)(?:{words})\w{{0,32}}".encode()),
            Words(*[_words(row).encode() for row in rows]),
            Words(*[row.form.encode() for row in rows]),
            Words(*[b"(?-i:" + form.encode() + b")" for form in strict]),
            alone,
        )


def _places(
    plan: _Plan, data: bytes, words: list[tuple[int, int]]
) -> Iterator[tuple[int, int, int, float, str]]:
    """(row, start, end, confidence, reason) of everything that could be a number, unchecked."""
    if words:
        yield from _behind_words(plan, data, words)
    for at in plan.which_strict.of(data):
        index = plan.strict_rows[at]
        compiled = plan.strict[index]
        assert compiled is not None, index
        row = plan.rows[index]
        checked = row.check != "own.any"
        for start, end in spans(compiled, data):
            if _joined(data, start, end):
                continue
            alone = row.alone if not _LOOKS_LIKE_OTHER.before(data, start) else 0.3
            yield index, start, end, alone, "check digit, form" if checked else "form"


def _behind_words(
    plan: _Plan, data: bytes, words: list[tuple[int, int]]
) -> Iterator[tuple[int, int, int, float, str]]:
    for first, begin in words:
        word, stop = data[first:begin], min(len(data), begin + _WINDOW_BYTES)
        window = data[begin:stop]
        if not _SOME_DIGITS.search(window):
            continue
        own = set(plan.whose_word.of(word))
        forms = plan.which_form.of(window)
        for index in sorted(forms):
            mine = index in own
            row = plan.rows[index]
            if not mine and own and not _is_general(word):
                continue
            if not mine and (row.check == "own.any" or not _is_general(word)):
                continue
            common = mine and _is_common(word)
            confidence = _OWN_WORD if mine else max(_GENERAL_WORD, row.alone)
            for match in plan.forms[index].finditer(data, begin, min(len(data), stop + 24)):
                start, end = match.span()
                if start >= stop or _joined(data, start, end):
                    continue
                if common and not _CONNECTED.of(data[begin:start]):
                    yield index, start, end, _COMMON_WORD, "check digit, common word"
                    continue
                yield index, start, end, confidence, PROVEN if mine else "check digit, general word"


_GENERAL = Words(GENERIC_PATTERN.encode())
# Words of their own that are everyday words of some language as well: they count in capitals, or with
# nothing but "number", "is" or a colon between them and the number.
_COMMON = frozenset(b"run ein nie fin said cc pin uid tin pan aba spi tax".split())
_CONNECTED = Words(
    rb"^(?:(?:'s|number|no|nr|num|nummer|is|was|to|id|ist|es|est|card|code)\b|[ \t\"'#:=.,(>\-_])*(?:number|no|nr|num|nummer|is|was|to|id|ist|es|est|#|:|=|\()[ \t\"'#:=.,(\-]*$"
)


def _is_common(word: bytes) -> bool:
    bare = word.strip(b"_")
    return bare.lower() in _COMMON and not bare.isupper()


def _is_general(word: bytes) -> bool:
    return bool(_GENERAL.of(word))


def _joined(data: bytes, start: int, end: int) -> bool:
    """Whether the digits go on in front or behind."""
    if word_before(data, start) or word_after(data, end):
        return True
    if start > 1 and data[start - 1] in b"-./" and word_before(data, start - 1):
        return True
    return end + 1 < len(data) and data[end] in b"-./" and word_after(data, end + 1)


def _strict(row: Row) -> str:
    # Only whole words, as ``_joined`` has it: else each digit of many would begin every form anew, and the
    # beginning of an IBAN be looked at as every shorter number.
    return rf"\b(?:{row.strict or row.form})\b"


FAMILY = NationalNumbers()
RECOGNISERS = tuple(Recogniser(row.kind, (), nothing, _RANK, FAMILY) for row in ROWS)
