"""
Writes `enforcer/events/generated.py` from `schemas/avro`: ``python -m enforcer.events.generate``.

A tidy test holds that the committed file is what this makes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from enforcer.events.generation import avro, classes, schemas
from enforcer.events.generation.schemas import Array, Enum, Map, Record, Type, Union
from enforcer.events.generation.text import snake

_ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = _ROOT / "schemas" / "avro"
_MARKER = b"\xc3\x01"
TARGET = Path(__file__).with_name("generated.py")

_HEADER = '''\
# Written by enforcer/events/generate.py from schemas/avro: change those, then `make docs`.
# ruff: noqa
# fmt: off
"""
The records on the wire and their Avro codecs, generated.

`encode_<record>` gives single-object bytes (marker, fingerprint, body), `decode_<record>` takes
them; `write_<record>` gives a body alone. Maps are written sorted by key: equal records have
equal bytes. Every error is a CodecError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final

from enforcer.events.binary import (
    BOOLEANS,
    LONGS,
    MALFORMED,
    OPTIONAL_LONGS,
    SHORT,
    UNENCODABLE,
    bad_tag,
    decode_count,
    decode_double,
    decode_length,
    decode_long,
    encode_array,
    encode_boolean,
    encode_bytes,
    encode_double,
    encode_fixed,
    encode_long,
    encode_map,
    encode_string,
    encode_strings,
    malformed,
    new_instance,
    unencodable,
    wrong_end,
    wrong_head,
)
'''


def generated_text(folder: Path = SCHEMAS) -> str:
    """The whole module."""
    all_schemas = schemas.load(folder)
    all_records = schemas.records(all_schemas)
    parts = [[_HEADER]]
    parts.append(
        [
            f"{avro.head_name(schema)}: Final = {_MARKER + schema.fingerprint!r}"
            for schema in all_schemas
        ]
    )
    parts.append(avro.enum_tables([t for t in _types(all_records) if isinstance(t, Enum)]))
    parts += [classes.class_text(record) for record in all_records]
    parts += [
        avro.union_writer(type_)
        for type_ in _types(all_records)
        if isinstance(type_, Union) and type_.optional is None
    ]
    for record in all_records:
        parts += [avro.writer(record), avro.reader(record)]
    parts += [avro.public_codecs(schema) for schema in all_schemas]
    parts.append(_registry(all_schemas))
    return "\n\n\n".join("\n".join(part) for part in parts) + "\n"


def _registry(all_schemas: tuple[schemas.Schema, ...]) -> list[str]:
    """By fingerprint and by class: what the generic functions look up."""
    types = [f"    {s.fingerprint!r}: {s.record.name}," for s in all_schemas]
    decoders = [f"    {avro.head_name(s)}: decode_{snake(s.record.name)}," for s in all_schemas]
    encoders = [f"    {s.record.name}: encode_{snake(s.record.name)}," for s in all_schemas]
    names = [f"    {s.record.name!r}: {s.file!r}," for s in all_schemas]
    return [
        "FINGERPRINTS: Final[dict[bytes, type]] = {",
        *types,
        "}",
        "DECODERS: Final[dict[bytes, Callable[[bytes], Any]]] = {",
        *decoders,
        "}",
        "ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {",
        *encoders,
        "}",
        "SCHEMA_FILES: Final = {",
        *names,
        "}",
    ]


def _types(all_records: tuple[Record, ...]) -> list[Type]:
    """Every type in use once, in order of first use."""
    found: dict[Type, None] = {}

    def visit(type_: Type) -> None:
        found.setdefault(type_)
        match type_:
            case Array(inner) | Map(inner):
                visit(inner)
            case Union(branches):
                for branch in branches:
                    visit(branch)
            case _:
                pass

    for record in all_records:
        for field in record.fields:
            visit(field.type)
    return list(found)


def main() -> int:
    """Write the file; returns the exit code."""
    TARGET.write_text(generated_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
