"""
What the generated Avro codecs call: varints outside the short case, blocks, and `CodecError`.

A reader takes the bytes and an index and returns the value and the next index. It may run past
the end: indexing then raises IndexError, which the generated `decode_…` turn into a CodecError,
and a slice past the end leaves an index beyond the length, which they compare at last. So no field
checks the length, and no length read from the wire allocates more than the bytes there are.

Source: Apache Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

from enforcer.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SHORT: Final = 4096
"""Numbers from 0 to below this one have their encoding in a table."""


class CodecError(RequestError):
    """Bytes that are no record, or a record that has no bytes. Never holds the value."""

    code = "undecodable"


# What malformed bytes raise in generated code: short reads, unknown tags, bad UTF-8, far offsets.
MALFORMED: Final = (IndexError, KeyError, UnicodeDecodeError, OverflowError, struct.error)
# What a record that does not keep its types raises: lone surrogates, unknown symbols.
UNENCODABLE: Final = (UnicodeEncodeError, KeyError)

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_MORE: Final = tuple(bytes((n & 127 | 128, n >> 7 | 128)) for n in range(1 << 14))
_LAST: Final = tuple(
    bytes((n,)) if n < 128 else bytes((n & 127 | 128, n >> 7)) for n in range(1 << 14)
)

LONGS: Final = tuple(_LAST[n << 1] for n in range(SHORT))
"""Encodings of 0 … SHORT - 1, as numbers and as lengths."""
OPTIONAL_LONGS: Final = tuple(b"\x02" + data for data in LONGS)
"""The same behind the tag of a union's second branch."""


BOOLEANS: Final = {0: False, 1: True}
"""By byte; any other byte is a KeyError, which means malformed."""


class _NewInstance(Protocol):
    def __call__(self, cls: type[T], /) -> T: ...


# An instance without `__init__`: a reader sets every attribute itself. Not wrapped in a function,
# whose call would cost as much again.
new_instance: Final = cast("_NewInstance", object.__new__)


# Large numbers are mostly times. What stands above the lowest 28 bits of one is the same for two
# minutes, and is looked up when one is encoded; and a time stands several times in a record and in
# its neighbours, so that what was decoded lately is looked up whole. Bounded; nothing depends on
# what they hold.
_UPPERS_MAX: Final = 1024
_uppers: dict[int, bytes] = {}
_LATELY_MAX: Final = 4096
_decoded_lately: dict[bytes, int] = {}
# A time in microseconds takes eight bytes from 1987 to 2541.
_TIME_BYTES: Final = 8


def encode_long(value: int) -> bytes:
    """Any int64 as a zigzag varint. Raises: CodecError, outside int64."""
    if 8192 <= value < 1 << 27:
        return _MORE[value << 1 & 0x3FFF] + _LAST[value >> 13]
    if not _INT64_MIN <= value <= _INT64_MAX:
        raise CodecError("an integer does not fit 64 bits")
    rest = value << 1 ^ value >> 63
    if rest < 1 << 28:
        return _LAST[rest] if rest < 1 << 14 else _MORE[rest & 0x3FFF] + _LAST[rest >> 14]
    upper = rest >> 28
    data = _uppers.get(upper)
    return _MORE[rest & 0x3FFF] + _MORE[rest >> 14 & 0x3FFF] + (data or _encode_upper(upper))


def _encode_upper(rest: int) -> bytes:
    """The bytes of a large number above its lowest 28 bits: of a time, the same for two minutes."""
    upper = rest
    data = b""
    while rest >= 1 << 14:
        data += _MORE[rest & 0x3FFF]
        rest >>= 14
    data += _LAST[rest]
    if len(_uppers) >= _UPPERS_MAX:
        _uppers.clear()
    _uppers[upper] = data
    return data


def decode_long(data: bytes, index: int) -> tuple[int, int]:
    """The zigzag varint at an index, and the index behind it."""
    value = data[index]
    if value < 128:
        return (value >> 1) ^ -(value & 1), index + 1
    value += (data[index + 1] << 7) - 128
    if value < 1 << 14:
        return (value >> 1) ^ -(value & 1), index + 2
    value += (data[index + 2] << 14) - (1 << 14)
    if value < 1 << 21:
        return (value >> 1) ^ -(value & 1), index + 3
    value += (data[index + 3] << 21) - (1 << 21)
    if value < 1 << 28:
        return (value >> 1) ^ -(value & 1), index + 4
    end = index + _TIME_BYTES
    if (known := _decoded_lately.get(data[index:end])) is not None:
        return known, end
    found, after = _decode_long_tail(data, index + 4, value - (1 << 28))
    if after == end:
        if len(_decoded_lately) >= _LATELY_MAX:
            _decoded_lately.clear()
        _decoded_lately[data[index:end]] = found
    return found, after


