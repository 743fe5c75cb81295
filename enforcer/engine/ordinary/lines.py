"""
The text of an ordinary decision's function, line by line.

Only numbers of our own counting stand in it: whatever an author wrote is a value that the function closes over, never
a part of its text. Names: ``k…`` are values, ``b0`` and ``r0`` a budget and a rate limit by their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enforcer.engine.ordinary.pieces import EFFECT_HEADS
from enforcer.events.binary import encode_long
from enforcer.policy.fields import Kind, Origin, resolve
from enforcer.state.usage import COST_USD_NANO_MAX, TOKENS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from enforcer.policy import BudgetLimit, RateLimit, TenantProgram

ID_CHARACTERS_MAX = 64
"""A longer id is shortened in keys: not here."""
FULL_AT_US_MAX = 10**18


class Text:
    """Lines of one function, and the values that it closes over."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: dict[str, Any] = {}
        self._constants: dict[int, str] = {}

    def add(self, lines: Iterable[str]) -> None:
        """Lines of the function's body."""
        self.lines.extend("        " + line for line in lines)

    def constant(self, value: Any) -> str:
        """The name of a value."""
        known = self._constants.get(id(value))
        if known is None:
            known = self._constants[id(value)] = f"k{len(self._constants)}"
            self.values[known] = value
        return known

    def function(self, names: Iterable[str]) -> str:
        """The text of ``make``, which takes the values *names* and gives the function that closes over them."""
        return "\n".join(
            [
                f"def make({', '.join(names)}):",
                "    def decide(arrival, request, content, facts, rows, queue):",
                *self.lines,
                "    return decide",
            ]
        )


def number(value: str) -> str:
    """An expression that encodes the number that *value* names."""
    return f"LONGS[{value}] if 0 <= {value} < SHORT else encode_long({value})"


def text_field(path: str) -> str | None:
    """An expression that reads a text of the request; None for what is read another way."""
    field = resolve(path)
    is_plain = field.origin is Origin.RECORD and field.type.kind is Kind.STRING
    if not is_plain or not 1 <= len(field.path) <= 2:
        return None
    return ".".join(["request", *map(str, field.path)])


def admission(program: TenantProgram) -> list[str]:
    """What stands in the way of an ordinary decision, before anything is looked up."""
    settings = program.settings
    lines = [
        "source = arrival.source",
        "now_us = arrival.now_us",
        "request_id = request.id",
        f"if len(request_id) > {ID_CHARACTERS_MAX} or '/' in request_id or '%' in request_id or request_id[0] == '#':",
        "    return None",
        "if request.deadline_ms is not None and source.late_ms > request.deadline_ms:",
        "    return None",
    ]
    if settings.on_stale_policies == "deny":
        lines += ["if arrival.is_stale:", "    return None"]
    if program.stops:
        lines += ["if stopped(request) is not None:", "    return None"]
    if settings.required:
        lines += ["if absent_of(settings, request):", "    return None"]
    if settings.models:
        lines += ["if request.llm.model in aliases:", "    return None"]
    return lines


def account(program: TenantProgram, names: Sequence[str]) -> list[str]:
    """Whose rows they are, and whether they are on this partition."""
    if "team.id" in program.settings.account_by:
        lines = [
            "account = accounts.get(request.team.id)",
            "if account is None:",
            "    account = new_account(request.team.id)",
        ]
    else:
        lines = ["account = the_account"]
    return [
        *lines,
        f"({', '.join(['account_name', 'account_key', 'account_text', 'call_prefix', 'tellings', *names])},) = account",
        "partitions = arrival.partitions",
        "if partitions and (",
        "    arrival.key != account_key or partition_of(account_key, partitions) != source.partition",
        "):",
        "    return None",
        "call = call_prefix + request_id + '/1'",
        "call_key = 'c/' + call",
        "if queue.concerns(now_us, 'u/' + call) or rows.get(call_key) is not None:",
        "    return None",
    ]


