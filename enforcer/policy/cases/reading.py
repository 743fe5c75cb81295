"""A file of tests to its cases, each complete, with a finding for everything that is wrong with it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from enforcer.policy.cases.documents import (
    Case,
    CaseFile,
    Expect,
    ExpectedEdit,
    ExpectedReason,
    GivenRow,
)
from enforcer.policy.cases.expansion import CASES_MAX, expand, substituted
from enforcer.policy.conditions import to_plain
from enforcer.policy.shape import ModelsByKey, validated
from enforcer.policy.source import Limits, Node, plain, read

if TYPE_CHECKING:
    from enforcer.errors import Span
    from enforcer.policy.findings import Findings

DEFAULT_NOW: Final = "2026-11-16T12:00:00Z"
"""Noon UTC on a weekday in the middle of a month: no window of any zone begins or ends near it."""
DEFAULT_TENANT: Final = "acme"
DEFAULT_REQUEST: Final[dict[str, Any]] = {
    "id": "case",
    "user": {"id": "u1"},
    "team": {"id": "t1", "tier": "gold"},
    "project": {"id": "p1", "environment": "staging"},
    "caller": {"kind": "app"},
    "llm": {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "max_tokens": 256,
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    },
}
_LIMITS = Limits(document_bytes_max=4 * 1024 * 1024, nodes_max=200_000)
_MODELS_BY_KEY: ModelsByKey = {
    "": (CaseFile,),
    "cases": (Case,),
    "expect": (Expect,),
    "reasons": (ExpectedReason,),
    "edits": (ExpectedEdit,),
    "rows": (GivenRow,),
}
_TEXT_CHARACTERS_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReadCase:
    """One case, complete. ``request`` has no tenant where the author named none."""

    name: str
    span: Span
    request: dict[str, Any]
    rows: dict[str, GivenRow]
    now_us: int
    expect: Expect
    skip: bool = False


@dataclass(frozen=True, slots=True)
class Suite:
    """The cases of one file. ``documents`` are the paths under test as written; None: those beside it."""

    file: str
    documents: tuple[tuple[str, Span], ...] | None
    cases: tuple[ReadCase, ...]


def read_suite(file: str, text: str, findings: Findings) -> Suite | None:
    """The cases of a file; None where *findings* has an error for it."""
    before = findings.error_count
    found = read(file, text, findings, limits=_LIMITS)
    if findings.error_count > before:
        return None
    if len(found) != 1:
        if found:
            findings.error(
                "ENF2005",
                "a file of tests is one document",
                found[1].node.span,
                help="put every case under one `cases:`",
            )
        return None
    return _suite(file, found[0].node, findings)


def _suite(file: str, root: Node, findings: Findings) -> Suite | None:
    before = findings.error_count
    cases = root.get("cases")
    if cases is None or not cases.items():
        findings.error(
            "ENF2005",
            "the file has no list of `cases`",
            (cases or root).span,
            help="`cases:` is a list of {name, request, expect}",
        )
        return None
    expanded = [
        pair
        for node in cases.items()
        if isinstance(node.value, dict)
        for pair in expand(node, findings)
    ]
    if len(expanded) > CASES_MAX:
        findings.error(
            "ENF2004",
            f"the file has {len(expanded)} cases, more than {CASES_MAX}",
            cases.span,
            help="split the file",
        )
        return None
    listed = [node for node, _ in expanded]
    listed += [node for node in cases.items() if not isinstance(node.value, dict)]
    whole = Node(
        {**root.value, "cases": Node(listed, cases.span, "list")}, root.span, "map", root.keys
    )
    model = validated(CaseFile, whole, findings, by_key=_MODELS_BY_KEY)
    if model is None or findings.error_count > before:
        return None
    reader = _Reader(root, model, findings)
    read_cases = tuple(reader.case(at, *pair) for at, pair in enumerate(expanded))
    documents = root.get("documents")
    named = [(str(node.value), node.span) for node in documents.items()] if documents else None
    if findings.error_count > before:
        return None
    return Suite(file, None if named is None else tuple(named), read_cases)


class _Reader:
    """Completes the cases of one file."""

    def __init__(self, root: Node, model: CaseFile, findings: Findings) -> None:
        self._root = root
        self._model = model
        self._findings = findings
        self._names: dict[str, Span] = {}

    def case(self, at: int, node: Node, parameters: dict[str, Node]) -> ReadCase:
        """Case *at*, which stands at *node*."""
        case = self._model.cases[at]
        self._check_name(case.name, (node.get("name") or node).span)
        request: Any = DEFAULT_REQUEST
        parts = [self._root.get("request"), *self._fixtures(node), node.get("request")]
        for part in parts:
            if part is not None:
                whole = substituted(part, parameters, self._findings)
                request = merged(request, to_plain(plain(whole)))
        now = node.get("now") or self._root.get("now")
        return ReadCase(
            case.name,
            node.span,
            request,
            {**self._model.rows, **case.rows},
            _time_us(DEFAULT_NOW) if now is None else self._now_us(now),
            case.expect,
            case.skip,
        )

    def _check_name(self, name: str, span: Span) -> None:
        first = self._names.setdefault(name, span)
        if first is not span:
            self._findings.error(
                "ENF0207",
                f"a case named `{name}` exists already",
                span,
                help=f"the first is at {first}",
            )

    def _fixtures(self, node: Node) -> list[Node]:
        """The fixtures that a case uses, by name."""
        used, known = node.get("use"), self._root.get("fixtures")
        found: list[Node] = []
        for name in used.items() if used is not None else []:
            fixture = known.get(name.value) if known is not None else None
            if fixture is None:
                names = list(known.value) if known is not None else []
                close = difflib.get_close_matches(str(name.value), names, n=1)
                self._findings.error(
                    "ENF2002",
                    f"no fixture is called `{name.value}`",
                    name.span,
                    help=f"did you mean `{close[0]}`?" if close else "add it to `fixtures:`",
                )
            else:
                found.append(fixture)
        return found

    def _now_us(self, node: Node) -> int:
        try:
            return _time_us(str(node.value))
        except ValueError:
            self._findings.error(
                "ENF0203",
                f"`{node.value}` is no time with an offset",
                node.span,
                help='write it like "2026-11-23T12:00:00Z"',
            )
            return 0


def _time_us(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    delta = moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def merged(base: Any, over: Any) -> Any:
    """
    *over* laid over *base*: maps field by field, everything else replaced.

    ``{join: [..]}`` is one text, so that a test need not hold what looks like a secret; ``{repeat: text, times:
    n}`` a long one.
    """
    if isinstance(over, dict):
        if set(over) == {"join"} and isinstance(over["join"], list):
            return "".join(map(str, over["join"]))
        if set(over) == {"repeat", "times"} and isinstance(over["times"], int):
            text = str(over["repeat"])
            return text * min(over["times"], _TEXT_CHARACTERS_MAX // max(len(text), 1))
        base = base if isinstance(base, dict) else {}
        found = {**base, **{name: merged(base.get(name), value) for name, value in over.items()}}
        if "prompt" in over and "messages" not in over:
            found.pop("messages", None)  # A request has one of the two.
        return found
    if isinstance(over, list):
        return [merged(None, item) for item in over]
    return over
