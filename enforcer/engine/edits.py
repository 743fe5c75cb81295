"""
Merging the edits of all modify rules that matched, whatever their order.

The order of kinds is law: remove; set (higher priority, then policy id, rule id; a parent beats its children);
cap (smallest); append (priority order); redact over the result (union of kinds, the strictest style). The result
is a list of operations that make the edited request from the request as it came, one after the other. Edits
that change nothing are dropped, and so is a rule of which none is left.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from enforcer import detect, events
from enforcer.errors import RequestError
from enforcer.events.edits import apply_edits
from enforcer.policy.paths import parse_edited

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from enforcer.policy import EditSpec, Match

Path = tuple[str | int, ...]

ABSENT: Final = object()
_JSON_TEXT: Final = frozenset({"tools", "tool_choice", "response_format"})
_STRICTEST: Final = {"remove": 2, "label": 1}
_TEXTS: Final[tuple[Path, ...]] = (("llm", "messages"), ("llm", "prompt"), ("llm",))


class Merged:
    """The operations, the request after them, the paths they touch, and the rules that made them."""

    __slots__ = ("edited", "operations", "paths", "rules")

    def __init__(self, request: events.Request) -> None:
        self.edited = request
        self.operations: list[events.Edit] = []
        self.paths: list[str] = []  # JSON pointers
        self.rules: set[int] = set()  # Indexes into the matches that were given.


@lru_cache(maxsize=4_096)
def segments(path: str) -> Path:
    """The steps of a path as an author writes it, or of a JSON pointer."""
    return parse_edited(path)


def pointer(path: Path) -> str:
    """*path* as a JSON pointer."""
    return "".join("/" + str(s).replace("~", "~0").replace("/", "~1") for s in path)


def value_at(request: events.Request, path: Path) -> Any:
    """The value at *path* in plain data, ``ABSENT`` where there is none (or null of a declared field)."""
    value: Any = request
    for depth, segment in enumerate(path):
        if isinstance(value, dict):
            value = value.get(segment, ABSENT)
        elif isinstance(value, list):
            inside = isinstance(segment, int) and segment < len(value)
            value = value[segment] if inside else ABSENT  # type: ignore[index]
        else:
            value = getattr(value, str(segment), ABSENT)
            if value is None:
                value = ABSENT
        if value is ABSENT:
            return ABSENT
        is_json_text = isinstance(value, str) and (
            (depth == 1 and path[0] == "llm" and segment in _JSON_TEXT)
            or (depth == 2 and path[:2] == ("llm", "tools"))
        )
        if is_json_text:
            value = orjson.loads(value)
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "__slots__") and not isinstance(value, (str, int, float)):
        return events.to_json(value)
    return value


def merge(request: events.Request, matches: Sequence[Match]) -> Merged:
    """
    The merged edits of the matched modify rules.

    Args:
        matches: Of modify rules, in canonical order: higher priority first, then policy id, rule id.

    Raises: RequestError ``edit_failed``, when an edit cannot be applied: the request is then denied.
    DetectError, when a text cannot be read for redaction.
    """
    merged = Merged(request)
    specs = [(index, spec) for index, match in enumerate(matches) for spec in match.edits]
    for index, spec in _resolved(specs):
        _change(merged, index, spec)
    _redact(merged, [(i, spec) for i, spec in specs if spec.op == "redact"])
    return merged


def _resolved(specs: list[tuple[int, EditSpec]]) -> Iterator[tuple[int, EditSpec]]:
    """What remains of removes, sets and caps after the precedence within each kind, then the appends."""
    sets = _strongest_sets(specs)
    removed: set[Path] = set()
    for index, spec in specs:
        path = segments(spec.path)
        # A field that is set after it was removed is set; one remove serves for all.
        if spec.op == "remove" and path not in removed and path not in sets:
            removed.add(path)
            yield index, spec
    yield from sets.values()
    caps: dict[Path, tuple[int, EditSpec]] = {}
    for index, spec in specs:
        path = segments(spec.path)
        if spec.op == "cap" and (path not in caps or spec.value < caps[path][1].value):
            caps[path] = (index, spec)
    yield from caps.values()
    yield from ((index, spec) for index, spec in specs if spec.op == "append")


def _strongest_sets(specs: list[tuple[int, EditSpec]]) -> dict[Path, tuple[int, EditSpec]]:
    """The first set of each path in canonical order, less those below another's path: a parent beats its children."""
    sets: dict[Path, tuple[int, EditSpec]] = {}
    for index, spec in specs:
        if spec.op == "set":
            sets.setdefault(segments(spec.path), (index, spec))
    return {
        path: found
        for path, found in sets.items()
        if not any(path[:length] in sets for length in range(1, len(path)))
    }


