"""
The documents of the language as pydantic models: Policy, Tenant, Values.

They hold the shape alone: which fields there are, of what type, with which defaults. What a shape cannot
say (paths, operators, money, ids that must differ) is the checker's. Field descriptions are the
reference; an editor's schema is generated from the same models.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

# A tag of a union stands in the place of an error; the sign keeps it apart from every key.
TAG_SIGN = "="

API_VERSION = "enforcer/v1"
KINDS = ("Policy", "Tenant", "Values", "Stop")
OPERATORS = (
    "eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in",
    "contains", "not_contains", "matches", "and", "or", "not", "exists",
)  # fmt: skip

Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Verdict = Literal["deny", "warn", "allow", "modify"]
Phase = Literal["request", "response", "tool_call", "tool_result"]
Phases = Annotated[tuple[Phase, ...], Field(min_length=1)]


def _number(value: Any) -> int | Decimal:
    """Exactly as read: pydantic's own unions would report one fault twice, and take a boolean."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return value
    raise PydanticCustomError("number", "must be a number")


Number = Annotated[Any, AfterValidator(_number), WithJsonSchema({"type": "number"})]


class Model(BaseModel):
    """What all models share: values are frozen, an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Condition(Model):
    """A structured condition: an operator over a field and a value, or over other conditions; or an expression."""

    operator: Text | None = None
    when: Text | None = Field(None, description="An expression (CEL), in place of an operator.")
    field: Text | None = Field(None, description="Path of a field: `llm.model`.")
    value: Any = Field(
        None, description="What to compare with; `{values: id}` names a list or map."
    )
    conditions: tuple[Condition, ...] | None = Field(None, description="Of `and`, `or` and `not`.")


def _condition_form(data: Any) -> str:
    return "=condition" if isinstance(data, (dict, Condition)) else "=when"


AnyCondition = Annotated[
    Annotated[Condition, Tag("=condition")] | Annotated[Text, Tag("=when")],
    Discriminator(_condition_form),
]


class SetEdit(Model):
    """Set a field to a value."""

    set: Text
    value: Any


class RemoveEdit(Model):
    """Remove an optional field."""

    remove: Text


class CapEdit(Model):
    """Lower a number that is above the value; an absent one becomes the value."""

    cap: Text
    value: Number


class AppendEdit(Model):
    """Append a value to a list."""

    append: Text
    value: Any


class RedactEdit(Model):
    """Replace personal data and secrets in texts."""

    redact: Text
    types: Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        None, description="Kinds, or `pii` and `secrets`; absent: personal data, the default kinds."
    )
    style: Literal["label", "remove", "hash", "pseudonym", "mask"] = Field(
        "label", description="`hash` and `pseudonym` need the key that workers are given."
    )


def _edit_kind(data: Any) -> str | None:
    if isinstance(data, dict):
        for kind in ("set", "remove", "cap", "append", "redact"):
            if kind in data:
                return f"={kind}"
    return None


Edit = Annotated[
    Annotated[SetEdit, Tag("=set")]
    | Annotated[RemoveEdit, Tag("=remove")]
    | Annotated[CapEdit, Tag("=cap")]
    | Annotated[AppendEdit, Tag("=append")]
    | Annotated[RedactEdit, Tag("=redact")],
    Discriminator(
        _edit_kind,
        custom_error_type="edit",
        custom_error_message="an edit is one of `set`, `remove`, `cap`, `append` and `redact`",
    ),
]


class Then(Model):
    """What a rule does, in full: the verdict, and the edits of a modify."""

    verdict: Verdict
    edits: tuple[Edit, ...] = ()


def _then_form(data: Any) -> str:
    return "=full" if isinstance(data, (dict, Then)) else "=short"


class Rule(Model):
    """A rule: when its condition holds, its verdict counts."""

    id: Text
    when: Text | None = Field(None, description="An expression (CEL): `llm.model == 'gpt-4o'`.")
    condition: AnyCondition | None = Field(
        None, description="The same, structured. With neither the rule always matches."
    )
    then: Annotated[
        Annotated[Then, Tag("=full")] | Annotated[Verdict, Tag("=short")], Discriminator(_then_form)
    ]
    code: Text | None = Field(None, description="Stable code of the reason, such as `PII-001`.")
    reason: Text | None = Field(None, description="What the caller is told.")
    description: Text | None = None
    enabled: Flag = True
    phases: Phases | None = Field(None, description="Instead of the policy's.")

    @property
    def verdict(self) -> Verdict:
        """The verdict, whichever form it was written in."""
        return self.then.verdict if isinstance(self.then, Then) else self.then

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits of a modify rule."""
        return self.then.edits if isinstance(self.then, Then) else ()


