"""
Names and postal addresses: kinds told by shape and context alone.

They are off unless asked for. No model reads the sentence, so they miss much and mistake some:
their confidence says so, and docs/detectors.md has the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.detect import clues
from enforcer.detect.pii.words import FIRST_NAMES, NOT_NAMES
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

_CAPITALISED = rb"\p{Lu}\p{Ll}+(?:['\-]\p{Lu}?\p{Ll}+)*"
_PERSON = pattern(
    _CAPITALISED
    + rb"(?: (?:"
    + _CAPITALISED
    + rb"|\p{Lu}\.?|de|da|van|von|der|den|di|del|ten|la|bin|al)){0,4}"
)
_TITLE = pattern(rb"(?i)(?:\b(?:mr|mrs|ms|miss|dr|prof|professor|sir|madam|dame|rev)\.?\s*)$")
_NAME_LEAD = pattern(
    rb"(?i)(?:\bname(?:\s+is|:|\s*=)|\bi am|\bi'm|\bcalled|\bsigned,?|\bregards,|\bsincerely,|\bdear|\bhi|\bhello|\battn:?"
    rb"|\bcustomer:?|\bpatient:?|\bcardholder:?|\bemployee:?|\bcontact:?|\bby|\bmet|\bwith|\bauthor:?)\s*$"
)

_STREET_WORDS = (
    rb"street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|dr|court|ct|circle|cir|way|place|pl|square|sq|terrace|"
    rb"parkway|pkwy|highway|hwy|crescent|close|grove|alley|quay|mews|row|walk|trail|plaza|loop|pass|ridge|union|"
    rb"stra\xc3\x9fe|strasse|str|gasse|platz|weg|allee|ring|rue|via|viale|piazza|calle|avenida|plaza|paseo|rua|travessa|"
    rb"chemin|straat|laan|plein|gatan|v\xc3\xa4gen|gade|vej|veien|gata|katu|tie|utca|u\.|ulica|ul\.|tn|mnt|tee"
)
_STREET_ENDINGS = (
    rb"(?:stra(?:\xc3\x9f|ss)e|gasse|platz|weg|allee|straat|laan|plein|gatan|v\xc3\xa4gen|gade|vej|vejen|veien|vegen|gata|katu|"
    rb"kuja|tie|braut|vegur|stien|gatan|str\xc3\xa6de|dreef|singel|gr\xc3\xa4nd|tn|mnt|utca|\xc3\xa1gi|stieg|damm|hof|graben|bakken)"
)
_UNIT = rb"(?:(?:apt|apartment|suite|ste|unit|floor|room|flat|#)\.? ?[0-9A-Za-z\-]{1,6})"
_NUMBER = rb"\d{1,5}[A-Za-z]?"
_STREET_WORD = rb"(?:[\p{L}'.\-]+)"
_NUMBER_FIRST = (
    rb"\b"
    + _NUMBER
    + rb"(?: \d{1,5})? (?:"
    + _STREET_WORD
    + rb" ){1,4}?(?:"
    + _STREET_WORDS
    + rb")\b\.?"
)
_NUMBER_LAST = (
    rb"(?:\b\d{1,5} )?(?:(?:"
    + _STREET_WORDS
    + rb") (?:"
    + _STREET_WORD
    + rb" ){1,3}?|(?:"
    + _STREET_WORD
    + rb" ){0,2}?[\p{L}]*"
    + _STREET_ENDINGS
    + rb" )\d{1,4}\b"
)
_BOX = rb"\b(?:p\.? ?o\.? ?box|psc|unit) \d{1,5}(?:,? box \d{1,5})?|\bbox \d{3,5}\b"
_ADDRESS = pattern(
    rb"(?i)(?:"
    + _BOX
    + rb"|"
    + _NUMBER_FIRST
    + rb"|"
    + _NUMBER_LAST
    + rb")(?:[,\s]{1,4}"
    + _UNIT
    + rb")?"
)
_UNIT_ADDRESS = pattern(
    rb"(?:\b\d{1,5} )(?:\p{Lu}[\p{L}'.\-]+ ){1,4}\d{1,5}[.,]?\s{1,3}(?:Apt\.|Suite) \d{1,4}"
)
_STREET_ONLY = Words(
    rb"\b(?:street|avenue|ave|road|boulevard|blvd|lane|highway|hwy|parkway|pkwy|apt|suite|box|rue|via|calle|rua|utca)\b"
    rb"|" + _STREET_ENDINGS + rb"\b"
)
_ADDRESS_CONTEXT = Words(
    rb"address|lives? (?:at|on|in)|located at|sent? to|ship|deliver|office is at|arrived at|meet (?:me|you) at"
)


def _find_names(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_PERSON, data):
        if word_before(data, start) or word_after(data, end):
            continue
        found = _name(data, start, end)
        if found is not None:
            yield found


def _name(data: bytes, start: int, end: int) -> Candidate | None:
    words = data[start:end].split(b" ")
    # A capitalised word that opens a sentence or names a thing is no part of a name.
    while words and words[0].lower() in NOT_NAMES:
        start += len(words[0]) + 1
        words.pop(0)
    while words and (words[-1].lower() in NOT_NAMES or words[-1][:1].islower()):
        end -= len(words[-1]) + 1
        words.pop()
    if not words or any(word.lower() in NOT_NAMES for word in words):
        return None
    before = data[max(0, start - 32) : start]
    if _TITLE.search(before):
        return Candidate(start, end, 0.75, "title")
    known = words[0].lower() in FIRST_NAMES
    if _NAME_LEAD.search(before):
        return Candidate(start, end, 0.7 if known or len(words) > 1 else 0.5, "words before it")
    if known:
        return Candidate(start, end, 0.6 if len(words) > 1 else 0.5, "first name")
    if len(words) in (2, 3):
        return Candidate(start, end, 0.35, "two capitalised words")
    return None


def _find_addresses(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_ADDRESS, data):
        if word_before(data, start) or word_after(data, end):
            continue
        if _reads_as_prose(data[start:end]):
            continue
        near = _ADDRESS_CONTEXT.before(data, start)
        yield Candidate(start, end, 0.8 if near else 0.6, "number and street word")
    for start, end in spans(_UNIT_ADDRESS, data):
        yield Candidate(start, end, 0.6, "number and unit")


def _reads_as_prose(value: bytes) -> bool:
    """Whether no word is capitalised and the street word is an everyday one: "3 ways to drive"."""
    return value == value.lower() and not _STREET_ONLY.of(value)


NAME = Recogniser("name", (rb"\p{Lu}\p{Ll}",), _find_names, 10)
ADDRESS = Recogniser(
    "address",
    (rb"(?i)\d[A-Za-z]? [^0-9\s]", rb"(?i)\pL\.? \d", rb"(?i)box \d"),
    _find_addresses,
    20,
    clue=clues.DIGIT,
)