def _change(merged: Merged, index: int, spec: EditSpec) -> None:
    """Apply one remove, set, cap or append to the request as edited so far, unless it changes nothing."""
    path = segments(spec.path)
    old = value_at(merged.edited, path)
    where = pointer(path)
    if spec.op == "remove":
        edit = None if old is ABSENT or old in ([], {}) else events.Edit("remove", where)
    elif spec.op == "append":
        edit = _append(where, old, spec.value)
    elif (spec.op == "cap" and not _is_above(where, old, spec.value)) or (
        type(old) is type(spec.value) and old == spec.value
    ):
        edit = None
    else:
        op = "add" if old is ABSENT else "replace"
        edit = events.Edit(op, where, json_text(spec.value))
    if edit is None:
        return
    merged.edited = apply_edits(merged.edited, [edit])
    merged.operations.append(edit)
    merged.paths.append(where)
    merged.rules.add(index)


def _append(where: str, old: Any, value: Any) -> events.Edit:
    if isinstance(old, list):
        return events.Edit("add", where + "/-", json_text(value))
    if old is not ABSENT and not isinstance(old, str):
        raise _failed(where, "it is neither a list nor a text")
    if not isinstance(value, str):
        raise _failed(where, "only text can be appended to a text")
    if old is ABSENT:
        return events.Edit("add", where, json_text(value))
    return events.Edit("replace", where, json_text(str(old) + value))


def _is_above(where: str, old: Any, cap: float) -> bool:
    """Whether *old* must come down to *cap*; an absent number is one without a limit."""
    if old is ABSENT:
        return True
    if isinstance(old, bool) or not isinstance(old, (int, float)):
        raise _failed(where, "only a number can be capped")
    return old > cap


def _redact(merged: Merged, specs: list[tuple[int, EditSpec]]) -> None:
    """Redaction over the result: per text the union of kinds, per kind the strictest style."""
    if not specs:
        return
    splices: list[events.Edit] = []
    for where, text in [*detect.text_parts(merged.edited), *_attribute_texts(merged.edited)]:
        styles: dict[str, str] = {}
        asking: set[int] = set()
        for index, spec in specs:
            if not _covers(segments(spec.path), where):
                continue
            for kind in spec.kinds or detect.pii.DEFAULT:
                asking.add(index)
                if _STRICTEST[spec.style] > _STRICTEST.get(styles.get(kind, ""), 0):
                    styles[kind] = spec.style
        if not styles:
            continue
        found = _splices(text, styles)
        if not found:
            continue
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        splices.extend(
            events.Edit("splice", where, None, s.start, s.end, s.text, digest) for s in found
        )
        merged.rules |= asking
        merged.paths.append(where)
    if splices:
        merged.edited = apply_edits(merged.edited, splices)
        merged.operations.extend(splices)


def _splices(text: str, styles: dict[str, str]) -> list[detect.Splice]:
    kinds_by_style: dict[str, set[str]] = {}
    for kind, style in styles.items():
        kinds_by_style.setdefault(style, set()).add(kind)
    if len(kinds_by_style) == 1:
        ((style, kinds),) = kinds_by_style.items()
        return detect.redact(text, kinds, "remove" if style == "remove" else "label")
    # Both styles on one text: one pass over all kinds, so that overlaps are resolved once, and the
    # replacement of a finding that is to be removed becomes empty.
    found = detect.redact(text, styles, "label")
    gone = {detect.label_of(kind) for kind in kinds_by_style["remove"]}
    return [detect.Splice(s.start, s.end, "" if s.text in gone else s.text) for s in found]


def _covers(path: Path, where: str) -> bool:
    """Whether the text at JSON pointer *where* lies at or under *path* (``llm.prompt``: all texts)."""
    if path in _TEXTS[1:]:
        return where.startswith("/llm/")
    mine = pointer(path)
    return where == mine or where.startswith(mine + "/")


def _attribute_texts(request: events.Request) -> list[tuple[str, str]]:
    return [
        (pointer(("attributes", key)), value)
        for key, value in request.attributes.items()
        if isinstance(value, str) and value
    ]


def json_text(value: Any) -> str:
    """A value as the JSON text of an edit."""
    return orjson.dumps(value).decode()


def _failed(where: str, why: str) -> RequestError:
    return RequestError(f"edit of {where}: {why}", code="edit_failed", place=where)
