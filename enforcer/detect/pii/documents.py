"""Papers and things that name a person: passports, licences, plates, records, places and ages."""

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
    from collections.abc import Callable, Iterator

    import re2

_MRZ = pattern(
    rb"P[A-Z<][A-Z<]{3}[A-Z<]{39}\s{1,2}[A-Z0-9<]{9}\d[A-Z<]{3}\d{6}\d[MFX<]\d{6}\d[A-Z0-9<]{14}[\d<]\d"
)
_MRZ_WEIGHTS = (7, 3, 1)

_BETWEEN = rb"(?:\s{0,3}(?:number|no|nr|num|n\xc2\xb0|n\xc2\xba|id|code|#|is|was|are|'s|:|=|\.|-|,|\(|card|plate|of|the|my)\s{0,3}){0,5}\s{0,2}"
_PASSPORT = pattern(
    rb"(?i)(?:passports?|reisepass(?:nummer)?|passeport|pasaporte|passaporto|passnummer|paspoort|\xe6\x8a\xa4\xe7\x85\xa7|\xe6\x97\x85\xe5\x88\xb8)"
    + _BETWEEN
    + rb"((?-i:[A-Z]{1,3}[ ]?\d{6,8}[A-Z]?|[CFGHJK][CFGHJKLMNPRTVWXYZ0-9]{8}|\d{2}[A-Z]{2}\d{5}|\d{8,9}))"
)
_LICENCE = pattern(
    rb"(?i)(?:driv(?:er|ing)(?:'?s)?[ ](?:licen[cs]e|permit)s?|driver licen[cs]e|\bDL(?:N)?\b|f\xc3\xbchrerschein(?:nummer)?|permis de conduire|licencia de conducir|permiso de conducir|patente(?: di guida)?|carta de condu\xc3\xa7\xc3\xa3o|rijbewijs(?:nummer)?|k\xc3\xb6rkort|prawo jazdy)"
    + _BETWEEN
    + rb"((?-i:[A-Z]{1,2}\d{2,4}(?:[\- ]\d{1,4}){2,4}|[A-Z]{5}[ ]?\d{6}[ ]?[A-Z0-9]{2}[ ]?[A-Z0-9]{3}|[A-Z]{1,3}[ \-]?\d{3}[\- ]?\d{3,4}[\- ]?\d{2,6}(?:-\d)?|[A-Z]{1,3}\d{4,14}[A-Z]?|\d{2,4}[\- ]\d{2,4}[\- ]\d{2,5}|[A-Z0-9]{2}\d{6}[A-Z0-9]{1,3}|\d{6,13}))"
)
_PLATE = pattern(
    rb"(?i)(?:licen[cs]e plate|number plate|registration (?:plate|number|mark)|\bplates?\b|\bvrn?\b|\breg(?:istration)? ?no|kennzeichen|plaque(?: d'immatriculation)?|immatriculation|matr\xc3\xadcula|targa|kenteken)"
    + _BETWEEN
    + rb"((?-i:[A-Z]{2}\d{2}[ ]?[A-Z]{3}|[A-Z]{1,3}-[A-Z]{1,2}[ \-]?\d{1,4}[EH]?|[A-Z]{2}-\d{3}-[A-Z]{2}|\d{4}[ \-]?[BCDFGHJKLMNPRSTVWXYZ]{3}|[A-Z]{2}[ ]?\d{3}[ ]?[A-Z]{2}|\d[A-Z]{3}\d{3}|[A-Z]{2,3}[ \-]?\d{2,4}[A-Z]{0,2}|[A-Z]{2}[ \-]?\d{1,2}[ \-]?[A-Z]{1,2}[ \-]?\d{4}|\d{2}-[A-Z]{2,3}-\d{1,2}|\d{3}[ \-][A-Z]{3}))"
)
_MEDICAL = pattern(
    rb"(?i)(?:medical record|\bmrn\b|patient (?:id|number|no|record)|\bpatientid|hospital (?:number|no|id)|health record|chart (?:number|no)|patientennummer|num\xc3\xa9ro de dossier|historia cl\xc3\xadnica)"
    + _BETWEEN
    + rb"((?-i:[A-Z]{0,4}-?\d{5,12}|[A-Z]{1,3}\d{2,4}-\d{3,8}|\d{2,4}-\d{2,4}-\d{2,6}|\d{3,6}-\d{2,6}))"
)
_BANK = pattern(
    rb"(?i)(?:(?:bank |checking |savings )?account(?: ?(?:number|no|nr|#))|\bacct\.?(?: ?(?:number|no|#))?|kontonummer|num\xc3\xa9ro de compte|n\xc3\xbamero de cuenta)"
    + _BETWEEN
    + rb"((?-i:\d{8,17}|\d{3,4}[ \-]\d{3,4}[ \-]\d{3,6}))"
)
_SORT_CODE = pattern(rb"(?i)sort ?code" + _BETWEEN + rb"((?-i:\d{2}[\- ]\d{2}[\- ]\d{2}|\d{6}))")

