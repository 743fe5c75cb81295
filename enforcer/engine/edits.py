"""
Merging the edits of all modify rules that matched, whatever their order.

The order of kinds is law: remove; set (higher priority, then policy id, rule id; a parent beats its children);
cap (smallest); append (priority order); redact over the result (union of kinds, the strictest style). The result
is a list of operations that make the edited request from the request as it came, one after the other. Edits
that change nothing are dropped, and so is a rule of which none is left.

All removes name places of the request as it came, so those in lists go from the end. What is removed, set and
capped at one path becomes one operation.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from enforcer import detect, events
from enforcer.detect.models import NO_MODELS
from enforcer.detect.redaction import NO_KEYS, STRICTNESS
from enforcer.errors import RequestError
from enforcer.events.edits import apply_edits
from enforcer.policy.paths import format_path, parse_edited
from enforcer.policy.runtime import same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from enforcer.policy import EditSpec, Match

Path = tuple[str | int, ...]

ABSENT: Final = object()
_JSON_TEXT: Final = frozenset({"tools", "tool_choice", "response_format"})
_KEYED_STYLES: Final = frozenset({"hash", "pseudonym"})
_ALL_TEXTS: Final[frozenset[Path]] = frozenset({("llm", "prompt"), ("llm",)})


class EditFailedError(RequestError):
    """An edit that cannot be applied, or a text that cannot be redacted. *index* is its rule's."""

    def __init__(self, error: RequestError, index: int) -> None:
        code = "edit_failed" if error.code == "edit_failed" else "evaluation_error"
        super().__init__(error.message, place=error.place, code=code)
        self.index = index


class Merged:
    """
    The operations, what they make, the paths they touch, and the rules that made them.

    Attributes:
        sent: The request as it came, after the operations: what the gateway will send.
        edited: The same with the tenant's defaults: what rules read.
        operations: For the decision.
        paths: As authors write them, or JSON pointers; of a list whose elements move, the list's.
        rules: Indexes into the matches that were given.
    """

    __slots__ = ("edited", "operations", "paths", "rules", "sent")

    def __init__(self, request: events.Request) -> None:
        self.sent = self.edited = request
        self.operations: list[events.Edit] = []
        self.paths: list[str] = []
        self.rules: set[int] = set()


class Redaction(NamedTuple):
    """
    What redaction needs beside the edits themselves.

    Attributes:
        kinds: What an edit means that names no kinds.
        models: Whose entities are redacted as well.
        key: For the styles ``hash`` and ``pseudonym``, the same on every worker; None: they deny.
    """

    kinds: frozenset[str] = detect.pii.DEFAULT
    key: bytes | None = None
    models: detect.Models = NO_MODELS


class _Step(NamedTuple):
    """One operation to come: what remains of all removes, sets and caps of a path, or one append."""

    op: str
    path: Path
    value: Any
    rules: tuple[int, ...]


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


def merge(
    request: events.Request,
    matches: Sequence[Match],
    *,
    completed: events.Request | None = None,
    redaction: Redaction | None = None,
) -> Merged:
    """
    The merged edits of the matched modify rules.

    Args:
        request: As it came: what the operations are for.
        matches: Of modify rules, in canonical order: higher priority first, then policy id, rule id.
        completed: The same with the tenant's defaults, if there are any.
        redaction: What redaction needs to know beside the edits.

    Raises: EditFailedError, when an edit cannot be applied: the request is then denied.
    """
    completed = completed or request
    merged = Merged(request)
    specs = [(index, spec) for index, match in enumerate(matches) for spec in match.edits]
    for step in _steps(specs):
        try:
            _change(merged, step, completed)
        except RequestError as error:
            raise EditFailedError(error, step.rules[0]) from error
    redacts = [(i, spec) for i, spec in specs if spec.op == "redact"]
    if redacts:
        _redact(merged, redacts, redaction or Redaction())
    if len(merged.operations) > 1 and _is_same(merged.sent, request):
        return Merged(request)  # What one did another undid.
    merged.edited = merged.sent
    if completed is not request and merged.operations:
        merged.edited = apply_edits(completed, merged.operations)
    return merged


def joined(first: Merged | None, second: Merged) -> Merged:
    """The edits of rules, and then those that make the call fit its limits, which begin where the first end."""
    if first is not None:
        second.operations = [*first.operations, *second.operations]
        second.paths = [*first.paths, *second.paths]
        second.rules = set(first.rules)
    return second