RULES = [
    "hits = []",
    "errors = []",
    "for policy in candidates(request):",
    "    if policy.run(request, facts, now_us, no_limits, False, hits, errors):",
    "        return None",
    "if errors:",
    "    return None",
    "telling = tellings.get(tuple(hits)) if hits else tellings[()]",
    "if telling is None:",
    "    telling = new_telling(tellings, account_name, hits)",
    "    if telling is None:",
    "        return None",
    "sent = facts",
    "if telling.__class__ is Capping:",
    "    capped = telling.of(request, facts, now_us)",
    "    if capped is None:",
    "        return None",
    "    telling, sent = capped",
]
"""Behind them ``sent`` are the facts of the request as it would be sent: another object where a rule has capped it."""

SHADOW = [
    "hits = []",
    "for policy in shadow_candidates(request):",
    "    policy.run(request, facts, now_us, no_limits, False, hits, errors)",
    "    if hits or errors:",
    "        return None",
]
"""Behind ``RULES``, whose hits it begins anew: what a shadow rule finds is told, by the general path."""

COST = [
    "input_tokens = sent.input_tokens",
    "tokens = input_tokens + sent.max_output_tokens",
    "rates = sent.rates",
    f"if rates is None or tokens > {TOKENS_MAX}:",
    "    return None",
    "cost = sent.estimated_cost_usd_nano",
    f"if cost is None or not 0 < cost <= {COST_USD_NANO_MAX}:",
    "    return None",
    "input_cost = rates.cost_usd_nano(input_tokens=input_tokens)",
    "counted = facts.counted()",
    "if sent is not facts:",
    "    counted = joined_facts(counted, sent.counted())",
    "told_cost = counted.estimated_cost_usd_nano",
    f"if told_cost is None or told_cost > {COST_USD_NANO_MAX}:",
    "    told_cost = cost",
]


def key_of(text: Text, limit: BudgetLimit | RateLimit, name: str) -> tuple[list[str], bool]:
    """
    Lines that find ``{name}_key``, what the limit counts by.

    Returns: The lines, and whether the limit may turn out not to apply: then ``{name}_on`` says whether it does.
    """
    is_optional = limit.code.is_guarded or (bool(limit.paths) and limit.on_missing_key == "skip")
    lines: list[str] = []
    if limit.code.is_guarded:
        lines = [
            f"{name}_on = {text.constant(limit.code.guard)}(request, facts, now_us)",
            f"if {name}_on is None:",
            "    return None",
        ]
    elif is_optional:
        lines = [f"{name}_on = True"]
    read: list[str]
    if not limit.paths:
        read = [f"{name}_key = None"]
    else:
        field = text_field(limit.paths[0]) if len(limit.paths) == 1 else None
        if field is not None:
            read, is_missing = [f"{name}_key = {field}"], f"{name}_key is None"
        else:
            read = [f"{name}_key = tuple(key_values(request, {text.constant(limit.paths)}))"]
            is_missing = f"None in {name}_key"
        if limit.on_missing_key == "deny":
            read += [f"if {is_missing}:", "    return None"]
        elif limit.on_missing_key == "skip":
            read += [f"if {is_missing}:", f"    {name}_on = False"]
    if limit.code.is_guarded:
        return [*lines, f"if {name}_on:", *indented(read)], is_optional
    return [*lines, *read], is_optional


def amount_of(text: Text, table: Any, name: str) -> list[str]:
    """Lines that find the number of a table: ``name``."""
    if table.by is None or not table.entries:
        return [f"{name} = {table.default!r}"]
    field = text_field(table.by)
    if field is None:
        return [f"{name} = {text.constant(table)}.of(request)"]
    entries = text.constant(dict(table.entries))
    return [f"{name} = {entries}.get({field}, {table.default!r})"]


