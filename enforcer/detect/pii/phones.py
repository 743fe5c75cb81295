"""
Telephone numbers.

Digits in groups are common and few of them are telephones, so shape alone is believed only where
it is a telephone's own: a plus, North American brackets and groups, the national zero in several
groups. Everything else needs a word nearby that speaks of calling.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import phonenumbers

from enforcer.detect import clues
from enforcer.detect.recogniser import (
    Candidate,
    Recogniser,
    Words,
    digit_at,
    pattern,
    spans,
    word_before,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIGITS_MIN = 7
_GROUPS_ALONE = 0.3
_DIGITS_MAX = 15
_EXTENSION = rb"(?:\s?(?:x|ext\.?|extension)\s?\d{1,6})?"
_RUN = pattern(rb"\+?\(?\d(?:[ .\-/]{0,2}[()]{0,2}[ .\-]?\d){6,24}" + _EXTENSION)

# What a whole candidate looks like; the indexes name the patterns.
_NANP, _OTHER_KIND, _NANP_SPACED = 0, 1, 2
_SHAPES = Words(
    rb"(?:(?:\+|00)?1[ .\-]?)?(?:\(\d{3}\)[ .\-]?|\d{3}[ .\-])\d{3}[ .\-]?\d{4}" + _EXTENSION,
    rb"\(?(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:0?[1-9]|[12]\d|3[01])(?:[ .\-]\d.*)?"
    rb"|(?:0?[1-9]|[12]\d|3[01])[-./ ](?:0?[1-9]|[12]\d|3[01])[-./ ](?:19|20)\d\d(?:[ .\-]\d.*)?"
    rb"|(?:19|20)\d\d ?- ?(?:19|20)\d\d|\d{3}-\d{2}-\d{4}",
    rb"(?:\+?1 )?\d{3} \d{3} \d{4}" + _EXTENSION,
    whole=True,
)
_CALLING, _OTHER, _MODELS = 0, 1, 2
_BEFORE = Words(
    rb"phone|\btel\b|\btel[.:]|telefon|\bcall(?:s|ed|ing|back)?\b|\bfax|mobile|\bcell|\bdesk\b|\boffice\b|whatsapp|\bsms\b"
    rb"|\btext(?:ed)? me|dial|\bring me|reach (?:me|us|him|her|them)|contact|answering at|messages? (?:to|on)"
    rb"|\xe7\x94\xb5\xe8\xaf\x9d|\xe9\x9b\xbb\xe8\xa9\xb1|\xe6\x89\x8b\xe6\x9c\xba|\xe6\x89\x8b\xe6\xa9\x9f|\xe6\x90\xba\xe5\xb8\xaf|\xec\xa0\x84\xed\x99\x94|\xed\x9c\xb4\xeb\x8c\x80|(?:\xd1\x82|\xd0\xa2)\xd0\xb5\xd0\xbb(?:\xd0\xb5|\.|\b)|(?:\xd0\xbc|\xd0\x9c)\xd0\xbe\xd0\xb1|\xd7\x98\xd7\x9c|\xd9\x87\xd8\xa7\xd8\xaa\xd9\x81|\xe0\xa4\xab\xe0\xa4\xbc?\xe0\xa5\x8b\xe0\xa4\xa8|rufnummer|appel|llam|llame|chiam|ring (?:me|us|mig|meg)|bel me|gsm|natel|m(?:o|\xc3\xb3)vil|fono|komm\xc3\xb3rka|tlf"
    rb"|registered|hotline|helpline|landline|handy|portable|m\xc3\xb3vil|t\xc3\xa9l|celular|voicemail",
    rb"order|invoice|ticket|\bref\b|reference|account|\bacct|\bid\b|serial|version|\bsku\b|tracking|isbn|price|total|"
    rb"amount|\broom\b|\bseat\b|\bmodels?\b|\bpart\b|\bpage\b|\bitem\b|\bport\b|\bline\b|commit|build|\bcase\b|\bpo\b|\bzip\b|licen[cs]e",
    rb"\b(?:models?|sizes?|versions?|generations?)\s+(?:\d+\s+)*$",
)
# A key whose value is a telephone: tel:, phone=, "mobile_number":.
_KEY = Words(
    rb"(?:tel|phone|mobile|cell|fax|sms|whatsapp|contact|telefon|callto)[a-z_]{0,12}[\"']?[:=]$"
)
_AFTER = Words(rb"^[\s,\-(]{0,3}(?:office|fax|mobile|cell|home|work|phone|tel|desk|direct|main)\b")
_DIGIT_THEN_WORD = Words(rb"\d [a-z]+ $")
_NO_NUMBER = re.compile(rb"(?!)")
_NO_DIGITS = bytes(range(48)) + bytes(range(58, 256))
_TO_SPACES = bytes(byte if 48 <= byte <= 57 else 32 for byte in range(256))


def _find_phones(data: bytes) -> Iterator[Candidate]:
    for span in spans(_RUN, data):
        start, end = span
        if data[start] == 40 and data.find(b")", start, end) < 0:
            start += 1
        for first, last in _pieces(data, start, end):
            found = _phone(data, first, last)
            if found is not None:
                yield found


def _pieces(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """
    A run cut where another number ends before a North American one begins.

    "5089 (602)272-9781" is one run of digits and separators, and two things.
    """
    if data[start] == 43:
        return [(start, end)]
    cut = data.rfind(b" (", start + 1, end)
    if cut > start and cut - start > 1 and _NANP in _SHAPES.of(data[cut + 1 : end]):
        return [(start, cut), (cut + 1, end)]
    return [(start, end)]


def _phone(data: bytes, start: int, end: int) -> Candidate | None:
    if word_before(data, start) or digit_at(data, end) or _continues(data, start, end):
        return None
    value = data[start:end]
    number = value if value[-7:].isdigit() else value.partition(b"x")[0].partition(b"e")[0]
    digits = number.translate(None, _NO_DIGITS)
    if not _DIGITS_MIN <= len(digits) <= _DIGITS_MAX or value.count(b"(") != value.count(b")"):
        return None
    if _is_ip(value):
        return None
    shape, reason = _shape(value, digits)
    if shape == 0.0:
        return None
    words = _BEFORE.before(data, start)
    weak = shape <= _GROUPS_ALONE
    counted = weak and (_MODELS in words or _counts(data, start))
    if (_CALLING in words and not counted) or _AFTER.after(data, end):
        return Candidate(start, end, min(0.95, shape + 0.35), reason + ", context word")
    if _OTHER in words:
        return Candidate(start, end, max(0.1, shape - 0.3), reason + ", another number's word")
    return Candidate(start, end, shape, reason)


def _is_ip(value: bytes) -> bool:
    """Whether this is four octets, as nobody writes a telephone."""
    if value.count(b".") != 3:
        return False
    octets = value.split(b".")
    return all(octet.isdigit() and octet[0] != 48 and int(octet) <= 255 for octet in octets)


def _continues(data: bytes, start: int, end: int) -> bool:
    """Whether the digits are a part of something longer: a decimal, a date, a code, a letter."""
    if start > 0 and data[start - 1] in b":=" and _KEY.before(data, start):
        return _goes_on(data, end)
    if start > 0 and data[start - 1] in b"-./:#$" and start > 1 and word_before(data, start - 1):
        return True
    if start > 0 and data[start - 1] in b"#$=_":
        return True
    return _goes_on(data, end)


def _goes_on(data: bytes, end: int) -> bool:
    if end < len(data):
        after = data[end]
        if after in b"%_:" and digit_at(data, end + 1):
            return True
        if after in b"-./" and digit_at(data, end + 1):
            return True
        return 65 <= after <= 90 or 97 <= after <= 122 or after == 95
    return False


def _shape(value: bytes, digits: bytes) -> tuple[float, str]:
    """How much the writing alone says "telephone", and what says it; 0.0 for a date or an SSN."""
    if value[:1] == b"+":
        return _international(value)
    if value.isdigit():
        return _plain(digits)
    shapes = _SHAPES.of(value)
    if _OTHER_KIND in shapes:
        return 0.0, ""
    if _NANP in shapes:
        return (0.5 if _NANP_SPACED in shapes else 0.65), "North American groups"
    groups = value.translate(_TO_SPACES).split()
    if b"/" in value or max([len(group) for group in groups]) > 7:
        return 0.2, "digits in groups"
    if value[:2] == b"00" and len(digits) >= 10:
        return 0.55, "international prefix"
    if digits[:1] == b"0" and 9 <= len(digits) <= 12 and len(groups) >= 3:
        return 0.5, "national prefix, groups"
    return _GROUPS_ALONE, "digits in groups"


def _counts(data: bytes, start: int) -> bool:
    """Whether another number stands between the word of calling and these groups: "call 3 times 100 200 300"."""
    return bool(_DIGIT_THEN_WORD.before(data, start))


def _international(value: bytes) -> tuple[float, str]:
    groups = value.translate(_TO_SPACES).split()
    if len(groups) > 1 and len(groups[-1]) == 1:
        return 0.0, ""  # A decimal with its sign.
    if _plainly_valid(b"".join(groups)):
        return 0.9, "plus sign, valid in its country"
    text = value.decode("ascii").replace("(0)", "")
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return 0.3, "plus sign"
    if phonenumbers.is_valid_number(number):
        return 0.9, "plus sign, valid in its country"
    return 0.6, "plus sign"


def _plainly_valid(digits: bytes) -> bool:
    """
    Whether calling code and number are valid in the first region of the code, as they stand.

    What ``phonenumbers`` would say of most numbers, twenty times as fast. A no is no answer: national prefixes,
    extensions and the code's other regions are left to it.
    """
    for length in (1, 2, 3):
        fits = _main_region(digits[:length])
        if fits is not None:
            return fits.match(digits, length) is not None
    return False


@lru_cache(maxsize=1200)
def _main_region(code: bytes) -> re.Pattern[bytes] | None:
    """The numbers of the first region of a calling code, of any type; None where there is no such code."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code), ()) if code[:1] > b"0" else ()
    if not regions:
        return None
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(regions[0], None)
    if metadata is None or metadata.leading_digits is not None:
        return _NO_NUMBER
    types = (metadata.fixed_line, metadata.mobile, metadata.toll_free, metadata.premium_rate, metadata.shared_cost, metadata.voip, metadata.personal_number, metadata.pager, metadata.uan, metadata.voicemail)  # fmt: skip
    any_type = "|".join([_described(each) for each in types])
    return re.compile(f"(?={_described(metadata.general_desc)})(?:{any_type})".encode())


def _described(numbers: phonenumbers.PhoneNumberDesc | None) -> str:
    """A pattern of what a description says: its form, and the lengths that are possible."""
    if numbers is None or not numbers.national_number_pattern:
        return "(?!)"
    lengths = "|".join([rf"\d{{{length}}}" for length in numbers.possible_length if length > 0])
    long = rf"(?=(?:{lengths})\Z)" if lengths else ""
    return rf"{long}(?:{numbers.national_number_pattern})\Z"


def _plain(digits: bytes) -> tuple[float, str]:
    if len(digits) == 10 and digits[0] >= 50 and digits[3] >= 50:
        return 0.35, "ten digits"
    if 9 <= len(digits) <= 12:
        return 0.25, "digits"
    return 0.0, ""


PHONE = Recogniser(
    "phone",
    (rb"(?:\d[ .\-/]{0,2}[()]{0,2}[ .\-]?){6}\d",),
    _find_phones,
    60,
    clue=clues.NUMBER,
)
