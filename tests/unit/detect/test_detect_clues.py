"""Clues are necessary: what is looked for only behind them is all that there is to find."""

import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enforcer.detect import clues, combined, pii, secrets
from enforcer.detect.pii import (
    accounts,
    dates,
    documents,
    national_numbers,
    network,
    numbers,
    phones,
    scanner,
)
from enforcer.detect.pii.national_checks import check_of
from enforcer.detect.recogniser import pattern
from enforcer.detect.scanning import _exact
from tests.unit.detect import test_detect_documents, test_detect_field_texts, test_detect_pii
from tests.unit.detect.national_samples import LEADS, valid
from tests.unit.detect.secret_samples import draw, sample

REGISTRY = combined.REGISTRY
SLOW = frozenset({"name", "address"})
KINDS = combined.KINDS - SLOW

# What finders look for, as the patterns that they look with, and a word that is believed before it.
SOUGHT = {
    "email": (network._EMAIL, ""),
    "ip_address": (network._IPV4, "ip "),
    "phone": (phones._RUN, "call "),
    "ssn": (numbers._SSN, "ssn "),
    "credit_card": (numbers._CARD_RUN, "card "),
    "date": (dates._DATE, ""),
    "date_of_birth": (dates._BIRTH_DATE, "born "),
    "iban": (accounts._IBAN, ""),
    "bic": (accounts._BIC, "swift "),
    "mac_address": (accounts._MAC, "mac "),
    "imei": (accounts._IMEI, "imei "),
    "vin": (accounts._VIN, "vin "),
    "crypto_wallet": (accounts._BITCOIN, "wallet "),
    "passport": (documents._PASSPORT, ""),
    "driving_license": (documents._LICENCE, ""),
    "license_plate": (documents._PLATE, ""),
    "medical_record_number": (documents._MEDICAL, ""),
    "bank_account": (documents._BANK, ""),
    "uk_sort_code": (documents._SORT_CODE, ""),
    "coordinates": (documents._COORDINATES, "at "),
    "url_credentials": (documents._CREDENTIALS, ""),
    "age": (documents._AGE, ""),
}


def sought(kind: str) -> st.SearchStrategy[str]:
    """Texts with something that the finder of a kind looks at."""
    compiled, lead = SOUGHT[kind]
    source = compiled.pattern.decode() if isinstance(compiled.pattern, bytes) else compiled.pattern
    # What Python's parser has no word for, and flags where it wants none.
    source = source.replace(r"[\p{L}\p{N}", "[a-z0-9").replace(r"\p{L}\p{N}", "a-z0-9")
    source = source.replace(r"\p{L}", "[a-z]").replace("(?i)", "")
    found = st.from_regex(
        re.compile(source), fullmatch=True, alphabet=st.characters(max_codepoint=1000)
    )
    return st.builds(
        "x {}{}{}".format, st.just(lead), found, st.sampled_from([" x", "", ".\n", "\u96fb"])
    )


def everything(text: str, kinds: frozenset[str]) -> list:
    """What the finders of some kinds find when all of them are asked."""
    owners = {owner for _, owner in REGISTRY._owned_patterns(kinds, counts=False)}
    return list(_exact(text.encode("utf-8", "replace"), text, owners, 0.01))


def missed(text: str, kinds: frozenset[str] = KINDS) -> set:
    return set(everything(text, kinds)) ^ set(REGISTRY.scan(text, kinds, at=0.01))


@pytest.mark.parametrize("kind", SOUGHT)
@given(data=st.data())
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
def test_what_a_finder_finds_is_scanned_for(kind, data):
    """
    Whatever a finder makes of what its own pattern matches, the scan finds.
    """
    text = data.draw(sought(kind))
    assert missed(text, frozenset({kind})) == set()


@pytest.mark.parametrize("row", national_numbers.ROWS, ids=lambda row: row.kind)
def test_every_national_number_gives_a_clue(row):
    """
    Numbers of a form that pass the check, however they are written, hold one of the clues.
    """
    rng = random.Random(row.kind)
    check = check_of(row.check)
    forms = [draw(row.form, rng) for _ in range(300)]
    values = [value for value in forms if check(value)] + [valid(row, rng) for _ in range(40)]
    for value in values:
        assert any(
            pattern(clues.PATTERNS[clue]).search(value.encode())
            for clue in clues.bits(clues.NUMBER)
        ), value
    for value in values[-5:]:
        assert missed(f"{LEADS[row.kind]}: {value}, x", frozenset({row.kind})) == set()


@pytest.mark.parametrize("kind", secrets.KINDS)
def test_every_secret_gives_a_clue(kind):
    """
    Made-up values of a kind are found by the scan as by all finders.
    """
    rng = random.Random(kind)
    for _ in range(4):
        text, value = sample(kind, rng)
        assert missed(text, frozenset({kind})) == missed(text) == set()
        assert missed(f"a{value}", frozenset({kind})) == set()


WRITTEN = [
    *(row[1] for row in test_detect_documents.FOUND + test_detect_documents.NOT_FOUND),
    *(row[1] for row in test_detect_pii.FOUND + test_detect_pii.NOT_FOUND),
    *(row[0] for row in test_detect_field_texts.HELD),
    *test_detect_field_texts.EMPTY,
]


def test_written_texts_are_read_alike():
    """
    Mails, logs, forms and look-alikes: the scan finds what all finders find.
    """
    assert len(WRITTEN) > 150
    for text in WRITTEN:
        assert missed(text) == set(), text


PIECES = st.sampled_from(
    [*"0123456789ABCDEFabcdef@:.-/()+ \n", "::", "://", "19", "20", " no ", "born ", "passport ", "plate ", "tax id ", "key=",
     "mrn ", "account ", "is ", "1234", "56", "AB", "GB82", "May ", "°", "年"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=40))
@settings(deadline=None, max_examples=300)
def test_any_text_is_read_alike(pieces):
    """
    Of any text that is made of pieces of values the scan finds what all finders find.
    """
    assert missed("".join(pieces)) == set()


def test_prose_gives_no_clue():
    """
    Ordinary sentences with small numbers are read once.
    """
    first = scanner.REGISTRY._scan(pii.DEFAULT, True).first
    for text in (
        "The 12 of us met 3 times, paid 2,500 for 40 seats and went home at 7.",
        "In short: 15% of all (about 30) answered - the other 170 did not.",
        "Über die Straße ging man etwa 12 mal, dann noch 3 mal; danach nie wieder.",
    ):
        assert list(first.matcher.Match(text.encode())) == [first.sentinel], text
