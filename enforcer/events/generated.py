# Written by enforcer/events/generate.py from schemas/avro: change those, then `make docs`.
# fmt: off
"""
The records on the wire and their Avro codecs, generated.

`encode_<record>` gives single-object bytes (marker, fingerprint, body), `decode_<record>` takes
them; `write_<record>` gives a body alone. Maps are written sorted by key: equal records have
equal bytes. Every error is a CodecError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final

from enforcer.events.binary import (
    BOOLEANS,
    LONGS,
    MALFORMED,
    OPTIONAL_LONGS,
    SHORT,
    UNENCODABLE,
    bad_tag,
    decode_count,
    decode_double,
    decode_length,
    decode_long,
    encode_array,
    encode_boolean,
    encode_bytes,
    encode_double,
    encode_fixed,
    encode_long,
    encode_map,
    encode_string,
    encode_strings,
    malformed,
    new_instance,
    unencodable,
    wrong_end,
    wrong_head,
)



_AUDIT_HEAD: Final = b'\xc3\x01n\x8f\x8b=p\xa6\xf2\xa9'
_BUDGET_ROW_HEAD: Final = b'\xc3\x01\xbf4\xb7\x8d\xf1\xe8\xb6\x97'
_CALL_ROW_HEAD: Final = b'\xc3\x01\x151\r\xae0\\"/'
_CLAIM_HEAD: Final = b'\xc3\x01\xee`\nPg\xbb\x9a\xcd'
_DEAD_LETTER_HEAD: Final = b'\xc3\x01\x9c\\\x0fH\xbc\x85\x8as'
_DECISION_HEAD: Final = b'\xc3\x01\xea\x88X\x16\x0f\x10:\xd8'
_LEASE_HEAD: Final = b'\xc3\x01\x83\xe7U`\x9aI9F'
_LEASE_ROW_HEAD: Final = b'\xc3\x01`\x8a\xc1\xc3\xfbp\x1c\xf1'
_LENT_ROW_HEAD: Final = b'\xc3\x01\xc2Ik\xae\xb0\xba\xc6\xc1'
_MOVE_HEAD: Final = b'\xc3\x01\xde:\x8av\xfd\xa4f\x99'
_POLICY_ACK_HEAD: Final = b'\xc3\x01\xdf\x8ee\xc3\xa5\x85\x06\x08'
_POLICY_DOCUMENT_HEAD: Final = b'\xc3\x01\x92D\xbf\xcd\xd5\xb6\xb7\x18'
_POLICY_SET_HEAD: Final = b'\xc3\x01P\x05\x03\x0c\x89&\xa1+'
_POSITION_ROW_HEAD: Final = b'\xc3\x01\r\xe2\x85h\x9e\xf1m\x1a'
_RATE_ROW_HEAD: Final = b'\xc3\x01{\xbbc\xc4\xe7\xa6SH'
_REQUEST_HEAD: Final = b'\xc3\x01\x9f\x87\x1e\x16\xb2\xc4\x19\xad'
_USAGE_HEAD: Final = b'\xc3\x01\nPP\x12\xa0p\xe9X'
_WAITING_USAGE_ROW_HEAD: Final = b'\xc3\x01<\x89\xa6\xdf?\x86\x03\x84'
_AUDIT_1_HEAD: Final = b'\xc3\x01\xb4\x0b|\xb5\xf6Z\x1fp'
_DECISION_1_HEAD: Final = b"\xc3\x01'+G\xd3\x1f`#\xf4"
_MOVE_1_HEAD: Final = b'\xc3\x01\xdb\x8f\x93\x99#tHh'
_POLICY_ACK_1_HEAD: Final = b'\xc3\x01\x96\xdbw|\xc8\xfe\x88\xa6'
_POLICY_ACK_2_HEAD: Final = b'\xc3\x01\x9d+\xb8n\xff;\xfcZ'
_POSITION_ROW_1_HEAD: Final = b'\xc3\x01D\x9b\x1b\xc1\x87\xe2\x155'


EFFECT_KIND: Final = ('expire', 'reserve', 'take', 'open', 'charge', 'release', 'give', 'settle', 'wait', 'drop', 'ask', 'grant', 'recall', 'repay', 'lend')
_EFFECT_KIND_BYTES: Final = {'expire': b'\x00', 'reserve': b'\x02', 'take': b'\x04', 'open': b'\x06', 'charge': b'\x08', 'release': b'\n', 'give': b'\x0c', 'settle': b'\x0e', 'wait': b'\x10', 'drop': b'\x12', 'ask': b'\x14', 'grant': b'\x16', 'recall': b'\x18', 'repay': b'\x1a', 'lend': b'\x1c'}
_EFFECT_KIND_OF: Final = {0: 'expire', 2: 'reserve', 4: 'take', 6: 'open', 8: 'charge', 10: 'release', 12: 'give', 14: 'settle', 16: 'wait', 18: 'drop', 20: 'ask', 22: 'grant', 24: 'recall', 26: 'repay', 28: 'lend'}
AUDIT_KIND: Final = ('decision', 'settlement', 'expiry', 'policy_change', 'exception_use', 'lease', 'move')
_AUDIT_KIND_BYTES: Final = {'decision': b'\x00', 'settlement': b'\x02', 'expiry': b'\x04', 'policy_change': b'\x06', 'exception_use': b'\x08', 'lease': b'\n', 'move': b'\x0c'}
_AUDIT_KIND_OF: Final = {0: 'decision', 2: 'settlement', 4: 'expiry', 6: 'policy_change', 8: 'exception_use', 10: 'lease', 12: 'move'}
CALL_STATUS: Final = ('open', 'settled', 'expired', 'denied')
_CALL_STATUS_BYTES: Final = {'open': b'\x00', 'settled': b'\x02', 'expired': b'\x04', 'denied': b'\x06'}
_CALL_STATUS_OF: Final = {0: 'open', 2: 'settled', 4: 'expired', 6: 'denied'}
VERDICT: Final = ('allow', 'warn', 'modify', 'deny')
_VERDICT_BYTES: Final = {'allow': b'\x00', 'warn': b'\x02', 'modify': b'\x04', 'deny': b'\x06'}
_VERDICT_OF: Final = {0: 'allow', 2: 'warn', 4: 'modify', 6: 'deny'}
EDIT_OP: Final = ('add', 'remove', 'replace', 'splice')
_EDIT_OP_BYTES: Final = {'add': b'\x00', 'remove': b'\x02', 'replace': b'\x04', 'splice': b'\x06'}
_EDIT_OP_OF: Final = {0: 'add', 2: 'remove', 4: 'replace', 6: 'splice'}
LEASE_KIND: Final = ('request', 'grant', 'recall', 'repay')
_LEASE_KIND_BYTES: Final = {'request': b'\x00', 'grant': b'\x02', 'recall': b'\x04', 'repay': b'\x06'}
_LEASE_KIND_OF: Final = {0: 'request', 2: 'grant', 4: 'recall', 6: 'repay'}
PHASE: Final = ('request', 'response', 'tool_call', 'tool_result')
_PHASE_BYTES: Final = {'request': b'\x00', 'response': b'\x02', 'tool_call': b'\x04', 'tool_result': b'\x06'}
_PHASE_OF: Final = {0: 'request', 2: 'response', 4: 'tool_call', 6: 'tool_result'}
OUTCOME: Final = ('completed', 'cancelled', 'failed')
_OUTCOME_BYTES: Final = {'completed': b'\x00', 'cancelled': b'\x02', 'failed': b'\x04'}
_OUTCOME_OF: Final = {0: 'completed', 2: 'cancelled', 4: 'failed'}
ACTED: Final = ('allow', 'modify', 'deny', 'timeout_allow', 'timeout_deny')
_ACTED_BYTES: Final = {'allow': b'\x00', 'modify': b'\x02', 'deny': b'\x04', 'timeout_allow': b'\x06', 'timeout_deny': b'\x08'}
_ACTED_OF: Final = {0: 'allow', 2: 'modify', 4: 'deny', 6: 'timeout_allow', 8: 'timeout_deny'}


@dataclass(slots=True)
class Source:
    """
    The place in all inputs and in the policy topic at which the decision was taken.

    Attributes:
        usage_offset: Position in usage of the same partition: the next record to be taken.
        policy_offset: Position in the policy topic: the next record to be applied.
        late_ms: Worker's clock less record time.
        lease_offset: Position in leases of the same partition: the next record to be taken.
    """

    topic: str
    partition: int
    offset: int
    usage_offset: int
    policy_offset: int
    late_ms: int
    lease_offset: int = 0


@dataclass(slots=True)
class Effect:
    """
    One difference to the rows of an account. Kinds and the meaning of each number: enforcer/state/effects.py.

    Attributes:
        row: The row's key, as in the changelog.
        amount: Nano-USD for budgets, units for rate limits.
        at_us: Event time of the difference; for `open`: when the reservation expires.
        until_us: For `open`: when the row ends; for budgets: the end of the window, 0 for total.
        limit: Units a period, for rate limits.
        period_us: Length of the rate limit's period.
    """

    kind: str
    row: str
    amount: int = 0
    at_us: int = 0
    until_us: int = 0
    limit: int = 0
    period_us: int = 0


@dataclass(slots=True)
class Audit:
    """
    One link of a partition's chain. The digest is SHA-256 over `previous` and the exact stored bytes before the digest.

    Attributes:
        sequence: Dense per partition, from 0.
        previous: The digest of the record before; zeros for the first.
        payload: A decision's bytes as on the decisions topic, or the bytes of the event (usage, lease, move), or a policy change's digests as JSON; empty for an expiry.
        notes: Flags such as overrun, denied_request, expired_request, unattributed, tail_lost, absurd_counts, bypass.
        effects: Of events other than decisions, which carry their own.
    """

    sequence: int
    previous: bytes
    kind: str
    account: str
    time_us: int
    source: Source
    payload: bytes
    _: KW_ONLY
    notes: list[str] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    digest: bytes


@dataclass(slots=True)
class BudgetRow:
    """
    Money of one budget, key and window.

    Attributes:
        window_end_us: 0: total.
    """

    spent_usd_nano: int
    reserved_usd_nano: int
    window_end_us: int


@dataclass(slots=True)
class Allocation:
    """
    What a call holds of a row.

    Attributes:
        amount: Nano-USD reserved, or units taken.
        until_us: End of the budget's window.
    """

    row: str
    amount: int
    until_us: int = 0
    limit: int = 0
    period_us: int = 0


@dataclass(slots=True)
class CallRow:
    """
    One call: its first verdict, for redelivery; its reservation, for settlement.

    Attributes:
        end_us: Past it the row counts as absent. First, so that a sweep reads nothing else.
        decision: As first told.
        input_usd_nano: The estimate of the input alone, charged when cancelled without counts.
        charged_usd_nano: By partial reports so far.
    """

    end_us: int
    status: str
    content: bytes
    decision: bytes
    time_us: int
    expires_us: int
    provider: str
    model: str
    service_tier: str | None = None
    reserved_usd_nano: int = 0
    input_usd_nano: int = 0
    estimated_tokens: int = 0
    charged_usd_nano: int = 0
    charged_tokens: int = 0
    release_on_expiry: bool = False
    budgets: list[Allocation] = field(default_factory=list)
    token_rates: list[Allocation] = field(default_factory=list)


@dataclass(slots=True)
class Claim:
    """The first record of a new owner on a partition of decisions. Readers skip it."""

    partition: int
    epoch: int
    owner: str
    starts: int


@dataclass(slots=True)
class DeadLetter:
    """Input that could not be read, whole."""

    topic: str
    partition: int
    offset: int
    time_us: int
    code: str
    reason: str
    key: bytes | None = None
    value: bytes | None = None
    headers: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Reason:
    """Why: the rule that matched."""

    policy: str
    rule: str
    verdict: str
    code: str
    message: str


@dataclass(slots=True)
class Edit:
    """
    An RFC 6902 operation on the request, or a splice: code points, sorted, disjoint, applied from the end.

    Attributes:
        sha256: Of the string that a splice belongs to.
    """

    op: str
    path: str
    value: str | None = None
    start: int | None = None
    end: int | None = None
    text: str | None = None
    sha256: str | None = None


@dataclass(slots=True)
class Facts:
    """Counts, never text."""

    input_tokens: int | None = None
    estimated_cost_usd_nano: int | None = None
    pii: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, int] = field(default_factory=dict)
    injection: float | None = None


@dataclass(slots=True)
class BudgetView:
    """A budget as it stands after this decision."""

    policy: str
    id: str
    key: str
    limit_usd_nano: int
    spent_usd_nano: int
    reserved_usd_nano: int


@dataclass(slots=True)
class Reservation:
    """What was set aside for the call, and until when."""

    usd_nano: int
    expires_us: int


@dataclass(slots=True)
class RuleError:
    """A rule that could not be evaluated."""

    policy: str
    rule: str
    code: str
    message: str


@dataclass(slots=True)
class Subject:
    """What names a person, apart, so that it can be encrypted and its key destroyed."""

    key_id: str
    data: bytes


@dataclass(slots=True)
class Decision:
    """
    The verdict on one call. The id is derived from the call, so a repeat is the same record.

    Attributes:
        reasons: Every matched deny, at most 16; of a verdict without a deny, the rules that made it.
        reasons_count: All of them, those left out included.
        policy_sets: Set digest by scope: `*` and the tenant.
        time_us: Event time: the record's.
    """

    id: str
    request_id: str
    attempt: int
    tenant: str
    account: str
    verdict: str
    http_status: int
    reasons: list[Reason]
    _: KW_ONLY
    reasons_count: int = 0
    edits: list[Edit] = field(default_factory=list)
    warnings: list[Reason] = field(default_factory=list)
    retry_after_ms: int | None = None
    facts: Facts = field(default_factory=Facts)
    budgets: list[BudgetView] = field(default_factory=list)
    reservation: Reservation | None = None
    errors: list[RuleError] = field(default_factory=list)
    shadow: list[Reason] = field(default_factory=list)
    policy_digest: str
    policy_sets: dict[str, str] = field(default_factory=dict)
    data_digest: str
    engine: str
    source: Source
    time_us: int
    subject: Subject | None = None
    effects: list[Effect] = field(default_factory=list)


@dataclass(slots=True)
class Lease:
    """
    One word between the owner of a tenant's budget and an agent that holds a slice of it.

    Attributes:
        kind: request and repay: of a holder to the owner; grant and recall: of the owner to a holder.
        row: The budget's row key: one row at each holder.
        holder: The partition that holds the slice.
        sequence: Of the holder's request; a grant names the one it answers.
        amount_usd_nano: request: wanted; grant: all that was ever granted; recall: what may be unused; repay: all that was ever repaid.
        need_usd_nano: request: less than this is of no use.
        least_usd_nano: request and repay: used, repaid or used soon, in all, so that no less can have been granted.
        window_end_us: 0: total.
        is_short: grant: the owner has not as much as is needed.
    """

    kind: str
    tenant: str
    row: str
    holder: int
    sequence: int = 0
    amount_usd_nano: int = 0
    need_usd_nano: int = 0
    least_usd_nano: int = 0
    window_end_us: int = 0
    is_short: bool = False


@dataclass(slots=True)
class LeaseRow:
    """
    A slice of a tenant's budget, at the partition that holds it: what was granted less what was repaid.

    Attributes:
        granted_usd_nano: In all.
        repaid_usd_nano: In all.
        window_end_us: 0: total.
        sequence: Requests made.
        answered: The newest request that was answered.
        asked_us: Event time of the newest request.
        asked_usd_nano: What it wanted.
        used_usd_nano: Spent and reserved when it was made.
        until_us: What is unused then goes back.
        is_short: The owner had not as much as was needed.
        is_recalled: The owner wants back what is unused.
    """

    granted_usd_nano: int
    repaid_usd_nano: int
    window_end_us: int
    sequence: int = 0
    answered: int = 0
    asked_us: int = 0
    asked_usd_nano: int = 0
    used_usd_nano: int = 0
    until_us: int = 0
    is_short: bool = False
    is_recalled: bool = False


@dataclass(slots=True)
class Holding:
    """
    What one partition was lent. It counts as spent until it is repaid.

    Attributes:
        holder: Its partition.
        granted_usd_nano: In all.
        repaid_usd_nano: In all.
        sequence: Its newest request that was answered.
        is_recalled: Asked to repay, and not heard of since.
    """

    holder: int
    granted_usd_nano: int
    repaid_usd_nano: int
    sequence: int
    is_recalled: bool = False


@dataclass(slots=True)
class LentRow:
    """
    What the owner of a tenant's budget has lent to whom.

    Attributes:
        window_end_us: 0: total.
    """

    window_end_us: int
    holdings: list[Holding] = field(default_factory=list)


@dataclass(slots=True)
class MovedRow:
    """
    One row.

    Attributes:
        value: As in the changelog; absent where the row is no more.
    """

    key: str
    value: bytes | None = None


@dataclass(slots=True)
class Move:
    """
    Rows that changed their partition, for the ledgers of both: `topics repartition`.

    Attributes:
        partition_count: From here on.
        partition_count_before: Until here, for who decides the ledger again; 0: not recorded.
    """

    from_partition: int
    to_partition: int
    partition_count: int
    rows: list[MovedRow]
    partition_count_before: int = 0


@dataclass(slots=True)
class PolicyAck:
    """
    What one worker's agents decide under. The newest record of a worker counts.

    Attributes:
        instance_id: The worker.
        policy_offset: Position in the policy topic: every record before it is applied.
        partitions: Whose agents decide under these sets; one that is taking over is not among them.
        sets: Digest of the set in force, by scope.
        invalid: Scopes whose requests are denied, `policy_invalid`, and why.
        time_us: The worker's clock.
        refused: Scopes whose newest record was not believed, and why; what was in force stays.
        revisions: Of the signed sets that were believed, by scope: nobody who starts later takes an older one.
    """

    instance_id: str
    policy_offset: int
    partitions: list[int] = field(default_factory=list)
    sets: dict[str, str] = field(default_factory=dict)
    invalid: dict[str, str] = field(default_factory=dict)
    time_us: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class PolicyDocument:
    """
    One document, as its author wrote it and in canonical form.

    Attributes:
        scope: A tenant, or *.
        digest: SHA-256 of the canonical form, hex.
        canonical: Canonical JSON of the parsed document.
        place: File, for messages.
    """

    kind: str
    id: str
    scope: str
    digest: str
    canonical: str
    source: str = ''
    place: str = ''


@dataclass(slots=True)
class PolicySet:
    """
    All documents in force for a scope. One record puts the whole set in force.

    Attributes:
        replaces: Digest of the set it follows.
    """

    scope: str
    revision: int
    _: KW_ONLY
    replaces: str | None = None
    documents: list[str]
    digest: str
    author: str = ''
    time_us: int = 0


@dataclass(slots=True)
class PositionRow:
    """
    Where an agent is: the truth, written in the same transaction as all it covers.

    Attributes:
        trying: Request offset tried alone, for poison.
        lease_offset: Of the next lease record to be taken.
    """

    request_offset: int
    usage_offset: int
    chain_head: bytes
    next_sequence: int
    tail_start: int
    now_us: int
    policy_offset: int
    partition_count: int
    starts: int
    trying: int | None = None
    trying_count: int = 0
    lease_offset: int = 0


@dataclass(slots=True)
class RateRow:
    """A GCRA bucket: full again at full_at_us + fraction/limit."""

    full_at_us: int
    fraction: int
    limit: int


@dataclass(slots=True)
class User:
    """Who asks."""

    id: str | None = None
    roles: list[str] = field(default_factory=list)
    permissions: list[str] = field(default_factory=list)
    email: str | None = None
    region: str | None = None


@dataclass(slots=True)
class Team:
    """The asker's team."""

    id: str | None = None
    name: str | None = None
    tier: str | None = None


