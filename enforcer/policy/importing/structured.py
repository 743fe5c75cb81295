"""
The structured form: what changes when its rules are decided here.

The documents are converted as they load (``existing.py``); this adds the report. The existing engine's operators
coerce (``42`` equals ``"42"``), take an absent field for the text ``undefined``, and report modifications without
applying them: each rule that leans on one of these says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from enforcer.policy.fields import Field, FieldError, Kind, Origin, resolve
from enforcer.policy.ir import ORDERINGS
from enforcer.policy.regex import RegexError, compile_search

if TYPE_CHECKING:
    from enforcer.policy.importing.report import Notes
    from enforcer.policy.source import Node

_NUMBERS: Final = frozenset({Kind.INT, Kind.DOUBLE})
_RECOUNTED: Final = {
    "llm.input_tokens": "tokens are counted as the model counts them, not by length",
    "llm.estimated_cost_usd": "costs follow the price list of the day; a model without a price has none",
    "pii.types": "personal data is found by this engine's detectors, numbers with check digits only",
    "llm.contains_pii": "personal data is found by this engine's detectors, names are not looked for",
}


def note_condition(node: Node, notes: Notes) -> None:
    """Note what is different about a condition in the existing form; fix what has one right form."""
    operator = node.get("operator")
    word = str(operator.value) if operator is not None else None
    if word in {"and", "or", "not"}:
        _note_chain(node, word, notes)
        return
    field, value = node.get("field"), node.get("value")
    if field is None or not isinstance(field.value, str):
        return
    try:
        found = resolve(field.value, existing=True)
    except FieldError:
        return
    name = str(found)
    if name in _RECOUNTED:
        notes.change(_RECOUNTED[name])
    if found.origin is Origin.RAW:
        notes.change(f"`{field.value}` is read from the JSON as it came, absent in other forms")
    if value is not None:
        _fit(found, str(word), value, notes)
    _note_absent(found, str(word), value, notes)


def _note_chain(node: Node, word: str, notes: Notes) -> None:
    children = node.get("conditions")
    items = children.items() if children is not None else []
    if word == "not" and len(items) > 1 and children is not None:
        notes.change(
            "`not` negates the first of its conditions; the others never counted and are left out"
        )
        children.value = items[:1]
        items = items[:1]
    if word == "not" and not items:
        notes.refuse("`not` without a condition made every evaluation fail")
    for child in items:
        note_condition(child, notes)


def _fit(field: Field, word: str, value: Node, notes: Notes) -> None:
    """Literals of another type than the field's, which that engine compared as texts."""
    if word in {"in", "not_in"}:
        if not isinstance(value.value, list):
            notes.refuse(
                f"`{word}` without a list was always {'false' if word == 'in' else 'true'}"
            )
        for each in value.items():
            _fit_one(field, each, notes)
    elif word in {"eq", "ne"} or (word in ORDERINGS and field.type.kind is not Kind.ANY):
        _fit_one(field, value, notes)
    elif word == "matches" and isinstance(value.value, str):
        try:
            search = compile_search(value.value)
        except RegexError as error:
            notes.refuse(f"the regular expression is refused by RE2: {error}")
            return
        if field.optional and search("undefined"):
            notes.change("an absent field no longer matches as the text `undefined`")


def _fit_one(field: Field, value: Node, notes: Notes) -> None:
    kind, literal = field.type.kind, value.value
    if kind in _NUMBERS and isinstance(literal, str):
        number = _number(literal)
        if number is not None:
            value.value, value.style = number, "plain"
            notes.change(f'"{literal}" is compared as a number, as the field is one')
        else:
            notes.change(f'the number `{field}` no longer equals the text "{literal}"')
    elif (
        kind is Kind.STRING and isinstance(literal, (int, float)) and not isinstance(literal, bool)
    ):
        value.value, value.style = str(literal), "quoted"
        notes.change(f"{literal} is compared as a text, as the field is one")
    elif kind is Kind.BOOL and literal in {"true", "false"}:
        value.value, value.style = literal == "true", "plain"
        notes.change(f'"{literal}" is compared as a flag, as the field is one')
    elif kind is Kind.ANY and not isinstance(literal, (dict, list)):
        notes.change(f"`{field}` equals a value of its own type only: texts and numbers do not mix")
    elif isinstance(literal, (dict, list)):
        notes.change("lists and maps are equal by structure, whatever the order of keys")


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return None


def _note_absent(field: Field, word: str, value: Node | None, notes: Notes) -> None:
    if value is None and word != "exists":
        notes.refuse(f"`{word}` without a value compared with nothing")
        return
    is_open = field.optional or field.origin in {Origin.RAW, Origin.ATTRIBUTES}
    if word in {"gt", "gte"} and is_open:
        notes.change(f"an absent `{field}` is not above a limit (it was)")
    if (
        word in {"gt", "gte", "lt", "lte", "contains", "not_contains", "matches"}
        and field.type.kind is Kind.ANY
    ):
        notes.change(
            f"a value of `{field}` that `{word}` cannot take denies instead of being coerced"
        )


def note_action(action: Node | None, notes: Notes) -> None:
    """Note what is different about an action."""
    if action is None:
        notes.refuse("the rule has no action")
        return
    decision, modifications = action.get("decision"), action.get("modifications")
    word = decision.value if decision is not None else None
    has_edits = modifications is not None and bool(modifications.value)
    if has_edits and word == "modify":
        notes.change("its modifications are applied, not only reported")
    elif has_edits:
        notes.change(f"a {word} carries no edits: its modifications are left out")
    elif word == "modify":
        notes.refuse("a modify without modifications changes nothing")
