"""
Text of the Avro codecs: one straight line of Python per record.

Writing is one tuple and one join: measured a third faster than appending to a bytearray, since a
tuple display runs no method. Reading sets attributes of a bare instance: measured faster than
`__init__`. Numbers below `binary.SHORT`, lengths below it, tags and enums never call a function.
"""

from __future__ import annotations

import json
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING

from enforcer.events.generation.schemas import (
    Array,
    Enum,
    Fixed,
    Map,
    Primitive,
    Record,
    Type,
    Union,
)
from enforcer.events.generation.text import annotation, indent, snake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from enforcer.events.generation.schemas import Schema

_WRITERS = {
    "boolean": "encode_boolean",
    "long": "encode_long",
    "double": "encode_double",
    "string": "encode_string",
    "bytes": "encode_bytes",
}


LONG_ONE = r"b'\x02'"
ABSENT = r"b'\x00'"
_NO_CONSTANTS: Mapping[str, str] = MappingProxyType({})


class Names:
    """Fresh local names, so that no local ever has two types."""

    def __init__(self) -> None:
        self._count = count(1)

    def fresh(self, stem: str) -> str:
        """`stem` with a number that nothing else has."""
        return f"{stem}{next(self._count)}"


def enum_tables(enums: list[Enum]) -> list[str]:
    """Symbol to byte and back; a byte that is no symbol is a KeyError, which means malformed."""
    lines = []
    for enum in enums:
        name = snake(enum.name).upper()
        to_byte = ", ".join(f"{s!r}: {bytes((i << 1,))!r}" for i, s in enumerate(enum.symbols))
        of_byte = ", ".join(f"{i << 1}: {s!r}" for i, s in enumerate(enum.symbols))
        symbols = ", ".join(map(repr, enum.symbols))
        lines += [
            f"{name}: Final = ({symbols})",
            f"_{name}_BYTES: Final = {{{to_byte}}}",
            f"_{name}_OF: Final = {{{of_byte}}}",
        ]
    return lines


def called_records(all_schemas: tuple[Schema, ...]) -> set[str]:
    """The records that need functions: roots, and those in lists, maps and unions."""
    found = {schema.record.name for schema in all_schemas}

    def visit(type_: Type, *, inline: bool) -> None:
        match type_:
            case Record(name, fields, _):
                if not inline:
                    found.add(name)
                for field in fields:
                    visit(field.type, inline=True)
            case Array(inner) | Map(inner):
                visit(inner, inline=False)
            case Union(branches):
                for branch in branches:
                    visit(branch, inline=False)
            case _:
                pass

    for schema in all_schemas:
        visit(schema.record, inline=False)
    return found


def head_name(schema: Schema) -> str:
    """The constant that holds marker and fingerprint of a schema."""
    return f"_{schema.file.upper().replace('.', '_')}_HEAD"


def older_reader_name(schema: Schema) -> str:
    """The function that reads a body of an older schema."""
    return f"_read_{schema.file.replace('.', '_')}"


def public_codecs(schema: Schema, older: Sequence[Schema] = ()) -> list[str]:
    """`encode_…` and `decode_…` of a schema's record; what *older* schemas of it wrote is read too."""
    name, low, head = schema.record.name, snake(schema.record.name), head_name(schema)
    words = name if name.isupper() else low.replace("_", " ")
    read = [f"        record, index = _read_{low}(data, 10)"]
    mismatch = [f"    if data[:10] != {head}:", f"        raise wrong_head({words!r}, data)"]
    if older:
        heads = ", ".join(f"{head_name(each)}: {older_reader_name(each)}" for each in older)
        mismatch = [
            f"    read = _read_{low}",
            f"    if data[:10] != {head}:",
            f"        older = {{{heads}}}.get(data[:10])",
            "        if older is None:",
            f"            raise wrong_head({words!r}, data)",
            "        read = older",
        ]
        read = ["        record, index = read(data, 10)"]
    return [
        f"def encode_{low}(record: {name}) -> bytes:",
        f'    """Avro single-object bytes of a {words}. Raises: CodecError."""',
        "    try:",
        f"        return {head} + write_{low}(record)",
        "    except UNENCODABLE as error:",
        f"        raise unencodable({words!r}, error) from None",
        "",
        "",
        f"def decode_{low}(data: bytes) -> {name}:",
        f'    """The {words} of Avro single-object bytes. Raises: CodecError."""',
        *mismatch,
        "    try:",
        *read,
        "    except MALFORMED as error:",
        f"        raise malformed({words!r}, error) from None",
        "    if index != len(data):",
        f"        raise wrong_end({words!r}, data, index)",
        "    return record",
    ]


