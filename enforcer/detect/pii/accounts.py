"""Identifiers of accounts and devices that prove themselves by a check digit, and web addresses."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from stdnum import bic, numdb

from enforcer.detect import clues
from enforcer.detect.pii.numbers import luhn_valid
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

_IBAN = pattern(rb"(?i)\b[A-Z]{2}\d{2}(?:[ \-]?[A-Z0-9]{4}){2,7}(?:[ \-]?[A-Z0-9]{1,3})?")
_IBAN_LENGTH_MIN = 15
_IBAN_REGISTRY = numdb.get("iban")
# A part of a form is a length and a class: "8!n10!n".
_IBAN_PARTS = re.compile(r"([1-9]\d*)!([nac])")
_IBAN_CLASSES = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]"}
_LETTERS_AS_NUMBERS = {
    ord(letter): str(10 + at) for at, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
}
# Words of small letters with hardly a digit among them are no account.
_SIX_DIGITS = pattern(clues.PATTERNS[clues.SIX_DIGITS])

_BIC = pattern(rb"\b[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
_BIC_CONTEXT = Words(rb"\bbic\b|swift|\bbank")

_URL = pattern(
    rb"(?i)(?:https?|ftps?|wss?)://[^\s<>\"'`{}|\\^\[\]]+|www\.[a-z0-9\-]+\.[^\s<>\"'`{}|\\^\[\]]{2}[^\s<>\"'`{}|\\^\[\]]*"
)
_URL_TAIL = b".,;:!?*)"

_MAC = pattern(
    rb"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2}"
)
_MAC_CONTEXT = Words(rb"\bmac\b|ethernet|hardware|wlan|wi-?fi|device|link/ether|hwaddr")

_IMEI = pattern(rb"\b\d{2}[ \-]?\d{6}[ \-]?\d{6}[ \-]?\d")
_IMEI_CONTEXT = Words(rb"\bimei\b|handset|device id")

_VIN = pattern(rb"\b[A-HJ-NPR-Z0-9]{17}\b")
_VIN_CONTEXT = Words(rb"\bvin\b|vehicle|chassis")
_VIN_VALUES = {**{str(digit): digit for digit in range(10)}, **dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))}  # fmt: skip
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)

_BITCOIN = pattern(
    rb"\b(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[02-9ac-hj-np-z]{23,71}|0x[0-9a-fA-F]{40})"
)
_BASE58 = {
    char: value
    for value, char in enumerate(b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}
_BECH32 = {char: value for value, char in enumerate(b"qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
_BECH32_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32_CHECKS = (1, 0x2BC830A3)
_WALLET_CONTEXT = Words(rb"wallet|ethereum|\beth\b|bitcoin|\bbtc\b|crypto|address|\bsend\b|\bpay\b")


def _find_ibans(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_IBAN, data):
        if word_before(data, start):
            continue
        # A run may take the next word along ("... 19 for"): shorter ends are tried at the gaps.
        for stop in _ends(data, start, end):
            value = data[start:stop].translate(None, b" -").upper()
            if len(value) < _IBAN_LENGTH_MIN or word_after(data, stop) or not _iban_valid(value):
                continue
            if data[start:stop].isupper() or _SIX_DIGITS.search(data[start:stop]):
                yield Candidate(start, stop, 0.98, "check digits and length of its country")
            break


def _ends(data: bytes, start: int, end: int) -> list[int]:
    gaps = range(end - 1, max(start, end - 12), -1)
    return [end, *[index for index in gaps if data[index] in b" -"]]


def _iban_valid(value: bytes) -> bool:
    """Whether a number has the form of its country, and its check digits (ISO 13616, ISO 7064 MOD 97-10)."""
    form = _iban_form(value[:2])
    if form is None or form.fullmatch(value, 4) is None:
        return False
    number = (value[4:] + value[:4]).decode("ascii").translate(_LETTERS_AS_NUMBERS)
    return int(number) % 97 == 1


@lru_cache(maxsize=1024)
def _iban_form(country: bytes) -> re.Pattern[bytes] | None:
    """What stands behind the check digits in a country, from the registry that python-stdnum keeps."""
    ((_, entry),) = _IBAN_REGISTRY.info(country.decode("ascii"))
    if "bban" not in entry:
        return None
    form = _IBAN_PARTS.sub(lambda part: _IBAN_CLASSES[part[2]] + f"{{{part[1]}}}", entry["bban"])
    return re.compile(form.encode("ascii"))


def _find_bics(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_BIC, data):
        if (
            word_before(data, start)
            or word_after(data, end)
            or not _BIC_CONTEXT.before(data, start)
        ):
            continue
        if bic.is_valid(data[start:end].decode("ascii")):
            yield Candidate(start, end, 0.85, "shape, context word")


def _find_urls(data: bytes) -> Iterator[Candidate]:
    for span in spans(_URL, data):
        start, end = span
        if word_before(data, start):
            continue
        tail = _URL_TAIL[:-1] if data.find(b"(", start, end) >= 0 else _URL_TAIL
        while data[end - 1] in tail:
            end -= 1
        yield Candidate(start, end, 0.95, "scheme or www")


def _find_macs(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_MAC, data):
        if word_before(data, start) or word_after(data, end) or _goes_on(data, start, end):
            continue
        near = _MAC_CONTEXT.around(data, start, end)
        colons = data[start + 2] == 58
        if near or colons:
            yield Candidate(start, end, 0.95 if near else 0.75, "six octets")
        else:
            yield Candidate(start, end, 0.4, "six octets")


def _goes_on(data: bytes, start: int, end: int) -> bool:
    """Whether a separator joins more to the value: a longer fingerprint, a code."""
    before = start > 0 and data[start - 1] in b":-."
    return before or (end < len(data) and data[end] in b":-." and word_after(data, end + 1))


def _find_imeis(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_IMEI, data):
        if word_before(data, start) or word_after(data, end) or _goes_on(data, start, end):
            continue
        if luhn_valid(data[start:end].translate(None, b" -")) and _IMEI_CONTEXT.before(data, start):
            yield Candidate(start, end, 0.95, "Luhn check digit, context word")


def _find_vins(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_VIN, data):
        if word_before(data, start) or word_after(data, end):
            continue
        value = data[start:end].decode("ascii")
        if value.isdigit() or value.isalpha() or not _vin_valid(value):
            continue
        near = bool(_VIN_CONTEXT.before(data, start))
        yield Candidate(start, end, 0.95 if near else 0.45, "check digit")


def _vin_valid(value: str) -> bool:
    """The check digit of 49 CFR 565.15: the ninth character."""
    total = sum(
        _VIN_VALUES[char] * weight for char, weight in zip(value, _VIN_WEIGHTS, strict=True)
    )
    return "0123456789X"[total % 11] == value[8]


def _find_wallets(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_BITCOIN, data):
        if word_before(data, start) or word_after(data, end):
            continue
        value = data[start:end]
        if value[:2] == b"0x":
            near = _WALLET_CONTEXT.before(data, start)
            yield Candidate(start, end, 0.8 if near else 0.45, "shape of Ethereum")
        elif _bech32_valid(value) if value[:3] == b"bc1" else _base58_valid(value):
            yield Candidate(start, end, 0.98, "checksum of Bitcoin")


def _base58_valid(value: bytes) -> bool:
    number = 0
    for byte in value:
        number = number * 58 + _BASE58[byte]
    if number >> 200:
        return False
    raw = number.to_bytes(25, "big")
    return sha256(sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def _bech32_valid(value: bytes) -> bool:
    """The checksum of BIP 173 and of BIP 350."""
    check = 1
    for five in (3, 3, 0, 2, 3, *[_BECH32[byte] for byte in value[3:]]):
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ five
        for index, generator in enumerate(_BECH32_GENERATORS):
            check ^= generator if top >> index & 1 else 0
    return check in _BECH32_CHECKS


IBAN = Recogniser(
    "iban",
    (rb"(?i)\b[A-Z]{2}\d{2}[ \-]?[A-Z0-9]{4}[ \-]?[A-Z0-9]{3}",),
    _find_ibans,
    110,
    clue=clues.NUMBER,
)
BIC = Recogniser("bic", (rb"\b[A-Z]{6}[A-Z0-9]{2}",), _find_bics, 75, clue=clues.CAPITALS)
URL = Recogniser("url", (rb"(?i)://[^\s]|www\.[a-z0-9]",), _find_urls, 85, holds_others=True)
MAC_ADDRESS = Recogniser(
    "mac_address",
    (rb"\b(?:[0-9A-Fa-f]{2}[:\-]){5}[0-9A-Fa-f]{2}", rb"\b(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}"),
    _find_macs,
    72,
    clue=clues.OCTETS,
)
IMEI = Recogniser(
    "imei", (rb"\b\d{2}[ \-]?\d{6}[ \-]?\d{6}[ \-]?\d",), _find_imeis, 105, clue=clues.NUMBER
)
VIN = Recogniser("vin", (rb"\b[A-HJ-NPR-Z0-9]{17}\b",), _find_vins, 76, clue=clues.CAPITALS)
CRYPTO_WALLET = Recogniser(
    "crypto_wallet",
    (rb"\b(?:[13][1-9A-HJ-NP-Za-km-z]{25}|bc1[02-9ac-hj-np-z]{23}|0x[0-9a-fA-F]{40})",),
    _find_wallets,
    77,
    clue=clues.WALLET,
)