@dataclass(slots=True)
class Project:
    """What it is for."""

    id: str | None = None
    name: str | None = None
    environment: str | None = None


@dataclass(slots=True)
class Caller:
    """The program that calls."""

    kind: str | None = None
    ip: str | None = None


@dataclass(slots=True)
class Part:
    """
    One part of a message. Media never travel: only their sizes and digest.

    Attributes:
        type: text, image, audio or file
    """

    type: str
    text: str | None = None
    mime: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    sha256: str | None = None


@dataclass(slots=True)
class ToolCall:
    """A tool call the model made; arguments are the JSON text as the model wrote it."""

    _: KW_ONLY
    id: str = ''
    name: str
    arguments: str = ''


@dataclass(slots=True)
class Message:
    """
    One turn.

    Attributes:
        origin: user, retrieved or tool
    """

    role: str
    content: str | list[Part] = ''
    name: str | None = None
    origin: str | None = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    tool_call_id: str | None = None


@dataclass(slots=True)
class Llm:
    """
    The model call.

    Attributes:
        prompt: Accepted instead of messages.
    """

    provider: str
    model: str
    operation: str = 'chat'
    max_tokens: int | None = None
    temperature: float | None = None
    n: int = 1
    stream: bool = False
    messages: list[Message] = field(default_factory=list)
    prompt: str | None = None
    tools: list[str] = field(default_factory=list)
    tool_choice: str | None = None
    response_format: str | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None


@dataclass(slots=True)
class Request:
    """
    A call to a model, before it is made.

    Attributes:
        deadline_ms: Counted from the record's time.
    """

    id: str
    tenant: str
    _: KW_ONLY
    attempt: int = 1
    phase: str = 'request'
    deadline_ms: int | None = None
    parent_id: str | None = None
    part: int | None = None
    final: bool | None = None
    user: User = field(default_factory=User)
    team: Team = field(default_factory=Team)
    project: Project = field(default_factory=Project)
    conversation_id: str | None = None
    caller: Caller = field(default_factory=Caller)
    llm: Llm
    attributes: dict[str, bool | int | float | str | list[str] | None] = field(default_factory=dict)
    raw: dict[str, object] | None = field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(slots=True)
class Usage:
    """
    What a call used. Input includes cached, output includes reasoning.

    Attributes:
        acted: What the gateway did.
    """

    request_id: str
    tenant: str
    attempt: int = 1
    final: bool = True
    outcome: str = 'completed'
    provider: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd_nano: int | None = None
    acted: str | None = None
    user: str | None = None
    team: str | None = None
    project: str | None = None


@dataclass(slots=True)
class WaitingUsageRow:
    """Usage that came before its request."""

    end_us: int
    account: str
    reports: list[bytes]


def _write_string_or_parts(v: str | list[Part]) -> bytes:
    if isinstance(v, str):
        return b'\x00' + encode_string(v)
    return b'\x02' + encode_array(v, write_part)


def _write_null_or_boolean_or_long_or_double_or_string_or_strings(v: bool | int | float | str | list[str] | None) -> bytes:
    if isinstance(v, str):
        return b'\x08' + encode_string(v)
    if v is None:
        return b'\x00'
    if isinstance(v, bool):
        return b'\x02' + encode_boolean(v)
    if isinstance(v, int):
        return b'\x04' + encode_long(v)
    if isinstance(v, float):
        return b'\x06' + encode_double(v)
    return b'\n' + encode_strings(v)


def write_effect(r: Effect) -> bytes:
    return b''.join((
        _EFFECT_KIND_BYTES[r.kind],
        LONGS[n2] if (n2 := len(s1 := r.row.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[v3] if 0 <= (v3 := r.amount) < SHORT else encode_long(v3),
        LONGS[v4] if 0 <= (v4 := r.at_us) < SHORT else encode_long(v4),
        LONGS[v5] if 0 <= (v5 := r.until_us) < SHORT else encode_long(v5),
        LONGS[v6] if 0 <= (v6 := r.limit) < SHORT else encode_long(v6),
        LONGS[v7] if 0 <= (v7 := r.period_us) < SHORT else encode_long(v7),
    ))


def _read_effect(b: bytes, i: int) -> tuple[Effect, int]:
    r = new_instance(Effect)
    r.kind = _EFFECT_KIND_OF[b[i]]
    i += 1
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.row = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.amount = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.amount, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.at_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.at_us, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.until_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.until_us, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.limit = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.limit, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.period_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.period_us, i = decode_long(b, i)
    return r, i


def write_audit(r: Audit) -> bytes:
    r5 = r.source
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.sequence) < SHORT else encode_long(v1),
        encode_fixed(r.previous, 32),
        _AUDIT_KIND_BYTES[r.kind],
        LONGS[n3] if (n3 := len(s2 := r.account.encode())) < SHORT else encode_long(n3),
        s2,
        LONGS[v4] if 0 <= (v4 := r.time_us) < SHORT else encode_long(v4),
        LONGS[n7] if (n7 := len(s6 := r5.topic.encode())) < SHORT else encode_long(n7),
        s6,
        LONGS[v8] if 0 <= (v8 := r5.partition) < SHORT else encode_long(v8),
        LONGS[v9] if 0 <= (v9 := r5.offset) < SHORT else encode_long(v9),
        LONGS[v10] if 0 <= (v10 := r5.usage_offset) < SHORT else encode_long(v10),
        LONGS[v11] if 0 <= (v11 := r5.policy_offset) < SHORT else encode_long(v11),
        LONGS[v12] if 0 <= (v12 := r5.late_ms) < SHORT else encode_long(v12),
        LONGS[v13] if 0 <= (v13 := r5.lease_offset) < SHORT else encode_long(v13),
        encode_bytes(r.payload),
        encode_strings(a14) if (a14 := r.notes) else b'\x00',
        encode_array(a15, write_effect) if (a15 := r.effects) else b'\x00',
        encode_fixed(r.digest, 32),
    ))


def _read_audit(b: bytes, i: int) -> tuple[Audit, int]:
    r = new_instance(Audit)
    n = b[i]
    if n < 128:
        r.sequence = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.sequence, i = decode_long(b, i)
    r.previous = b[i : i + 32]
    i += 32
    r.kind = _AUDIT_KIND_OF[b[i]]
    i += 1
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.account = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.time_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.time_us, i = decode_long(b, i)
    r.source = r1 = new_instance(Source)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r1.topic = b[j:i].decode()
    n = b[i]
    if n < 128:
        r1.partition = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r1.partition, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r1.offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r1.offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r1.usage_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r1.usage_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r1.policy_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r1.policy_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r1.late_ms = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r1.late_ms, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r1.lease_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r1.lease_offset, i = decode_long(b, i)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.payload = b[j:i]
    a2: list[str] = []
    r.notes = a2
    c4 = b[i]
    i += 1
    while c4:
        if c4 & 129:
            c4, i = decode_count(b, i - 1)
        else:
            c4 >>= 1
        for _ in range(c4):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x3 = b[j:i].decode()
            a2.append(x3)
        c4 = b[i]
        i += 1
    a5: list[Effect] = []
    r.effects = a5
    c7 = b[i]
    i += 1
    while c7:
        if c7 & 129:
            c7, i = decode_count(b, i - 1)
        else:
            c7 >>= 1
        for _ in range(c7):
            x6, i = _read_effect(b, i)
            a5.append(x6)
        c7 = b[i]
        i += 1
    r.digest = b[i : i + 32]
    i += 32
    return r, i


def write_budget_row(r: BudgetRow) -> bytes:
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.spent_usd_nano) < SHORT else encode_long(v1),
        LONGS[v2] if 0 <= (v2 := r.reserved_usd_nano) < SHORT else encode_long(v2),
        LONGS[v3] if 0 <= (v3 := r.window_end_us) < SHORT else encode_long(v3),
    ))


def _read_budget_row(b: bytes, i: int) -> tuple[BudgetRow, int]:
    r = new_instance(BudgetRow)
    n = b[i]
    if n < 128:
        r.spent_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.spent_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.reserved_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.reserved_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.window_end_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.window_end_us, i = decode_long(b, i)
    return r, i


def write_allocation(r: Allocation) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.row.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[v3] if 0 <= (v3 := r.amount) < SHORT else encode_long(v3),
        LONGS[v4] if 0 <= (v4 := r.until_us) < SHORT else encode_long(v4),
        LONGS[v5] if 0 <= (v5 := r.limit) < SHORT else encode_long(v5),
        LONGS[v6] if 0 <= (v6 := r.period_us) < SHORT else encode_long(v6),
    ))


def _read_allocation(b: bytes, i: int) -> tuple[Allocation, int]:
    r = new_instance(Allocation)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.row = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.amount = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.amount, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.until_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.until_us, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.limit = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.limit, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.period_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.period_us, i = decode_long(b, i)
    return r, i


def write_call_row(r: CallRow) -> bytes:
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.end_us) < SHORT else encode_long(v1),
        _CALL_STATUS_BYTES[r.status],
        encode_fixed(r.content, 32),
        encode_bytes(r.decision),
        LONGS[v2] if 0 <= (v2 := r.time_us) < SHORT else encode_long(v2),
        LONGS[v3] if 0 <= (v3 := r.expires_us) < SHORT else encode_long(v3),
        LONGS[n5] if (n5 := len(s4 := r.provider.encode())) < SHORT else encode_long(n5),
        s4,
        LONGS[n7] if (n7 := len(s6 := r.model.encode())) < SHORT else encode_long(n7),
        s6,
        b'\x00' if (o8 := r.service_tier) is None else (OPTIONAL_LONGS[n10] if (n10 := len(s9 := o8.encode())) < SHORT else b'\x02' + encode_long(n10)) + s9,
        LONGS[v11] if 0 <= (v11 := r.reserved_usd_nano) < SHORT else encode_long(v11),
        LONGS[v12] if 0 <= (v12 := r.input_usd_nano) < SHORT else encode_long(v12),
        LONGS[v13] if 0 <= (v13 := r.estimated_tokens) < SHORT else encode_long(v13),
        LONGS[v14] if 0 <= (v14 := r.charged_usd_nano) < SHORT else encode_long(v14),
        LONGS[v15] if 0 <= (v15 := r.charged_tokens) < SHORT else encode_long(v15),
        b'\x01' if r.release_on_expiry else b'\x00',
        encode_array(a16, write_allocation) if (a16 := r.budgets) else b'\x00',
        encode_array(a17, write_allocation) if (a17 := r.token_rates) else b'\x00',
    ))