# --- writing


def writer(record: Record) -> list[str]:
    """`write_…`: the body of a record."""
    names = Names()
    before: list[str] = []
    items = list(_write_fields(record, "r", names, before))
    low = snake(record.name)
    return [
        f"def write_{low}(r: {record.name}) -> bytes:",
        *indent(before),
        "    return b''.join((",
        *indent([f"{item}," for item in items], by=2),
        "    ))",
    ]


def content_writer(record: Record) -> list[str]:
    """`content_request`: the body of a request as it is digested, whoever repeats it, and when."""
    constants = {"attempt": LONG_ONE, "deadline_ms": ABSENT}
    assert constants.keys() < {field.name for field in record.fields}
    names = Names()
    before: list[str] = []
    items = list(_write_fields(record, "r", names, before, constants))
    return [
        f"def content_{snake(record.name)}(r: {record.name}) -> bytes:",
        '    """A body with attempt 1 and no deadline: what the content digest is taken of."""',
        *indent(before),
        "    return b''.join((",
        *indent([f"{item}," for item in items], by=2),
        "    ))",
    ]


def _write_fields(
    record: Record,
    at: str,
    names: Names,
    before: list[str],
    constants: Mapping[str, str] = _NO_CONSTANTS,
) -> Iterator[str]:
    for field in record.fields:
        if field.name in constants:
            yield constants[field.name]
            continue
        value = f"{at}.{field.name}"
        if isinstance(field.type, Record):
            inner = names.fresh("r")
            before.append(f"{inner} = {value}")
            yield from _write_fields(field.type, inner, names, before)
        else:
            yield from _write(field.type, value, names)


def _write(type_: Type, value: str, names: Names) -> Iterator[str]:
    """The items of the tuple that a value becomes."""
    match type_:
        case Primitive("string", _):
            text, length = names.fresh("s"), names.fresh("n")
            size = f"({length} := len({text} := {value}.encode()))"
            yield f"LONGS[{length}] if {size} < SHORT else encode_long({length})"
            yield text
        case Primitive("long", _):
            number = names.fresh("v")
            short = f"0 <= ({number} := {value}) < SHORT"
            yield f"LONGS[{number}] if {short} else encode_long({number})"
        case Primitive("boolean", _):
            yield f"b'\\x01' if {value} else b'\\x00'"
        case Enum(name, _):
            yield f"_{snake(name).upper()}_BYTES[{value}]"
        case Fixed(_, size):
            yield f"encode_fixed({value}, {size})"
        case Array():
            items = names.fresh("a")
            yield f"{_call(type_, items)} if ({items} := {value}) else b'\\x00'"
        case Map():
            entries = names.fresh("m")
            yield f"{_call(type_, entries)} if ({entries} := {value}) else b'\\x00'"
        case Union() if type_.optional is not None:
            yield _write_optional(type_.optional, value, names)
        case _:
            yield _call(type_, value)


def _write_optional(type_: Type, value: str, names: Names) -> str:
    inner = names.fresh("o")
    absent = f"b'\\x00' if ({inner} := {value}) is None else "
    match type_:
        case Primitive("long", _):
            big = f"b'\\x02' + encode_long({inner})"
            return f"{absent}OPTIONAL_LONGS[{inner}] if 0 <= {inner} < SHORT else {big}"
        case Primitive("string" | "bytes", _):
            data, length = names.fresh("s"), names.fresh("n")
            encoded = f"{inner}.encode()" if type_.name == "string" else inner
            short = f"({length} := len({data} := {encoded})) < SHORT"
            big = f"b'\\x02' + encode_long({length})"
            return f"{absent}(OPTIONAL_LONGS[{length}] if {short} else {big}) + {data}"
        case _:
            return f"{absent}b'\\x02' + {_call(type_, inner)}"