_COORDINATES = pattern(
    rb"[+\-]?\d{1,2}\.\d{4,15}(?:\xc2\xb0)?[ ]?[NS]?\s{0,2}[,;/ ]\s{0,2}[+\-]?\d{1,3}\.\d{4,15}(?:\xc2\xb0)?(?:[ ]?[EW]\b)?"
    # The second number with its name: "lat 52.5200, lon 13.4050", also as JSON or in a query.
    rb"|[+\-]?\d{1,2}\.\d{4,15}[\"']?\s{0,2}(?:[,;/&]|\band\b)?\s{0,16}[\"']?(?i:lon(?:g(?:itude)?)?|lng)[\"']?\s{0,2}[:=]?\s{0,2}[\"']?[+\-]?\d{1,3}\.\d{4,15}"
    rb"|\d{1,2}\xc2\xb0[ ]?\d{1,2}(?:'|\xe2\x80\xb2|\xe2\x80\x99)[ ]?(?:\d{1,2}(?:\.\d{1,4})?(?:\"|\xe2\x80\xb3|\xe2\x80\x9d|'')[ ]?)?[NS],?[ ]{0,2}\d{1,3}\xc2\xb0[ ]?\d{1,2}(?:'|\xe2\x80\xb2|\xe2\x80\x99)[ ]?(?:\d{1,2}(?:\.\d{1,4})?(?:\"|\xe2\x80\xb3|\xe2\x80\x9d|'')[ ]?)?[EW]"
)
_MINUTES = pattern(rb"\xc2\xb0 ?\d")
_NUMBER = pattern(rb"[+\-]?\d{1,3}\.\d+")
_PLACE = Words(rb"lat|lon|lng|gps|coord|location|position|\bgeo|\bat\b|map|point")

_CREDENTIALS = pattern(
    rb"(?i)[a-z][a-z0-9+.\-]{1,30}://[^\s/:@\"'<>`]{1,128}:[^\s/@\"'<>`]{1,256}@[^\s\"'<>`]{1,1000}"
)

_AGE = pattern(
    rb"(?i)\b(\d{1,3})(?:[ \-](?:years?|yrs?|y/?o|jahre)[ \-]?(?:old|of age|alt)?|[ ]?y/o|[ ]?yo\b|[ \-](?:months?|weeks?)[ \-]old|[ ]ans\b|[ ]a\xc3\xb1os\b)"
    rb"|(?i)\b(?:aged?(?:[ ](?:of|is|:))?:?|turn(?:ed|s|ing)?|i'?ll be|i am|i'm|she is|he is|she's|he's|(?:she|he|i) was|alter:?|\xc3\xa2ge:?|edad:?)[ ]{1,2}(\d{1,3})(?:\s*(?:years?|y/?o|yrs?)\b|\s*[.,;!?)\"]|\s*$|\s+(?:and|but|in|on|this|next|today|when|now|or)\b)"
)
_AGE_CERTAIN = Words(rb"old|y/?o|of age|alt\b|ans\b|a\xc3\xb1os")
_AGED = Words(rb"\baged?\b|turn|alter|\xc3\xa2ge|edad")
_AGE_MAX = 120


def _behind(compiled: re2._Regexp, confidence: float) -> Callable[[bytes], Iterator[Candidate]]:
    """What stands behind a word of its kind: group 1."""

    def find(data: bytes) -> Iterator[Candidate]:
        for match in compiled.finditer(data):
            start, end = match.span(1)
            if word_before(data, match.start()) or word_after(data, end):
                continue
            if end + 1 < len(data) and data[end] in b"-./" and word_after(data, end + 1):
                continue
            yield Candidate(start, end, confidence, "form, context word")

    return find


def _mrz_digit(value: bytes) -> int:
    """ICAO 9303: the weighted sum of digits, letters from 10, the filler as 0, mod 10."""
    total = 0
    for at, byte in enumerate(value):
        worth = 0 if byte == 60 else byte - 48 if byte < 58 else byte - 55
        total += worth * _MRZ_WEIGHTS[at % 3]
    return total % 10


def _find_passports(data: bytes) -> Iterator[Candidate]:
    yield from _behind(_PASSPORT, 0.85)(data)
    for match in _MRZ.finditer(data):
        line = match.group(0)[-44:]
        checks = ((0, 9, 9), (13, 19, 19), (21, 27, 27))
        if all(_mrz_digit(line[a:b]) == line[c] - 48 for a, b, c in checks):
            yield Candidate(match.start(), match.end(), 0.99, "machine readable zone, check digits")