def rate(text: Text, limit: RateLimit, name: str) -> tuple[list[str], bool]:
    """Lines that ask one rate limit, and prepare to take from it."""
    lines, is_optional = key_of(text, limit, name)
    work = amount_of(text, limit.table, "limit")
    if limit.burst_table is None:
        work += ["burst = limit"]
    else:
        work += [*amount_of(text, limit.burst_table, "burst"), "burst = burst or limit"]
    units, period_us = ("tokens" if limit.unit == "tokens" else "1"), limit.period_us
    held = "expires" if limit.unit == "tokens" else repr(encode_long(0))
    work += [
        f"cell = {name}.cells.get({name}_key) or {name}.cell({name}_key)",
        f"{name}_row = cell.row",
        f"row = rows.get({name}_row)",
        f"if limit <= 0 or not 0 < {units} <= burst:",
        "    return None",
        "now = now_us * limit",
        "if row is None:",
        "    full = now",
        "elif row.limit != limit:",
        "    return None",
        "else:",
        "    full = row.full_at_us * limit + row.fraction",
        f"    if full - now + ({units} - burst) * {period_us} > 0:",
        "        return None",
        "    if full < now:",
        "        full = now",
        f"full += {units} * {period_us}",
        f"if full > {FULL_AT_US_MAX} * limit:",
        "    return None",
        f"{name}_new = RateRow(full // limit, full % limit, limit)",
        f"units = {number('tokens') if limit.unit == 'tokens' else repr(encode_long(1))}",
        f"quota = ({number('limit')}) + {encode_long(period_us)!r}",
        f"{'tried' if limit.shadow else 'taken'} += cell.effect + units + time + "
        + held
        + " + quota",
        "effects_count += 1",
    ]
    if limit.unit == "tokens":
        zero = repr(encode_long(0))
        work += [
            f"held += cell.allocation + units + {zero} + quota",
            "held_count += 1",
        ]
    return _under(lines, work, name, is_optional), is_optional


def budget(text: Text, limit: BudgetLimit, name: str) -> tuple[list[str], bool]:
    """Lines that ask one budget, and prepare to reserve from it."""
    lines, is_optional = key_of(text, limit, name)
    zero = encode_long(0)
    work = [
        *amount_of(text, limit.table, "limit"),
        f"if not {name}.start_us <= now_us < {name}.end_us:",
        f"    {name}.turn(now_us)",
        f"cell = {name}.cells.get({name}_key) or {name}.cell({name}_key)",
        f"{name}_row = cell.row",
        f"row = rows.get({name}_row)",
        "if row is None:",
        "    if cost > limit:",
        "        return None",
        "    spent = 0",
        "    reserved = cost",
        f"    {name}_new = BudgetRow(0, cost, {name}.until_us)",
        "else:",
        "    spent = row.spent_usd_nano",
        "    reserved = row.reserved_usd_nano + cost",
        "    if spent + reserved > limit:",
        "        return None",
        f"    {name}_new = BudgetRow(spent, reserved, row.window_end_us)",
        f"until = {name}.until",
        f"{'tried' if limit.shadow else 'reserves'} += cell.effect + cost_bytes + {zero!r} + until + {zero * 2!r}",
        f"allocations += cell.allocation + cost_bytes + until + {zero * 2!r}",
        "budget_rows.append(" + f"{name}_row)",
    ]
    if not limit.shadow:
        work += [
            f"views += cell.view + ({number('limit')}) + ({number('spent')}) + ({number('reserved')})",
            "count += 1",
        ]
    return _under(lines, work, name, is_optional), is_optional


def _under(lines: list[str], work: list[str], name: str, is_optional: bool) -> list[str]:  # noqa: FBT001 — handed on
    return [*lines, f"if {name}_on:", *indented(work)] if is_optional else [*lines, *work]


def indented(lines: list[str]) -> list[str]:
    """One step further in."""
    return ["    " + line for line in lines]


BOOKING = [
    "time = encode_long(now_us)",
    "expires_us = now_us + ttl_us",
    "expires = encode_long(expires_us)",
    "ends = encode_long(expires_us + dedup_us)",
    f"cost_bytes = {number('cost')}",
    "reserves = views = allocations = taken = tried = held = b''",
    "budget_rows = []",
    "effects_count = 1",
    "held_count = count = 0",
]

