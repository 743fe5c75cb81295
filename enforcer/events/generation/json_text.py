"""
Text of the JSON codecs: a reader and a writer per record, straight lines of type tests.

In JSON the name of an amount loses its ``_nano`` and the value is decimal USD; ``json`` text is
embedded as the value it says; bytes are base64, digests hex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.events.generation.avro import union_name
from enforcer.events.generation.schemas import (
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Primitive,
    Record,
    Type,
    Union,
)
from enforcer.events.generation.text import annotation, default_expression, indent, snake

if TYPE_CHECKING:
    from collections.abc import Iterator

# Strings that name something: an empty one would pass for a name.
_NOT_EMPTY = {
    ("Request", "id"),
    ("Request", "tenant"),
    ("Llm", "provider"),
    ("Llm", "model"),
    ("Usage", "request_id"),
    ("Usage", "tenant"),
}
# Absent members are left out: RFC 6902 gives a member of null a meaning, and messages are many.
_SPARSE = {"Edit", "Message", "Part"}
# Null says null here and not "absent": what an edit puts in.
_NULL_IS_A_VALUE = {("Edit", "value")}
_FUNCTIONS = {"json": "write_json", "nano-usd": "write_usd", "bytes": "write_bytes"}


def json_name(field: Field) -> str:
    """The member's name."""
    return field.name.removesuffix("_nano") if _logical(field.type) == "nano-usd" else field.name


def _logical(type_: Type) -> str:
    match type_:
        case Primitive(_, logical):
            return logical
        case Union() if type_.optional is not None:
            return _logical(type_.optional)
        case _:
            return ""


def has_amounts(type_: Type) -> bool:
    """Whether a value may hold an amount of money."""
    match type_:
        case Primitive(_, logical):
            return logical == "nano-usd"
        case Array(inner) | Map(inner):
            return has_amounts(inner)
        case Union(branches):
            return any(map(has_amounts, branches))
        case Record(_, fields, _):
            return any(has_amounts(field.type) for field in fields)
        case _:
            return False


# --- reading


def reader(record: Record) -> list[str]:
    """`read_…`: a record from a parsed object."""
    body = [
        "if type(d) is not dict:",
        "    raise wrong('an object', d)",
        "get = d.get",
        f"r = new_instance({record.name})",
    ]
    for field in record.fields:
        body += _read_field(record, field)
    if record.name == "Request":
        body.append("r.raw = None")
    body.append("return r")
    return [f"def read_{snake(record.name)}(d: Any) -> {record.name}:", *indent(body)]


def _read_field(record: Record, field: Field) -> Iterator[str]:
    name, target = json_name(field), f"r.{field.name}"
    if (record.name, field.name) in _NULL_IS_A_VALUE:
        yield f"{target} = None"
        yield f"if {name!r} in d:"
        yield f"    v = d[{name!r}]"
        assert isinstance(field.type, Union)
        assert field.type.optional is not None
        yield from indent(_read(field.type.optional, target, name))
        return
    yield f"v = get({name!r})"
    optional = field.type.optional if isinstance(field.type, Union) else None
    if optional is not None:
        yield "if v is None:"
        yield f"    {target} = None"
        yield "else:"
        yield from indent(_read(optional, target, name))
    elif field.default is not None:
        yield "if v is None:"
        yield f"    {target} = {default_expression(field)}"
        yield "else:"
        yield from indent(_read(field.type, target, name))
    elif (record.name, field.name) in _NOT_EMPTY:
        yield "if type(v) is not str or not v:"
        yield f"    raise bad_string(v, {name!r})"
        yield f"{target} = v"
    else:
        yield from _read(field.type, target, name)


def _read(type_: Type, target: str, name: str) -> Iterator[str]:
    match type_:
        case Primitive("string", ""):
            yield "if type(v) is not str:"
            yield f"    raise wrong('a string', v, {name!r})"
            yield f"{target} = v"
        case Primitive("long", ""):
            yield "if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:"
            yield f"    raise bad_integer(v, {name!r})"
            yield f"{target} = v"
        case Primitive("boolean", _):
            yield "if type(v) is not bool:"
            yield f"    raise wrong('a boolean', v, {name!r})"
            yield f"{target} = v"
        case Enum(enum, _):
            symbols = snake(enum).upper()
            yield f"if type(v) is not str or v not in {symbols}:"
            yield f"    raise bad_symbol({symbols}, v, {name!r})"
            yield f"{target} = v"
        case Array(items):
            yield f"{target} = read_array({name!r}, v, {_reader(items)})"
        case Map(values):
            yield f"{target} = read_map({name!r}, v, {_reader(values)})"
        case _:
            call = f"read_fixed(v, {type_.size})" if isinstance(type_, Fixed) else None
            yield "try:"
            yield f"    {target} = {call or f'{_reader(type_)}(v)'}"
            yield "except RequestError as error:"
            yield f"    raise inside({name!r}, error) from None"