def _read_call_row(b: bytes, i: int) -> tuple[CallRow, int]:
    r = new_instance(CallRow)
    n = b[i]
    if n < 128:
        r.end_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.end_us, i = decode_long(b, i)
    r.status = _CALL_STATUS_OF[b[i]]
    i += 1
    r.content = b[i : i + 32]
    i += 32
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.decision = b[j:i]
    n = b[i]
    if n < 128:
        r.time_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.time_us, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.expires_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.expires_us, i = decode_long(b, i)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.provider = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.model = b[j:i].decode()
    t = b[i]
    i += 1
    if t == 0:
        r.service_tier = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.service_tier = b[j:i].decode()
    else:
        raise bad_tag()
    n = b[i]
    if n < 128:
        r.reserved_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.reserved_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.input_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.input_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.estimated_tokens = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.estimated_tokens, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.charged_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.charged_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.charged_tokens = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.charged_tokens, i = decode_long(b, i)
    r.release_on_expiry = BOOLEANS[b[i]]
    i += 1
    a1: list[Allocation] = []
    r.budgets = a1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            x2, i = _read_allocation(b, i)
            a1.append(x2)
        c3 = b[i]
        i += 1
    a4: list[Allocation] = []
    r.token_rates = a4
    c6 = b[i]
    i += 1
    while c6:
        if c6 & 129:
            c6, i = decode_count(b, i - 1)
        else:
            c6 >>= 1
        for _ in range(c6):
            x5, i = _read_allocation(b, i)
            a4.append(x5)
        c6 = b[i]
        i += 1
    return r, i


def write_claim(r: Claim) -> bytes:
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.partition) < SHORT else encode_long(v1),
        LONGS[v2] if 0 <= (v2 := r.epoch) < SHORT else encode_long(v2),
        LONGS[n4] if (n4 := len(s3 := r.owner.encode())) < SHORT else encode_long(n4),
        s3,
        LONGS[v5] if 0 <= (v5 := r.starts) < SHORT else encode_long(v5),
    ))


def _read_claim(b: bytes, i: int) -> tuple[Claim, int]:
    r = new_instance(Claim)
    n = b[i]
    if n < 128:
        r.partition = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.partition, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.epoch = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.epoch, i = decode_long(b, i)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.owner = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.starts = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.starts, i = decode_long(b, i)
    return r, i


def write_dead_letter(r: DeadLetter) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.topic.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[v3] if 0 <= (v3 := r.partition) < SHORT else encode_long(v3),
        LONGS[v4] if 0 <= (v4 := r.offset) < SHORT else encode_long(v4),
        LONGS[v5] if 0 <= (v5 := r.time_us) < SHORT else encode_long(v5),
        LONGS[n7] if (n7 := len(s6 := r.code.encode())) < SHORT else encode_long(n7),
        s6,
        LONGS[n9] if (n9 := len(s8 := r.reason.encode())) < SHORT else encode_long(n9),
        s8,
        b'\x00' if (o10 := r.key) is None else (OPTIONAL_LONGS[n12] if (n12 := len(s11 := o10)) < SHORT else b'\x02' + encode_long(n12)) + s11,
        b'\x00' if (o13 := r.value) is None else (OPTIONAL_LONGS[n15] if (n15 := len(s14 := o13)) < SHORT else b'\x02' + encode_long(n15)) + s14,
        encode_map(m16, encode_bytes) if (m16 := r.headers) else b'\x00',
    ))


def _read_dead_letter(b: bytes, i: int) -> tuple[DeadLetter, int]:
    r = new_instance(DeadLetter)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.topic = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.partition = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.partition, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.time_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.time_us, i = decode_long(b, i)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.code = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.reason = b[j:i].decode()
    t = b[i]
    i += 1
    if t == 0:
        r.key = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.key = b[j:i]
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.value = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.value = b[j:i]
    else:
        raise bad_tag()
    m1: dict[str, bytes] = {}
    r.headers = m1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k4 = b[j:i].decode()
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x2 = b[j:i]
            m1[k4] = x2
        c3 = b[i]
        i += 1
    return r, i


def write_reason(r: Reason) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.policy.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[n4] if (n4 := len(s3 := r.rule.encode())) < SHORT else encode_long(n4),
        s3,
        _VERDICT_BYTES[r.verdict],
        LONGS[n6] if (n6 := len(s5 := r.code.encode())) < SHORT else encode_long(n6),
        s5,
        LONGS[n8] if (n8 := len(s7 := r.message.encode())) < SHORT else encode_long(n8),
        s7,
    ))


def _read_reason(b: bytes, i: int) -> tuple[Reason, int]:
    r = new_instance(Reason)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.policy = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.rule = b[j:i].decode()
    r.verdict = _VERDICT_OF[b[i]]
    i += 1
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.code = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.message = b[j:i].decode()
    return r, i


def write_edit(r: Edit) -> bytes:
    return b''.join((
        _EDIT_OP_BYTES[r.op],
        LONGS[n2] if (n2 := len(s1 := r.path.encode())) < SHORT else encode_long(n2),
        s1,
        b'\x00' if (o3 := r.value) is None else (OPTIONAL_LONGS[n5] if (n5 := len(s4 := o3.encode())) < SHORT else b'\x02' + encode_long(n5)) + s4,
        b'\x00' if (o6 := r.start) is None else OPTIONAL_LONGS[o6] if 0 <= o6 < SHORT else b'\x02' + encode_long(o6),
        b'\x00' if (o7 := r.end) is None else OPTIONAL_LONGS[o7] if 0 <= o7 < SHORT else b'\x02' + encode_long(o7),
        b'\x00' if (o8 := r.text) is None else (OPTIONAL_LONGS[n10] if (n10 := len(s9 := o8.encode())) < SHORT else b'\x02' + encode_long(n10)) + s9,
        b'\x00' if (o11 := r.sha256) is None else (OPTIONAL_LONGS[n13] if (n13 := len(s12 := o11.encode())) < SHORT else b'\x02' + encode_long(n13)) + s12,
    ))


def _read_edit(b: bytes, i: int) -> tuple[Edit, int]:
    r = new_instance(Edit)
    r.op = _EDIT_OP_OF[b[i]]
    i += 1
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.path = b[j:i].decode()
    t = b[i]
    i += 1
    if t == 0:
        r.value = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.value = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.start = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.start = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.start, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.end = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.end = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.end, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.text = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.text = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.sha256 = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.sha256 = b[j:i].decode()
    else:
        raise bad_tag()
    return r, i


def write_budget_view(r: BudgetView) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.policy.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[n4] if (n4 := len(s3 := r.id.encode())) < SHORT else encode_long(n4),
        s3,
        LONGS[n6] if (n6 := len(s5 := r.key.encode())) < SHORT else encode_long(n6),
        s5,
        LONGS[v7] if 0 <= (v7 := r.limit_usd_nano) < SHORT else encode_long(v7),
        LONGS[v8] if 0 <= (v8 := r.spent_usd_nano) < SHORT else encode_long(v8),
        LONGS[v9] if 0 <= (v9 := r.reserved_usd_nano) < SHORT else encode_long(v9),
    ))


def _read_budget_view(b: bytes, i: int) -> tuple[BudgetView, int]:
    r = new_instance(BudgetView)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.policy = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.id = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.key = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.limit_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.limit_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.spent_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.spent_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.reserved_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.reserved_usd_nano, i = decode_long(b, i)
    return r, i


def write_reservation(r: Reservation) -> bytes:
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.usd_nano) < SHORT else encode_long(v1),
        LONGS[v2] if 0 <= (v2 := r.expires_us) < SHORT else encode_long(v2),
    ))


def _read_reservation(b: bytes, i: int) -> tuple[Reservation, int]:
    r = new_instance(Reservation)
    n = b[i]
    if n < 128:
        r.usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.expires_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.expires_us, i = decode_long(b, i)
    return r, i


def write_rule_error(r: RuleError) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.policy.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[n4] if (n4 := len(s3 := r.rule.encode())) < SHORT else encode_long(n4),
        s3,
        LONGS[n6] if (n6 := len(s5 := r.code.encode())) < SHORT else encode_long(n6),
        s5,
        LONGS[n8] if (n8 := len(s7 := r.message.encode())) < SHORT else encode_long(n8),
        s7,
    ))


def _read_rule_error(b: bytes, i: int) -> tuple[RuleError, int]:
    r = new_instance(RuleError)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.policy = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.rule = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.code = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.message = b[j:i].decode()
    return r, i


def write_subject(r: Subject) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.key_id.encode())) < SHORT else encode_long(n2),
        s1,
        encode_bytes(r.data),
    ))


def _read_subject(b: bytes, i: int) -> tuple[Subject, int]:
    r = new_instance(Subject)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.key_id = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.data = b[j:i]
    return r, i


def write_decision(r: Decision) -> bytes:
    r16 = r.facts
    r33 = r.source
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.id.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[n4] if (n4 := len(s3 := r.request_id.encode())) < SHORT else encode_long(n4),
        s3,
        LONGS[v5] if 0 <= (v5 := r.attempt) < SHORT else encode_long(v5),
        LONGS[n7] if (n7 := len(s6 := r.tenant.encode())) < SHORT else encode_long(n7),
        s6,
        LONGS[n9] if (n9 := len(s8 := r.account.encode())) < SHORT else encode_long(n9),
        s8,
        _VERDICT_BYTES[r.verdict],
        LONGS[v10] if 0 <= (v10 := r.http_status) < SHORT else encode_long(v10),
        encode_array(a11, write_reason) if (a11 := r.reasons) else b'\x00',
        LONGS[v12] if 0 <= (v12 := r.reasons_count) < SHORT else encode_long(v12),
        encode_array(a13, write_edit) if (a13 := r.edits) else b'\x00',
        encode_array(a14, write_reason) if (a14 := r.warnings) else b'\x00',
        b'\x00' if (o15 := r.retry_after_ms) is None else OPTIONAL_LONGS[o15] if 0 <= o15 < SHORT else b'\x02' + encode_long(o15),
        b'\x00' if (o17 := r16.input_tokens) is None else OPTIONAL_LONGS[o17] if 0 <= o17 < SHORT else b'\x02' + encode_long(o17),
        b'\x00' if (o18 := r16.estimated_cost_usd_nano) is None else OPTIONAL_LONGS[o18] if 0 <= o18 < SHORT else b'\x02' + encode_long(o18),
        encode_map(m19, encode_long) if (m19 := r16.pii) else b'\x00',
        encode_map(m20, encode_long) if (m20 := r16.secrets) else b'\x00',
        b'\x00' if (o21 := r16.injection) is None else b'\x02' + encode_double(o21),
        encode_array(a22, write_budget_view) if (a22 := r.budgets) else b'\x00',
        b'\x00' if (o23 := r.reservation) is None else b'\x02' + write_reservation(o23),
        encode_array(a24, write_rule_error) if (a24 := r.errors) else b'\x00',
        encode_array(a25, write_reason) if (a25 := r.shadow) else b'\x00',
        LONGS[n27] if (n27 := len(s26 := r.policy_digest.encode())) < SHORT else encode_long(n27),
        s26,
        encode_map(m28, encode_string) if (m28 := r.policy_sets) else b'\x00',
        LONGS[n30] if (n30 := len(s29 := r.data_digest.encode())) < SHORT else encode_long(n30),
        s29,
        LONGS[n32] if (n32 := len(s31 := r.engine.encode())) < SHORT else encode_long(n32),
        s31,
        LONGS[n35] if (n35 := len(s34 := r33.topic.encode())) < SHORT else encode_long(n35),
        s34,
        LONGS[v36] if 0 <= (v36 := r33.partition) < SHORT else encode_long(v36),
        LONGS[v37] if 0 <= (v37 := r33.offset) < SHORT else encode_long(v37),
        LONGS[v38] if 0 <= (v38 := r33.usage_offset) < SHORT else encode_long(v38),
        LONGS[v39] if 0 <= (v39 := r33.policy_offset) < SHORT else encode_long(v39),
        LONGS[v40] if 0 <= (v40 := r33.late_ms) < SHORT else encode_long(v40),
        LONGS[v41] if 0 <= (v41 := r33.lease_offset) < SHORT else encode_long(v41),
        LONGS[v42] if 0 <= (v42 := r.time_us) < SHORT else encode_long(v42),
        b'\x00' if (o43 := r.subject) is None else b'\x02' + write_subject(o43),
        encode_array(a44, write_effect) if (a44 := r.effects) else b'\x00',
    ))