def _limit_form(data: Any) -> str:
    return "=table" if isinstance(data, dict) else "=number"


def _key_form(data: Any) -> str:
    return "=list" if isinstance(data, (list, tuple)) else "=path"


KeyPaths = Annotated[
    Annotated[Text, Tag("=path")]
    | Annotated[tuple[Text, ...], Field(min_length=1, max_length=8), Tag("=list")],
    Discriminator(_key_form),
]
Money = Annotated[
    Annotated[Number, Tag("=number")] | Annotated[dict[str, Any], Tag("=table")],
    Discriminator(_limit_form),
]
Count = Annotated[
    Annotated[Whole, Tag("=number")] | Annotated[dict[str, Any], Tag("=table")],
    Discriminator(_limit_form),
]
OnMissingKey = Literal["deny", "skip", "shared"]


class Downgrade(Model):
    """Call another model instead."""

    downgrade: Text = Field(description="A model, or `provider/model`.")


def _reaction_form(data: Any) -> str:
    return "=downgrade" if isinstance(data, (dict, Downgrade)) else "=word"


OnExceeded = Literal["deny", "warn", "cap"]
OnExceededBudget = Annotated[
    Annotated[Downgrade, Tag("=downgrade")] | Annotated[OnExceeded, Tag("=word")],
    Discriminator(_reaction_form),
]


class Budget(Model):
    """Money that may be spent per key and window."""

    id: Text
    key: KeyPaths | None = Field(None, description="Path or paths; absent: the whole account.")
    per: Literal["hour", "day", "week", "month", "total"]
    limit_usd: Money
    on_exceeded: OnExceededBudget = "deny"
    on_missing_key: OnMissingKey = "deny"
    span: Literal["account", "tenant"] = Field(
        "account",
        description="`tenant`: one budget over all accounts of a tenant whose `account` is [tenant, team.id].",
    )


class RateLimit(Model):
    """Requests or tokens per key and period."""

    id: Text
    key: KeyPaths | None = Field(None, description="Path or paths; absent: the whole account.")
    per: Literal["second", "minute", "hour", "day"]
    limit_requests: Count | None = None
    limit_tokens: Count | None = None
    burst: Count | None = Field(None, description="At most at once; absent: the limit.")
    on_exceeded: OnExceeded = "deny"
    on_missing_key: OnMissingKey = "deny"


class RuleException(Model):
    """Removes rules while it holds and has not expired. It never adds an allow."""

    id: Text
    when: Text | None = Field(None, description="An expression (CEL); absent: it always holds.")
    rules: Annotated[tuple[Text, ...], Field(min_length=1)]
    expires: Text = Field(description="`2026-12-31`, the beginning of that day in UTC, or a time.")
    approved_by: Text
    reason: Text


class PolicyMetadata(Model):
    """Names a policy and says whose it is."""

    id: Text
    tenant: Text = "*"
    labels: dict[str, Text] = Field(default_factory=dict)
    description: Text | None = None


