"""A tree to a document's model: kind, version and shape, with a finding for each fault."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from enforcer.policy import documents as models
from enforcer.policy.documents import API_VERSION, KINDS, MODELS, TAG_SIGN, AnyModel
from enforcer.policy.source import Node, plain

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from enforcer.policy.findings import Findings

M = TypeVar("M", bound=BaseModel)

# What a map under a key is, to say which fields it may have.
ModelsByKey = Mapping[str, tuple[type[BaseModel], ...]]
_MODELS_BY_KEY: ModelsByKey = {
    "": (models.Policy,),
    "metadata": (models.PolicyMetadata,),
    "spec": (models.PolicySpec, models.TenantSpec, models.StopSpec),
    "rules": (models.Rule,),
    "then": (models.Then,),
    "edits": (
        models.SetEdit,
        models.RemoveEdit,
        models.CapEdit,
        models.AppendEdit,
        models.RedactEdit,
    ),
    "exceptions": (models.RuleException,),
    "budgets": (models.Budget,),
    "rate_limits": (models.RateLimit,),
    "match": (models.Condition,),
    "unless": (models.Condition,),
    "condition": (models.Condition,),
    "conditions": (models.Condition,),
    "unknown_model": (models.Ceiling,),
}
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:@+-]{0,127}")
_NUMBER = re.compile(r"[$€]?\s*(?P<number>[0-9]+(\.[0-9]+)?)\s*(USD|usd|tokens|requests|[$€%])?")
YAML_BOOLEANS = {
    "yes": "true",
    "on": "true",
    "y": "true",
    "no": "false",
    "off": "false",
    "n": "false",
}
"""What YAML 1.1 read as true and false, and YAML 1.2 reads as texts."""
ID_HELP = "letters, digits and `. _ - : @ +`, at most 128, beginning with a letter, digit or `_`"


def is_id(text: str) -> bool:
    """Whether *text* can name a document, rule, limit or tenant."""
    return _ID.fullmatch(text) is not None


def to_model(node: Node, findings: Findings) -> AnyModel | None:
    """The model of a document in this language's form; None where it has none."""
    if not isinstance(node.value, dict):
        findings.error("ENF0203", "a document is a map", node.span, help="begin with `apiVersion:`")
        return None
    version, kind = node.get("apiVersion"), node.get("kind")
    if version is None or version.value != API_VERSION:
        said = (
            "there is no `apiVersion`" if version is None else f"`{version.value}` is no apiVersion"
        )
        span = (version or node).span
        findings.error("ENF0205", said, span, help=f"write `apiVersion: {API_VERSION}`")
        return None
    if kind is None or kind.value not in MODELS:
        close = difflib.get_close_matches(str(kind.value) if kind else "", KINDS, n=1, cutoff=0.5)
        said = "there is no `kind`" if kind is None else f"there is no kind `{kind.value}`"
        help_line = f"did you mean `{close[0]}`?" if close else f"one of {', '.join(KINDS)}"
        findings.error("ENF0204", said, (kind or node).span, help=help_line)
        return None
    found: AnyModel | None = validated(MODELS[kind.value], node, findings)
    return found


def validated(
    model: type[M], node: Node, findings: Findings, *, by_key: ModelsByKey | None = None
) -> M | None:
    """
    The tree as *model*; None, and a finding for each fault at its place, where it has another shape.

    Args:
        model: What it should be.
        node: The tree.
        findings: Where faults go.
        by_key: What a map under a key is, to say which fields it may have; a document's unless given.
    """
    try:
        return model.model_validate(plain(node))
    except ValidationError as error:
        for details in error.errors(include_url=False):
            _finding(details, node, findings, by_key or _MODELS_BY_KEY)
        return None


def _finding(details: ErrorDetails, node: Node, findings: Findings, by_key: ModelsByKey) -> None:
    place = [step for step in details["loc"] if not str(step).startswith(TAG_SIGN)]
    span = node.find(place)
    name = str(place[-1]) if place else "document"
    if details["type"] == "missing":
        lacking = _child(node, place[:-1])
        if lacking is not None and name in lacking.keys:
            return  # It is there, and was refused.
        findings.error("ENF0202", f"`{name}` is missing", span, help=f"add `{name}:`")
    elif details["type"] == "extra_forbidden":
        parent = _child(node, place[:-1])
        span = parent.keys.get(name, span) if parent is not None else span
        findings.error(
            "ENF0201", f"there is no field `{name}` here", span, help=_suggest(name, place, by_key)
        )
    else:
        findings.error(
            "ENF0203",
            f"`{_written(place)}`: {_said(details)}",
            span,
            help=_hint(details),
        )


def _child(node: Node | None, place: list[Any]) -> Node | None:
    for step in place:
        if node is None:
            return None
        if isinstance(step, int):
            items = node.items()
            node = items[step] if step < len(items) else None
        else:
            node = node.get(step)
    return node


def _written(place: list[Any]) -> str:
    written = ""
    for step in place:
        written += f"[{step}]" if isinstance(step, int) else f".{step}"
    return written.removeprefix(".")


def _said(details: ErrorDetails) -> str:
    message = details["msg"]
    for before, after in (
        ("Input should be a valid string", "must be text"),
        ("Input should be a valid boolean", "must be true or false"),
        ("Input should be a valid integer", "must be a whole number"),
        ("Input should be a valid tuple", "must be a list"),
        ("Input should be a valid dictionary", "must be a map"),
        ("Input should be a valid list", "must be a list"),
        ("Input should be", "must be"),
        ("Tuple should have", "must have"),
    ):
        message = message.replace(before, after)
    message = re.sub(r"must be a valid dictionary or instance of \w+", "must be a map", message)
    return message[:1].lower() + message[1:]


def _hint(details: ErrorDetails) -> str:
    kind, given = details["type"], details["input"]
    if kind == "string_type" and isinstance(given, (int, float, bool, Decimal)):
        return "put it in quotes to make it text"
    if not isinstance(given, str):
        return "correct the value"
    if kind in {"bool_type", "bool_parsing"} and given.lower() in YAML_BOOLEANS:
        return f"to YAML 1.2 `{given}` is a text: write `{YAML_BOOLEANS[given.lower()]}`"
    if kind in {"int_type", "int_parsing", "number"}:
        number = _NUMBER.fullmatch(given.replace("_", "").replace(",", "").strip())
        plain = f": {number['number']}" if number else ""
        return f"write a plain number, without a unit, a sign or quotes{plain}"
    if kind == "literal_error":
        allowed = re.findall(r"'([^']+)'", details["ctx"]["expected"])
        close = difflib.get_close_matches(given.lower(), allowed, n=1)
        if close:
            return f"did you mean `{close[0]}`?"
    return "correct the value"


def _suggest(name: str, place: list[Any], by_key: ModelsByKey) -> str:
    keys = [step for step in place[:-1] if isinstance(step, str)]
    found = by_key.get(keys[-1] if keys else "", by_key[""])
    known = sorted({field for model in found for field in model.model_fields})
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean `{close[0]}`?" if close else f"fields are {', '.join(known)}"
