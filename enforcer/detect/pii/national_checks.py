"""Check digits: python-stdnum's where it has them, and those that it has not."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from enforcer.detect.pii.numbers import luhn_valid

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[str], bool]

_NPI_PREFIX = b"80840"
_RVNR_WEIGHTS = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
_KVNR_WEIGHTS = (1, 2, 1, 2, 1, 2, 1, 2, 1, 2)
_NRIC_WEIGHTS = (2, 7, 6, 5, 4, 3, 2)
_NRIC_LETTERS = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "XWUTRQPNJLK"}  # fmt: skip
_MEDICARE_WEIGHTS = (1, 3, 7, 9, 1, 3, 7, 9)
_RRN_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_SNILS_FREE = 1_001_998


def npi(number: str) -> bool:
    """The Luhn digit over the prefix 80840 (CMS, National Provider Identifier)."""
    return luhn_valid(_NPI_PREFIX + number.encode())


def dea(number: str) -> bool:
    """The seventh digit: the last of the sum of odd places and twice the even ones."""
    digits = [int(char) for char in number[2:]]
    return (sum(digits[0:5:2]) + 2 * sum(digits[1:6:2])) % 10 == digits[6]


def _digit_sum(value: int) -> int:
    return value // 10 + value % 10


def rvnr(number: str) -> bool:
    """German pension insurance: the letter as two digits, digit sums of weighted digits, mod 10."""
    compact = number.replace(" ", "")
    letter = f"{ord(compact[8]) - 64:02}"
    digits = [int(char) for char in compact[:8] + letter + compact[9:11]]
    total = sum(_digit_sum(d * w) for d, w in zip(digits, _RVNR_WEIGHTS, strict=True))
    return total % 10 == int(compact[11]) and 0 < int(compact[2:4]) % 50 <= 31


def kvnr(number: str) -> bool:
    """German health insurance: as Luhn over the letter's number and eight digits."""
    digits = [int(char) for char in f"{ord(number[0]) - 64:02}" + number[1:9]]
    total = sum(_digit_sum(d * w) for d, w in zip(digits, _KVNR_WEIGHTS, strict=True))
    return total % 10 == int(number[9])


def nric(number: str) -> bool:
    """Singapore's identity numbers: a letter by the weighted sum, mod 11."""
    first = number[0]
    total = sum(int(d) * w for d, w in zip(number[1:8], _NRIC_WEIGHTS, strict=True))
    total += {"T": 4, "G": 4, "M": 3}.get(first, 0)
    return _NRIC_LETTERS[first][total % 11] == number[8]


def au_medicare(number: str) -> bool:
    """Australia's Medicare card: the ninth digit by the weighted sum of eight, mod 10."""
    compact = number.replace(" ", "")
    total = sum(int(d) * w for d, w in zip(compact, _MEDICARE_WEIGHTS, strict=False))
    return total % 10 == int(compact[8])


def rrn(number: str) -> bool:
    """South Korea's registration number: its check digit, or a birth date that could be (since 2020)."""
    compact = number.replace("-", "")
    month, day = int(compact[2:4]), int(compact[4:6])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return False
    total = sum(int(d) * w for d, w in zip(compact, _RRN_WEIGHTS, strict=False))
    return (11 - total % 11) % 10 == int(compact[12]) or compact[0] == "2"


def snils(number: str) -> bool:
    """Russia's pension insurance: weighted sum mod 101."""
    digits = "".join([char for char in number if char.isdigit()])
    if int(digits[:9]) <= _SNILS_FREE:
        return False
    total = sum(int(digit) * (9 - at) for at, digit in enumerate(digits[:9])) % 101
    return total % 100 == int(digits[9:])


def anything(number: str) -> bool:
    """A form without a check digit."""
    del number
    return True


_OWN: dict[str, Check] = {
    "npi": npi,
    "dea": dea,
    "rvnr": rvnr,
    "kvnr": kvnr,
    "nric": nric,
    "au_medicare": au_medicare,
    "rrn": rrn,
    "snils": snils,
    "any": anything,
}


@lru_cache(maxsize=256)
def check_of(name: str) -> Check:
    """The check that a row names: ``own.x`` or a module of python-stdnum, imported at first use."""
    owner, _, rest = name.partition(".")
    if owner == "own":
        return _OWN[rest]
    found: Check = import_module(f"stdnum.{name}").is_valid
    return found