TELLING = [
    "allocated = len(budget_rows)",
    "effects_count += allocated",
    f"tokens_bytes = {number('tokens')}",
    f"input_cost_bytes = {number('input_cost')}",
    "call_bytes = call_key.encode()",
    "call_length = len(call_bytes)",
    "request_bytes = request_id.encode()",
    "request_length = len(request_bytes)",
    "provider, model, tier = request.llm.provider, request.llm.model, request.llm.service_tier",
    "called = models.get((provider, model, tier)) or new_model(models, provider, model, tier)",
    "user_id, email, ip = request.user.id, request.user.email, request.caller.ip",
    "if email is not None or ip is not None:",
    "    subject = subject_of(user_id, email, ip)",
    "else:",
    "    subject = subjects.get(user_id) or new_subject(subjects, user_id)",
    "pii, secrets, injection = counted.pii, counted.secrets, counted.injection",
    "found_tokens = counted.input_tokens",
    "offset, usage_offset = source.offset, source.usage_offset",
    "policy_offset, late_ms = source.policy_offset, source.late_ms",
    "lease_offset = source.lease_offset",
    "place = b''.join((",
    "    places.get((source.topic, source.partition)) or new_place(places, source.topic, source.partition),",
    f"    {number('offset')},",
    f"    {number('usage_offset')},",
    f"    {number('policy_offset')},",
    f"    {number('late_ms')},",
    f"    {number('lease_offset')},",
    "))",
    "value = b''.join((",
    "    telling.before_id,",
    "    sha256(call.encode()).hexdigest()[:32].encode(),",
    "    telling.before_request,",
    "    LONGS[request_length],",
    "    request_bytes,",
    "    telling.before_facts,",
    "    b'\\x00' if found_tokens is None",
    "    else OPTIONAL_LONGS[found_tokens] if 0 <= found_tokens < SHORT",
    "    else b'\\x02' + encode_long(found_tokens),",
    f"    b'\\x02', {number('told_cost')},",
    "    encode_map(pii, encode_long) if pii else b'\\x00',",
    "    encode_map(secrets, encode_long) if secrets else b'\\x00',",
    "    b'\\x00' if injection is None else b'\\x02' + encode_double(injection),",
    "    (LONGS[count] + views + b'\\x00\\x02' + cost_bytes + expires) if count else b'\\x00\\x00',",
    "    telling.before_source,",
    "    place,",
    "    time,",
    "    subject,",
    "    LONGS[effects_count],",
    "    reserves,",
    "    taken,",
    "    tried,",
    f"    {EFFECT_HEADS['open']!r},",
    "    LONGS[call_length] if call_length < SHORT else encode_long(call_length),",
    "    call_bytes, cost_bytes, expires, ends, input_cost_bytes, tokens_bytes,",
    "    b'\\x00',",
    "))",
    "if len(value) > value_bytes_max:",
    "    return None",
    "length = len(value)",
    "row = b''.join((",
    "    call_head, ends, call_status, content,",
    "    LONGS[length] if length < SHORT else encode_long(length),",
    "    value, time, expires, called, cost_bytes, input_cost_bytes, tokens_bytes, call_charged,",
    "    (LONGS[allocated] + allocations + b'\\x00') if allocated else b'\\x00',",
    "    (LONGS[held_count] + held + b'\\x00') if held_count else b'\\x00',",
    "))",
]

PUTTING = [
    "rows.put_encoded(call_key, row)",
    "if allocated:",
    "    queue.add(expires_us, call_key, budget_rows)",
    "entry = Entry('decision', account_name, value, (), (), account_text + time + place)",
    "return Outcome(value, None, [entry], None, None, 0, telling.verdict)",
]


def puts(names: Sequence[tuple[str, bool]]) -> list[str]:
    """Write the rows, in the order of their effects: from here on nothing returns and nothing raises."""
    lines: list[str] = []
    for name, is_optional in names:
        put = f"rows.put({name}_row, {name}_new)"
        lines += [f"if {name}_on:", f"    {put}"] if is_optional else [put]
    return [*lines, *PUTTING]