def _reader(type_: Type) -> str:
    match type_:
        case Primitive(_, "json"):
            return "read_json"
        case Primitive(_, "nano-usd"):
            return "read_usd"
        case Primitive(name, _):
            return f"read_{name}"
        case Record(name, _, _):
            return f"read_{snake(name)}"
        case Union():
            return f"_read_{union_name(type_)}"
        case _:
            raise AssertionError(type_)


def union_reader(union: Union) -> list[str]:
    """The function that reads a union by the type of the value."""
    lines = [f"def _read_{union_name(union)}(v: Any) -> {annotation(union)}:"]
    expected = []
    for branch in union.branches:
        match branch:
            case Primitive("null", _):
                lines += ["    if v is None:", "        return None"]
                expected.append("null")
            case Primitive("double", _):
                lines += ["    if type(v) is float:", "        return read_double(v)"]
                expected.append("a number")
            case Primitive(name, _):
                type_ = annotation(branch)
                lines += [f"    if type(v) is {type_}:", f"        return read_{name}(v)"]
                expected.append(f"a {name}" if name != "long" else "an integer")
            case Array(items):
                lines += [
                    "    if type(v) is list:",
                    "        try:",
                    f"            return read_array('', v, {_reader(items)})",
                    "        except RequestError as error:",
                    "            # The list has no name of its own.",
                    "            error.place = error.place[1:]",
                    "            raise",
                ]
                expected.append("a list")
            case _:
                raise AssertionError(branch)
    return [*lines, f"    raise wrong({' or '.join(expected)!r}, v)"]


# --- writing


def writer(record: Record) -> list[str]:
    """`json_…`: a record as a dict that can be dumped."""
    low = snake(record.name)
    lines = [f"def json_{low}(r: {record.name}) -> dict[str, Any]:"]
    sparse = [f for f in record.fields if record.name in _SPARSE and _may_be_left_out(f)]
    fixed = [f for f in record.fields if f not in sparse]
    members = [f"{json_name(f)!r}: {_written(f.type, f'r.{f.name}')}," for f in fixed]
    if not sparse:
        return [*lines, "    return {", *indent(members, by=2), "    }"]
    lines += ["    d: dict[str, Any] = {", *indent(members, by=2), "    }"]
    for field in sparse:
        inner = field.type.optional if isinstance(field.type, Union) else field.type
        assert inner is not None
        test = f"r.{field.name}" if isinstance(inner, Array) else f"r.{field.name} is not None"
        lines += [
            f"    if {test}:",
            f"        d[{json_name(field)!r}] = {_written(inner, f'r.{field.name}')}",
        ]
    return [*lines, "    return d"]


def _may_be_left_out(field: Field) -> bool:
    optional = isinstance(field.type, Union) and field.type.optional is not None
    return optional or (isinstance(field.type, Array) and field.default is not None)


def _written(type_: Type, value: str) -> str:
    match type_:
        case Primitive(name, logical):
            function = _FUNCTIONS.get(logical or name)
            return f"{function}({value})" if function else value
        case Enum():
            return value
        case Fixed():
            return f"{value}.hex()"
        case Record(name, _, _):
            return f"json_{snake(name)}({value})"
        case Array(items):
            inner = _written(items, "x")
            return f"{value}.copy()" if inner == "x" else f"[{inner} for x in {value}]"
        case Map(values):
            inner = _written(values, "x")
            entries = f"{{k: {inner} for k, x in {value}.items()}}"
            return f"{value}.copy()" if inner == "x" else entries
        case Union() if type_.optional is not None:
            inner = _written(type_.optional, value)
            return value if inner == value else f"None if {value} is None else {inner}"
        case Union(branches):
            return _written_union(branches, value)


def _written_union(branches: tuple[Type, ...], value: str) -> str:
    for branch in branches:
        if isinstance(branch, Array) and isinstance(branch.items, Record):
            return f"{_written(branch, value)} if isinstance({value}, list) else {value}"
    return value