def _read_decision(b: bytes, i: int) -> tuple[Decision, int]:
    r = new_instance(Decision)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.id = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.request_id = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.attempt = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.attempt, i = decode_long(b, i)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.tenant = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.account = b[j:i].decode()
    r.verdict = _VERDICT_OF[b[i]]
    i += 1
    n = b[i]
    if n < 128:
        r.http_status = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.http_status, i = decode_long(b, i)
    a1: list[Reason] = []
    r.reasons = a1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            x2, i = _read_reason(b, i)
            a1.append(x2)
        c3 = b[i]
        i += 1
    n = b[i]
    if n < 128:
        r.reasons_count = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.reasons_count, i = decode_long(b, i)
    a4: list[Edit] = []
    r.edits = a4
    c6 = b[i]
    i += 1
    while c6:
        if c6 & 129:
            c6, i = decode_count(b, i - 1)
        else:
            c6 >>= 1
        for _ in range(c6):
            x5, i = _read_edit(b, i)
            a4.append(x5)
        c6 = b[i]
        i += 1
    a7: list[Reason] = []
    r.warnings = a7
    c9 = b[i]
    i += 1
    while c9:
        if c9 & 129:
            c9, i = decode_count(b, i - 1)
        else:
            c9 >>= 1
        for _ in range(c9):
            x8, i = _read_reason(b, i)
            a7.append(x8)
        c9 = b[i]
        i += 1
    t = b[i]
    i += 1
    if t == 0:
        r.retry_after_ms = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.retry_after_ms = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.retry_after_ms, i = decode_long(b, i)
    else:
        raise bad_tag()
    r.facts = r10 = new_instance(Facts)
    t = b[i]
    i += 1
    if t == 0:
        r10.input_tokens = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r10.input_tokens = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r10.input_tokens, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r10.estimated_cost_usd_nano = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r10.estimated_cost_usd_nano = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r10.estimated_cost_usd_nano, i = decode_long(b, i)
    else:
        raise bad_tag()
    m11: dict[str, int] = {}
    r10.pii = m11
    c13 = b[i]
    i += 1
    while c13:
        if c13 & 129:
            c13, i = decode_count(b, i - 1)
        else:
            c13 >>= 1
        for _ in range(c13):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k14 = b[j:i].decode()
            n = b[i]
            if n < 128:
                x12 = n >> 1 ^ -(n & 1)
                i += 1
            else:
                x12, i = decode_long(b, i)
            m11[k14] = x12
        c13 = b[i]
        i += 1
    m15: dict[str, int] = {}
    r10.secrets = m15
    c17 = b[i]
    i += 1
    while c17:
        if c17 & 129:
            c17, i = decode_count(b, i - 1)
        else:
            c17 >>= 1
        for _ in range(c17):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k18 = b[j:i].decode()
            n = b[i]
            if n < 128:
                x16 = n >> 1 ^ -(n & 1)
                i += 1
            else:
                x16, i = decode_long(b, i)
            m15[k18] = x16
        c17 = b[i]
        i += 1
    t = b[i]
    i += 1
    if t == 0:
        r10.injection = None
    elif t == 2:
        r10.injection = decode_double(b, i)
        i += 8
    else:
        raise bad_tag()
    a19: list[BudgetView] = []
    r.budgets = a19
    c21 = b[i]
    i += 1
    while c21:
        if c21 & 129:
            c21, i = decode_count(b, i - 1)
        else:
            c21 >>= 1
        for _ in range(c21):
            x20, i = _read_budget_view(b, i)
            a19.append(x20)
        c21 = b[i]
        i += 1
    t = b[i]
    i += 1
    if t == 0:
        r.reservation = None
    elif t == 2:
        r.reservation, i = _read_reservation(b, i)
    else:
        raise bad_tag()
    a22: list[RuleError] = []
    r.errors = a22
    c24 = b[i]
    i += 1
    while c24:
        if c24 & 129:
            c24, i = decode_count(b, i - 1)
        else:
            c24 >>= 1
        for _ in range(c24):
            x23, i = _read_rule_error(b, i)
            a22.append(x23)
        c24 = b[i]
        i += 1
    a25: list[Reason] = []
    r.shadow = a25
    c27 = b[i]
    i += 1
    while c27:
        if c27 & 129:
            c27, i = decode_count(b, i - 1)
        else:
            c27 >>= 1
        for _ in range(c27):
            x26, i = _read_reason(b, i)
            a25.append(x26)
        c27 = b[i]
        i += 1
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.policy_digest = b[j:i].decode()
    m28: dict[str, str] = {}
    r.policy_sets = m28
    c30 = b[i]
    i += 1
    while c30:
        if c30 & 129:
            c30, i = decode_count(b, i - 1)
        else:
            c30 >>= 1
        for _ in range(c30):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k31 = b[j:i].decode()
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x29 = b[j:i].decode()
            m28[k31] = x29
        c30 = b[i]
        i += 1
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.data_digest = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.engine = b[j:i].decode()
    r.source = r32 = new_instance(Source)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r32.topic = b[j:i].decode()
    n = b[i]
    if n < 128:
        r32.partition = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r32.partition, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r32.offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r32.offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r32.usage_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r32.usage_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r32.policy_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r32.policy_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r32.late_ms = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r32.late_ms, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r32.lease_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r32.lease_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.time_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.time_us, i = decode_long(b, i)
    t = b[i]
    i += 1
    if t == 0:
        r.subject = None
    elif t == 2:
        r.subject, i = _read_subject(b, i)
    else:
        raise bad_tag()
    a33: list[Effect] = []
    r.effects = a33
    c35 = b[i]
    i += 1
    while c35:
        if c35 & 129:
            c35, i = decode_count(b, i - 1)
        else:
            c35 >>= 1
        for _ in range(c35):
            x34, i = _read_effect(b, i)
            a33.append(x34)
        c35 = b[i]
        i += 1
    return r, i


def write_lease(r: Lease) -> bytes:
    return b''.join((
        _LEASE_KIND_BYTES[r.kind],
        LONGS[n2] if (n2 := len(s1 := r.tenant.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[n4] if (n4 := len(s3 := r.row.encode())) < SHORT else encode_long(n4),
        s3,
        LONGS[v5] if 0 <= (v5 := r.holder) < SHORT else encode_long(v5),
        LONGS[v6] if 0 <= (v6 := r.sequence) < SHORT else encode_long(v6),
        LONGS[v7] if 0 <= (v7 := r.amount_usd_nano) < SHORT else encode_long(v7),
        LONGS[v8] if 0 <= (v8 := r.need_usd_nano) < SHORT else encode_long(v8),
        LONGS[v9] if 0 <= (v9 := r.least_usd_nano) < SHORT else encode_long(v9),
        LONGS[v10] if 0 <= (v10 := r.window_end_us) < SHORT else encode_long(v10),
        b'\x01' if r.is_short else b'\x00',
    ))


def _read_lease(b: bytes, i: int) -> tuple[Lease, int]:
    r = new_instance(Lease)
    r.kind = _LEASE_KIND_OF[b[i]]
    i += 1
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.tenant = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.row = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.holder = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.holder, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.sequence = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.sequence, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.amount_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.amount_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.need_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.need_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.least_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.least_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.window_end_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.window_end_us, i = decode_long(b, i)
    r.is_short = BOOLEANS[b[i]]
    i += 1
    return r, i


def write_lease_row(r: LeaseRow) -> bytes:
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.granted_usd_nano) < SHORT else encode_long(v1),
        LONGS[v2] if 0 <= (v2 := r.repaid_usd_nano) < SHORT else encode_long(v2),
        LONGS[v3] if 0 <= (v3 := r.window_end_us) < SHORT else encode_long(v3),
        LONGS[v4] if 0 <= (v4 := r.sequence) < SHORT else encode_long(v4),
        LONGS[v5] if 0 <= (v5 := r.answered) < SHORT else encode_long(v5),
        LONGS[v6] if 0 <= (v6 := r.asked_us) < SHORT else encode_long(v6),
        LONGS[v7] if 0 <= (v7 := r.asked_usd_nano) < SHORT else encode_long(v7),
        LONGS[v8] if 0 <= (v8 := r.used_usd_nano) < SHORT else encode_long(v8),
        LONGS[v9] if 0 <= (v9 := r.until_us) < SHORT else encode_long(v9),
        b'\x01' if r.is_short else b'\x00',
        b'\x01' if r.is_recalled else b'\x00',
    ))


def _read_lease_row(b: bytes, i: int) -> tuple[LeaseRow, int]:
    r = new_instance(LeaseRow)
    n = b[i]
    if n < 128:
        r.granted_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.granted_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.repaid_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.repaid_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.window_end_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.window_end_us, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.sequence = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.sequence, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.answered = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.answered, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.asked_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.asked_us, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.asked_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.asked_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.used_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.used_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.until_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.until_us, i = decode_long(b, i)
    r.is_short = BOOLEANS[b[i]]
    i += 1
    r.is_recalled = BOOLEANS[b[i]]
    i += 1
    return r, i


def write_holding(r: Holding) -> bytes:
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.holder) < SHORT else encode_long(v1),
        LONGS[v2] if 0 <= (v2 := r.granted_usd_nano) < SHORT else encode_long(v2),
        LONGS[v3] if 0 <= (v3 := r.repaid_usd_nano) < SHORT else encode_long(v3),
        LONGS[v4] if 0 <= (v4 := r.sequence) < SHORT else encode_long(v4),
        b'\x01' if r.is_recalled else b'\x00',
    ))


def _read_holding(b: bytes, i: int) -> tuple[Holding, int]:
    r = new_instance(Holding)
    n = b[i]
    if n < 128:
        r.holder = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.holder, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.granted_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.granted_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.repaid_usd_nano = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.repaid_usd_nano, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.sequence = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.sequence, i = decode_long(b, i)
    r.is_recalled = BOOLEANS[b[i]]
    i += 1
    return r, i


def write_lent_row(r: LentRow) -> bytes:
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.window_end_us) < SHORT else encode_long(v1),
        encode_array(a2, write_holding) if (a2 := r.holdings) else b'\x00',
    ))


def _read_lent_row(b: bytes, i: int) -> tuple[LentRow, int]:
    r = new_instance(LentRow)
    n = b[i]
    if n < 128:
        r.window_end_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.window_end_us, i = decode_long(b, i)
    a1: list[Holding] = []
    r.holdings = a1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            x2, i = _read_holding(b, i)
            a1.append(x2)
        c3 = b[i]
        i += 1
    return r, i


def write_moved_row(r: MovedRow) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.key.encode())) < SHORT else encode_long(n2),
        s1,
        b'\x00' if (o3 := r.value) is None else (OPTIONAL_LONGS[n5] if (n5 := len(s4 := o3)) < SHORT else b'\x02' + encode_long(n5)) + s4,
    ))


def _read_moved_row(b: bytes, i: int) -> tuple[MovedRow, int]:
    r = new_instance(MovedRow)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.key = b[j:i].decode()
    t = b[i]
    i += 1
    if t == 0:
        r.value = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.value = b[j:i]
    else:
        raise bad_tag()
    return r, i


def write_move(r: Move) -> bytes:
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.from_partition) < SHORT else encode_long(v1),
        LONGS[v2] if 0 <= (v2 := r.to_partition) < SHORT else encode_long(v2),
        LONGS[v3] if 0 <= (v3 := r.partition_count) < SHORT else encode_long(v3),
        encode_array(a4, write_moved_row) if (a4 := r.rows) else b'\x00',
        LONGS[v5] if 0 <= (v5 := r.partition_count_before) < SHORT else encode_long(v5),
    ))


def _read_move(b: bytes, i: int) -> tuple[Move, int]:
    r = new_instance(Move)
    n = b[i]
    if n < 128:
        r.from_partition = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.from_partition, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.to_partition = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.to_partition, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.partition_count = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.partition_count, i = decode_long(b, i)
    a1: list[MovedRow] = []
    r.rows = a1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            x2, i = _read_moved_row(b, i)
            a1.append(x2)
        c3 = b[i]
        i += 1
    n = b[i]
    if n < 128:
        r.partition_count_before = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.partition_count_before, i = decode_long(b, i)
    return r, i


def write_policy_ack(r: PolicyAck) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.instance_id.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[v3] if 0 <= (v3 := r.policy_offset) < SHORT else encode_long(v3),
        encode_array(a4, encode_long) if (a4 := r.partitions) else b'\x00',
        encode_map(m5, encode_string) if (m5 := r.sets) else b'\x00',
        encode_map(m6, encode_string) if (m6 := r.invalid) else b'\x00',
        LONGS[v7] if 0 <= (v7 := r.time_us) < SHORT else encode_long(v7),
        encode_map(m8, encode_string) if (m8 := r.refused) else b'\x00',
        encode_map(m9, encode_long) if (m9 := r.revisions) else b'\x00',
    ))


def _read_policy_ack(b: bytes, i: int) -> tuple[PolicyAck, int]:
    r = new_instance(PolicyAck)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.instance_id = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.policy_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.policy_offset, i = decode_long(b, i)
    a1: list[int] = []
    r.partitions = a1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            n = b[i]
            if n < 128:
                x2 = n >> 1 ^ -(n & 1)
                i += 1
            else:
                x2, i = decode_long(b, i)
            a1.append(x2)
        c3 = b[i]
        i += 1
    m4: dict[str, str] = {}
    r.sets = m4
    c6 = b[i]
    i += 1
    while c6:
        if c6 & 129:
            c6, i = decode_count(b, i - 1)
        else:
            c6 >>= 1
        for _ in range(c6):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k7 = b[j:i].decode()
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x5 = b[j:i].decode()
            m4[k7] = x5
        c6 = b[i]
        i += 1
    m8: dict[str, str] = {}
    r.invalid = m8
    c10 = b[i]
    i += 1
    while c10:
        if c10 & 129:
            c10, i = decode_count(b, i - 1)
        else:
            c10 >>= 1
        for _ in range(c10):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k11 = b[j:i].decode()
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x9 = b[j:i].decode()
            m8[k11] = x9
        c10 = b[i]
        i += 1
    n = b[i]
    if n < 128:
        r.time_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.time_us, i = decode_long(b, i)
    m12: dict[str, str] = {}
    r.refused = m12
    c14 = b[i]
    i += 1
    while c14:
        if c14 & 129:
            c14, i = decode_count(b, i - 1)
        else:
            c14 >>= 1
        for _ in range(c14):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k15 = b[j:i].decode()
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x13 = b[j:i].decode()
            m12[k15] = x13
        c14 = b[i]
        i += 1
    m16: dict[str, int] = {}
    r.revisions = m16
    c18 = b[i]
    i += 1
    while c18:
        if c18 & 129:
            c18, i = decode_count(b, i - 1)
        else:
            c18 >>= 1
        for _ in range(c18):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k19 = b[j:i].decode()
            n = b[i]
            if n < 128:
                x17 = n >> 1 ^ -(n & 1)
                i += 1
            else:
                x17, i = decode_long(b, i)
            m16[k19] = x17
        c18 = b[i]
        i += 1
    return r, i


def write_policy_document(r: PolicyDocument) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.kind.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[n4] if (n4 := len(s3 := r.id.encode())) < SHORT else encode_long(n4),
        s3,
        LONGS[n6] if (n6 := len(s5 := r.scope.encode())) < SHORT else encode_long(n6),
        s5,
        LONGS[n8] if (n8 := len(s7 := r.digest.encode())) < SHORT else encode_long(n8),
        s7,
        LONGS[n10] if (n10 := len(s9 := r.canonical.encode())) < SHORT else encode_long(n10),
        s9,
        LONGS[n12] if (n12 := len(s11 := r.source.encode())) < SHORT else encode_long(n12),
        s11,
        LONGS[n14] if (n14 := len(s13 := r.place.encode())) < SHORT else encode_long(n14),
        s13,
    ))


def _read_policy_document(b: bytes, i: int) -> tuple[PolicyDocument, int]:
    r = new_instance(PolicyDocument)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.kind = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.id = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.scope = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.digest = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.canonical = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.source = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.place = b[j:i].decode()
    return r, i


def write_policy_set(r: PolicySet) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.scope.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[v3] if 0 <= (v3 := r.revision) < SHORT else encode_long(v3),
        b'\x00' if (o4 := r.replaces) is None else (OPTIONAL_LONGS[n6] if (n6 := len(s5 := o4.encode())) < SHORT else b'\x02' + encode_long(n6)) + s5,
        encode_strings(a7) if (a7 := r.documents) else b'\x00',
        LONGS[n9] if (n9 := len(s8 := r.digest.encode())) < SHORT else encode_long(n9),
        s8,
        LONGS[n11] if (n11 := len(s10 := r.author.encode())) < SHORT else encode_long(n11),
        s10,
        LONGS[v12] if 0 <= (v12 := r.time_us) < SHORT else encode_long(v12),
    ))


