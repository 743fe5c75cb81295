"""Numbers that identify a person or an account: social security numbers and payment cards."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from enforcer.detect import clues
from enforcer.detect.recogniser import (
    PROVEN,
    Candidate,
    Recogniser,
    Words,
    digit_at,
    pattern,
    spans,
    word_after,
    word_before,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_SSN = pattern(rb"\b\d{3}[- ]?\d{2}[- ]?\d{4}")
_SSN_CONTEXT = Words(rb"\bssn|social.?sec|soc\.? ?sec|\btax.?(?:payer)?.?id|\bitin\b")
_CARD_RUN = pattern(rb"\d(?:[ \-]?\d){11,}")
_CARD_CONTEXT = Words(
    rb"card|visa|master.?card|maestro|amex|american express|discover|\bpan\b|\bcc\b|credit|debit"
)
_SSN_DIGITS, _SSN_PARTED_BYTES = 9, 11
_CARD_DIGITS_MIN = 12
_CARD_DIGITS_MAX = 19
_MAESTRO_ONLY = 12
# Twice a digit, its own digits added: from the ASCII digit to the number.
_LUHN_DOUBLED = bytes(48) + bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)) + bytes(198)

# What a card starts with; the one that starts with 1 is JCB's old 1800.
_ISSUER_DIGITS = frozenset(b"23456")

# Groupings that cards are printed in, by the lengths of their groups; the longest is tried first.
_PRINTED = ((4, 4, 4, 4, 3), (4, 4, 4, 4), (4, 4, 4, 1), (4, 6, 5), (4, 6, 4), (4, 4, 5), (4, 4, 4), (6, 13))  # fmt: skip
_GROUPS_MAX = 5
_ALONE = tuple((length,) for length in range(_CARD_DIGITS_MIN, _CARD_DIGITS_MAX + 1))
_GROUPINGS = {
    length: tuple(grouping for grouping in (*_PRINTED, *_ALONE) if grouping[0] == length)
    for length in range(1, _CARD_DIGITS_MAX + 1)
}


def luhn_valid(digits: bytes) -> bool:
    """Whether ASCII digits satisfy the Luhn formula (ISO/IEC 7812-1, annex B)."""
    total = sum(digits[-1::-2]) - 48 * ((len(digits) + 1) // 2)
    return (total + sum(digits[-2::-2].translate(_LUHN_DOUBLED))) % 10 == 0


def issuer_known(digits: bytes) -> bool:
    """Whether length and leading digits are those of a payment network (ISO/IEC 7812 ranges)."""
    length = len(digits)
    one, two, three, four = digits[:1], int(digits[:2]), int(digits[:3]), int(digits[:4])
    if one == b"4":
        return length in (13, 16, 19)
    if two in (34, 37):
        return length == 15
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if four == 6011 or 644 <= three <= 649 or two in (60, 62, 65, 81):
        return 16 <= length <= 19
    if 3528 <= four <= 3589 or two == 35:
        return 16 <= length <= 19
    if four in (2131, 1800):
        return length == 15
    if 300 <= three <= 305 or two in (36, 38, 39) or three == 309:
        return 14 <= length <= 19
    if two in (50, 56, 57, 58, 59, 61, 63, 64, 66, 67, 68, 69):
        return 12 <= length <= 19
    return 2200 <= four <= 2204 and length >= 16


def _find_cards(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_CARD_RUN, data):
        yield from _cards_in_run(data, _groups(data, start, end))


def _groups(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """The groups of digits of a run as (start, end), those joined to a word left out."""
    groups: list[tuple[int, int]] = []
    at = start
    for digits in data[start:end].replace(b"-", b" ").split(b" "):
        stop = at + len(digits)
        groups.append((at, stop))
        at = stop + 1
    # A UUID or an order code joins letters to its digits by hyphens: such groups are no card's.
    first, last = 0, len(groups)
    if word_before(data, start) or (
        start > 1 and data[start - 1] in b"-." and word_before(data, start - 1)
    ):
        first = 1
        while first < last and data[groups[first][0] - 1] == 45:
            first += 1
    if word_after(data, end) or (
        end + 1 < len(data) and data[end] in b"-." and word_after(data, end + 1)
    ):
        last -= 1
        while last > first and data[groups[last - 1][1]] == 45:
            last -= 1
    return groups[first:last]


def _cards_in_run(data: bytes, groups: list[tuple[int, int]]) -> Iterator[Candidate]:
    total = sum([end - start for start, end in groups])
    if _CARD_DIGITS_MIN <= total <= _CARD_DIGITS_MAX:
        # The whole run, however it is grouped: digits one by one, or in a grouping never printed.
        whole = _card(data, groups)
        if whole is not None:
            yield whole
            return
    lengths = [end - start for start, end in groups]
    index = 0
    while index < len(groups):
        used = 1
        first = groups[index][0]
        if data[first] not in _ISSUER_DIGITS and not data.startswith(b"18", first):
            index += 1
            continue
        for count in _printed_counts(tuple(lengths[index : index + _GROUPS_MAX])):
            found = _card(data, groups[index : index + count])
            if found is not None:
                yield found
                used = count
                break
        index += used


@lru_cache(maxsize=4096)
def _printed_counts(lengths: tuple[int, ...]) -> tuple[int, ...]:
    """How many of these groups make up a printed card, for each grouping that fits their lengths."""
    return tuple(
        len(grouping)
        for grouping in _GROUPINGS.get(lengths[0], ())
        if lengths[: len(grouping)] == grouping
    )


def _card(data: bytes, groups: list[tuple[int, int]]) -> Candidate | None:
    digits = b"".join([data[start:end] for start, end in groups])
    if digits.count(digits[0]) == len(digits) or not luhn_valid(digits):
        return None
    span = (groups[0][0], groups[-1][1])
    lengths = tuple([end - start for start, end in groups])
    confidence, reason = _card_confidence(data, digits, lengths, span)
    return Candidate(*span, confidence, reason) if confidence else None


def _card_confidence(
    data: bytes, digits: bytes, lengths: tuple[int, ...], span: tuple[int, int]
) -> tuple[float, str]:
    printed = len(lengths) == 1 or lengths in _PRINTED or len(lengths) == len(digits)
    known = issuer_known(digits)
    near = _CARD_CONTEXT.around(data, *span)
    if known and printed:
        if len(digits) == _MAESTRO_ONLY and not near:
            return 0.4, "Luhn check digit, issuer range, short"
        return (0.99, PROVEN) if near else (0.9, "Luhn check digit, issuer range")
    if not near:
        return (0.35, "Luhn check digit") if printed and known else (0.0, "")
    return (0.6, "Luhn check digit, context word") if known or printed else (0.0, "")


def _find_ssns(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_SSN, data):
        if word_before(data, start) or word_after(data, end) or _in_longer_number(data, start, end):
            continue
        if not _ssn_structure(data[start:end]):
            continue
        # A separator is no digit: one byte behind the third, one before the fourth from the end.
        first, second = data[start + 3], data[end - 5]
        parted = end - start == _SSN_PARTED_BYTES
        if (parted and first != second) or (not parted and end - start != _SSN_DIGITS):
            continue
        near = _SSN_CONTEXT.before(data, start)
        if first == 45:
            yield Candidate(start, end, 0.95 if near else 0.85, "structure")
        elif near:
            yield Candidate(start, end, 0.75, "structure, context word")
        elif first == 32:
            yield Candidate(start, end, 0.4, "structure, no hyphens")


def _in_longer_number(data: bytes, start: int, end: int) -> bool:
    """Whether a hyphen, dot or slash joins more digits to the number."""
    joins = b"-./"
    before = start > 1 and data[start - 1] in joins and digit_at(data, start - 2)
    return before or (end + 1 < len(data) and data[end] in joins and digit_at(data, end + 1))


def _ssn_structure(value: bytes) -> bool:
    """Whether the Social Security Administration could have issued the number."""
    digits = bytes([byte for byte in value if 48 <= byte <= 57])
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in (b"000", b"666") or area >= b"900" or group == b"00" or serial == b"0000":
        return False
    # Numbers that were printed in advertisements and are void: 078-05-1120 and 219-09-9999.
    return digits not in (b"078051120", b"219099999")


SSN = Recogniser(
    "ssn",
    (rb"\b\d{3}-\d{2}-\d{4}", rb"\b\d{3} ?\d{2} ?\d{4}"),
    _find_ssns,
    80,
    clue=clues.NUMBER,
)
CREDIT_CARD = Recogniser(
    "credit_card", (rb"(?:\d[ \-]?){12}",), _find_cards, 100, clue=clues.NUMBER
)
