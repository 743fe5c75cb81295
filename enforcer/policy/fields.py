"""
What a policy may read: every field of a request, and the facts derived from one, with their types.

``resolve`` turns a path as written into a ``Field``: its canonical path, its type, whether it can be
absent, where it is read from and what reading it costs. The existing engine's camelCase names are
aliases. The types agree with schemas/avro/request.avsc (a test compares).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

from enforcer.detect.pii import KINDS as PII_KINDS
from enforcer.policy.paths import Path, PathError, format_path, parse_path

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(Enum):
    """The type of a value, as far as it is known before a request comes."""

    STRING = "string"
    INT = "integer"
    DOUBLE = "number"
    BOOL = "boolean"
    LIST = "list"
    MAP = "map"
    RECORD = "object"
    TIME = "time"
    JSON = "JSON value"  # Kept as JSON text in the record, parsed when read.
    ANY = "value of any type"  # Known only at run time.


class Cost(IntEnum):
    """What reading a field costs, in classes: cheap deny rules go before costly ones."""

    FIELD = 0
    SEARCH = 1
    TEXT = 2
    DETECTOR = 3


class Origin(Enum):
    """Where a field is read from."""

    RECORD = "record"
    ATTRIBUTES = "attributes"
    RAW = "raw"
    FACT = "fact"
    NOW = "now"


@dataclass(frozen=True, slots=True)
class Type:
    """A type: its kind, and of what a list, map or record consists."""

    kind: Kind
    element: Type | None = None
    fields: Mapping[str, Type] = field(default_factory=dict)
    optional: bool = False

    def __str__(self) -> str:
        """As findings say it: ``list of string``."""
        return f"{self.kind.value} of {self.element}" if self.element else self.kind.value


@dataclass(frozen=True, slots=True)
class Field:
    """A path a policy reads, resolved."""

    path: Path
    type: Type
    optional: bool
    origin: Origin
    cost: Cost = Cost.FIELD
    fact: str = ""  # Attribute of the facts object.
    argument: float | None = None  # What the fact is a method of: the confidence of `pii.at(0.3)`.

    def __str__(self) -> str:
        """The canonical path."""
        if self.argument is not None:
            return f"pii.at({self.argument:g}).{format_path(self.path[2:])}"
        return format_path(self.path)


_SCALARS = frozenset({Kind.STRING, Kind.INT, Kind.DOUBLE, Kind.BOOL})


def is_direct(field: Field) -> bool:
    """Whether a field is an attribute of a record, with None for absent: the fast way to read it."""
    if field.origin is Origin.FACT:
        return field.type.kind is not Kind.MAP
    if field.origin is not Origin.RECORD or not all(isinstance(step, str) for step in field.path):
        return False
    element = field.type.element
    is_strings = (
        field.type.kind is Kind.LIST and element is not None and element.kind is Kind.STRING
    )
    return field.type.kind in _SCALARS or is_strings


class FieldError(ValueError):
    """A path that names no field. ``code`` is the finding's, ``help`` the way out."""

    def __init__(self, code: str, message: str, *, help: str) -> None:  # noqa: A002 — the field's word
        super().__init__(message)
        self.code = code
        self.help = help


STRING = Type(Kind.STRING)
TEXT = Type(Kind.STRING, optional=True)
INT = Type(Kind.INT)
BOOL = Type(Kind.BOOL)
OPTIONAL_INT = Type(Kind.INT, optional=True)
OPTIONAL_DOUBLE = Type(Kind.DOUBLE, optional=True)
STRINGS = Type(Kind.LIST, element=STRING)
ANY = Type(Kind.ANY)
OPTIONAL_JSON = Type(Kind.JSON, optional=True)


def _record(**fields: Type) -> Type:
    return Type(Kind.RECORD, fields=fields)


def _list(element: Type) -> Type:
    return Type(Kind.LIST, element=element)