def _read_policy_set(b: bytes, i: int) -> tuple[PolicySet, int]:
    r = new_instance(PolicySet)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.scope = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.revision = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.revision, i = decode_long(b, i)
    t = b[i]
    i += 1
    if t == 0:
        r.replaces = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.replaces = b[j:i].decode()
    else:
        raise bad_tag()
    a1: list[str] = []
    r.documents = a1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x2 = b[j:i].decode()
            a1.append(x2)
        c3 = b[i]
        i += 1
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.digest = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.author = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.time_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.time_us, i = decode_long(b, i)
    return r, i


def write_position_row(r: PositionRow) -> bytes:
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.request_offset) < SHORT else encode_long(v1),
        LONGS[v2] if 0 <= (v2 := r.usage_offset) < SHORT else encode_long(v2),
        encode_fixed(r.chain_head, 32),
        LONGS[v3] if 0 <= (v3 := r.next_sequence) < SHORT else encode_long(v3),
        LONGS[v4] if 0 <= (v4 := r.tail_start) < SHORT else encode_long(v4),
        LONGS[v5] if 0 <= (v5 := r.now_us) < SHORT else encode_long(v5),
        LONGS[v6] if 0 <= (v6 := r.policy_offset) < SHORT else encode_long(v6),
        LONGS[v7] if 0 <= (v7 := r.partition_count) < SHORT else encode_long(v7),
        LONGS[v8] if 0 <= (v8 := r.starts) < SHORT else encode_long(v8),
        b'\x00' if (o9 := r.trying) is None else OPTIONAL_LONGS[o9] if 0 <= o9 < SHORT else b'\x02' + encode_long(o9),
        LONGS[v10] if 0 <= (v10 := r.trying_count) < SHORT else encode_long(v10),
        LONGS[v11] if 0 <= (v11 := r.lease_offset) < SHORT else encode_long(v11),
    ))


def _read_position_row(b: bytes, i: int) -> tuple[PositionRow, int]:
    r = new_instance(PositionRow)
    n = b[i]
    if n < 128:
        r.request_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.request_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.usage_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.usage_offset, i = decode_long(b, i)
    r.chain_head = b[i : i + 32]
    i += 32
    n = b[i]
    if n < 128:
        r.next_sequence = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.next_sequence, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.tail_start = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.tail_start, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.now_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.now_us, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.policy_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.policy_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.partition_count = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.partition_count, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.starts = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.starts, i = decode_long(b, i)
    t = b[i]
    i += 1
    if t == 0:
        r.trying = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.trying = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.trying, i = decode_long(b, i)
    else:
        raise bad_tag()
    n = b[i]
    if n < 128:
        r.trying_count = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.trying_count, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.lease_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.lease_offset, i = decode_long(b, i)
    return r, i


def write_rate_row(r: RateRow) -> bytes:
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.full_at_us) < SHORT else encode_long(v1),
        LONGS[v2] if 0 <= (v2 := r.fraction) < SHORT else encode_long(v2),
        LONGS[v3] if 0 <= (v3 := r.limit) < SHORT else encode_long(v3),
    ))


def _read_rate_row(b: bytes, i: int) -> tuple[RateRow, int]:
    r = new_instance(RateRow)
    n = b[i]
    if n < 128:
        r.full_at_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.full_at_us, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.fraction = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.fraction, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.limit = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.limit, i = decode_long(b, i)
    return r, i


def write_part(r: Part) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.type.encode())) < SHORT else encode_long(n2),
        s1,
        b'\x00' if (o3 := r.text) is None else (OPTIONAL_LONGS[n5] if (n5 := len(s4 := o3.encode())) < SHORT else b'\x02' + encode_long(n5)) + s4,
        b'\x00' if (o6 := r.mime) is None else (OPTIONAL_LONGS[n8] if (n8 := len(s7 := o6.encode())) < SHORT else b'\x02' + encode_long(n8)) + s7,
        b'\x00' if (o9 := r.bytes) is None else OPTIONAL_LONGS[o9] if 0 <= o9 < SHORT else b'\x02' + encode_long(o9),
        b'\x00' if (o10 := r.width) is None else OPTIONAL_LONGS[o10] if 0 <= o10 < SHORT else b'\x02' + encode_long(o10),
        b'\x00' if (o11 := r.height) is None else OPTIONAL_LONGS[o11] if 0 <= o11 < SHORT else b'\x02' + encode_long(o11),
        b'\x00' if (o12 := r.seconds) is None else b'\x02' + encode_double(o12),
        b'\x00' if (o13 := r.sha256) is None else (OPTIONAL_LONGS[n15] if (n15 := len(s14 := o13.encode())) < SHORT else b'\x02' + encode_long(n15)) + s14,
    ))


def _read_part(b: bytes, i: int) -> tuple[Part, int]:
    r = new_instance(Part)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.type = b[j:i].decode()
    t = b[i]
    i += 1
    if t == 0:
        r.text = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.text = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.mime = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.mime = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.bytes = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.bytes = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.bytes, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.width = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.width = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.width, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.height = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.height = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.height, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.seconds = None
    elif t == 2:
        r.seconds = decode_double(b, i)
        i += 8
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.sha256 = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.sha256 = b[j:i].decode()
    else:
        raise bad_tag()
    return r, i


def write_tool_call(r: ToolCall) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.id.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[n4] if (n4 := len(s3 := r.name.encode())) < SHORT else encode_long(n4),
        s3,
        LONGS[n6] if (n6 := len(s5 := r.arguments.encode())) < SHORT else encode_long(n6),
        s5,
    ))


def _read_tool_call(b: bytes, i: int) -> tuple[ToolCall, int]:
    r = new_instance(ToolCall)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.id = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.name = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.arguments = b[j:i].decode()
    return r, i


def write_message(r: Message) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.role.encode())) < SHORT else encode_long(n2),
        s1,
        _write_string_or_parts(r.content),
        b'\x00' if (o3 := r.name) is None else (OPTIONAL_LONGS[n5] if (n5 := len(s4 := o3.encode())) < SHORT else b'\x02' + encode_long(n5)) + s4,
        b'\x00' if (o6 := r.origin) is None else (OPTIONAL_LONGS[n8] if (n8 := len(s7 := o6.encode())) < SHORT else b'\x02' + encode_long(n8)) + s7,
        encode_array(a9, write_tool_call) if (a9 := r.tool_calls) else b'\x00',
        b'\x00' if (o10 := r.tool_call_id) is None else (OPTIONAL_LONGS[n12] if (n12 := len(s11 := o10.encode())) < SHORT else b'\x02' + encode_long(n12)) + s11,
    ))


def _read_message(b: bytes, i: int) -> tuple[Message, int]:
    r = new_instance(Message)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.role = b[j:i].decode()
    t = b[i]
    i += 1
    if t == 0:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.content = b[j:i].decode()
    elif t == 2:
        a1: list[Part] = []
        r.content = a1
        c3 = b[i]
        i += 1
        while c3:
            if c3 & 129:
                c3, i = decode_count(b, i - 1)
            else:
                c3 >>= 1
            for _ in range(c3):
                x2, i = _read_part(b, i)
                a1.append(x2)
            c3 = b[i]
            i += 1
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.name = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.name = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.origin = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.origin = b[j:i].decode()
    else:
        raise bad_tag()
    a4: list[ToolCall] = []
    r.tool_calls = a4
    c6 = b[i]
    i += 1
    while c6:
        if c6 & 129:
            c6, i = decode_count(b, i - 1)
        else:
            c6 >>= 1
        for _ in range(c6):
            x5, i = _read_tool_call(b, i)
            a4.append(x5)
        c6 = b[i]
        i += 1
    t = b[i]
    i += 1
    if t == 0:
        r.tool_call_id = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.tool_call_id = b[j:i].decode()
    else:
        raise bad_tag()
    return r, i


def write_request(r: Request) -> bytes:
    r12 = r.user
    r24 = r.team
    r34 = r.project
    r47 = r.caller
    r54 = r.llm
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.id.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[n4] if (n4 := len(s3 := r.tenant.encode())) < SHORT else encode_long(n4),
        s3,
        LONGS[v5] if 0 <= (v5 := r.attempt) < SHORT else encode_long(v5),
        _PHASE_BYTES[r.phase],
        b'\x00' if (o6 := r.deadline_ms) is None else OPTIONAL_LONGS[o6] if 0 <= o6 < SHORT else b'\x02' + encode_long(o6),
        b'\x00' if (o7 := r.parent_id) is None else (OPTIONAL_LONGS[n9] if (n9 := len(s8 := o7.encode())) < SHORT else b'\x02' + encode_long(n9)) + s8,
        b'\x00' if (o10 := r.part) is None else OPTIONAL_LONGS[o10] if 0 <= o10 < SHORT else b'\x02' + encode_long(o10),
        b'\x00' if (o11 := r.final) is None else b'\x02' + encode_boolean(o11),
        b'\x00' if (o13 := r12.id) is None else (OPTIONAL_LONGS[n15] if (n15 := len(s14 := o13.encode())) < SHORT else b'\x02' + encode_long(n15)) + s14,
        encode_strings(a16) if (a16 := r12.roles) else b'\x00',
        encode_strings(a17) if (a17 := r12.permissions) else b'\x00',
        b'\x00' if (o18 := r12.email) is None else (OPTIONAL_LONGS[n20] if (n20 := len(s19 := o18.encode())) < SHORT else b'\x02' + encode_long(n20)) + s19,
        b'\x00' if (o21 := r12.region) is None else (OPTIONAL_LONGS[n23] if (n23 := len(s22 := o21.encode())) < SHORT else b'\x02' + encode_long(n23)) + s22,
        b'\x00' if (o25 := r24.id) is None else (OPTIONAL_LONGS[n27] if (n27 := len(s26 := o25.encode())) < SHORT else b'\x02' + encode_long(n27)) + s26,
        b'\x00' if (o28 := r24.name) is None else (OPTIONAL_LONGS[n30] if (n30 := len(s29 := o28.encode())) < SHORT else b'\x02' + encode_long(n30)) + s29,
        b'\x00' if (o31 := r24.tier) is None else (OPTIONAL_LONGS[n33] if (n33 := len(s32 := o31.encode())) < SHORT else b'\x02' + encode_long(n33)) + s32,
        b'\x00' if (o35 := r34.id) is None else (OPTIONAL_LONGS[n37] if (n37 := len(s36 := o35.encode())) < SHORT else b'\x02' + encode_long(n37)) + s36,
        b'\x00' if (o38 := r34.name) is None else (OPTIONAL_LONGS[n40] if (n40 := len(s39 := o38.encode())) < SHORT else b'\x02' + encode_long(n40)) + s39,
        b'\x00' if (o41 := r34.environment) is None else (OPTIONAL_LONGS[n43] if (n43 := len(s42 := o41.encode())) < SHORT else b'\x02' + encode_long(n43)) + s42,
        b'\x00' if (o44 := r.conversation_id) is None else (OPTIONAL_LONGS[n46] if (n46 := len(s45 := o44.encode())) < SHORT else b'\x02' + encode_long(n46)) + s45,
        b'\x00' if (o48 := r47.kind) is None else (OPTIONAL_LONGS[n50] if (n50 := len(s49 := o48.encode())) < SHORT else b'\x02' + encode_long(n50)) + s49,
        b'\x00' if (o51 := r47.ip) is None else (OPTIONAL_LONGS[n53] if (n53 := len(s52 := o51.encode())) < SHORT else b'\x02' + encode_long(n53)) + s52,
        LONGS[n56] if (n56 := len(s55 := r54.provider.encode())) < SHORT else encode_long(n56),
        s55,
        LONGS[n58] if (n58 := len(s57 := r54.model.encode())) < SHORT else encode_long(n58),
        s57,
        LONGS[n60] if (n60 := len(s59 := r54.operation.encode())) < SHORT else encode_long(n60),
        s59,
        b'\x00' if (o61 := r54.max_tokens) is None else OPTIONAL_LONGS[o61] if 0 <= o61 < SHORT else b'\x02' + encode_long(o61),
        b'\x00' if (o62 := r54.temperature) is None else b'\x02' + encode_double(o62),
        LONGS[v63] if 0 <= (v63 := r54.n) < SHORT else encode_long(v63),
        b'\x01' if r54.stream else b'\x00',
        encode_array(a64, write_message) if (a64 := r54.messages) else b'\x00',
        b'\x00' if (o65 := r54.prompt) is None else (OPTIONAL_LONGS[n67] if (n67 := len(s66 := o65.encode())) < SHORT else b'\x02' + encode_long(n67)) + s66,
        encode_strings(a68) if (a68 := r54.tools) else b'\x00',
        b'\x00' if (o69 := r54.tool_choice) is None else (OPTIONAL_LONGS[n71] if (n71 := len(s70 := o69.encode())) < SHORT else b'\x02' + encode_long(n71)) + s70,
        b'\x00' if (o72 := r54.response_format) is None else (OPTIONAL_LONGS[n74] if (n74 := len(s73 := o72.encode())) < SHORT else b'\x02' + encode_long(n74)) + s73,
        b'\x00' if (o75 := r54.reasoning_effort) is None else (OPTIONAL_LONGS[n77] if (n77 := len(s76 := o75.encode())) < SHORT else b'\x02' + encode_long(n77)) + s76,
        b'\x00' if (o78 := r54.service_tier) is None else (OPTIONAL_LONGS[n80] if (n80 := len(s79 := o78.encode())) < SHORT else b'\x02' + encode_long(n80)) + s79,
        encode_map(m81, _write_null_or_boolean_or_long_or_double_or_string_or_strings) if (m81 := r.attributes) else b'\x00',
    ))


