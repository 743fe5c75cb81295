"""
``python -m enforcer.events.generate`` writes, from `schemas/avro`, `generated.py`,
`generated_json.py` and the tables of docs/wire.md.

A tidy test holds that the committed files are what this makes. Running it imports the package,
so a name that the generated modules newly offer is generated before it is imported.
"""

from __future__ import annotations

import sys
from pathlib import Path

from enforcer.events.generation import avro, classes, docs, schemas
from enforcer.events.generation import json_text as json_codecs
from enforcer.events.generation.schemas import Array, Enum, Map, Record, Type, Union
from enforcer.events.generation.text import snake

_ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = _ROOT / "schemas" / "avro"
DOCS = _ROOT / "docs" / "wire.md"
TOPICS = _ROOT / "topics"
_MARKER = b"\xc3\x01"
AVRO_TARGET = Path(__file__).with_name("generated.py")
JSON_TARGET = Path(__file__).with_name("generated_json.py")

_HEADER = '''\
# Written by enforcer/events/generate.py from schemas/avro: change those, then `make docs`.
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

_JSON_HEADER = '''\
# Written by enforcer/events/generate.py from schemas/avro: change those, then `make docs`.
# ruff: noqa: C901, I001, PLR0912, PLR0915, Q000, TC003
# fmt: off
"""
The records' JSON codecs, generated.

`read_<record>` takes a parsed object and is strict; `json_<record>` gives a dict. An error is a
RequestError whose place is a JSON pointer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from enforcer.errors import RequestError
from enforcer.events.binary import new_instance
from enforcer.events.generated import (
<names>)
from enforcer.events.json_values import (
    INT64_MAX,
    INT64_MIN,
    bad_integer,
    bad_string,
    bad_symbol,
    inside,
    read_array,
    read_boolean,
    read_bytes,
    read_double,
    read_fixed,
    read_json,
    read_long,
    read_map,
    read_string,
    read_usd,
    write_bytes,
    write_json,
    write_usd,
    wrong,
)
'''


def avro_text(folder: Path = SCHEMAS) -> str:
    """`generated.py`."""
    all_schemas = schemas.load(folder)
    older = schemas.load_older(folder, all_schemas)
    all_records = schemas.records(all_schemas)
    parts = [[_HEADER]]
    parts.append(
        [
            f"{avro.head_name(schema)}: Final = {_MARKER + schema.fingerprint!r}"
            for schema in (*all_schemas, *older)
        ]
    )
    parts.append(avro.enum_tables([t for t in _types(all_records) if isinstance(t, Enum)]))
    parts += [classes.class_text(record) for record in all_records]
    parts += [
        avro.union_writer(type_)
        for type_ in _types(all_records)
        if isinstance(type_, Union) and type_.optional is None
    ]
    called = avro.called_records(all_schemas)
    for record in all_records:
        # The others stand in one place each and are written and read there.
        if record.name in called:
            parts += [avro.writer(record), avro.reader(record)]
        if record.name == "Request":
            parts.append(avro.content_writer(record))
    newest = {schema.file: schema.record for schema in all_schemas}
    parts += [avro.older_reader(each, newest[_file_of(each)]) for each in older]
    parts += [
        avro.public_codecs(schema, [each for each in older if _file_of(each) == schema.file])
        for schema in all_schemas
    ]
    parts.append(_registry(all_schemas, older))
    return "\n\n\n".join("\n".join(part) for part in parts) + "\n"


def json_text(folder: Path = SCHEMAS) -> str:
    """`generated_json.py`."""
    all_schemas = schemas.load(folder)
    all_records = schemas.records(all_schemas)
    enums = [snake(t.name).upper() for t in _types(all_records) if isinstance(t, Enum)]
    names = sorted([record.name for record in all_records] + enums)
    parts = [[_JSON_HEADER.replace("<names>", "".join(f"    {name},\n" for name in names))]]
    parts += [
        json_codecs.union_reader(type_)
        for type_ in _types(all_records)
        if isinstance(type_, Union) and type_.optional is None
    ]
    for record in all_records:
        parts += [json_codecs.reader(record), json_codecs.writer(record)]
    low = [(record.name, snake(record.name)) for record in all_records]
    parts.append(
        [
            "READERS: Final[dict[type, Callable[[Any], Any]]] = {",
            *(f"    {name}: read_{snaked}," for name, snaked in low),
            "}",
            "WRITERS: Final[dict[type, Callable[[Any], dict[str, Any]]]] = {",
            *(f"    {name}: json_{snaked}," for name, snaked in low),
            "}",
            "WITH_AMOUNTS: Final[frozenset[type]] = frozenset(",
            "    {",
            *(f"        {r.name}," for r in all_records if json_codecs.has_amounts(r)),
            "    }",
            ")",
        ]
    )
    return "\n\n\n".join("\n".join(part) for part in parts) + "\n"


def docs_text() -> str:
    """`docs/wire.md`, its tables made anew."""
    return docs.with_tables(DOCS.read_text(encoding="utf-8"), schemas.load(SCHEMAS), TOPICS)


def _file_of(older: schemas.Schema) -> str:
    """The file of the newest schema of an older one's record."""
    return older.file.split(".")[0]


def _registry(
    all_schemas: tuple[schemas.Schema, ...], older: tuple[schemas.Schema, ...]
) -> list[str]:
    """By fingerprint and by class: what the generic functions look up."""
    known = (*all_schemas, *older)
    types = [f"    {s.fingerprint!r}: {s.record.name}," for s in known]
    decoders = [f"    {avro.head_name(s)}: decode_{snake(s.record.name)}," for s in known]
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
    """Write the files; returns the exit code."""
    AVRO_TARGET.write_text(avro_text(), encoding="utf-8")
    JSON_TARGET.write_text(json_text(), encoding="utf-8")
    DOCS.write_text(docs_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