_TOOL_CALL = _record(id=STRING, name=STRING, arguments=STRING)
_MESSAGE = _record(
    role=STRING,
    content=ANY,  # A string, or a list of parts.
    name=TEXT,
    origin=TEXT,
    tool_calls=_list(_TOOL_CALL),
    tool_call_id=TEXT,
)
LLM = _record(
    provider=STRING,
    model=STRING,
    operation=STRING,
    max_tokens=OPTIONAL_INT,
    temperature=OPTIONAL_DOUBLE,
    n=INT,
    stream=BOOL,
    messages=_list(_MESSAGE),
    prompt=TEXT,
    tools=_list(Type(Kind.JSON)),
    tool_choice=OPTIONAL_JSON,
    response_format=OPTIONAL_JSON,
    reasoning_effort=TEXT,
    service_tier=TEXT,
)
REQUEST = _record(
    id=STRING,
    tenant=STRING,
    attempt=INT,
    phase=STRING,
    deadline_ms=OPTIONAL_INT,
    parent_id=TEXT,
    part=OPTIONAL_INT,
    final=Type(Kind.BOOL, optional=True),
    user=_record(id=TEXT, roles=STRINGS, permissions=STRINGS, email=TEXT, region=TEXT),
    team=_record(id=TEXT, name=TEXT, tier=TEXT),
    project=_record(id=TEXT, name=TEXT, environment=TEXT),
    conversation_id=TEXT,
    caller=_record(kind=TEXT, ip=TEXT),
    llm=LLM,
    attributes=Type(Kind.MAP, element=ANY),
)


def _fact(path: str, type_: Type, fact: str, cost: Cost) -> Field:
    return Field(parse_path(path), type_, type_.optional, Origin.FACT, cost, fact)


_FACTS = {
    found.path: found
    for found in (
        _fact("llm.prompt", STRING, "prompt", Cost.TEXT),
        _fact("llm.input_tokens", INT, "input_tokens", Cost.DETECTOR),
        _fact("llm.max_output_tokens", INT, "max_output_tokens", Cost.FIELD),
        _fact("llm.estimated_cost_usd", OPTIONAL_DOUBLE, "estimated_cost_usd", Cost.DETECTOR),
        _fact("pii.types", STRINGS, "pii_types", Cost.DETECTOR),
        _fact("pii.counts", Type(Kind.MAP, element=INT), "pii_counts", Cost.DETECTOR),
        _fact("pii.count", INT, "pii_count", Cost.DETECTOR),
        *(_fact(f"pii.counts.{kind}", INT, "pii_counts", Cost.DETECTOR) for kind in PII_KINDS),
        _fact("secrets.types", STRINGS, "secrets_types", Cost.DETECTOR),
        _fact("secrets.count", INT, "secrets_count", Cost.DETECTOR),
        _fact("injection.score", Type(Kind.DOUBLE), "injection_score", Cost.DETECTOR),
        _fact("injection.signals", STRINGS, "injection_signals", Cost.DETECTOR),
    )
}
CONTAINS_PII: Path = ("llm", "contains_pii")
_FACTS[CONTAINS_PII] = Field(
    CONTAINS_PII, BOOL, optional=False, origin=Origin.FACT, cost=Cost.DETECTOR, fact="pii_count"
)
_NOW = Field(("now",), Type(Kind.TIME), optional=False, origin=Origin.NOW)

# The existing engine's names that are more than a change of case.
_ALIASES: dict[Path, Path] = {
    ("llm", "estimated_tokens"): ("llm", "input_tokens"),
    ("llm", "estimated_cost"): ("llm", "estimated_cost_usd"),
    ("llm", "pii_types"): ("pii", "types"),
    ("request", "id"): ("id",),
    ("request", "ip_address"): ("caller", "ip"),
}
_LATER = {
    "budget": "budget() comes with the expression language; `budgets:` enforce limits now",
    "rate": "rate() comes with the expression language; `rate_limits:` enforce limits now",
}
# The facts of `pii` at another confidence than .5: `pii.at(0.3).types`.
_PII_AT = re.compile(r"pii\.at\(\s*([0-9]*\.?[0-9]+)\s*\)\.(.+)")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """``maxTokens`` to ``max_tokens``, ``containsPII`` to ``contains_pii``; other names unchanged."""
    return _CAMEL.sub("_", name).lower() if name.isidentifier() else name


