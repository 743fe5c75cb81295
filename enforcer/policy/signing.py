"""
Signatures of policy records: Ed25519 (RFC 8032) over exactly what is stored, and where.

What is signed is not the value alone. It names the installation, the topic and the key too, so that a record signed for
one place cannot stand in another; each part with its length before it, so that no two records have the same bytes. The
signature travels in a header: eight bytes that say which key, then the 64 of the signature. Compaction keeps headers.

Whoever has a private key is believed. Nothing here knows a file or a clock.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Headers = Sequence[tuple[str, bytes]]

HEADER: Final = "signature"
POLICIES: Final = "policies"
HISTORY: Final = "policy-history"
_DOMAIN: Final = b"enforcer policy record 1"
_KEY_ID_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64
_END: Final = b"-----END PUBLIC KEY-----"


def signed_bytes(prefix: str, topic: str, key: bytes, value: bytes | None) -> bytes:
    """What a signature covers; a tombstone is not an empty value."""
    parts = [_DOMAIN, prefix.encode(), topic.encode(), key]
    parts.extend([b"tombstone"] if value is None else [b"value", value])
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class Signer:
    """Signs the records of one installation."""

    __slots__ = ("_key", "_prefix", "key_id", "public_pem")

    def __init__(self, pem: bytes, *, prefix: str) -> None:
        """*pem*: PKCS #8, as `policy keygen` and `openssl genpkey -algorithm ed25519` write it. Raises: ConfigError."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            # The text may be a key all the same: it is not repeated.
            raise ConfigError(
                "the signing key is no Ed25519 private key in PEM, unencrypted",
                help="make one: enforcer policy keygen FILE",
                code="signing_key",
            )
        self._key = key
        self._prefix = prefix
        self.public_pem = key.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
        self.key_id = _key_id(key.public_key())

    def headers(self, topic: str, key: bytes, value: bytes | None) -> Headers:
        """The header of a record."""
        signature = self._key.sign(signed_bytes(self._prefix, topic, key, value))
        return ((HEADER, self.key_id + signature),)


class Verifier:
    """Knows the public keys of those who may change policies."""

    __slots__ = ("_keys", "_prefix")

    def __init__(self, pems: Iterable[bytes], *, prefix: str) -> None:
        """*pems*: each text holds one or more public keys. Raises: ConfigError for one that is none, or for none at all."""
        self._prefix = prefix
        self._keys = {_key_id(key): key for pem in pems for key in _public_keys(pem)}
        if not self._keys:
            raise ConfigError(
                "there is no policy key", help="make one: enforcer policy keygen FILE"
            )

    @property
    def key_ids(self) -> list[str]:
        """Of all known keys, in hex."""
        return sorted(key_id.hex() for key_id in self._keys)

    def refusal(self, topic: str, key: bytes, value: bytes | None, headers: Headers) -> str:
        """Why a record is not to be believed: ``unsigned``, ``unknown_key``, ``bad_signature``; or nothing."""
        found = [content for name, content in headers if name == HEADER]
        if not found:
            return "unsigned"
        if len(found) > 1 or len(found[0]) != _KEY_ID_BYTES + _SIGNATURE_BYTES:
            return "bad_signature"
        public = self._keys.get(found[0][:_KEY_ID_BYTES])
        if public is None:
            return "unknown_key"
        try:
            public.verify(found[0][_KEY_ID_BYTES:], signed_bytes(self._prefix, topic, key, value))
        except InvalidSignature:
            return "bad_signature"
        return ""


def make_key() -> tuple[bytes, bytes, str]:
    """A new pair: private PEM, public PEM, and the id of the key in hex."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private, public, _key_id(key.public_key()).hex()


def _public_keys(pem: bytes) -> Iterable[Ed25519PublicKey]:
    *texts, rest = pem.split(_END)
    if rest.strip() or not texts:
        raise _no_public_key()
    for text in texts:
        try:
            key = load_pem_public_key(text.strip() + b"\n" + _END + b"\n")
        except (ValueError, UnsupportedAlgorithm):
            raise _no_public_key() from None
        if not isinstance(key, Ed25519PublicKey):
            raise _no_public_key()
        yield key


def _no_public_key() -> ConfigError:
    return ConfigError(
        "a policy key is no Ed25519 public key in PEM",
        help="`enforcer policy keygen FILE` writes FILE.pub; the private key stays with who signs",
        code="policy_key",
    )


def _key_id(key: Ed25519PublicKey) -> bytes:
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).digest()[:_KEY_ID_BYTES]
