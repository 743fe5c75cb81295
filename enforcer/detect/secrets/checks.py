"""What tells a secret from its look-alike: checksums, entropy, and the words of placeholders."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections import Counter
from math import log2
from typing import TYPE_CHECKING

from enforcer.detect.recogniser import pattern

if TYPE_CHECKING:
    from collections.abc import Callable

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PLACEHOLDER = pattern(
    rb"(?i)example|placeholder|x{4}|\*{3}|\.{3}|your[_\-]?|change.?me|insert|redacted|dummy|sample|deadbeef"
    rb"|123456789|abcdefgh|0{7}|<[^>]*>|\$\{|\{\{|%\(|todo|not.?a.?real|fake"
    rb"|^\[[A-Z0-9_]+_(?:REDACTED|HASH_[a-p]+|PSEUDONYM_[a-p]+)\]?$"
)
# Runs that nobody draws: the same character again and again, or an alphabet.
_DISTINCT_MIN = 4
_CHECKSUM_LENGTH = 6


def is_placeholder(value: bytes) -> bool:
    """Whether a value stands for a secret in a document: ``xxxx``, ``${TOKEN}``, ``example``."""
    if _PLACEHOLDER.search(value):
        return True
    return len(value) >= 8 and len(set(value)) <= _DISTINCT_MIN


def entropy(value: bytes) -> float:
    """Shannon's entropy of the bytes of a value, in bits a byte."""
    total = len(value)
    return -sum(n / total * log2(n / total) for n in Counter(value).values()) if total else 0.0


def crc32_base62_fits(token: bytes) -> bool:
    """GitHub's and npm's: the last six characters are the CRC-32 of the rest behind the mark."""
    body = token[token.index(b"_") + 1 :]
    found = zlib.crc32(body[:-_CHECKSUM_LENGTH])
    expected = ""
    for _ in range(_CHECKSUM_LENGTH):
        found, digit = divmod(found, 62)
        expected = _BASE62[digit] + expected
    return body[-_CHECKSUM_LENGTH:] == expected.encode()


def crc32_hex_fits(token: bytes) -> bool:
    """Grafana's: what follows the last underscore is the CRC-32 of the rest, in hex."""
    body, _, check = token.rpartition(b"_")
    return check.lower() == b"%08x" % zlib.crc32(body.partition(b"_")[2])


def is_jwt(token: bytes) -> bool:
    """Whether the first part of a token is a JSON header that names an algorithm."""
    head = token.partition(b".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return False
    return isinstance(header, dict) and ("alg" in header or "typ" in header)


CHECKSUMS: dict[str, Callable[[bytes], bool]] = {
    "github_token": crc32_base62_fits,
    "github_oauth_token": crc32_base62_fits,
    "github_user_token": crc32_base62_fits,
    "github_app_token": crc32_base62_fits,
    "github_refresh_token": crc32_base62_fits,
    "npm_token": crc32_base62_fits,
    "grafana_service_token": crc32_hex_fits,
}
"""Of the formats that carry one. A token that does not fit is less sure, not cleared."""
