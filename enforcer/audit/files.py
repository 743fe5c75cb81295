"""
Audit records in a file, for verification without a broker: one JSON object a line.

``{"partition": 3, "offset": 1042, "value": "<base64 of the stored bytes>"}``, each partition in the
order of the log; partitions may be mixed. ``enforcer tail audit --output raw`` writes it, and so may
any other archive: nothing in it is Enforcer's but the stored bytes.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, NamedTuple

from enforcer.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Stored(NamedTuple):
    """A record as its topic holds it; the value is None for a tombstone, which no chain should hold."""

    partition: int
    offset: int | None
    value: bytes | None


def to_line(stored: Stored) -> bytes:
    """One line, with its end."""
    value = None if stored.value is None else b64encode(stored.value).decode()
    record = {"partition": stored.partition, "offset": stored.offset, "value": value}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def read_lines(lines: Iterable[bytes], *, name: str) -> Iterator[Stored]:
    """
    The records of the file *name*; empty lines are skipped.

    Raises: IntegrityError that names the file and the line which is no record.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _read_line(f"{name}:{number}", line)


def _read_line(place: str, line: bytes) -> Stored:
    try:
        record = json.loads(line)
        partition, offset, text = record["partition"], record.get("offset"), record["value"]
        value = None if text is None else b64decode(text, validate=True)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise IntegrityError(
            f"{place}: the line is no audit record: {type(error).__name__}",
            help='write one {"partition": .., "offset": .., "value": base64} a line, as `enforcer '
            "tail audit --output raw` does",
        ) from None
    if type(partition) is not int or not (offset is None or type(offset) is int):
        raise IntegrityError(
            f"{place}: the line is no audit record: partition and offset are integers"
        )
    return Stored(partition, offset, value)