def _is_same(one: events.Request, other: events.Request) -> bool:
    # Python's equality takes 1 for true; the encoding does not.
    return one == other and events.encode_request(one) == events.encode_request(other)


def _steps(specs: list[tuple[int, EditSpec]]) -> Iterator[_Step]:
    """What remains after the precedence within each kind: removes, then sets, caps, appends."""
    sets, caps = _strongest_sets(specs), _smallest_caps(specs)
    yield from _remaining_removes(specs, sets, caps)
    for path, (index, value) in sets.items():
        capper, cap = caps.pop(path, (index, None))
        if cap is not None and _is_above(pointer(path), value, cap):
            yield _Step("set", path, cap, (capper, index))
        else:
            yield _Step("set", path, value, (index,))
    for path, (index, cap) in caps.items():
        yield _Step("cap", path, cap, (index,))
    for index, spec in specs:
        if spec.op == "append":
            yield _Step("append", segments(spec.path), spec.value, (index,))


def _remaining_removes(
    specs: list[tuple[int, EditSpec]],
    sets: dict[Path, tuple[int, Any]],
    caps: dict[Path, tuple[int, Any]],
) -> Iterator[_Step]:
    """
    Removes, less those below another; a cap of what is removed is taken from *caps*.

    What is set after it was removed is set; what is capped after it was removed becomes the cap.
    """
    removes: dict[Path, tuple[int, ...]] = {}
    for index, spec in specs:
        if spec.op == "remove":
            path = segments(spec.path)
            removes[path] = (*removes.get(path, ()), index)
    for path in sorted(removes, key=_from_the_end, reverse=True):
        if path in sets or any(path[:length] in removes for length in range(1, len(path))):
            continue
        if path in caps:
            index, cap = caps.pop(path)
            yield _Step("set", path, cap, (index, *removes[path]))
        else:
            yield _Step("remove", path, None, removes[path])


def _smallest_caps(specs: list[tuple[int, EditSpec]]) -> dict[Path, tuple[int, Any]]:
    caps: dict[Path, tuple[int, Any]] = {}
    for index, spec in specs:
        if spec.op == "cap":
            path = segments(spec.path)
            if path not in caps or spec.value < caps[path][1]:
                caps[path] = (index, spec.value)
    return caps


def _from_the_end(path: Path) -> list[tuple[bool, str | int]]:
    """A sort key: indexes as numbers, so that in reverse no remove moves what another names."""
    return [(isinstance(step, int), step) for step in path]


def _strongest_sets(specs: list[tuple[int, EditSpec]]) -> dict[Path, tuple[int, Any]]:
    """The first set of each path in canonical order, less those below another's path: a parent beats its children."""
    sets: dict[Path, tuple[int, Any]] = {}
    for index, spec in specs:
        if spec.op == "set":
            sets.setdefault(segments(spec.path), (index, spec.value))
    return {
        path: found
        for path, found in sets.items()
        if not any(path[:length] in sets for length in range(1, len(path)))
    }


def _change(merged: Merged, step: _Step, completed: events.Request) -> None:
    """Apply one step to the request as edited so far, unless it changes nothing."""
    path = step.path
    old = value_at(merged.sent, path)
    edit = _edit_of(step, old, completed)
    if edit is None:
        return
    sent = apply_edits(merged.sent, [edit])
    # Compared as the record has it: what an author leaves out of a message is its default.
    if step.op != "append" and same(value_at(sent, path), old):
        return
    merged.sent = sent
    last = merged.operations[-1] if merged.operations else None
    if last is not None and last.op == edit.op == "splice" and last.path == edit.path:
        # Neighbouring splices of one text belong together, and name the text before all of them.
        last.text = f"{last.text}{edit.text}"
    else:
        merged.operations.append(edit)
    shifts = step.op == "remove" and isinstance(path[-1], int)
    merged.paths.append(format_path(path[:-1] if shifts else path))
    merged.rules.update(step.rules)


def _edit_of(step: _Step, old: Any, completed: events.Request) -> events.Edit | None:
    where, value = pointer(step.path), step.value
    if step.op == "remove":
        return None if old is ABSENT or old in ([], {}) else events.Edit("remove", where)
    if step.op == "append":
        return _append(where, old, value)
    if step.op == "cap":
        given = value_at(completed, step.path) if old is ABSENT else old
        if not _is_above(where, given, value):
            if old is not ABSENT:
                return None
            value = given  # The default is below the cap, but nobody would send it.
    return events.Edit("add" if old is ABSENT else "replace", where, json_text(value))


