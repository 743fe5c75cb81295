"""Any record to bytes and back, by class and by fingerprint."""

from __future__ import annotations

from typing import Any, Final

from enforcer.events.binary import CodecError, decode_long
from enforcer.events.generated import DECODERS, ENCODERS

AVRO_MARKER: Final = b"\xc3"
_HEAD_BYTES: Final = 10
_CONTENT_BYTES: Final = 32
_OPEN: Final = 0
"""Of the statuses of a call row the first."""
_JSON_STARTS: Final = frozenset(b"{ \t\r\n")


def encode(record: Any) -> bytes:
    """
    Avro single-object bytes of any record that has a schema of its own.

    Raises: CodecError, if a value does not fit its type (64 bits, Unicode, an enum's symbols).
    """
    return ENCODERS[type(record)](record)


def decode(value: bytes) -> Any:
    """
    The record of Avro single-object bytes, whichever it is.

    Raises: CodecError, if the schema was never released or the bytes are damaged in any way.
    """
    decoder = DECODERS.get(value[:10])
    if decoder is None:
        raise CodecError("the value has no known schema")
    return decoder(value)


def is_json(value: bytes) -> bool:
    """Whether a value is to be read as JSON: by its first byte, as all readers tell."""
    return value[:1] != b"" and value[0] in _JSON_STARTS


def end_of_row(value: bytes) -> int:
    """
    ``end_us`` of a call row or a waiting usage row, and nothing else of it: its first field, for a sweep.

    Raises: CodecError, if there is none.
    """
    try:
        return decode_long(value, _HEAD_BYTES)[0]
    except IndexError:
        raise CodecError("the row ends before its first field") from None


def expiry_of_call(value: bytes) -> int | None:
    """
    ``expires_us`` of a call row that is open, None of one that is not; nothing else of it is read.

    Raises: CodecError, if it is no such row.
    """
    try:
        _, index = decode_long(value, _HEAD_BYTES)
        status, index = decode_long(value, index)
        if status != _OPEN:
            return None
        decision_bytes, index = decode_long(value, index + _CONTENT_BYTES)
        _, index = decode_long(value, index + decision_bytes)
        return decode_long(value, index)[0]
    except IndexError:
        raise CodecError("the row ends before its fields") from None
