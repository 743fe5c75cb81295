"""Generated policies, requests and facts: small vocabularies, so that values often meet."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from enforcer import events, policy

TEXTS = ["a", "b", "ab", "", "prod"]
NUMBERS = [0, 1, 2, 1.0, 2.5, -1]
ANYTHING = [*TEXTS, *NUMBERS, True, False, None]
PATTERNS = ["a", "^a$", "b|x", "a.*b", ""]

STRING_FIELDS = [
    "project.environment", "llm.model", "llm.provider", "user.id", "team.tier", "llm.prompt", "phase",
]  # fmt: skip
NUMBER_FIELDS = [
    "llm.max_tokens", "llm.temperature", "attempt", "llm.n", "llm.input_tokens", "pii.count",
    "pii.counts.email", "llm.estimated_cost_usd", "llm.max_output_tokens",
]  # fmt: skip
LIST_FIELDS = ["user.roles", "user.permissions", "pii.types"]
OPEN_FIELDS = [
    "attributes.x", "attributes.y", 'attributes["a.b"]', "raw.extra.a", "raw.extra.list[0]",
    "raw.extra", "llm.messages[0].content", "user.roles[0]", "llm.messages[1].role",
]  # fmt: skip
ORDERINGS = ["gt", "gte", "lt", "lte"]


def comparison(fields: list[str], operators: list[str], values: Any) -> st.SearchStrategy[dict]:
    """A comparison of one of *fields* with one of *values*."""
    return st.fixed_dictionaries(
        {
            "operator": st.sampled_from(operators),
            "field": st.sampled_from(fields),
            "value": values,
        }
    )


TEXT = st.sampled_from(TEXTS)
NUMBER = st.sampled_from(NUMBERS)
SCALAR = st.sampled_from(ANYTHING)
NAME = st.sampled_from([text for text in TEXTS if text])
LITERAL = st.one_of(SCALAR, st.lists(TEXT, max_size=2), st.dictionaries(TEXT, SCALAR, max_size=2))
LITERALS = st.lists(SCALAR, max_size=4)
EVERY_FIELD = [*STRING_FIELDS, *NUMBER_FIELDS, *LIST_FIELDS, *OPEN_FIELDS]

COMPARISONS = st.one_of(
    comparison(STRING_FIELDS, ["eq", "ne"], TEXT),
    comparison(EVERY_FIELD, ["eq", "ne"], LITERAL),
    comparison(EVERY_FIELD, ["in", "not_in"], LITERALS),
    comparison(STRING_FIELDS, [*ORDERINGS, "contains", "not_contains"], TEXT),
    comparison(NUMBER_FIELDS, ORDERINGS, NUMBER),
    comparison(LIST_FIELDS, ["contains", "not_contains"], SCALAR),
    comparison(OPEN_FIELDS[:6], ORDERINGS, st.one_of(TEXT, NUMBER)),
    comparison(OPEN_FIELDS[:7], ["contains", "not_contains"], SCALAR),
    comparison([*STRING_FIELDS, *OPEN_FIELDS], ["matches"], st.sampled_from(PATTERNS)),
    st.fixed_dictionaries({"operator": st.just("exists"), "field": st.sampled_from(EVERY_FIELD)}),
)


def _logical(children: st.SearchStrategy[dict]) -> st.SearchStrategy[dict]:
    chain = st.fixed_dictionaries(
        {"operator": st.sampled_from(["and", "or"]), "conditions": st.lists(children, max_size=4)}
    )
    negation = st.fixed_dictionaries(
        {"operator": st.just("not"), "conditions": st.lists(children, min_size=1, max_size=1)}
    )
    return st.one_of(chain, negation)


CONDITIONS = st.recursive(COMPARISONS, _logical, max_leaves=8)

# Terms that are true, false and errors about equally often, over few fields: how they join is tested with
# these, what a single comparison says with the table of all operators, values and literals.
TERMS = st.recursive(
    st.sampled_from(
        [
            {"operator": "gt", "field": "attributes.x", "value": 1},
            {"operator": "lte", "field": "attributes.x", "value": 1},
            {"operator": "contains", "field": "attributes.y", "value": "a"},
            {"operator": "eq", "field": "llm.model", "value": "a"},
            {"operator": "in", "field": "llm.model", "value": ["a", "b"]},
            {"operator": "eq", "field": "project.environment", "value": "prod"},
            {"operator": "ne", "field": "project.environment", "value": "prod"},
            {"operator": "gt", "field": "llm.input_tokens", "value": 0},
            {"operator": "contains", "field": "pii.types", "value": "email"},
        ]
    ),
    _logical,
    max_leaves=6,
)
TERM_REQUESTS = st.fixed_dictionaries(
    {
        "id": st.just("r"),
        "tenant": st.just("acme"),
        "llm": st.fixed_dictionaries(
            {"provider": st.just("a"), "model": st.sampled_from(["a", "b", "ab"])}
        ),
    },
    optional={
        "project": st.just({"environment": "prod"}),
        "phase": st.sampled_from(["request", "request", "response"]),
        "attributes": st.fixed_dictionaries(
            {}, optional={"x": st.sampled_from([0, 2, "a"]), "y": st.sampled_from(["a", "b", 1])}
        ),
    },
)
PHASES = st.sampled_from([["request"], ["response"], ["request", "response"]])
EDITS = [{"set": "llm.model", "value": "small"}]


def rules(conditions: st.SearchStrategy[dict]) -> st.SearchStrategy[dict]:
    """Rules over *conditions*."""
    return st.fixed_dictionaries(
        {
            "id": st.sampled_from(["r1", "r2", "r3", "r4", "r5"]),
            "then": st.sampled_from(
                ["deny", "warn", "allow", {"verdict": "modify", "edits": EDITS}]
            ),
        },
        optional={
            "condition": conditions,
            "code": st.sampled_from(["C-1", "C-2"]),
            "enabled": st.booleans(),
            "phases": PHASES,
        },
    )


@st.composite
def policies(draw: st.DrawFn, conditions: st.SearchStrategy[dict]) -> list[dict]:
    """Up to four policies with ids of their own, over *conditions*."""
    names = ("p1", "p2", "p3", "p4")
    found = []
    for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=len(names))):
        spec = draw(
            st.fixed_dictionaries(
                {
                    "rules": st.lists(
                        rules(conditions), max_size=4, unique_by=lambda rule: rule["id"]
                    )
                },
                optional={
                    "priority": st.integers(-1, 2),
                    "match": conditions,
                    "unless": conditions,
                    "on_error": st.sampled_from(["deny", "skip"]),
                    "enabled": st.just(True),
                    "phases": PHASES,
                },
            )
        )
        found.append(document(name, spec))
    return found


def document(name: str, spec: dict, tenant: str = "acme") -> dict:
    """A policy document."""
    return {
        "apiVersion": "enforcer/v1",
        "kind": "Policy",
        "metadata": {"id": name, "tenant": tenant},
        "spec": spec,
    }


ATTRIBUTE = st.one_of(SCALAR, st.lists(TEXT, max_size=2))
EXTRA = st.one_of(SCALAR, st.fixed_dictionaries({}, optional={"a": SCALAR, "list": LITERALS}))


def optional(**fields: st.SearchStrategy) -> st.SearchStrategy[dict]:
    """A map any of whose fields may be missing."""
    return st.fixed_dictionaries({}, optional=fields)


MAYBE = st.one_of(TEXT, st.none())
REQUESTS = st.fixed_dictionaries(
    {
        "id": st.just("r"),
        "tenant": st.just("acme"),
        "llm": st.fixed_dictionaries(
            {"provider": NAME, "model": NAME},
            optional={
                "max_tokens": st.integers(0, 2),
                "temperature": st.sampled_from([0.0, 1.0, 2.5]),
                "n": st.integers(1, 2),
                "messages": st.lists(
                    st.fixed_dictionaries({"role": TEXT, "content": TEXT}), max_size=2
                ),
            },
        ),
    },
    optional={
        "phase": st.sampled_from(["request", "response"]),
        "attempt": st.integers(1, 2),
        "user": optional(id=MAYBE, roles=st.lists(TEXT, max_size=2)),
        "team": optional(tier=MAYBE),
        "project": optional(environment=MAYBE),
        "attributes": st.dictionaries(st.sampled_from(["x", "y", "a.b"]), ATTRIBUTE),
        "extra": EXTRA,
    },
)


@dataclass
class Facts:
    """Facts as given, with a note of which were read."""

    prompt: str = ""
    input_tokens: int = 0
    max_output_tokens: int = 0
    estimated_cost_usd: float | None = None
    pii_counts: dict[str, int] = field(default_factory=dict)

    @property
    def pii_types(self) -> list[str]:
        return sorted(self.pii_counts)

    @property
    def pii_count(self) -> int:
        return sum(self.pii_counts.values())

    def as_json(self) -> dict[str, Any]:
        """As the naive evaluator reads them."""
        return {
            "llm.prompt": self.prompt,
            "llm.input_tokens": self.input_tokens,
            "llm.max_output_tokens": self.max_output_tokens,
            "llm.estimated_cost_usd": self.estimated_cost_usd,
            "pii.counts": self.pii_counts,
            "pii.types": self.pii_types,
            "pii.count": self.pii_count,
        }


FACTS = st.builds(
    Facts,
    prompt=TEXT,
    input_tokens=st.integers(0, 2),
    max_output_tokens=st.integers(0, 2),
    estimated_cost_usd=st.sampled_from([None, 0.0, 1.0, 2.5]),
    pii_counts=st.dictionaries(st.sampled_from(["email", "phone"]), st.integers(1, 2)),
)


def load_one(condition: dict) -> policy.Loaded:
    """A policy of one rule with *condition*, loaded."""
    rules_ = [{"id": "r", "then": "warn", "condition": condition}]
    text = json.dumps(document("p", {"rules": rules_}))
    return policy.load([("policy.json", text)])


def program(documents: list[dict], tenant: str = "acme") -> policy.TenantProgram:
    """The compiled program of documents that must load."""
    loaded = policy.load([("policies.json", json.dumps(documents))])
    assert not loaded.has_errors, [str(finding) for finding in loaded.findings]
    scopes = {each.scope for each in loaded.documents}
    global_ = policy.compile_scope(loaded.documents, "*") if "*" in scopes else None
    return policy.compile_tenant(global_, policy.compile_scope(loaded.documents, tenant), tenant)


def request(data: dict) -> events.Request:
    """The record of a request in JSON."""
    return events.request_from_json(json.dumps(data).encode())


def told(evaluation: policy.Evaluation) -> tuple[list[tuple[str, ...]], set[tuple[str, str]]]:
    """An evaluation as the naive evaluator tells it."""
    matches = [(each.policy, each.rule, each.verdict, each.code) for each in evaluation.matches]
    return matches, {(each.policy, each.rule) for each in evaluation.errors}