def resolve(text: str, *, existing: bool = False) -> Field:
    """
    The field that *text* names.

    Args:
        text: A path as written.
        existing: Read it as the existing engine does: ``metadata.x`` is ``attributes.x``, and what is
            not declared reads the raw request (``Origin.RAW``).

    Raises: FieldError.
    """
    at = _PII_AT.fullmatch(text)
    if at is not None:
        return pii_at(float(at.group(1)), at.group(2))
    head = re.match(r"[A-Za-z_]+", text)
    if head is not None and head.group() in _LATER and not existing:
        raise FieldError("ENF0306", f"`{text}` is not known yet", help=_LATER[head.group()])
    try:
        path = parse_path(text, loose=existing)
    except PathError as error:
        raise FieldError("ENF0405", str(error), help=error.help) from None
    if existing and path[0] == "metadata":
        path = ("attributes", *path[1:])
    found = _dynamic(path) or _declared(path)
    if found is not None:
        return found
    if existing:
        return Field(("raw", *path), ANY, optional=True, origin=Origin.RAW)
    raise FieldError("ENF0403", f"a request has no field `{text}`", help=_suggest(text))


def pii_at(confidence: float, rest: str) -> Field:
    """
    The field ``pii.at(confidence).rest``: findings of all kinds from that confidence on.

    Args:
        confidence: Above 0, at most 1.
        rest: ``types``, ``count``, ``counts`` or ``counts.<kind>``.

    Raises: FieldError.
    """
    if not 0 < confidence <= 1:
        raise FieldError(
            "ENF0405",
            f"`pii.at({confidence:g})` asks for no confidence",
            help="a confidence is above 0 and at most 1: `pii.at(0.3).types`",
        )
    found = _FACTS.get(("pii", *rest.split(".")))
    if found is None:
        written = f"pii.at({confidence:g}).{rest}"
        raise FieldError(
            "ENF0403", f"there is no `{written}`", help=_suggest(f"pii.{rest}").replace("pii.", "")
        )
    path = ("pii", f"at({confidence:g})", *found.path[1:])
    return replace(found, path=path, fact=f"{found.fact}_at", argument=confidence)


def _dynamic(path: Path) -> Field | None:
    """Fields whose type shows at run time only."""
    if path == ("now",):
        return _NOW
    if path[0] == "raw" and len(path) > 1:
        return Field(path, ANY, optional=True, origin=Origin.RAW)
    if path[0] == "attributes" and len(path) > 1:
        return Field(path, ANY, optional=True, origin=Origin.ATTRIBUTES)
    return None


def _declared(path: Path) -> Field | None:
    for written in (path, _in_snake_case(path)):
        candidate = _ALIASES.get(written, written)
        if candidate in _FACTS:
            return _FACTS[candidate]
        found = _descend(candidate)
        if found is not None:
            return found
    return None


def _in_snake_case(path: Path) -> Path:
    return tuple(snake_case(step) if isinstance(step, str) else step for step in path)


def _descend(path: Path) -> Field | None:
    type_ = REQUEST
    optional = False
    for step in path:
        if type_.kind is Kind.RECORD and isinstance(step, str) and step in type_.fields:
            type_ = type_.fields[step]
        elif type_.kind is Kind.LIST and isinstance(step, int):
            assert type_.element is not None
            type_, optional = type_.element, True
        elif type_.kind in {Kind.JSON, Kind.ANY}:
            type_, optional = ANY, True
        else:
            return None
        optional = optional or type_.optional
    return Field(path, type_, optional, Origin.RECORD)


def declared_paths() -> list[str]:
    """Every path without an index, for suggestions and the reference."""
    found = [format_path(path) for path in _FACTS if path != CONTAINS_PII]
    stack: list[tuple[str, Type]] = list(REQUEST.fields.items())
    while stack:
        name, type_ = stack.pop()
        found.append(name)
        stack.extend((f"{name}.{child}", each) for child, each in type_.fields.items())
    return sorted({*found, "now"})


def _suggest(text: str) -> str:
    known = declared_paths()
    close = difflib.get_close_matches(text, known, n=1, cutoff=0.6)
    if not close:
        tail = text.rpartition(".")[2]
        close = [path for path in known if path.rpartition(".")[2] == tail]
    if close:
        return f"did you mean `{close[0]}`?"
    return "your own fields travel as `attributes.<name>`; `raw.<name>` reads the JSON as it came"
