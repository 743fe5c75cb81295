"""
Avro schemas as typed values: parsing, the parsing canonical form and its fingerprint.

Source: Apache Avro 1.12 specification, "Parsing Canonical Form for Schemas" and "Schema
Fingerprints" (CRC-64-AVRO). Tested against fastavro, which shares no code with this.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PRIMITIVES = ("null", "boolean", "long", "double", "string", "bytes")
_CRC_EMPTY = 0xC15D213AA4D7A795


@dataclass(frozen=True, slots=True)
class Primitive:
    """One of `PRIMITIVES`; `logical` is ``json``, ``nano-usd`` or empty."""

    name: str
    logical: str = ""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Exactly `size` bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Enum:
    """One of a few words, sent as its index."""

    name: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Array:
    """A list."""

    items: Type


@dataclass(frozen=True, slots=True)
class Map:
    """A dict with string keys."""

    values: Type


@dataclass(frozen=True, slots=True)
class Union:
    """One of several types, by tag."""

    branches: tuple[Type, ...]

    @property
    def optional(self) -> Type | None:
        """The other branch of a union of null and one type, null first; else None."""
        nullable = len(self.branches) == 2 and self.branches[0] == Primitive("null")
        return self.branches[1] if nullable else None


@dataclass(frozen=True, slots=True)
class Field:
    """A record's field. `default` is the JSON text of the default, or None where there is none."""

    name: str
    type: Type
    default: str | None
    doc: str


@dataclass(frozen=True, slots=True)
class Record:
    """A named sequence of fields."""

    name: str
    fields: tuple[Field, ...]
    doc: str


Type = Primitive | Fixed | Enum | Array | Map | Union | Record


@dataclass(frozen=True, slots=True)
class Schema:
    """One schema file: its record, its canonical form and its fingerprint (little endian)."""

    file: str
    record: Record
    canonical: str
    fingerprint: bytes


def load(folder: Path) -> tuple[Schema, ...]:
    """Every schema of a folder, by file name. Types that share a name are asserted to be equal."""
    named: dict[str, Type] = {}
    schemas = []
    for path in sorted(folder.glob("*.avsc")):
        source = json.loads(path.read_text(encoding="utf-8"))
        of_file: dict[str, Type] = {}
        record = _parse(source, of_file)
        assert isinstance(record, Record), path
        for name, type_ in of_file.items():
            assert named.setdefault(name, type_) == type_, f"{path}: {name} differs between files"
        canonical = canonical_form(source)
        schemas.append(Schema(path.stem, record, canonical, fingerprint(canonical)))
    assert len({schema.fingerprint for schema in schemas}) == len(schemas)
    return tuple(schemas)


def load_older(folder: Path, newest: tuple[Schema, ...]) -> tuple[Schema, ...]:
    """
    Schemas that were released before, ``<file>.<number>.avsc`` in ``older/``, of the records of *newest*.

    Each must be one that a reader of the newest can take: fields are only ever added, behind those of their record and
    with a default, and symbols behind those of their enum. That is asserted.
    """
    by_file = {schema.file: schema for schema in newest}
    found = []
    for path in sorted((folder / "older").glob("*.avsc")):
        source = json.loads(path.read_text(encoding="utf-8"))
        record = _parse(source, {})
        assert isinstance(record, Record), path
        assert _grows(record, by_file[path.stem.split(".")[0]].record), path
        canonical = canonical_form(source)
        found.append(Schema(path.stem, record, canonical, fingerprint(canonical)))
    return tuple(found)


def _grows(old: Type, new: Type, *, may_gain_fields: bool = True) -> bool:
    """Whether *new* reads what *old* wrote, but for fields that are filled in; those of records in lists are not."""
    match old, new:
        case Record(), Record():
            names = [field.name for field in new.fields]
            return (
                (may_gain_fields or len(old.fields) == len(new.fields))
                and [field.name for field in old.fields] == names[: len(old.fields)]
                and all(f.default is not None for f in new.fields[len(old.fields) :])
                and all(
                    _grows(a.type, b.type) for a, b in zip(old.fields, new.fields, strict=False)
                )
            )
        case Enum(), Enum():
            return new.symbols[: len(old.symbols)] == old.symbols
        case Array(), Array():
            return _grows(old.items, new.items, may_gain_fields=False)
        case Map(), Map():
            return _grows(old.values, new.values, may_gain_fields=False)
        case Union(), Union():
            return len(old.branches) == len(new.branches) and all(
                _grows(a, b, may_gain_fields=False)
                for a, b in zip(old.branches, new.branches, strict=True)
            )
        case _:
            return old == new