def _call(type_: Type, value: str) -> str:
    """One expression that writes a value, by a function."""
    match type_:
        case Array(Primitive("string", _)):
            return f"encode_strings({value})"
        case Array(items):
            return f"encode_array({value}, {_function(items)})"
        case Map(values):
            return f"encode_map({value}, {_function(values)})"
        case Enum(name, _):
            return f"_{snake(name).upper()}_BYTES[{value}]"
        case Fixed(_, size):
            return f"encode_fixed({value}, {size})"
        case _:
            return f"{_function(type_)}({value})"


def _function(type_: Type) -> str:
    """The name of a function that writes one value."""
    match type_:
        case Primitive(name, _):
            return _WRITERS[name]
        case Record(name, _, _):
            return f"write_{snake(name)}"
        case Union():
            return f"_write_{union_name(type_)}"
        case _:
            raise AssertionError(type_)


def union_name(union: Union) -> str:
    """A name for a union of more than null and one type."""
    return "_or_".join(_branch_name(branch) for branch in union.branches)


def _branch_name(type_: Type) -> str:
    match type_:
        case Primitive(name, _):
            return name
        case Record(name, _, _):
            return snake(name)
        case Array(items):
            return f"{_branch_name(items)}s"
        case _:
            raise AssertionError(type_)


def union_writer(union: Union) -> list[str]:
    """The function that writes a union by the type of the value; bool before int, exact types."""
    lines = [f"def _write_{union_name(union)}(v: {annotation(union)}) -> bytes:"]
    # The last branch that is a list needs no test; a value of no branch fails in its writer.
    order = sorted(range(len(union.branches)), key=lambda i: _test_order(union.branches[i]))
    for index in order:
        branch = union.branches[index]
        tag = bytes((index << 1,))
        if branch == Primitive("null"):
            lines += ["    if v is None:", f"        return {tag!r}"]
        elif isinstance(branch, Array):
            lines += [f"    return {tag!r} + {_call(branch, 'v')}"]
        else:
            lines += [
                f"    if isinstance(v, {annotation(branch)}):",
                f"        return {tag!r} + {_call(branch, 'v')}",
            ]
    return lines


def _test_order(type_: Type) -> int:
    match type_:
        case Primitive(name, _):
            return ("string", "null", "boolean", "long", "double").index(name)
        case _:
            return 9


# --- reading


def reader(record: Record) -> list[str]:
    """`_read_…`: a record's body at an index, and the index behind it."""
    low = snake(record.name)
    return [
        f"def _read_{low}(b: bytes, i: int) -> tuple[{record.name}, int]:",
        f"    r = new_instance({record.name})",
        *indent(_read_fields(record, "r", Names())),
        *(["    r.raw = None"] if record.name == "Request" else []),
        "    return r, i",
    ]


def older_reader(schema: Schema, newest: Record) -> list[str]:
    """
    The reader of a body that an older schema wrote: fields that came later get their defaults.

    What stands in lists and unions is read as it is now: records there have not grown, only their enums have.
    """
    return [
        f"def {older_reader_name(schema)}(b: bytes, i: int) -> tuple[{newest.name}, int]:",
        f"    r = new_instance({newest.name})",
        *indent(_read_fields(newest, "r", Names(), schema.record)),
        "    return r, i",
    ]


def _read_fields(
    record: Record, at: str, names: Names, written: Record | None = None
) -> Iterator[str]:
    """Read the fields of *record*, of which those of *written* are there; None: all of them."""
    there = record.fields if written is None else written.fields
    for index, field in enumerate(record.fields):
        target = f"{at}.{field.name}"
        if index >= len(there):
            # A display in the generated text: each record gets a map of its own.
            is_map = isinstance(field.type, Map) and field.default == "{}"
            assert is_map or field.type in (Primitive("long"), Primitive("boolean")), field
            yield f"{target} = {json.loads(field.default or '')!r}"
        elif isinstance(field.type, Record):
            inner = names.fresh("r")
            yield f"{target} = {inner} = new_instance({field.type.name})"
            old = there[index].type
            assert isinstance(old, Record)
            yield from _read_fields(field.type, inner, names, None if written is None else old)
        else:
            yield from _read(field.type, target, names)


