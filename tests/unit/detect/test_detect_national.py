"""Tax, health, insurance and identity numbers: their check digits decide, a word or a form lets them be looked at."""

import random
import time

import pytest

from enforcer.detect import pii
from enforcer.detect.pii import national
from enforcer.detect.pii.national_checks import check_of
from enforcer.detect.pii.national_numbers import ROWS
from tests.unit.detect.national_samples import LEADS, invalid, valid

COUNTRIES = {row.kind.split("_")[0] for row in ROWS}
CHECKED = [row for row in ROWS if row.check not in {"own.any", "pk.cnic"}]


def values(text: str, kind: str, at: float = 0.5) -> list[str]:
    found = pii.scan(text, frozenset({kind}), at=at)
    return [text[f.start : f.end] for f in found if f.kind == kind]


def test_many_countries_are_known():
    """
    Numbers of at least 15 countries, and at least 30 kinds of personal data in all.
    """
    assert len(COUNTRIES) >= 40
    assert len(pii.KINDS) >= 30
    assert len(pii.KINDS) == len(set(pii.KINDS))


@pytest.mark.parametrize("row", CHECKED, ids=lambda row: row.kind)
def test_generated_numbers_are_found_and_changed_ones_are_not(row):
    """
    Of 200 numbers and 200 with a digit changed: recall .97, precision .99.
    """
    rng = random.Random(row.kind)
    tails = ("", ".", ", thanks", ")", "\nnext", " und")
    missed, alarms = [], []
    for _ in range(200):
        value = valid(row, rng)
        text = f"{LEADS[row.kind]}: {value}{rng.choice(tails)}"
        if values(text, row.kind) != [value]:
            missed.append(text)
        other = invalid(row, value, rng)
        if other is not None:
            text = f"{LEADS[row.kind]}: {other}{rng.choice(tails)}"
            if values(text, row.kind):
                alarms.append(text)
    assert len(missed) <= 6, missed[:5]
    assert len(alarms) <= 2, alarms[:5]


@pytest.mark.parametrize("row", [row for row in CHECKED if not row.alone], ids=lambda row: row.kind)
def test_digits_alone_say_nothing(row):
    """
    A number that is only digits is none without a word before it, whatever its check says.
    """
    rng = random.Random(1)
    assert values(f"the value {valid(row, rng)} stands here", row.kind, at=0.31) == []


@pytest.mark.parametrize(
    "row", [row for row in CHECKED if row.alone >= 0.5], ids=lambda row: row.kind
)
def test_a_form_of_its_own_needs_no_word(row):
    """
    Separators and letters of a country's own are enough, together with the check.
    """
    rng = random.Random(2)
    found = sum(bool(values(f"see {valid(row, rng)} here", row.kind)) for _ in range(20))
    assert found >= (15 if row.strict else 19)


def test_a_general_word_is_enough_where_digits_are_checked():
    """
    "National id" lets every checked number be looked at, less surely than its country's own word.
    """
    found = pii.scan("national id 52998224725", frozenset({"br_cpf"}))
    own = pii.scan("CPF 52998224725", frozenset({"br_cpf"}))
    assert found[0].confidence < own[0].confidence


def test_a_part_of_something_longer_is_none():
    """
    Digits that go on in front or behind are another number's.
    """
    for text in (
        "CPF 9529.982.247-25",
        "CPF 529.982.247-251",
        "cpf x52998224725",
        "CPF 52998224725-77",
    ):
        assert values(text, "br_cpf") == []


def test_every_check_is_there():
    """
    Each row's check can be loaded, and none raises for a text of its own form.
    """
    rng = random.Random(3)
    for row in ROWS:
        assert check_of(row.check)(valid(row, rng)) is True


def test_too_much_to_check_counts_as_holding_it():
    """
    Past 20,000 places to check a text is given up: all kinds that were asked for are truncated.
    """
    text = "CPF 111.222.333-44 " * (national.CHECKS_MAX + 10)
    found = pii.scan(text, frozenset({"br_cpf"}))
    assert found.truncated == {"br_cpf"}
    assert pii.counts(text, frozenset({"br_cpf"})) == {"br_cpf": 1}


@pytest.mark.parametrize(
    "unit", ["tax id ", "tax id 1 ", "national id 123456789 ", "12345678901 ", "cpf ", "123.456.789-09 ", "AB123456C "]
)  # fmt: skip
def test_a_hostile_text_takes_linear_time(unit):
    """
    Four times the text takes four times the time; all kinds at once.
    """
    kinds = frozenset(row.kind for row in ROWS)

    def seconds(length: int) -> float:
        text = (unit * length)[:length]
        begun = time.thread_time()
        pii.scan(text, kinds, at=0.01)
        return time.thread_time() - begun

    seconds(1000)
    short = seconds(32 << 10)
    assert seconds(128 << 10) < 8 * short + 0.02