def _decode_long_tail(data: bytes, index: int, value: int) -> tuple[int, int]:
    shift = 28
    byte = data[index]
    while byte > 127:
        value |= (byte & 127) << shift
        shift += 7
        if shift > 63:
            raise CodecError("an integer takes more than 64 bits")
        index += 1
        byte = data[index]
    value |= byte << shift
    if value >> 64:
        raise CodecError("an integer takes more than 64 bits")
    return (value >> 1) ^ -(value & 1), index + 1


def decode_length(data: bytes, index: int) -> tuple[int, int]:
    """Start and end of the bytes whose length stands at an index, mostly in two bytes."""
    length = data[index]
    if length > 127 and (high := data[index + 1]) < 128 and not length & 1:
        start = index + 2
        return start, start + ((high << 7) + length - 128 >> 1)
    length, start = decode_long(data, index)
    if length < 0:
        raise CodecError("a length is negative")
    return start, start + length


def decode_count(data: bytes, index: int) -> tuple[int, int]:
    """The number of items in the block at an index; a negative one is followed by a size."""
    count, index = decode_long(data, index)
    if count > 0:
        return count, index
    if count == 0:
        raise CodecError("a list ends in more than one byte")
    size, index = decode_long(data, index)
    if size < 0:
        raise CodecError("a block's size is negative")
    return -count, index


def encode_array(items: list[T], write: Callable[[T], bytes]) -> bytes:
    """A list as one block; an empty one is its end alone."""
    count = len(items)
    if not count:
        return b"\x00"
    head = LONGS[count] if count < SHORT else encode_long(count)
    return b"".join((head, *map(write, items), b"\x00"))


def encode_map(entries: dict[str, T], write: Callable[[T], bytes]) -> bytes:
    """A dict as one block, sorted by key: equal records have equal bytes."""
    count = len(entries)
    if not count:
        return b"\x00"
    parts = [LONGS[count] if count < SHORT else encode_long(count)]
    for key in sorted(entries):
        data = key.encode()
        length = len(data)
        head = LONGS[length] if length < SHORT else encode_long(length)
        parts += (head, data, write(entries[key]))
    parts.append(b"\x00")
    return b"".join(parts)


def encode_string(text: str) -> bytes:
    """Length and UTF-8."""
    data = text.encode()
    length = len(data)
    return (LONGS[length] if length < SHORT else encode_long(length)) + data


def encode_bytes(data: bytes) -> bytes:
    """Length and bytes."""
    length = len(data)
    return (LONGS[length] if length < SHORT else encode_long(length)) + data


def encode_boolean(value: bool) -> bytes:  # noqa: FBT001 — the value itself
    """One byte."""
    return b"\x01" if value else b"\x00"


_DOUBLE = struct.Struct("<d")


def encode_double(value: float) -> bytes:
    """Eight bytes. Raises: CodecError, if not finite: JSON could not say it."""
    if value - value != 0:
        raise CodecError("a number is not finite", code="invalid_request")
    return _DOUBLE.pack(value)


def decode_double(data: bytes, index: int) -> float:
    """The double at an index. Raises: CodecError with invalid_request, if not finite."""
    (value,) = _DOUBLE.unpack_from(data, index)
    if value - value != 0:
        raise CodecError("a number is not finite", code="invalid_request")
    result: float = value
    return result


def encode_fixed(data: bytes, size: int) -> bytes:
    """The bytes themselves, which must be as many as the schema says."""
    if len(data) != size:
        raise CodecError(f"{len(data)} bytes where {size} are due")
    return data


def encode_strings(items: list[str]) -> bytes:
    """A list of strings as one block."""
    return encode_array(items, encode_string)


def malformed(name: str, error: Exception) -> CodecError:
    """The error of `decode_…`: which record, and what kind of damage; never the bytes."""
    what = {
        IndexError: "ends too early",
        KeyError: "has an unknown tag or symbol",
        UnicodeDecodeError: "holds text that is no UTF-8",
    }.get(type(error), "ends too early")
    return CodecError(f"the {name} {what}")


def unencodable(name: str, error: Exception) -> CodecError:
    """The error of `encode_…`."""
    what = "an unknown symbol" if isinstance(error, KeyError) else "text that is no Unicode"
    return CodecError(f"the {name} holds {what}")


def wrong_end(name: str, data: bytes, index: int) -> CodecError:
    """The error when a record ends before its bytes do, or behind them."""
    what = "ends too early" if index > len(data) else f"is followed by {len(data) - index} bytes"
    return CodecError(f"the {name} {what}")


def wrong_head(name: str, data: bytes) -> CodecError:
    """The error when bytes do not start with the fingerprint of this record."""
    what = "is no Avro single object" if data[:2] != b"\xc3\x01" else "has another schema"
    return CodecError(f"the {name} {what}")


def bad_tag() -> CodecError:
    """The error of a union's tag that names no branch."""
    return CodecError("a union has an unknown tag")