def _read_request(b: bytes, i: int) -> tuple[Request, int]:
    r = new_instance(Request)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.id = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.tenant = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.attempt = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.attempt, i = decode_long(b, i)
    r.phase = _PHASE_OF[b[i]]
    i += 1
    t = b[i]
    i += 1
    if t == 0:
        r.deadline_ms = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.deadline_ms = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.deadline_ms, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.parent_id = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.parent_id = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.part = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.part = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.part, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.final = None
    elif t == 2:
        r.final = BOOLEANS[b[i]]
        i += 1
    else:
        raise bad_tag()
    r.user = r1 = new_instance(User)
    t = b[i]
    i += 1
    if t == 0:
        r1.id = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r1.id = b[j:i].decode()
    else:
        raise bad_tag()
    a2: list[str] = []
    r1.roles = a2
    c4 = b[i]
    i += 1
    while c4:
        if c4 & 129:
            c4, i = decode_count(b, i - 1)
        else:
            c4 >>= 1
        for _ in range(c4):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x3 = b[j:i].decode()
            a2.append(x3)
        c4 = b[i]
        i += 1
    a5: list[str] = []
    r1.permissions = a5
    c7 = b[i]
    i += 1
    while c7:
        if c7 & 129:
            c7, i = decode_count(b, i - 1)
        else:
            c7 >>= 1
        for _ in range(c7):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x6 = b[j:i].decode()
            a5.append(x6)
        c7 = b[i]
        i += 1
    t = b[i]
    i += 1
    if t == 0:
        r1.email = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r1.email = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r1.region = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r1.region = b[j:i].decode()
    else:
        raise bad_tag()
    r.team = r8 = new_instance(Team)
    t = b[i]
    i += 1
    if t == 0:
        r8.id = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r8.id = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r8.name = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r8.name = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r8.tier = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r8.tier = b[j:i].decode()
    else:
        raise bad_tag()
    r.project = r9 = new_instance(Project)
    t = b[i]
    i += 1
    if t == 0:
        r9.id = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r9.id = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r9.name = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r9.name = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r9.environment = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r9.environment = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.conversation_id = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.conversation_id = b[j:i].decode()
    else:
        raise bad_tag()
    r.caller = r10 = new_instance(Caller)
    t = b[i]
    i += 1
    if t == 0:
        r10.kind = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r10.kind = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r10.ip = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r10.ip = b[j:i].decode()
    else:
        raise bad_tag()
    r.llm = r11 = new_instance(Llm)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r11.provider = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r11.model = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r11.operation = b[j:i].decode()
    t = b[i]
    i += 1
    if t == 0:
        r11.max_tokens = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r11.max_tokens = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r11.max_tokens, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r11.temperature = None
    elif t == 2:
        r11.temperature = decode_double(b, i)
        i += 8
    else:
        raise bad_tag()
    n = b[i]
    if n < 128:
        r11.n = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r11.n, i = decode_long(b, i)
    r11.stream = BOOLEANS[b[i]]
    i += 1
    a12: list[Message] = []
    r11.messages = a12
    c14 = b[i]
    i += 1
    while c14:
        if c14 & 129:
            c14, i = decode_count(b, i - 1)
        else:
            c14 >>= 1
        for _ in range(c14):
            x13, i = _read_message(b, i)
            a12.append(x13)
        c14 = b[i]
        i += 1
    t = b[i]
    i += 1
    if t == 0:
        r11.prompt = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r11.prompt = b[j:i].decode()
    else:
        raise bad_tag()
    a15: list[str] = []
    r11.tools = a15
    c17 = b[i]
    i += 1
    while c17:
        if c17 & 129:
            c17, i = decode_count(b, i - 1)
        else:
            c17 >>= 1
        for _ in range(c17):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x16 = b[j:i].decode()
            a15.append(x16)
        c17 = b[i]
        i += 1
    t = b[i]
    i += 1
    if t == 0:
        r11.tool_choice = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r11.tool_choice = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r11.response_format = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r11.response_format = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r11.reasoning_effort = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r11.reasoning_effort = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r11.service_tier = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r11.service_tier = b[j:i].decode()
    else:
        raise bad_tag()
    m18: dict[str, bool | int | float | str | list[str] | None] = {}
    r.attributes = m18
    c20 = b[i]
    i += 1
    while c20:
        if c20 & 129:
            c20, i = decode_count(b, i - 1)
        else:
            c20 >>= 1
        for _ in range(c20):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k21 = b[j:i].decode()
            x19: bool | int | float | str | list[str] | None
            t = b[i]
            i += 1
            if t == 0:
                x19 = None
            elif t == 2:
                x19 = BOOLEANS[b[i]]
                i += 1
            elif t == 4:
                n = b[i]
                if n < 128:
                    x19 = n >> 1 ^ -(n & 1)
                    i += 1
                else:
                    x19, i = decode_long(b, i)
            elif t == 6:
                x19 = decode_double(b, i)
                i += 8
            elif t == 8:
                n = b[i]
                if n & 129:
                    j, i = decode_length(b, i)
                else:
                    j = i + 1
                    i = j + (n >> 1)
                x19 = b[j:i].decode()
            elif t == 10:
                a22: list[str] = []
                x19 = a22
                c24 = b[i]
                i += 1
                while c24:
                    if c24 & 129:
                        c24, i = decode_count(b, i - 1)
                    else:
                        c24 >>= 1
                    for _ in range(c24):
                        n = b[i]
                        if n & 129:
                            j, i = decode_length(b, i)
                        else:
                            j = i + 1
                            i = j + (n >> 1)
                        x23 = b[j:i].decode()
                        a22.append(x23)
                    c24 = b[i]
                    i += 1
            else:
                raise bad_tag()
            m18[k21] = x19
        c20 = b[i]
        i += 1
    r.raw = None
    return r, i


def content_request(r: Request) -> bytes:
    """A body with attempt 1 and no deadline: what the content digest is taken of."""
    r10 = r.user
    r22 = r.team
    r32 = r.project
    r45 = r.caller
    r52 = r.llm
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.id.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[n4] if (n4 := len(s3 := r.tenant.encode())) < SHORT else encode_long(n4),
        s3,
        b'\x02',
        _PHASE_BYTES[r.phase],
        b'\x00',
        b'\x00' if (o5 := r.parent_id) is None else (OPTIONAL_LONGS[n7] if (n7 := len(s6 := o5.encode())) < SHORT else b'\x02' + encode_long(n7)) + s6,
        b'\x00' if (o8 := r.part) is None else OPTIONAL_LONGS[o8] if 0 <= o8 < SHORT else b'\x02' + encode_long(o8),
        b'\x00' if (o9 := r.final) is None else b'\x02' + encode_boolean(o9),
        b'\x00' if (o11 := r10.id) is None else (OPTIONAL_LONGS[n13] if (n13 := len(s12 := o11.encode())) < SHORT else b'\x02' + encode_long(n13)) + s12,
        encode_strings(a14) if (a14 := r10.roles) else b'\x00',
        encode_strings(a15) if (a15 := r10.permissions) else b'\x00',
        b'\x00' if (o16 := r10.email) is None else (OPTIONAL_LONGS[n18] if (n18 := len(s17 := o16.encode())) < SHORT else b'\x02' + encode_long(n18)) + s17,
        b'\x00' if (o19 := r10.region) is None else (OPTIONAL_LONGS[n21] if (n21 := len(s20 := o19.encode())) < SHORT else b'\x02' + encode_long(n21)) + s20,
        b'\x00' if (o23 := r22.id) is None else (OPTIONAL_LONGS[n25] if (n25 := len(s24 := o23.encode())) < SHORT else b'\x02' + encode_long(n25)) + s24,
        b'\x00' if (o26 := r22.name) is None else (OPTIONAL_LONGS[n28] if (n28 := len(s27 := o26.encode())) < SHORT else b'\x02' + encode_long(n28)) + s27,
        b'\x00' if (o29 := r22.tier) is None else (OPTIONAL_LONGS[n31] if (n31 := len(s30 := o29.encode())) < SHORT else b'\x02' + encode_long(n31)) + s30,
        b'\x00' if (o33 := r32.id) is None else (OPTIONAL_LONGS[n35] if (n35 := len(s34 := o33.encode())) < SHORT else b'\x02' + encode_long(n35)) + s34,
        b'\x00' if (o36 := r32.name) is None else (OPTIONAL_LONGS[n38] if (n38 := len(s37 := o36.encode())) < SHORT else b'\x02' + encode_long(n38)) + s37,
        b'\x00' if (o39 := r32.environment) is None else (OPTIONAL_LONGS[n41] if (n41 := len(s40 := o39.encode())) < SHORT else b'\x02' + encode_long(n41)) + s40,
        b'\x00' if (o42 := r.conversation_id) is None else (OPTIONAL_LONGS[n44] if (n44 := len(s43 := o42.encode())) < SHORT else b'\x02' + encode_long(n44)) + s43,
        b'\x00' if (o46 := r45.kind) is None else (OPTIONAL_LONGS[n48] if (n48 := len(s47 := o46.encode())) < SHORT else b'\x02' + encode_long(n48)) + s47,
        b'\x00' if (o49 := r45.ip) is None else (OPTIONAL_LONGS[n51] if (n51 := len(s50 := o49.encode())) < SHORT else b'\x02' + encode_long(n51)) + s50,
        LONGS[n54] if (n54 := len(s53 := r52.provider.encode())) < SHORT else encode_long(n54),
        s53,
        LONGS[n56] if (n56 := len(s55 := r52.model.encode())) < SHORT else encode_long(n56),
        s55,
        LONGS[n58] if (n58 := len(s57 := r52.operation.encode())) < SHORT else encode_long(n58),
        s57,
        b'\x00' if (o59 := r52.max_tokens) is None else OPTIONAL_LONGS[o59] if 0 <= o59 < SHORT else b'\x02' + encode_long(o59),
        b'\x00' if (o60 := r52.temperature) is None else b'\x02' + encode_double(o60),
        LONGS[v61] if 0 <= (v61 := r52.n) < SHORT else encode_long(v61),
        b'\x01' if r52.stream else b'\x00',
        encode_array(a62, write_message) if (a62 := r52.messages) else b'\x00',
        b'\x00' if (o63 := r52.prompt) is None else (OPTIONAL_LONGS[n65] if (n65 := len(s64 := o63.encode())) < SHORT else b'\x02' + encode_long(n65)) + s64,
        encode_strings(a66) if (a66 := r52.tools) else b'\x00',
        b'\x00' if (o67 := r52.tool_choice) is None else (OPTIONAL_LONGS[n69] if (n69 := len(s68 := o67.encode())) < SHORT else b'\x02' + encode_long(n69)) + s68,
        b'\x00' if (o70 := r52.response_format) is None else (OPTIONAL_LONGS[n72] if (n72 := len(s71 := o70.encode())) < SHORT else b'\x02' + encode_long(n72)) + s71,
        b'\x00' if (o73 := r52.reasoning_effort) is None else (OPTIONAL_LONGS[n75] if (n75 := len(s74 := o73.encode())) < SHORT else b'\x02' + encode_long(n75)) + s74,
        b'\x00' if (o76 := r52.service_tier) is None else (OPTIONAL_LONGS[n78] if (n78 := len(s77 := o76.encode())) < SHORT else b'\x02' + encode_long(n78)) + s77,
        encode_map(m79, _write_null_or_boolean_or_long_or_double_or_string_or_strings) if (m79 := r.attributes) else b'\x00',
    ))


def write_usage(r: Usage) -> bytes:
    return b''.join((
        LONGS[n2] if (n2 := len(s1 := r.request_id.encode())) < SHORT else encode_long(n2),
        s1,
        LONGS[n4] if (n4 := len(s3 := r.tenant.encode())) < SHORT else encode_long(n4),
        s3,
        LONGS[v5] if 0 <= (v5 := r.attempt) < SHORT else encode_long(v5),
        b'\x01' if r.final else b'\x00',
        _OUTCOME_BYTES[r.outcome],
        b'\x00' if (o6 := r.provider) is None else (OPTIONAL_LONGS[n8] if (n8 := len(s7 := o6.encode())) < SHORT else b'\x02' + encode_long(n8)) + s7,
        b'\x00' if (o9 := r.model) is None else (OPTIONAL_LONGS[n11] if (n11 := len(s10 := o9.encode())) < SHORT else b'\x02' + encode_long(n11)) + s10,
        b'\x00' if (o12 := r.input_tokens) is None else OPTIONAL_LONGS[o12] if 0 <= o12 < SHORT else b'\x02' + encode_long(o12),
        b'\x00' if (o13 := r.cached_tokens) is None else OPTIONAL_LONGS[o13] if 0 <= o13 < SHORT else b'\x02' + encode_long(o13),
        b'\x00' if (o14 := r.cache_write_tokens) is None else OPTIONAL_LONGS[o14] if 0 <= o14 < SHORT else b'\x02' + encode_long(o14),
        b'\x00' if (o15 := r.output_tokens) is None else OPTIONAL_LONGS[o15] if 0 <= o15 < SHORT else b'\x02' + encode_long(o15),
        b'\x00' if (o16 := r.reasoning_tokens) is None else OPTIONAL_LONGS[o16] if 0 <= o16 < SHORT else b'\x02' + encode_long(o16),
        b'\x00' if (o17 := r.cost_usd_nano) is None else OPTIONAL_LONGS[o17] if 0 <= o17 < SHORT else b'\x02' + encode_long(o17),
        b'\x00' if (o18 := r.acted) is None else b'\x02' + _ACTED_BYTES[o18],
        b'\x00' if (o19 := r.user) is None else (OPTIONAL_LONGS[n21] if (n21 := len(s20 := o19.encode())) < SHORT else b'\x02' + encode_long(n21)) + s20,
        b'\x00' if (o22 := r.team) is None else (OPTIONAL_LONGS[n24] if (n24 := len(s23 := o22.encode())) < SHORT else b'\x02' + encode_long(n24)) + s23,
        b'\x00' if (o25 := r.project) is None else (OPTIONAL_LONGS[n27] if (n27 := len(s26 := o25.encode())) < SHORT else b'\x02' + encode_long(n27)) + s26,
    ))


def _read_usage(b: bytes, i: int) -> tuple[Usage, int]:
    r = new_instance(Usage)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.request_id = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.tenant = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.attempt = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.attempt, i = decode_long(b, i)
    r.final = BOOLEANS[b[i]]
    i += 1
    r.outcome = _OUTCOME_OF[b[i]]
    i += 1
    t = b[i]
    i += 1
    if t == 0:
        r.provider = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.provider = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.model = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.model = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.input_tokens = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.input_tokens = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.input_tokens, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.cached_tokens = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.cached_tokens = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.cached_tokens, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.cache_write_tokens = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.cache_write_tokens = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.cache_write_tokens, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.output_tokens = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.output_tokens = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.output_tokens, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.reasoning_tokens = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.reasoning_tokens = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.reasoning_tokens, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.cost_usd_nano = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.cost_usd_nano = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.cost_usd_nano, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.acted = None
    elif t == 2:
        r.acted = _ACTED_OF[b[i]]
        i += 1
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.user = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.user = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.team = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.team = b[j:i].decode()
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r.project = None
    elif t == 2:
        n = b[i]
        if n & 129:
            j, i = decode_length(b, i)
        else:
            j = i + 1
            i = j + (n >> 1)
        r.project = b[j:i].decode()
    else:
        raise bad_tag()
    return r, i


def write_waiting_usage_row(r: WaitingUsageRow) -> bytes:
    return b''.join((
        LONGS[v1] if 0 <= (v1 := r.end_us) < SHORT else encode_long(v1),
        LONGS[n3] if (n3 := len(s2 := r.account.encode())) < SHORT else encode_long(n3),
        s2,
        encode_array(a4, encode_bytes) if (a4 := r.reports) else b'\x00',
    ))


def _read_waiting_usage_row(b: bytes, i: int) -> tuple[WaitingUsageRow, int]:
    r = new_instance(WaitingUsageRow)
    n = b[i]
    if n < 128:
        r.end_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.end_us, i = decode_long(b, i)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.account = b[j:i].decode()
    a1: list[bytes] = []
    r.reports = a1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x2 = b[j:i]
            a1.append(x2)
        c3 = b[i]
        i += 1
    return r, i


