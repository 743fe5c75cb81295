"""
The shape of a file of tests, as pydantic models; the editor's schema is generated from them.

What a shape cannot say (fixtures that must exist, parameters of a matrix) is the expansion's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from enforcer.policy.documents import Flag, Model, Number, Text, Verdict, Whole

Fields = dict[str, Any]


class GivenRow(Model):
    """What was spent or used before the request, in the row that it reads."""

    spent_usd: Number | None = Field(None, description="Of a budget: settled, in USD.")
    reserved_usd: Number | None = Field(None, description="Of a budget: reserved, in USD.")
    used: Whole | None = Field(
        None, description="Of a rate limit: requests or tokens taken just now."
    )


class ExpectedReason(Model):
    """Parts of a reason; what is not given may be anything."""

    policy: Text | None = None
    rule: Text | None = None
    verdict: Verdict | None = None
    code: Text | None = None
    message: Text | None = None


class ExpectedEdit(Model):
    """Parts of an edit as the decision tells it."""

    op: Literal["add", "remove", "replace", "splice"] | None = None
    path: Text | None = Field(None, description="JSON pointer, such as `/llm/max_tokens`.")
    value: Any = None
    start: Whole | None = None
    end: Whole | None = None
    text: Text | None = None


def _edit_form(data: Any) -> str:
    return "=path" if isinstance(data, str) else "=parts"


Edits = tuple[
    Annotated[
        Annotated[Text, Tag("=path")] | Annotated[ExpectedEdit, Tag("=parts")],
        Discriminator(_edit_form),
    ],
    ...,
]


class Expect(Model):
    """What the decision must say. What is not given may be anything."""

    verdict: Verdict | None = None
    http_status: Whole | None = None
    codes: tuple[Text, ...] | None = Field(None, description="Of the reasons, in any order.")
    reasons: tuple[ExpectedReason, ...] | None = Field(None, description="All of them, in order.")
    warnings: tuple[Text, ...] | None = Field(None, description="Codes, in any order.")
    shadow: tuple[Text, ...] | None = Field(None, description="Codes of shadow policies.")
    errors: tuple[Text, ...] | None = Field(None, description="Rules that erred, `policy/rule`.")
    edits: Edits | None = Field(None, description="Paths or parts, in any order.")
    retry_after_ms: Whole | None = None
    facts: Fields | None = Field(None, description="Parts of the decision's facts.")
    budgets: dict[str, Fields] | None = Field(None, description="Parts of budgets, by id.")
    request: Fields | None = Field(None, description="Parts of the request as it may be sent.")


def _matrix_form(data: Any) -> str:
    return "=table" if isinstance(data, (list, tuple)) else "=product"


Matrix = Annotated[
    Annotated[dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]], Tag("=product")]
    | Annotated[tuple[Fields, ...], Field(min_length=1), Tag("=table")],
    Discriminator(_matrix_form),
]


class Case(Model):
    """One request, and what it must come to."""

    name: Text
    use: tuple[Text, ...] = Field((), description="Fixtures, merged in this order.")
    request: Fields = Field(default_factory=dict, description="Merged over the file's request.")
    rows: dict[str, GivenRow] = Field(
        default_factory=dict, description="Budgets and rate limits by id."
    )
    now: Text | None = Field(None, description="Event time, RFC 3339.")
    skip: Flag = False
    expect: Expect
    matrix: Matrix | None = Field(
        None, description="A list of values a parameter (all combinations), or a list of rows."
    )


class CaseFile(Model):
    """A file of tests: `<name>.test.yaml` stands beside `<name>.yaml`."""

    documents: tuple[Text, ...] | None = Field(
        None,
        description="Files and folders under test, relative to this file; else the file beside it.",
    )
    now: Text | None = Field(None, description="Event time of every case, RFC 3339.")
    request: Fields = Field(default_factory=dict, description="Of every case.")
    rows: dict[str, GivenRow] = Field(default_factory=dict)
    fixtures: dict[str, Fields] = Field(
        default_factory=dict, description="Parts of requests by name."
    )
    cases: tuple[Case, ...]
