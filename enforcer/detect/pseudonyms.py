"""
Replacements that keep who is who: keyed hashes, and pseudonyms that the key's holder can undo.

A hash is HMAC-SHA-256 of kind and value. A pseudonym is the value itself, encrypted so that the same
value has the same pseudonym in one conversation and another one in the next: the synthetic-IV
construction (RFC 5297's idea, with HMAC-SHA-256 as its parts). The key stands in no record. Both are
written in the letters a to p, which no recogniser takes for a finding.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from enforcer.detect.recogniser import pattern

KEY_BYTES_MIN = 16
_HASH_BYTES = 10
_IV_BYTES = 12
_BLOCK_BYTES = 32
_LETTERS = bytes.maketrans(b"0123456789abcdef", b"abcdefghijklmnop")
_DIGITS = bytes.maketrans(b"abcdefghijklmnop", b"0123456789abcdef")
_PSEUDONYM = pattern(rb"\[([A-Z0-9_]{1,64})_PSEUDONYM_([a-p]{26,})\]")


def hashed(key: bytes, kind: str, value: str) -> str:
    """What stands in place of a value in the style ``hash``: ``[EMAIL_HASH_ponm...]``."""
    assert len(key) >= KEY_BYTES_MIN, "a hash key has 16 bytes at least"
    digest = hmac.digest(key, f"{kind}\0{value}".encode("utf-8", "replace"), sha256)
    return f"[{kind.upper()}_HASH_{_letters(digest[:_HASH_BYTES])}]"


def derived_key(key: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose of an installation's one redaction key."""
    assert len(key) >= KEY_BYTES_MIN, "a redaction key has 16 bytes at least"
    return hmac.digest(key, b"enforcer redaction\0" + purpose.encode(), sha256)


def conversation_name(tenant: str, conversation_id: str | None, request_id: str) -> str:
    """
    What pseudonyms are the same within: a tenant's conversation, or the one request that names none.

    No two are alike: each part says how long it is.
    """
    parts = (tenant, "c", conversation_id) if conversation_id else (tenant, "r", request_id)
    return "".join(f"{len(part)}:{part}" for part in parts)


class Pseudonyms:
    """
    The pseudonyms of one conversation.

    Args:
        key: Secret of the installation or the tenant, 16 bytes at least; the same key restores.
        conversation: Its id: the same value has another pseudonym in another conversation.
    """

    __slots__ = ("_encryption_key", "_iv_key")

    def __init__(self, key: bytes, conversation: str) -> None:
        assert len(key) >= KEY_BYTES_MIN, "a pseudonym key has 16 bytes at least"
        name = conversation.encode("utf-8", "replace")
        self._iv_key = hmac.digest(key, b"iv\0" + name, sha256)
        self._encryption_key = hmac.digest(key, b"encryption\0" + name, sha256)

    def of(self, kind: str, value: str) -> str:
        """What stands in place of a value: ``[EMAIL_PSEUDONYM_ponm...]``."""
        plain = value.encode("utf-8", "replace")
        iv = self._iv(kind, plain)
        return f"[{kind.upper()}_PSEUDONYM_{_letters(iv + self._crypted(iv, plain))}]"

    def restored(self, text: str) -> str:
        """A text with its pseudonyms undone; those of another key or conversation, and forged ones, stay."""
        data = text.encode("utf-8", "replace")
        pieces: list[bytes] = []
        at = 0
        for match in _PSEUDONYM.finditer(data):
            value = self._value(match.group(1).decode().lower(), match.group(2))
            if value is not None:
                pieces += (data[at : match.start()], value)
                at = match.end()
        pieces.append(data[at:])
        return b"".join(pieces).decode()

    def _value(self, kind: str, letters: bytes) -> bytes | None:
        if len(letters) % 2:
            return None
        raw = bytes.fromhex(letters.translate(_DIGITS).decode())
        iv, crypted = raw[:_IV_BYTES], raw[_IV_BYTES:]
        plain = self._crypted(iv, crypted)
        return plain if hmac.compare_digest(iv, self._iv(kind, plain)) else None

    def _iv(self, kind: str, plain: bytes) -> bytes:
        return hmac.digest(self._iv_key, kind.encode() + b"\0" + plain, sha256)[:_IV_BYTES]

    def _crypted(self, iv: bytes, data: bytes) -> bytes:
        """Encrypts and decrypts: the data with a stream that the IV and the key make."""
        blocks = -(-len(data) // _BLOCK_BYTES)
        stream = b"".join(
            [
                hmac.digest(self._encryption_key, iv + number.to_bytes(4, "big"), sha256)
                for number in range(blocks)
            ]
        )
        return bytes([a ^ b for a, b in zip(data, stream, strict=False)])


def _letters(data: bytes) -> str:
    return data.hex().encode().translate(_LETTERS).decode()
