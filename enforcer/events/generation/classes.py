"""Text of the record classes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from enforcer.events.generation.schemas import Array, Field, Map, Record
from enforcer.events.generation.text import annotation, indent

if TYPE_CHECKING:
    from collections.abc import Iterator

# The one attribute that no schema has: policies may read what a JSON request says beyond it.
_RAW = (
    "raw: dict[str, object] | None = field(default=None, compare=False, repr=False, kw_only=True)"
)


def class_text(record: Record) -> list[str]:
    """
    The dataclass of a record.

    Python wants defaults last, schemas do not: where a field without a default follows one with,
    all from the first default on are keyword-only.
    """
    body = [*_docstring(record), ""]
    keyword_only = _keyword_only_from(record)
    for index, field in enumerate(record.fields):
        if index == keyword_only:
            body.append("_: KW_ONLY")
        body.append(f"{field.name}: {annotation(field.type)}{_default(field)}")
    if record.name == "Request":
        body.append(_RAW)
    return ["@dataclass(slots=True)", f"class {record.name}:", *indent(body)]


def _keyword_only_from(record: Record) -> int | None:
    defaults = [field.default is not None for field in record.fields]
    first = defaults.index(True) if True in defaults else len(defaults)
    return None if all(defaults[first:]) else first


def _docstring(record: Record) -> list[str]:
    documented = [field for field in record.fields if field.doc]
    if not documented:
        return [f'"""{record.doc}"""']
    return ['"""', record.doc, "", "Attributes:", *_attributes(documented), '"""']


def _attributes(fields: list[Field]) -> Iterator[str]:
    for field in fields:
        yield f"    {field.name}: {field.doc}"


def _default(field: Field) -> str:
    if field.default is None:
        return ""
    match field.type:
        case Record(name, _, _):
            assert field.default == "{}", field
            return f" = field(default_factory={name})"
        case Array() | Map():
            empty = "list" if isinstance(field.type, Array) else "dict"
            assert field.default in ("[]", "{}"), field
            return f" = field(default_factory={empty})"
        case _:
            return f" = {json.loads(field.default)!r}"