class PolicySpec(Model):
    """What a policy says."""

    priority: Whole = 0
    enabled: Flag = True
    mode: Literal["enforce", "shadow"] = "enforce"
    match: AnyCondition | None = Field(None, description="Guards every rule, limit and budget.")
    unless: AnyCondition | None = Field(None, description="Exempts from all of them.")
    variables: dict[str, Text] = Field(
        default_factory=dict, description="Expressions by name, for the policy's conditions."
    )
    rules: tuple[Rule, ...] = ()
    exceptions: tuple[RuleException, ...] = ()
    budgets: tuple[Budget, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    phases: Phases = ("request",)
    on_error: Literal["deny", "skip"] = "deny"


class Policy(Model):
    """Rules, budgets and rate limits under one guard."""

    apiVersion: Literal["enforcer/v1"]  # noqa: N815 — the name every such document has
    kind: Literal["Policy"]
    metadata: PolicyMetadata
    spec: PolicySpec


class TenantMetadata(Model):
    """Names a tenant."""

    id: Text
    labels: dict[str, Text] = Field(default_factory=dict)
    description: Text | None = None


class Ceiling(Model):
    """The price assumed for a model that no price list knows."""

    ceiling_usd_per_mtok: Number


def _unknown_model_form(data: Any) -> str:
    return "=ceiling" if isinstance(data, (dict, Ceiling)) else "=word"


class TenantSpec(Model):
    """How a tenant's requests are taken."""

    default_verdict: Literal["allow", "deny"] = "allow"
    account: tuple[Literal["tenant", "team.id"], ...] = ("tenant",)
    time_zone: Text = "UTC"
    required: tuple[Text, ...] = ()
    defaults: dict[str, Any] = Field(default_factory=dict)
    models: dict[str, Text] = Field(default_factory=dict)
    unknown_model: Annotated[
        Annotated[Ceiling, Tag("=ceiling")] | Annotated[Literal["deny"], Tag("=word")],
        Discriminator(_unknown_model_form),
    ] = "deny"
    assumed_output_tokens: Annotated[int, Strict(), Field(ge=1, le=10_000_000)] = 4096
    reservation_ttl: Text = "15 min"
    on_expiry: Literal["charge", "release"] = "charge"
    dedup_window: Text = "15 min"
    on_timeout: Literal["deny", "allow"] = "deny"
    # While a worker cannot tell whether its policies are the newest.
    on_stale_policies: Literal["deny", "allow"] = "deny"
    principals: tuple[Text, ...] = ()
    pii_kinds: tuple[Text, ...] = Field(
        default=(),
        description="Kinds of personal data to look for beside the default ones: `name`.",
    )


class Tenant(Model):
    """A tenant: whose requests are known, and how they are taken."""

    apiVersion: Literal["enforcer/v1"]  # noqa: N815 — the name every such document has
    kind: Literal["Tenant"]
    metadata: TenantMetadata
    spec: TenantSpec = TenantSpec()


class ValuesMetadata(Model):
    """Names a document of values and says whose it is."""

    id: Text
    tenant: Text = "*"
    labels: dict[str, Text] = Field(default_factory=dict)
    description: Text | None = None


class Values(Model):
    """Named lists and maps, read as ``values.<name>`` by the policies of the same scope."""

    apiVersion: Literal["enforcer/v1"]  # noqa: N815 — the name every such document has
    kind: Literal["Values"]
    metadata: ValuesMetadata
    spec: dict[str, Any]


class StopMetadata(Model):
    """Names a stop."""

    id: Text
    labels: dict[str, Text] = Field(default_factory=dict)
    description: Text | None = None


class StopSpec(Model):
    """Which requests are denied: all that is given must hold."""

    tenant: Text | None = None
    model: Text | None = Field(None, description="A model, or an alias of one; `provider/model`.")
    provider: Text | None = None
    reason: Annotated[str, Strict(), Field(max_length=500)] = ""


class Stop(Model):
    """The kill switch: every request that it names is denied, `stopped`, whatever the policies say."""

    apiVersion: Literal["enforcer/v1"]  # noqa: N815 — the name every such document has
    kind: Literal["Stop"]
    metadata: StopMetadata
    spec: StopSpec


AnyModel = Policy | Tenant | Values | Stop
MODELS: dict[str, type[Policy | Tenant | Values | Stop]] = {
    "Policy": Policy,
    "Tenant": Tenant,
    "Values": Values,
    "Stop": Stop,
}