def _append(where: str, old: Any, value: Any) -> events.Edit:
    if isinstance(old, list):
        if old:
            return events.Edit("add", where + "/-", json_text(value))
        # An empty list may not be there at all in the request's JSON form.
        return events.Edit("add", where, json_text([value]))
    if not isinstance(value, str):
        raise _failed(where, "only text can be appended to what is no list")
    if old is ABSENT:
        return events.Edit("add", where, json_text(value))
    if not isinstance(old, str):
        raise _failed(where, "it is neither a list nor a text")
    # A splice, for a decision holds no text of a request.
    return events.Edit("splice", where, None, len(old), len(old), value, _digest(old))


def _is_above(where: str, old: Any, cap: float) -> bool:
    """Whether *old* must come down to *cap*; an absent number is one without a limit."""
    if old is ABSENT:
        return True
    if isinstance(old, bool) or not isinstance(old, (int, float)):
        raise _failed(where, "only a number can be capped")
    return old > cap


def _redact(merged: Merged, specs: list[tuple[int, EditSpec]], redaction: Redaction) -> None:
    """Redaction over the result: per text the union of kinds, per kind the strictest style."""
    is_keyed = redaction.key is not None and any(s.style in _KEYED_STYLES for _, s in specs)
    keys = _keys_of(redaction.key, merged.sent) if is_keyed else NO_KEYS
    splices: list[events.Edit] = []
    for where, text in detect.text_parts(merged.sent):
        styles, asking = _asked(specs, where, redaction.kinds)
        if not styles:
            continue
        try:
            also = redaction.models.found(text, frozenset(styles))
            entities = [(start, end, kind) for kind, start, end, _ in also]
            found = detect.redact_by(text, styles, keys=keys, also=entities)
        except RequestError as error:
            raise EditFailedError(error, min(asking)) from error
        if not found:
            continue
        digest = _digest(text)
        splices.extend(
            events.Edit("splice", where, None, s.start, s.end, s.text, digest) for s in found
        )
        merged.rules |= _finders(text, asking, redaction.models)
        merged.paths.append(where)
    if splices:
        merged.sent = apply_edits(merged.sent, splices)
        merged.operations.extend(splices)


def _keys_of(key: bytes | None, request: events.Request) -> detect.RedactionKeys:
    assert key is not None
    name = detect.conversation_name(request.tenant, request.conversation_id, request.id)
    return detect.RedactionKeys.derived(key, name)


def _asked(
    specs: list[tuple[int, EditSpec]], where: str, default: frozenset[str]
) -> tuple[dict[str, detect.Style], dict[int, set[str]]]:
    """What is to be redacted of the text at *where*: the style of each kind, and the kinds of each rule."""
    styles: dict[str, detect.Style] = {}
    asking: dict[int, set[str]] = {}
    for index, spec in specs:
        if not _covers(segments(spec.path), where):
            continue
        for kind in default if spec.kinds is None else spec.kinds:
            asking.setdefault(index, set()).add(kind)
            if STRICTNESS[spec.style] > STRICTNESS.get(styles.get(kind, ""), 0):
                styles[kind] = spec.style
    return styles, asking


def _finders(text: str, asking: dict[int, set[str]], models: detect.Models) -> set[int]:
    """Which of the rules that ask for the redaction of a text find something of their own kinds in it."""
    if len(asking) == 1:
        return set(asking)
    return {
        index
        for index, kinds in asking.items()
        if detect.combined.has_any(text, frozenset(kinds)) or models.found(text, frozenset(kinds))
    }


def _covers(path: Path, where: str) -> bool:
    """Whether the text at JSON pointer *where* lies at or under *path* (``llm.prompt``: all texts)."""
    if path in _ALL_TEXTS:
        return True
    mine = pointer(path)
    return where == mine or where.startswith(mine + "/")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def json_text(value: Any) -> str:
    """A value as the JSON text of an edit."""
    return orjson.dumps(value).decode()


def _failed(where: str, why: str) -> RequestError:
    return RequestError(f"edit of {where}: {why}", code="edit_failed", place=where)
