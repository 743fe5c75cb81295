"""
Edits of a request: RFC 6902 operations and splices, on records and on plain JSON.

Absent and null are the same request, so on objects ``replace`` may make a member and ``remove`` may
find none; list indexes are strict, as in RFC 6902. A splice replaces code points of one string. All
splices of a string stand together, sorted and disjoint, and are applied from its end, so that no
place moves under another; each names the SHA-256 of the string it was made for, and a string that is
another now is an error: a redaction never lands beside what it should cover.

Nothing is changed in place: what lies on the way to an edit is copied, all else is shared.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import orjson

from enforcer.errors import RequestError
from enforcer.events import (
    Caller,
    Llm,
    Message,
    Part,
    Project,
    Request,
    Team,
    ToolCall,
    User,
    from_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from enforcer.events import Edit

T = TypeVar("T")

_ABSENT: Final = object()

# What a record needs before it can be read from JSON, so that one value can be typed alone.
_LEAST: Final[dict[type, dict[str, Any]]] = {
    Request: {"id": "-", "tenant": "-", "llm": {"provider": "-", "model": "-"}},
    User: {},
    Team: {},
    Project: {},
    Caller: {},
    Llm: {"provider": "-", "model": "-"},
    Message: {"role": "-"},
    Part: {"type": "-"},
    ToolCall: {"name": "-"},
}

# Fields that hold JSON text in a record and the value itself in JSON.
_JSON_FIELDS: Final = frozenset({"tools", "tool_choice", "response_format"})

# Members that stand for an empty object where a JSON request leaves them out.
_OBJECTS: Final = frozenset({"user", "team", "project", "caller", "attributes"})


def apply_edits(request: Request, edits: Sequence[Edit]) -> Request:
    """
    The request as the decision wants it.

    Args:
        request: As it came. It is not changed; ``raw`` is carried over as it is.
        edits: In the decision's order; a path is a JSON pointer into the request's JSON form.

    Raises: RequestError ``edit_failed`` with the path as place, if one cannot be applied whole.
    """
    return _applied(request, edits)


def apply_edits_to_json(document: dict[str, Any], edits: Sequence[Edit]) -> dict[str, Any]:
    """
    The same for a request in its JSON form, unknown fields and all.

    Raises: RequestError ``edit_failed``, as for records.
    """
    return _applied(document, edits)


def _applied(root: T, edits: Sequence[Edit]) -> T:
    for path, group in _groups(edits):
        root = _Change(path, group).within(root, _tokens(path), None)
    return root


def _groups(edits: Sequence[Edit]) -> Iterator[tuple[str, list[Edit]]]:
    """Neighbouring splices of one string together, every other edit alone."""
    group: list[Edit] = []
    for edit in edits:
        if group and (edit.op != "splice" or edit.path != group[0].path):
            yield group[0].path, group
            group = []
        if edit.op == "splice":
            group.append(edit)
        else:
            yield edit.path, [edit]
    if group:
        yield group[0].path, group


def _tokens(path: str) -> list[str]:
    if not path.startswith("/"):
        _fail(path, "the path of an edit starts with a slash")
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _fail(path: str, why: str) -> NoReturn:
    raise RequestError(
        f"edit of {path or 'the whole request'}: {why}", code="edit_failed", place=path
    )


class _Type:
    """How a value at a place in a record is typed: by reading a record that holds only it."""

    __slots__ = ("field", "owner", "trail")

    def __init__(self, owner: type, field: str, trail: tuple[str | None, ...] = ()) -> None:
        self.owner = owner
        self.field = field
        self.trail = trail  # A key for a map, None for a list.

    def inside(self, key: str | None) -> _Type:
        return _Type(self.owner, self.field, (*self.trail, key))

    def of(self, value: Any, path: str) -> Any:
        for key in reversed(self.trail):
            value = [value] if key is None else {key: value}
        try:
            record: Any = from_json(self.owner, {**_LEAST[self.owner], self.field: value})
        except RequestError as error:
            _fail(path, f"the value does not fit the field: {error.message}")
        typed = getattr(record, self.field)
        for key in self.trail:
            typed = typed[0 if key is None else key]
        return typed

    def default(self, path: str) -> Any:
        if self.field in _LEAST[self.owner]:
            _fail(path, "the field is required")
        return getattr(from_json(self.owner, dict(_LEAST[self.owner])), self.field)

    def is_json(self) -> bool:
        """Whether the record holds JSON text where the JSON form holds the value."""
        if self.owner is not Llm or self.field not in _JSON_FIELDS:
            return False
        return len(self.trail) == (1 if self.field == "tools" else 0)


class _Change:
    """One change at the end of a path: an operation of RFC 6902, or all splices of one string."""

    __slots__ = ("op", "path", "splices", "value")

    def __init__(self, path: str, group: list[Edit]) -> None:
        self.path = path
        self.op = group[0].op
        self.splices = group
        self.value: Any = None
        if self.op in {"add", "replace"}:
            try:
                self.value = orjson.loads(group[0].value or "")
            except orjson.JSONDecodeError:
                _fail(path, "the value is no JSON")

    def _member(self, old: Any, typed: _Type | None) -> Any:
        """The new value of an object's member, or ``_ABSENT`` to remove it."""
        if self.op == "splice":
            return self._spliced(old, typed)
        if self.op == "remove":
            return _ABSENT
        return self.value if typed is None else typed.of(self.value, self.path)

    def _item(self, items: list[Any], step: str, typed: _Type | None) -> None:
        """Change one item of a list that is already a copy."""
        if self.op == "add":
            at = len(items) if step == "-" else self._index(step, len(items) + 1)
            items.insert(at, self._member(None, typed))
            return
        at = self._index(step, len(items))
        if self.op == "remove":
            del items[at]
        else:
            items[at] = self._member(items[at], typed)

    def _spliced(self, text: Any, typed: _Type | None) -> str:
        if not isinstance(text, str) or (typed is not None and typed.is_json()):
            _fail(self.path, "a splice needs a text")
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        pieces: list[str] = []
        done = 0
        for splice in self.splices:
            start, end = splice.start, splice.end
            if splice.sha256 != digest:
                _fail(self.path, "the text is not the one that the splice was made for")
            if start is None or end is None or not done <= start <= end <= len(text):
                _fail(self.path, "the splices are not sorted, disjoint and within the text")
            pieces += (text[done:start], splice.text or "")
            done = end
        pieces.append(text[done:])
        return "".join(pieces)

    def within(self, node: Any, tokens: list[str], typed: _Type | None) -> Any:
        """A copy of *node* in which the change is made."""
        if type(node) in _LEAST:
            return self._in_record(node, tokens)
        if isinstance(node, dict):
            return self._in_object(node, tokens, typed)
        if isinstance(node, list):
            return self._in_list(node, tokens, typed)
        if isinstance(node, str) and typed is not None and typed.is_json():
            return orjson.dumps(self.within(orjson.loads(node), tokens, None)).decode()
        _fail(self.path, "nothing lies there")

    def _in_record(self, record: Any, tokens: list[str]) -> Any:
        cls = type(record)
        name = tokens[0]
        if name not in cls.__slots__ or name == "raw":
            _fail(self.path, "there is no such field")
        typed = _Type(cls, name)
        old = getattr(record, name)
        if len(tokens) > 1:
            new = self.within(old, tokens[1:], typed)
        else:
            new = self._member(old, typed)
            if new is _ABSENT:
                new = typed.default(self.path)
        copy = object.__new__(cls)
        for slot in cls.__slots__:
            setattr(copy, slot, getattr(record, slot))
        setattr(copy, name, new)
        return copy

    def _in_object(
        self, members: dict[str, Any], tokens: list[str], typed: _Type | None
    ) -> dict[str, Any]:
        key = tokens[0]
        inner = typed.inside(key) if typed is not None else None
        copy = dict(members)
        if len(tokens) > 1:
            child = members.get(key)
            copy[key] = self.within(
                {} if child is None and key in _OBJECTS else child, tokens[1:], inner
            )
            return copy
        new = self._member(members.get(key), inner)
        if new is _ABSENT:
            copy.pop(key, None)
        else:
            copy[key] = new
        return copy

    def _in_list(self, items: list[Any], tokens: list[str], typed: _Type | None) -> list[Any]:
        inner = typed.inside(None) if typed is not None else None
        copy = list(items)
        if len(tokens) > 1:
            at = self._index(tokens[0], len(items))
            copy[at] = self.within(items[at], tokens[1:], inner)
        else:
            self._item(copy, tokens[0], inner)
        return copy

    def _index(self, step: str, count: int) -> int:
        """A list index as RFC 6901 writes it, below *count*."""
        plain = step.isascii() and step.isdigit() and (step == "0" or step[0] != "0")
        if not plain or len(step) > 9 or int(step) >= count:
            _fail(self.path, "there is no such item")
        return int(step)
