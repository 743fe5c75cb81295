"""Dates: any complete one, and those of birth; the months of many languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.detect import clues
from enforcer.detect.recogniser import (
    Candidate,
    Recogniser,
    Words,
    pattern,
    spans,
    word_after,
    word_before,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# English, German, French, Spanish, Italian, Portuguese, Dutch, Scandinavian, Polish: names, then short ones.
_MONTH_NAMES = (
    "january february march april may june july august september october november december "
    "januar jänner februar märz mai juni juli oktober dezember "
    "janvier février mars avril juin juillet août septembre octobre novembre décembre "
    "enero febrero marzo abril mayo junio julio agosto septiembre setiembre octubre noviembre diciembre "
    "gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre "
    "janeiro fevereiro março maio junho julho setembro outubro novembro dezembro "
    "januari februari maart mei augustus augusti maj marts oktober "
    "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia "
    "jan feb mar apr jun jul aug sept sep oct nov dec mär okt dez févr avr juil déc ene abr ago dic gen mag giu lug set ott"
)
_MONTH = "(?:" + "|".join(dict.fromkeys(_MONTH_NAMES.split())) + r")\b"
_DAY = r"\d{1,2}(?:st|nd|rd|th|er|º|\.)?"
_TIME = r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?: ?[AaPp][Mm])?(?:Z|[+\-]\d{2}:?\d{2})?)"
_IN_WORDS = (
    rf"(?i:{_DAY}[ \-](?:of |de |d')?{_MONTH}\.?,?[ \-](?:de |del )?\d{{4}}|{_MONTH}\.?[ ]{_DAY},?[ ]\d{{4}})"
    r"|\d{4}年\d{1,2}月\d{1,2}日|\d{4}년 ?\d{1,2}월 ?\d{1,2}일"
)
_DATE = pattern(
    (
        rf"\d{{4}}-\d{{1,2}}-\d{{1,2}}{_TIME}?|\d{{1,2}}[/.\-]\d{{1,2}}[/.\-]\d{{4}}{_TIME}?"
        rf"|\d{{1,2}}/\d{{1,2}}/\d{{2}}|\d{{4}}[/.]\d{{1,2}}[/.]\d{{1,2}}{_TIME}?|{_IN_WORDS}"
    ).encode()
)
_NO_DATE = Words(
    rb"version\s*$|\bv\s*$|release\s*$|section\s*$|[=~^<>]=?\s*$|ip\s*$|build\s*$|python\s*$|/$"
)
_BIRTH_DATE = pattern(
    (
        r"\d{1,2}[/.\-]\d{1,2}[/.\-](?:\d{4}|\d{2})|\d{4}[/.\-]\d{1,2}[/.\-]\d{1,2}|\d{1,2}\. \d{1,2}\. \d{4}|(?:19|20)\d{6}"
        rf"|{_IN_WORDS}|(?i:{_MONTH}\.? \d{{4}})"
    ).encode()
)
_BIRTH_WORDS = (
    r"born|birth|\bbday|\bdob\b|\bd\.o\.b|geboren|geburt|n[ée]\(?e?\)? le|naissance|nacid[oa]|nacimiento|nascid[oa]|nascimento"
    r"|nato il|nata il|nascita|geboorte|födelse|fødsel|født|född|syntym|urodz|narozen|születés|nașter|рожд|родил|生年月日|出生|生日|생년월일|생일|doğum"
)
_BIRTH_CONTEXT = Words(f"{_BIRTH_WORDS}|[_a-z]dob\\b|\\bdob_".encode())


def _joined(data: bytes, start: int, end: int) -> bool:
    """Whether a word, or more digits behind a separator, are joined to a date."""
    if word_before(data, start) or word_after(data, end):
        return True
    if start > 1 and data[start - 1] in b"-./" and word_before(data, start - 1):
        return True
    return end + 1 < len(data) and data[end] in b"-./" and word_after(data, end + 1)


def _find_dates(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_DATE, data):
        if _joined(data, start, end):
            continue
        value = data[start:end]
        day = value.partition(b"T")[0].split(b" ")[0]
        if not date_possible(day if b":" in value else value):
            continue
        dotted = day.count(b".") == 2
        doubtful = bool(_NO_DATE.before(data, start))
        yield Candidate(start, end, 0.35 if doubtful else 0.7 if dotted else 0.85, "date")


def _find_births(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_BIRTH_DATE, data):
        if word_before(data, start) or word_after(data, end):
            continue
        if _BIRTH_CONTEXT.before(data, start) and date_possible(data[start:end]):
            yield Candidate(start, end, 0.85, "date, words of birth")


def date_possible(value: bytes) -> bool:
    """Whether a date written in numbers has a month and a day."""
    separator = next((byte for byte in b"/.-" if byte in value), None)
    if separator is None:
        return not value.isdigit() or (1 <= int(value[4:6]) <= 12 and 1 <= int(value[6:8]) <= 31)
    numbers = [part.strip() for part in value.split(bytes([separator]))]
    if len(numbers) != 3 or not all(number.isdigit() for number in numbers):
        return True
    first, second, third = [int(number) for number in numbers]
    if first > 31:
        return 1 <= second <= 12 and 1 <= third <= 31
    return (1 <= first <= 12 and 1 <= second <= 31) or (1 <= first <= 31 and 1 <= second <= 12)


_NUMERIC = rb"\d[/.\-]\d{1,2}[/.\-]\d"
_BEFORE_YEAR = f"(?i){_MONTH}[.,]{{0,2}}[ \\-](?:de |del )?\\d".encode()
_IN_SIGNS = "[年년] ?\\d".encode()

DATE = Recogniser("date", (_NUMERIC, _BEFORE_YEAR, _IN_SIGNS), _find_dates, 45, clue=clues.RECORD)
DATE_OF_BIRTH = Recogniser(
    "date_of_birth",
    (f"(?i)(?:{_BIRTH_WORDS}|dob)(?s:.*)\\d".encode(),),
    _find_births,
    50,
    clue=clues.RECORD,
)