def _read(type_: Type, target: str, names: Names) -> Iterator[str]:
    match type_:
        case Primitive(name, _):
            yield from _read_primitive(name, target)
        case Fixed(_, size):
            yield f"{target} = b[i : i + {size}]"
            yield f"i += {size}"
        case Enum(name, _):
            yield f"{target} = _{snake(name).upper()}_OF[b[i]]"
            yield "i += 1"
        case Array(items):
            yield from _read_array(items, target, names)
        case Map(values):
            yield from _read_map(values, target, names)
        case Union(branches):
            yield from _read_union(branches, target, names)
        case Record(name, _, _):
            yield f"{target}, i = _read_{snake(name)}(b, i)"


def _read_primitive(name: str, target: str) -> Iterator[str]:
    match name:
        case "null":
            yield f"{target} = None"
        case "boolean":
            yield f"{target} = BOOLEANS[b[i]]"
            yield "i += 1"
        case "long":
            yield "n = b[i]"
            yield "if n < 128:"
            yield f"    {target} = n >> 1 ^ -(n & 1)"
            yield "    i += 1"
            yield "else:"
            yield f"    {target}, i = decode_long(b, i)"
        case "double":
            yield f"{target} = decode_double(b, i)"
            yield "i += 8"
        case _:
            decode = ".decode()" if name == "string" else ""
            # One test for both: an odd first byte is a negative length or part of a long one.
            yield "n = b[i]"
            yield "if n & 129:"
            yield "    j, i = decode_length(b, i)"
            yield "else:"
            yield "    j = i + 1"
            yield "    i = j + (n >> 1)"
            yield f"{target} = b[j:i]{decode}"


def _read_union(branches: tuple[Type, ...], target: str, names: Names) -> Iterator[str]:
    yield "t = b[i]"
    yield "i += 1"
    for index, branch in enumerate(branches):
        yield f"{'if' if index == 0 else 'elif'} t == {index << 1}:"
        yield from indent(_read(branch, target, names))
    yield "else:"
    yield "    raise bad_tag()"


def _read_array(items: Type, target: str, names: Names) -> Iterator[str]:
    # Every item takes a byte or more, so a made-up count ends at the end of the bytes.
    assert not isinstance(items, Fixed)
    array, item, more = names.fresh("a"), names.fresh("x"), names.fresh("c")
    yield f"{array}: list[{annotation(items)}] = []"
    yield f"{target} = {array}"
    yield from _blocks(more, [*_read(items, item, names), f"{array}.append({item})"])


def _read_map(values: Type, target: str, names: Names) -> Iterator[str]:
    entries, value, more = names.fresh("m"), names.fresh("x"), names.fresh("c")
    key = names.fresh("k")
    yield f"{entries}: dict[str, {annotation(values)}] = {{}}"
    yield f"{target} = {entries}"
    if isinstance(values, Union):
        body = [f"{value}: {annotation(values)}", *_read(values, value, names)]
    else:
        body = list(_read(values, value, names))
    yield from _blocks(
        more, [*_read_primitive("string", key), *body, f"{entries}[{key}] = {value}"]
    )


def _blocks(more: str, body: list[str]) -> Iterator[str]:
    yield f"{more} = b[i]"
    yield "i += 1"
    yield f"while {more}:"
    # One test for both: a count of one byte is even.
    yield f"    if {more} & 129:"
    yield f"        {more}, i = decode_count(b, i - 1)"
    yield "    else:"
    yield f"        {more} >>= 1"
    yield f"    for _ in range({more}):"
    yield from indent(body, by=2)
    yield f"    {more} = b[i]"
    yield "    i += 1"