def _find_coordinates(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_COORDINATES, data):
        value = data[start:end]
        if word_before(data, start) or word_after(data, end) or data[start - 1 : start] == b".":
            continue
        if end < len(data) and data[end] in b".," and data[end + 1 : end + 2].isdigit():
            continue
        if not _MINUTES.search(value):
            numbers = [float(number) for number in _NUMBER.findall(value)]
            if len(numbers) != 2 or abs(numbers[0]) > 90 or abs(numbers[1]) > 180:
                continue
        near = _PLACE.before(data, start)
        certain = value[-1:] in b"EW" or b"\xc2\xb0" in value or b"l" in value.lower()
        yield Candidate(start, end, 0.9 if near or certain else 0.45, "pair of degrees")


def _find_credentials(data: bytes) -> Iterator[Candidate]:
    for match in _CREDENTIALS.finditer(data):
        end = match.end()
        while data[end - 1] in b".,;:!?)":
            end -= 1
        yield Candidate(match.start(), end, 0.95, "address with user and password")


def _find_ages(data: bytes) -> Iterator[Candidate]:
    for match in _AGE.finditer(data):
        group = 1 if match.group(1) is not None else 2
        start, end = match.span(group)
        if not 0 < int(match.group(group)) <= _AGE_MAX:
            continue
        if group == 1:
            certain = bool(_AGE_CERTAIN.of(data[end : match.end() + 8]))
            yield Candidate(start, end, 0.85 if certain else 0.4, "number of years")
        else:
            aged = bool(_AGED.of(match.group(0)))
            yield Candidate(start, end, 0.8 if aged else 0.6, "number, word of age")


PASSPORT = Recogniser(
    "passport",
    (
        rb"(?i)(?:passports?|reisepass|passeport|pasaporte|passaporto|passnummer|paspoort|\xe6\x8a\xa4\xe7\x85\xa7|\xe6\x97\x85\xe5\x88\xb8)(?s:.*)\d",
        rb"P[A-Z<][A-Z<]{3}[A-Z]+<<",
    ),
    _find_passports,
    96,
    clue=clues.NUMBER,
)
DRIVING_LICENSE = Recogniser(
    "driving_license",
    (
        rb"(?i)(?:driv(?:er|ing)|\bDLN?\b|f\xc3\xbchrerschein|conduire|conducir|patente|condu\xc3\xa7|rijbewijs|k\xc3\xb6rkort|prawo jazdy)(?s:.*)\d",
    ),
    _behind(_LICENCE, 0.85),
    96,
    clue=clues.NUMBER,
)
LICENSE_PLATE = Recogniser(
    "license_plate",
    (
        rb"(?i)(?:plate|registration|\bvrn?\b|\breg ?no|kennzeichen|plaque|immatriculation|matr\xc3\xadcula|targa|kenteken)(?s:.*)\d",
    ),
    _behind(_PLATE, 0.8),
    94,
    clue=clues.PLATE,
)
MEDICAL_RECORD_NUMBER = Recogniser(
    "medical_record_number",
    (
        rb"(?i)(?:medical record|\bmrn\b|patient|hospital (?:number|no|id)|health record|chart n|dossier|historia cl)(?s:.*)\d",
    ),
    _behind(_MEDICAL, 0.85),
    96,
    clue=clues.RECORD,
)
BANK_ACCOUNT = Recogniser(
    "bank_account",
    (
        rb"(?i)(?:account|\bacct|kontonummer|num\xc3\xa9ro de compte|n\xc3\xbamero de cuenta)(?s:.*)\d",
    ),
    _behind(_BANK, 0.7),
    64,
    clue=clues.NUMBER,
)
SORT_CODE = Recogniser(
    "uk_sort_code", (rb"(?i)sort ?code(?s:.*)\d",), _behind(_SORT_CODE, 0.9), 96, clue=clues.NUMBER
)
COORDINATES = Recogniser("coordinates", (rb"\d\.\d{4}", rb"\d\xc2\xb0 ?\d"), _find_coordinates, 65)
URL_CREDENTIALS = Recogniser(
    "url_credentials", (rb"://[^\s/@:]+:[^\s/@]+@",), _find_credentials, 95
)
AGE = Recogniser(
    "age",
    (
        rb"(?i)\d[ \-]?(?:years?|yrs?|y/?o|jahre|months?|weeks?|ans|a\xc3\xb1os)",
        rb"(?i)(?:aged?|turn|i'?ll be|i am|i'm|s?he is|s?he's|was|alter|\xc3\xa2ge|edad)[^\n]{0,5}\d",
    ),
    _find_ages,
    40,
    clue=clues.DIGIT,
)

RECOGNISERS = (
    PASSPORT,
    DRIVING_LICENSE,
    LICENSE_PLATE,
    MEDICAL_RECORD_NUMBER,
    BANK_ACCOUNT,
    SORT_CODE,
    COORDINATES,
    URL_CREDENTIALS,
    AGE,
)