def _read_audit_1(b: bytes, i: int) -> tuple[Audit, int]:
    r = new_instance(Audit)
    n = b[i]
    if n < 128:
        r.sequence = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.sequence, i = decode_long(b, i)
    r.previous = b[i : i + 32]
    i += 32
    r.kind = _AUDIT_KIND_OF[b[i]]
    i += 1
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.account = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.time_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.time_us, i = decode_long(b, i)
    r.source = r1 = new_instance(Source)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r1.topic = b[j:i].decode()
    n = b[i]
    if n < 128:
        r1.partition = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r1.partition, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r1.offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r1.offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r1.usage_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r1.usage_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r1.policy_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r1.policy_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r1.late_ms = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r1.late_ms, i = decode_long(b, i)
    r1.lease_offset = 0
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.payload = b[j:i]
    a2: list[str] = []
    r.notes = a2
    c4 = b[i]
    i += 1
    while c4:
        if c4 & 129:
            c4, i = decode_count(b, i - 1)
        else:
            c4 >>= 1
        for _ in range(c4):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x3 = b[j:i].decode()
            a2.append(x3)
        c4 = b[i]
        i += 1
    a5: list[Effect] = []
    r.effects = a5
    c7 = b[i]
    i += 1
    while c7:
        if c7 & 129:
            c7, i = decode_count(b, i - 1)
        else:
            c7 >>= 1
        for _ in range(c7):
            x6, i = _read_effect(b, i)
            a5.append(x6)
        c7 = b[i]
        i += 1
    r.digest = b[i : i + 32]
    i += 32
    return r, i


def _read_decision_1(b: bytes, i: int) -> tuple[Decision, int]:
    r = new_instance(Decision)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.id = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.request_id = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.attempt = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.attempt, i = decode_long(b, i)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.tenant = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.account = b[j:i].decode()
    r.verdict = _VERDICT_OF[b[i]]
    i += 1
    n = b[i]
    if n < 128:
        r.http_status = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.http_status, i = decode_long(b, i)
    a1: list[Reason] = []
    r.reasons = a1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            x2, i = _read_reason(b, i)
            a1.append(x2)
        c3 = b[i]
        i += 1
    n = b[i]
    if n < 128:
        r.reasons_count = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.reasons_count, i = decode_long(b, i)
    a4: list[Edit] = []
    r.edits = a4
    c6 = b[i]
    i += 1
    while c6:
        if c6 & 129:
            c6, i = decode_count(b, i - 1)
        else:
            c6 >>= 1
        for _ in range(c6):
            x5, i = _read_edit(b, i)
            a4.append(x5)
        c6 = b[i]
        i += 1
    a7: list[Reason] = []
    r.warnings = a7
    c9 = b[i]
    i += 1
    while c9:
        if c9 & 129:
            c9, i = decode_count(b, i - 1)
        else:
            c9 >>= 1
        for _ in range(c9):
            x8, i = _read_reason(b, i)
            a7.append(x8)
        c9 = b[i]
        i += 1
    t = b[i]
    i += 1
    if t == 0:
        r.retry_after_ms = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.retry_after_ms = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.retry_after_ms, i = decode_long(b, i)
    else:
        raise bad_tag()
    r.facts = r10 = new_instance(Facts)
    t = b[i]
    i += 1
    if t == 0:
        r10.input_tokens = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r10.input_tokens = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r10.input_tokens, i = decode_long(b, i)
    else:
        raise bad_tag()
    t = b[i]
    i += 1
    if t == 0:
        r10.estimated_cost_usd_nano = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r10.estimated_cost_usd_nano = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r10.estimated_cost_usd_nano, i = decode_long(b, i)
    else:
        raise bad_tag()
    m11: dict[str, int] = {}
    r10.pii = m11
    c13 = b[i]
    i += 1
    while c13:
        if c13 & 129:
            c13, i = decode_count(b, i - 1)
        else:
            c13 >>= 1
        for _ in range(c13):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k14 = b[j:i].decode()
            n = b[i]
            if n < 128:
                x12 = n >> 1 ^ -(n & 1)
                i += 1
            else:
                x12, i = decode_long(b, i)
            m11[k14] = x12
        c13 = b[i]
        i += 1
    m15: dict[str, int] = {}
    r10.secrets = m15
    c17 = b[i]
    i += 1
    while c17:
        if c17 & 129:
            c17, i = decode_count(b, i - 1)
        else:
            c17 >>= 1
        for _ in range(c17):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k18 = b[j:i].decode()
            n = b[i]
            if n < 128:
                x16 = n >> 1 ^ -(n & 1)
                i += 1
            else:
                x16, i = decode_long(b, i)
            m15[k18] = x16
        c17 = b[i]
        i += 1
    t = b[i]
    i += 1
    if t == 0:
        r10.injection = None
    elif t == 2:
        r10.injection = decode_double(b, i)
        i += 8
    else:
        raise bad_tag()
    a19: list[BudgetView] = []
    r.budgets = a19
    c21 = b[i]
    i += 1
    while c21:
        if c21 & 129:
            c21, i = decode_count(b, i - 1)
        else:
            c21 >>= 1
        for _ in range(c21):
            x20, i = _read_budget_view(b, i)
            a19.append(x20)
        c21 = b[i]
        i += 1
    t = b[i]
    i += 1
    if t == 0:
        r.reservation = None
    elif t == 2:
        r.reservation, i = _read_reservation(b, i)
    else:
        raise bad_tag()
    a22: list[RuleError] = []
    r.errors = a22
    c24 = b[i]
    i += 1
    while c24:
        if c24 & 129:
            c24, i = decode_count(b, i - 1)
        else:
            c24 >>= 1
        for _ in range(c24):
            x23, i = _read_rule_error(b, i)
            a22.append(x23)
        c24 = b[i]
        i += 1
    a25: list[Reason] = []
    r.shadow = a25
    c27 = b[i]
    i += 1
    while c27:
        if c27 & 129:
            c27, i = decode_count(b, i - 1)
        else:
            c27 >>= 1
        for _ in range(c27):
            x26, i = _read_reason(b, i)
            a25.append(x26)
        c27 = b[i]
        i += 1
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.policy_digest = b[j:i].decode()
    m28: dict[str, str] = {}
    r.policy_sets = m28
    c30 = b[i]
    i += 1
    while c30:
        if c30 & 129:
            c30, i = decode_count(b, i - 1)
        else:
            c30 >>= 1
        for _ in range(c30):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k31 = b[j:i].decode()
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x29 = b[j:i].decode()
            m28[k31] = x29
        c30 = b[i]
        i += 1
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.data_digest = b[j:i].decode()
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.engine = b[j:i].decode()
    r.source = r32 = new_instance(Source)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r32.topic = b[j:i].decode()
    n = b[i]
    if n < 128:
        r32.partition = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r32.partition, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r32.offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r32.offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r32.usage_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r32.usage_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r32.policy_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r32.policy_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r32.late_ms = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r32.late_ms, i = decode_long(b, i)
    r32.lease_offset = 0
    n = b[i]
    if n < 128:
        r.time_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.time_us, i = decode_long(b, i)
    t = b[i]
    i += 1
    if t == 0:
        r.subject = None
    elif t == 2:
        r.subject, i = _read_subject(b, i)
    else:
        raise bad_tag()
    a33: list[Effect] = []
    r.effects = a33
    c35 = b[i]
    i += 1
    while c35:
        if c35 & 129:
            c35, i = decode_count(b, i - 1)
        else:
            c35 >>= 1
        for _ in range(c35):
            x34, i = _read_effect(b, i)
            a33.append(x34)
        c35 = b[i]
        i += 1
    return r, i


def _read_move_1(b: bytes, i: int) -> tuple[Move, int]:
    r = new_instance(Move)
    n = b[i]
    if n < 128:
        r.from_partition = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.from_partition, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.to_partition = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.to_partition, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.partition_count = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.partition_count, i = decode_long(b, i)
    a1: list[MovedRow] = []
    r.rows = a1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            x2, i = _read_moved_row(b, i)
            a1.append(x2)
        c3 = b[i]
        i += 1
    r.partition_count_before = 0
    return r, i


def _read_policy_ack_1(b: bytes, i: int) -> tuple[PolicyAck, int]:
    r = new_instance(PolicyAck)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.instance_id = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.policy_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.policy_offset, i = decode_long(b, i)
    a1: list[int] = []
    r.partitions = a1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            n = b[i]
            if n < 128:
                x2 = n >> 1 ^ -(n & 1)
                i += 1
            else:
                x2, i = decode_long(b, i)
            a1.append(x2)
        c3 = b[i]
        i += 1
    m4: dict[str, str] = {}
    r.sets = m4
    c6 = b[i]
    i += 1
    while c6:
        if c6 & 129:
            c6, i = decode_count(b, i - 1)
        else:
            c6 >>= 1
        for _ in range(c6):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k7 = b[j:i].decode()
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x5 = b[j:i].decode()
            m4[k7] = x5
        c6 = b[i]
        i += 1
    m8: dict[str, str] = {}
    r.invalid = m8
    c10 = b[i]
    i += 1
    while c10:
        if c10 & 129:
            c10, i = decode_count(b, i - 1)
        else:
            c10 >>= 1
        for _ in range(c10):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k11 = b[j:i].decode()
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x9 = b[j:i].decode()
            m8[k11] = x9
        c10 = b[i]
        i += 1
    n = b[i]
    if n < 128:
        r.time_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.time_us, i = decode_long(b, i)
    r.refused = {}
    r.revisions = {}
    return r, i


def _read_policy_ack_2(b: bytes, i: int) -> tuple[PolicyAck, int]:
    r = new_instance(PolicyAck)
    n = b[i]
    if n & 129:
        j, i = decode_length(b, i)
    else:
        j = i + 1
        i = j + (n >> 1)
    r.instance_id = b[j:i].decode()
    n = b[i]
    if n < 128:
        r.policy_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.policy_offset, i = decode_long(b, i)
    a1: list[int] = []
    r.partitions = a1
    c3 = b[i]
    i += 1
    while c3:
        if c3 & 129:
            c3, i = decode_count(b, i - 1)
        else:
            c3 >>= 1
        for _ in range(c3):
            n = b[i]
            if n < 128:
                x2 = n >> 1 ^ -(n & 1)
                i += 1
            else:
                x2, i = decode_long(b, i)
            a1.append(x2)
        c3 = b[i]
        i += 1
    m4: dict[str, str] = {}
    r.sets = m4
    c6 = b[i]
    i += 1
    while c6:
        if c6 & 129:
            c6, i = decode_count(b, i - 1)
        else:
            c6 >>= 1
        for _ in range(c6):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k7 = b[j:i].decode()
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x5 = b[j:i].decode()
            m4[k7] = x5
        c6 = b[i]
        i += 1
    m8: dict[str, str] = {}
    r.invalid = m8
    c10 = b[i]
    i += 1
    while c10:
        if c10 & 129:
            c10, i = decode_count(b, i - 1)
        else:
            c10 >>= 1
        for _ in range(c10):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k11 = b[j:i].decode()
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x9 = b[j:i].decode()
            m8[k11] = x9
        c10 = b[i]
        i += 1
    n = b[i]
    if n < 128:
        r.time_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.time_us, i = decode_long(b, i)
    m12: dict[str, str] = {}
    r.refused = m12
    c14 = b[i]
    i += 1
    while c14:
        if c14 & 129:
            c14, i = decode_count(b, i - 1)
        else:
            c14 >>= 1
        for _ in range(c14):
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            k15 = b[j:i].decode()
            n = b[i]
            if n & 129:
                j, i = decode_length(b, i)
            else:
                j = i + 1
                i = j + (n >> 1)
            x13 = b[j:i].decode()
            m12[k15] = x13
        c14 = b[i]
        i += 1
    r.revisions = {}
    return r, i


def _read_position_row_1(b: bytes, i: int) -> tuple[PositionRow, int]:
    r = new_instance(PositionRow)
    n = b[i]
    if n < 128:
        r.request_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.request_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.usage_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.usage_offset, i = decode_long(b, i)
    r.chain_head = b[i : i + 32]
    i += 32
    n = b[i]
    if n < 128:
        r.next_sequence = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.next_sequence, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.tail_start = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.tail_start, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.now_us = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.now_us, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.policy_offset = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.policy_offset, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.partition_count = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.partition_count, i = decode_long(b, i)
    n = b[i]
    if n < 128:
        r.starts = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.starts, i = decode_long(b, i)
    t = b[i]
    i += 1
    if t == 0:
        r.trying = None
    elif t == 2:
        n = b[i]
        if n < 128:
            r.trying = n >> 1 ^ -(n & 1)
            i += 1
        else:
            r.trying, i = decode_long(b, i)
    else:
        raise bad_tag()
    n = b[i]
    if n < 128:
        r.trying_count = n >> 1 ^ -(n & 1)
        i += 1
    else:
        r.trying_count, i = decode_long(b, i)
    r.lease_offset = 0
    return r, i


def encode_audit(record: Audit) -> bytes:
    """Avro single-object bytes of a audit. Raises: CodecError."""
    try:
        return _AUDIT_HEAD + write_audit(record)
    except UNENCODABLE as error:
        raise unencodable('audit', error) from None


def decode_audit(data: bytes) -> Audit:
    """The audit of Avro single-object bytes. Raises: CodecError."""
    read = _read_audit
    if data[:10] != _AUDIT_HEAD:
        older = {_AUDIT_1_HEAD: _read_audit_1}.get(data[:10])
        if older is None:
            raise wrong_head('audit', data)
        read = older
    try:
        record, index = read(data, 10)
    except MALFORMED as error:
        raise malformed('audit', error) from None
    if index != len(data):
        raise wrong_end('audit', data, index)
    return record


def encode_budget_row(record: BudgetRow) -> bytes:
    """Avro single-object bytes of a budget row. Raises: CodecError."""
    try:
        return _BUDGET_ROW_HEAD + write_budget_row(record)
    except UNENCODABLE as error:
        raise unencodable('budget row', error) from None


def decode_budget_row(data: bytes) -> BudgetRow:
    """The budget row of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _BUDGET_ROW_HEAD:
        raise wrong_head('budget row', data)
    try:
        record, index = _read_budget_row(data, 10)
    except MALFORMED as error:
        raise malformed('budget row', error) from None
    if index != len(data):
        raise wrong_end('budget row', data, index)
    return record


def encode_call_row(record: CallRow) -> bytes:
    """Avro single-object bytes of a call row. Raises: CodecError."""
    try:
        return _CALL_ROW_HEAD + write_call_row(record)
    except UNENCODABLE as error:
        raise unencodable('call row', error) from None


def decode_call_row(data: bytes) -> CallRow:
    """The call row of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _CALL_ROW_HEAD:
        raise wrong_head('call row', data)
    try:
        record, index = _read_call_row(data, 10)
    except MALFORMED as error:
        raise malformed('call row', error) from None
    if index != len(data):
        raise wrong_end('call row', data, index)
    return record