def records(schemas: Iterable[Schema]) -> tuple[Record, ...]:
    """Every record of the schemas once, each after all that it holds."""
    found: dict[str, Record] = {}

    def visit(type_: Type) -> None:
        match type_:
            case Record(name, fields, _):
                for field in fields:
                    visit(field.type)
                found.setdefault(name, type_)
            case Array(inner) | Map(inner):
                visit(inner)
            case Union(branches):
                for branch in branches:
                    visit(branch)
            case _:
                pass

    for schema in schemas:
        visit(schema.record)
    return tuple(found.values())


def _parse(source: object, named: dict[str, Type]) -> Type:
    if isinstance(source, str):
        return Primitive(source) if source in PRIMITIVES else named[source]
    if isinstance(source, list):
        return Union(tuple(_parse(branch, named) for branch in source))
    assert isinstance(source, dict), source
    kind = source["type"]
    match kind:
        case "array":
            return Array(_parse(source["items"], named))
        case "map":
            return Map(_parse(source["values"], named))
        case "record" | "enum" | "fixed":
            name = source["name"]
            assert name not in named, f"{name} is defined twice"
            named[name] = _parse_named(source, named)
            return named[name]
        case _:
            assert kind in PRIMITIVES, source
            return Primitive(kind, source.get("logicalType", ""))


def _parse_named(source: Mapping[str, object], named: dict[str, Type]) -> Type:
    name = str(source["name"])
    if source["type"] == "enum":
        symbols = source["symbols"]
        # Tags and enum indexes are read as one byte.
        assert isinstance(symbols, list)
        assert len(symbols) < 64, name
        return Enum(name, tuple(symbols))
    if source["type"] == "fixed":
        size = source["size"]
        assert isinstance(size, int)
        return Fixed(name, size)
    fields = source["fields"]
    assert isinstance(fields, list)
    assert fields, f"{name} is empty: an array of it would take no bytes and could be endless"
    return Record(name, tuple(_parse_field(f, named) for f in fields), str(source.get("doc", "")))


def _parse_field(source: Mapping[str, object], named: dict[str, Type]) -> Field:
    default = json.dumps(source["default"]) if "default" in source else None
    doc = str(source.get("doc", ""))
    return Field(str(source["name"]), _parse(source["type"], named), default, doc)


def canonical_form(source: object) -> str:
    """The parsing canonical form: full names, no documentation, defaults or logical types."""
    return _canonical(source, "")


def _canonical(source: object, namespace: str) -> str:
    if isinstance(source, str):
        return _quoted(source if source in PRIMITIVES else _full_name(source, namespace))
    if isinstance(source, list):
        return "[" + ",".join(_canonical(branch, namespace) for branch in source) + "]"
    assert isinstance(source, dict), source
    kind = source["type"]
    if kind in PRIMITIVES:
        return _quoted(kind)
    if kind in ("array", "map"):
        inner = "items" if kind == "array" else "values"
        return f'{{"type":"{kind}","{inner}":{_canonical(source[inner], namespace)}}}'
    space = source.get("namespace", namespace)
    head = f'{{"name":{_quoted(_full_name(source["name"], space))},"type":"{kind}"'
    if kind == "enum":
        return head + ',"symbols":[' + ",".join(map(_quoted, source["symbols"])) + "]}"
    if kind == "fixed":
        return head + f',"size":{source["size"]}}}'
    fields = ",".join(
        f'{{"name":{_quoted(field["name"])},"type":{_canonical(field["type"], space)}}}'
        for field in source["fields"]
    )
    return head + f',"fields":[{fields}]}}'


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def fingerprint(canonical: str) -> bytes:
    """CRC-64-AVRO (Rabin) of a canonical form, little endian as single-object encoding has it."""
    crc = _CRC_EMPTY
    table = _crc_table()
    for byte in canonical.encode():
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc.to_bytes(8, "little")


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for index in range(256):
        crc = index
        for _ in range(8):
            crc = (crc >> 1) ^ (_CRC_EMPTY if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
