"""Identities: accounts, call keys, decision ids, content digests and Kafka's partitions."""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from typing import Final

from enforcer.events.binary import UNENCODABLE, decode_length, decode_long, unencodable
from enforcer.events.generated import FINGERPRINTS, Request, content_request

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_KEY_PART_BYTES_MAX: Final = 256
_REQUEST_HEAD: Final = b"\xc3\x01" + next(f for f, cls in FINGERPRINTS.items() if cls is Request)
_HEAD_BYTES: Final = len(_REQUEST_HEAD)
_ATTEMPT_ONE: Final = b"\x02"
_NO_DEADLINE: Final = b"\x00"


def murmur2(data: bytes) -> int:
    """
    Kafka's hash of a key, as an unsigned 32-bit number.

    Source: Apache Kafka, org.apache.kafka.common.utils.Utils.murmur2 (Austin Appleby's MurmurHash2).
    """
    length = len(data)
    h = _SEED ^ length
    words = length >> 2
    for word in struct.unpack_from(f"<{words}I", data):
        k = word * _M & _MASK
        h = h * _M & _MASK ^ (k ^ k >> 24) * _M & _MASK
    tail = data[words << 2 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


# Accounts repeat; each record of one is checked to stand on its partition.
@lru_cache(maxsize=16_384)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Kafka's default partitioner places it."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def key_part(text: str) -> str:
    """
    A text as one part of a key: no ``/`` in it, two texts never the same, at most 256 bytes.

    ``%``, ``/`` and a leading ``#`` are percent-encoded; what is longer than 256 bytes then
    becomes ``#`` and its SHA-256 in hex.
    """
    if "%" in text or "/" in text:
        text = text.replace("%", "%25").replace("/", "%2F")
    if text[:1] == "#":
        text = "%23" + text[1:]
    # A code point takes four bytes at most.
    if len(text) > _KEY_PART_BYTES_MAX >> 2 and len(data := text.encode()) > _KEY_PART_BYTES_MAX:
        return "#" + hashlib.sha256(data).hexdigest()
    return text


def account_of(tenant: str, team_id: str | None, by: tuple[str, ...] = ("tenant",)) -> str:
    """
    The account that a call is counted in: its key on every topic, ``acme`` or ``acme/team-1``.

    Args:
        tenant: The request's tenant.
        team_id: The request's team; a call without one stands in the tenant's own account.
        by: The tenant's `account`: ``("tenant",)`` or ``("tenant", "team.id")``.
    """
    account = key_part(tenant)
    return f"{account}/{key_part(team_id)}" if team_id and "team.id" in by else account


def call_key(account: str, request_id: str, attempt: int) -> str:
    """``<account>/<request id>/<attempt>``, each a `key_part`: what tells calls apart."""
    return f"{key_part(account)}/{key_part(request_id)}/{attempt}"


def decision_id(account: str, request_id: str, attempt: int) -> str:
    """32 hex digits that follow from the call alone, so that a repeated decision has the same id."""
    return hashlib.sha256(call_key(account, request_id, attempt).encode()).hexdigest()[:32]


def _is_plain(value: bytes) -> bool:
    """Whether a request in Avro has id and tenant of one byte of length, attempt 1 in one byte and no deadline."""
    try:
        tenant = _HEAD_BYTES + 1 + (value[_HEAD_BYTES] >> 1)
        attempt = tenant + 1 + (value[tenant] >> 1)
        is_short = not (value[_HEAD_BYTES] | value[tenant]) & 129
        return (
            is_short and value[attempt] == _ATTEMPT_ONE[0] and value[attempt + 2] == _NO_DEADLINE[0]
        )
    except IndexError:
        return False


def content_digest(request: Request, value: bytes = b"") -> bytes:
    """
    SHA-256 of what a request asks: its Avro body with attempt 1 and no deadline.

    The same for a repeat, in JSON or Avro; another for a request that reuses an id. What a JSON
    request says beyond the schema does not count.

    Args:
        request: As it was read.
        value: The bytes it was read from. Where they are Avro the digest is taken from them, which
            saves encoding the request again; a writer that orders maps otherwise than we do gets a
            digest of its own, the same for each of its repeats.

    Raises: CodecError, if the request has no Avro form.
    """
    if value[:_HEAD_BYTES] == _REQUEST_HEAD:
        if request.attempt == 1 and request.deadline_ms is None and _is_plain(value):
            return hashlib.sha256(value[_HEAD_BYTES:]).digest()
        # attempt stands behind id and tenant, deadline_ms behind the one byte of phase.
        _, index = decode_length(value, _HEAD_BYTES)
        _, attempt = decode_length(value, index)
        _, phase = decode_long(value, attempt)
        rest = phase + 2
        if value[phase + 1]:
            _, rest = decode_long(value, rest)
        hasher = hashlib.sha256(value[_HEAD_BYTES:attempt])
        hasher.update(_ATTEMPT_ONE)
        hasher.update(value[phase : phase + 1])
        hasher.update(_NO_DEADLINE)
        hasher.update(value[rest:])
        return hasher.digest()
    try:
        return hashlib.sha256(content_request(request)).digest()
    except UNENCODABLE as error:
        raise unencodable("request", error) from None