def encode_claim(record: Claim) -> bytes:
    """Avro single-object bytes of a claim. Raises: CodecError."""
    try:
        return _CLAIM_HEAD + write_claim(record)
    except UNENCODABLE as error:
        raise unencodable('claim', error) from None


def decode_claim(data: bytes) -> Claim:
    """The claim of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _CLAIM_HEAD:
        raise wrong_head('claim', data)
    try:
        record, index = _read_claim(data, 10)
    except MALFORMED as error:
        raise malformed('claim', error) from None
    if index != len(data):
        raise wrong_end('claim', data, index)
    return record


def encode_dead_letter(record: DeadLetter) -> bytes:
    """Avro single-object bytes of a dead letter. Raises: CodecError."""
    try:
        return _DEAD_LETTER_HEAD + write_dead_letter(record)
    except UNENCODABLE as error:
        raise unencodable('dead letter', error) from None


def decode_dead_letter(data: bytes) -> DeadLetter:
    """The dead letter of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _DEAD_LETTER_HEAD:
        raise wrong_head('dead letter', data)
    try:
        record, index = _read_dead_letter(data, 10)
    except MALFORMED as error:
        raise malformed('dead letter', error) from None
    if index != len(data):
        raise wrong_end('dead letter', data, index)
    return record


def encode_decision(record: Decision) -> bytes:
    """Avro single-object bytes of a decision. Raises: CodecError."""
    try:
        return _DECISION_HEAD + write_decision(record)
    except UNENCODABLE as error:
        raise unencodable('decision', error) from None


def decode_decision(data: bytes) -> Decision:
    """The decision of Avro single-object bytes. Raises: CodecError."""
    read = _read_decision
    if data[:10] != _DECISION_HEAD:
        older = {_DECISION_1_HEAD: _read_decision_1}.get(data[:10])
        if older is None:
            raise wrong_head('decision', data)
        read = older
    try:
        record, index = read(data, 10)
    except MALFORMED as error:
        raise malformed('decision', error) from None
    if index != len(data):
        raise wrong_end('decision', data, index)
    return record


def encode_lease(record: Lease) -> bytes:
    """Avro single-object bytes of a lease. Raises: CodecError."""
    try:
        return _LEASE_HEAD + write_lease(record)
    except UNENCODABLE as error:
        raise unencodable('lease', error) from None


def decode_lease(data: bytes) -> Lease:
    """The lease of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _LEASE_HEAD:
        raise wrong_head('lease', data)
    try:
        record, index = _read_lease(data, 10)
    except MALFORMED as error:
        raise malformed('lease', error) from None
    if index != len(data):
        raise wrong_end('lease', data, index)
    return record


def encode_lease_row(record: LeaseRow) -> bytes:
    """Avro single-object bytes of a lease row. Raises: CodecError."""
    try:
        return _LEASE_ROW_HEAD + write_lease_row(record)
    except UNENCODABLE as error:
        raise unencodable('lease row', error) from None


def decode_lease_row(data: bytes) -> LeaseRow:
    """The lease row of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _LEASE_ROW_HEAD:
        raise wrong_head('lease row', data)
    try:
        record, index = _read_lease_row(data, 10)
    except MALFORMED as error:
        raise malformed('lease row', error) from None
    if index != len(data):
        raise wrong_end('lease row', data, index)
    return record


def encode_lent_row(record: LentRow) -> bytes:
    """Avro single-object bytes of a lent row. Raises: CodecError."""
    try:
        return _LENT_ROW_HEAD + write_lent_row(record)
    except UNENCODABLE as error:
        raise unencodable('lent row', error) from None


def decode_lent_row(data: bytes) -> LentRow:
    """The lent row of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _LENT_ROW_HEAD:
        raise wrong_head('lent row', data)
    try:
        record, index = _read_lent_row(data, 10)
    except MALFORMED as error:
        raise malformed('lent row', error) from None
    if index != len(data):
        raise wrong_end('lent row', data, index)
    return record


def encode_move(record: Move) -> bytes:
    """Avro single-object bytes of a move. Raises: CodecError."""
    try:
        return _MOVE_HEAD + write_move(record)
    except UNENCODABLE as error:
        raise unencodable('move', error) from None


def decode_move(data: bytes) -> Move:
    """The move of Avro single-object bytes. Raises: CodecError."""
    read = _read_move
    if data[:10] != _MOVE_HEAD:
        older = {_MOVE_1_HEAD: _read_move_1}.get(data[:10])
        if older is None:
            raise wrong_head('move', data)
        read = older
    try:
        record, index = read(data, 10)
    except MALFORMED as error:
        raise malformed('move', error) from None
    if index != len(data):
        raise wrong_end('move', data, index)
    return record


def encode_policy_ack(record: PolicyAck) -> bytes:
    """Avro single-object bytes of a policy ack. Raises: CodecError."""
    try:
        return _POLICY_ACK_HEAD + write_policy_ack(record)
    except UNENCODABLE as error:
        raise unencodable('policy ack', error) from None


def decode_policy_ack(data: bytes) -> PolicyAck:
    """The policy ack of Avro single-object bytes. Raises: CodecError."""
    read = _read_policy_ack
    if data[:10] != _POLICY_ACK_HEAD:
        older = {_POLICY_ACK_1_HEAD: _read_policy_ack_1, _POLICY_ACK_2_HEAD: _read_policy_ack_2}.get(data[:10])
        if older is None:
            raise wrong_head('policy ack', data)
        read = older
    try:
        record, index = read(data, 10)
    except MALFORMED as error:
        raise malformed('policy ack', error) from None
    if index != len(data):
        raise wrong_end('policy ack', data, index)
    return record


def encode_policy_document(record: PolicyDocument) -> bytes:
    """Avro single-object bytes of a policy document. Raises: CodecError."""
    try:
        return _POLICY_DOCUMENT_HEAD + write_policy_document(record)
    except UNENCODABLE as error:
        raise unencodable('policy document', error) from None


def decode_policy_document(data: bytes) -> PolicyDocument:
    """The policy document of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _POLICY_DOCUMENT_HEAD:
        raise wrong_head('policy document', data)
    try:
        record, index = _read_policy_document(data, 10)
    except MALFORMED as error:
        raise malformed('policy document', error) from None
    if index != len(data):
        raise wrong_end('policy document', data, index)
    return record


def encode_policy_set(record: PolicySet) -> bytes:
    """Avro single-object bytes of a policy set. Raises: CodecError."""
    try:
        return _POLICY_SET_HEAD + write_policy_set(record)
    except UNENCODABLE as error:
        raise unencodable('policy set', error) from None


def decode_policy_set(data: bytes) -> PolicySet:
    """The policy set of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _POLICY_SET_HEAD:
        raise wrong_head('policy set', data)
    try:
        record, index = _read_policy_set(data, 10)
    except MALFORMED as error:
        raise malformed('policy set', error) from None
    if index != len(data):
        raise wrong_end('policy set', data, index)
    return record


def encode_position_row(record: PositionRow) -> bytes:
    """Avro single-object bytes of a position row. Raises: CodecError."""
    try:
        return _POSITION_ROW_HEAD + write_position_row(record)
    except UNENCODABLE as error:
        raise unencodable('position row', error) from None


def decode_position_row(data: bytes) -> PositionRow:
    """The position row of Avro single-object bytes. Raises: CodecError."""
    read = _read_position_row
    if data[:10] != _POSITION_ROW_HEAD:
        older = {_POSITION_ROW_1_HEAD: _read_position_row_1}.get(data[:10])
        if older is None:
            raise wrong_head('position row', data)
        read = older
    try:
        record, index = read(data, 10)
    except MALFORMED as error:
        raise malformed('position row', error) from None
    if index != len(data):
        raise wrong_end('position row', data, index)
    return record


def encode_rate_row(record: RateRow) -> bytes:
    """Avro single-object bytes of a rate row. Raises: CodecError."""
    try:
        return _RATE_ROW_HEAD + write_rate_row(record)
    except UNENCODABLE as error:
        raise unencodable('rate row', error) from None


def decode_rate_row(data: bytes) -> RateRow:
    """The rate row of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _RATE_ROW_HEAD:
        raise wrong_head('rate row', data)
    try:
        record, index = _read_rate_row(data, 10)
    except MALFORMED as error:
        raise malformed('rate row', error) from None
    if index != len(data):
        raise wrong_end('rate row', data, index)
    return record


def encode_request(record: Request) -> bytes:
    """Avro single-object bytes of a request. Raises: CodecError."""
    try:
        return _REQUEST_HEAD + write_request(record)
    except UNENCODABLE as error:
        raise unencodable('request', error) from None


def decode_request(data: bytes) -> Request:
    """The request of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _REQUEST_HEAD:
        raise wrong_head('request', data)
    try:
        record, index = _read_request(data, 10)
    except MALFORMED as error:
        raise malformed('request', error) from None
    if index != len(data):
        raise wrong_end('request', data, index)
    return record


def encode_usage(record: Usage) -> bytes:
    """Avro single-object bytes of a usage. Raises: CodecError."""
    try:
        return _USAGE_HEAD + write_usage(record)
    except UNENCODABLE as error:
        raise unencodable('usage', error) from None


def decode_usage(data: bytes) -> Usage:
    """The usage of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _USAGE_HEAD:
        raise wrong_head('usage', data)
    try:
        record, index = _read_usage(data, 10)
    except MALFORMED as error:
        raise malformed('usage', error) from None
    if index != len(data):
        raise wrong_end('usage', data, index)
    return record


def encode_waiting_usage_row(record: WaitingUsageRow) -> bytes:
    """Avro single-object bytes of a waiting usage row. Raises: CodecError."""
    try:
        return _WAITING_USAGE_ROW_HEAD + write_waiting_usage_row(record)
    except UNENCODABLE as error:
        raise unencodable('waiting usage row', error) from None


def decode_waiting_usage_row(data: bytes) -> WaitingUsageRow:
    """The waiting usage row of Avro single-object bytes. Raises: CodecError."""
    if data[:10] != _WAITING_USAGE_ROW_HEAD:
        raise wrong_head('waiting usage row', data)
    try:
        record, index = _read_waiting_usage_row(data, 10)
    except MALFORMED as error:
        raise malformed('waiting usage row', error) from None
    if index != len(data):
        raise wrong_end('waiting usage row', data, index)
    return record


FINGERPRINTS: Final[dict[bytes, type]] = {
    b'n\x8f\x8b=p\xa6\xf2\xa9': Audit,
    b'\xbf4\xb7\x8d\xf1\xe8\xb6\x97': BudgetRow,
    b'\x151\r\xae0\\"/': CallRow,
    b'\xee`\nPg\xbb\x9a\xcd': Claim,
    b'\x9c\\\x0fH\xbc\x85\x8as': DeadLetter,
    b'\xea\x88X\x16\x0f\x10:\xd8': Decision,
    b'\x83\xe7U`\x9aI9F': Lease,
    b'`\x8a\xc1\xc3\xfbp\x1c\xf1': LeaseRow,
    b'\xc2Ik\xae\xb0\xba\xc6\xc1': LentRow,
    b'\xde:\x8av\xfd\xa4f\x99': Move,
    b'\xdf\x8ee\xc3\xa5\x85\x06\x08': PolicyAck,
    b'\x92D\xbf\xcd\xd5\xb6\xb7\x18': PolicyDocument,
    b'P\x05\x03\x0c\x89&\xa1+': PolicySet,
    b'\r\xe2\x85h\x9e\xf1m\x1a': PositionRow,
    b'{\xbbc\xc4\xe7\xa6SH': RateRow,
    b'\x9f\x87\x1e\x16\xb2\xc4\x19\xad': Request,
    b'\nPP\x12\xa0p\xe9X': Usage,
    b'<\x89\xa6\xdf?\x86\x03\x84': WaitingUsageRow,
    b'\xb4\x0b|\xb5\xf6Z\x1fp': Audit,
    b"'+G\xd3\x1f`#\xf4": Decision,
    b'\xdb\x8f\x93\x99#tHh': Move,
    b'\x96\xdbw|\xc8\xfe\x88\xa6': PolicyAck,
    b'\x9d+\xb8n\xff;\xfcZ': PolicyAck,
    b'D\x9b\x1b\xc1\x87\xe2\x155': PositionRow,
}
DECODERS: Final[dict[bytes, Callable[[bytes], Any]]] = {
    _AUDIT_HEAD: decode_audit,
    _BUDGET_ROW_HEAD: decode_budget_row,
    _CALL_ROW_HEAD: decode_call_row,
    _CLAIM_HEAD: decode_claim,
    _DEAD_LETTER_HEAD: decode_dead_letter,
    _DECISION_HEAD: decode_decision,
    _LEASE_HEAD: decode_lease,
    _LEASE_ROW_HEAD: decode_lease_row,
    _LENT_ROW_HEAD: decode_lent_row,
    _MOVE_HEAD: decode_move,
    _POLICY_ACK_HEAD: decode_policy_ack,
    _POLICY_DOCUMENT_HEAD: decode_policy_document,
    _POLICY_SET_HEAD: decode_policy_set,
    _POSITION_ROW_HEAD: decode_position_row,
    _RATE_ROW_HEAD: decode_rate_row,
    _REQUEST_HEAD: decode_request,
    _USAGE_HEAD: decode_usage,
    _WAITING_USAGE_ROW_HEAD: decode_waiting_usage_row,
    _AUDIT_1_HEAD: decode_audit,
    _DECISION_1_HEAD: decode_decision,
    _MOVE_1_HEAD: decode_move,
    _POLICY_ACK_1_HEAD: decode_policy_ack,
    _POLICY_ACK_2_HEAD: decode_policy_ack,
    _POSITION_ROW_1_HEAD: decode_position_row,
}
ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    Audit: encode_audit,
    BudgetRow: encode_budget_row,
    CallRow: encode_call_row,
    Claim: encode_claim,
    DeadLetter: encode_dead_letter,
    Decision: encode_decision,
    Lease: encode_lease,
    LeaseRow: encode_lease_row,
    LentRow: encode_lent_row,
    Move: encode_move,
    PolicyAck: encode_policy_ack,
    PolicyDocument: encode_policy_document,
    PolicySet: encode_policy_set,
    PositionRow: encode_position_row,
    RateRow: encode_rate_row,
    Request: encode_request,
    Usage: encode_usage,
    WaitingUsageRow: encode_waiting_usage_row,
}
SCHEMA_FILES: Final = {
    'Audit': 'audit',
    'BudgetRow': 'budget_row',
    'CallRow': 'call_row',
    'Claim': 'claim',
    'DeadLetter': 'dead_letter',
    'Decision': 'decision',
    'Lease': 'lease',
    'LeaseRow': 'lease_row',
    'LentRow': 'lent_row',
    'Move': 'move',
    'PolicyAck': 'policy_ack',
    'PolicyDocument': 'policy_document',
    'PolicySet': 'policy_set',
    'PositionRow': 'position_row',
    'RateRow': 'rate_row',
    'Request': 'request',
    'Usage': 'usage',
    'WaitingUsageRow': 'waiting_usage_row',
}
