"""
Reading values from a request: what generated code and the interfaces call at run time.

Absent is its own value: a declared optional field that is null counts as absent, while an attribute or a
raw value may be present and null.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from enforcer.policy.fields import Field, Kind, Origin, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from enforcer.events import Request
    from enforcer.policy.paths import Path


class _Absent:
    """The value of a field that is not there. Equal to nothing but itself; false."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


def parse_json(text: str | None) -> Any:
    """The value of a field that is kept as JSON text; absent if there is none or it is no JSON."""
    if text is None:
        return ABSENT
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return ABSENT


def descend(value: Any, steps: Path) -> Any:
    """Follow *steps* from *value* through maps, lists and records. ABSENT where the way ends."""
    for step in steps:
        if isinstance(step, str):
            if isinstance(value, dict):
                value = value.get(step, ABSENT)
            elif step in _names(value):
                value = getattr(value, step)
                value = ABSENT if value is None else value
            else:
                return ABSENT
        elif isinstance(value, list) and step < len(value):
            value = value[step]
        else:
            return ABSENT
    return value


def _names(value: Any) -> Mapping[str, Any]:
    """The fields of a record, by name; of anything else, none."""
    names: Mapping[str, Any] = getattr(type(value), "__dataclass_fields__", {})
    return names


def as_plain(value: Any) -> Any:
    """A record as the map that JSON shows: declared fields that are null are left out."""
    if isinstance(value, list):
        return [as_plain(each) for each in value]
    if names := _names(value):
        pairs = ((name, getattr(value, name)) for name in sorted(names))
        return {name: as_plain(each) for name, each in pairs if each is not None}
    return value


def read_record(request: Any, path: Path) -> Any:
    """A declared field behind a list, a record or JSON text: the general way, off the fast path."""
    value: Any = request
    for at, step in enumerate(path):
        value = descend(value, (step,))
        if path[: at + 1] in _JSON_FIELDS:
            value = ABSENT if value is ABSENT else parse_json(value)
        elif path[: at + 1] == ("llm", "tools") and value is not ABSENT:
            value = [parse_json(each) for each in value]
    return as_plain(value)


_JSON_FIELDS = frozenset({("llm", "tool_choice"), ("llm", "response_format")})


def reader(field: Field) -> Callable[[Any], Any]:
    """
    A function from a request to the value of *field*, or ABSENT. *field* is no derived fact.

    Made once for each limit and key, never per event.
    """
    path = field.path
    if field.origin is Origin.ATTRIBUTES:
        if len(path) == 2:
            key = path[1]
            return lambda request: request.attributes.get(key, ABSENT)
        return lambda request: descend(request.attributes, path[1:])
    if field.origin is Origin.RAW:
        return lambda request: descend(request.raw, path[1:])
    assert field.origin is Origin.RECORD, field
    scalars = {Kind.STRING, Kind.INT, Kind.DOUBLE, Kind.BOOL}
    if field.type.kind in scalars and len(path) == 1:
        name = str(path[0])
        return lambda request: _present(getattr(request, name))
    if field.type.kind in scalars and len(path) == 2:
        first, second = str(path[0]), str(path[1])
        return lambda request: _present(getattr(getattr(request, first), second))
    return lambda request: read_record(request, path)


def _present(value: Any) -> Any:
    return ABSENT if value is None else value


@lru_cache(maxsize=4096)
def reader_of(path: str) -> Callable[[Any], Any]:
    """The reader of a path as written, for fields of the request alone. Raises: FieldError."""
    field = resolve(path)
    if field.origin is Origin.FACT and field.path == ("llm", "prompt"):
        return lambda request: _present(request.llm.prompt)
    if field.origin in {Origin.FACT, Origin.NOW}:
        return lambda _request: ABSENT
    return reader(field)


def get_path(request: Request, path: str) -> Any:
    """
    The value at *path* of a request, or ABSENT: declared paths, aliases, attributes, ``raw``.

    ``llm.prompt`` is the field as sent; other derived facts are absent, for they are no part of a request.

    Raises: FieldError, if no request has such a field.
    """
    return reader_of(path)(request)
