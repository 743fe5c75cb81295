# Written by enforcer/events/generate.py from schemas/avro: change those, then `make docs`.
# ruff: noqa: C901, I001, PLR0912, PLR0915, Q000, TC003
# fmt: off
"""
The records' JSON codecs, generated.

`read_<record>` takes a parsed object and is strict; `json_<record>` gives a dict. An error is a
RequestError whose place is a JSON pointer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from enforcer.errors import RequestError
from enforcer.events.binary import new_instance
from enforcer.events.generated import (
    ACTED,
    AUDIT_KIND,
    Allocation,
    Audit,
    BudgetRow,
    BudgetView,
    CALL_STATUS,
    CallRow,
    Caller,
    Claim,
    DeadLetter,
    Decision,
    EDIT_OP,
    EFFECT_KIND,
    Edit,
    Effect,
    Facts,
    Holding,
    LEASE_KIND,
    Lease,
    LeaseRow,
    LentRow,
    Llm,
    Message,
    Move,
    MovedRow,
    OUTCOME,
    PHASE,
    Part,
    PolicyAck,
    PolicyDocument,
    PolicySet,
    PositionRow,
    Project,
    RateRow,
    Reason,
    Request,
    Reservation,
    RuleError,
    Source,
    Subject,
    Team,
    ToolCall,
    Usage,
    User,
    VERDICT,
    WaitingUsageRow,
)
from enforcer.events.json_values import (
    INT64_MAX,
    INT64_MIN,
    bad_integer,
    bad_string,
    bad_symbol,
    inside,
    read_array,
    read_boolean,
    read_bytes,
    read_double,
    read_fixed,
    read_json,
    read_long,
    read_map,
    read_string,
    read_usd,
    write_bytes,
    write_json,
    write_usd,
    wrong,
)



def _read_string_or_parts(v: Any) -> str | list[Part]:
    if type(v) is str:
        return read_string(v)
    if type(v) is list:
        try:
            return read_array('', v, read_part)
        except RequestError as error:
            # The list has no name of its own.
            error.place = error.place[1:]
            raise
    raise wrong('a string or a list', v)


def _read_null_or_boolean_or_long_or_double_or_string_or_strings(v: Any) -> bool | int | float | str | list[str] | None:
    if v is None:
        return None
    if type(v) is bool:
        return read_boolean(v)
    if type(v) is int:
        return read_long(v)
    if type(v) is float:
        return read_double(v)
    if type(v) is str:
        return read_string(v)
    if type(v) is list:
        try:
            return read_array('', v, read_string)
        except RequestError as error:
            # The list has no name of its own.
            error.place = error.place[1:]
            raise
    raise wrong('null or a boolean or an integer or a number or a string or a list', v)


def read_source(d: Any) -> Source:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Source)
    v = get('topic')
    if type(v) is not str:
        raise wrong('a string', v, 'topic')
    r.topic = v
    v = get('partition')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'partition')
    r.partition = v
    v = get('offset')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'offset')
    r.offset = v
    v = get('usage_offset')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'usage_offset')
    r.usage_offset = v
    v = get('policy_offset')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'policy_offset')
    r.policy_offset = v
    v = get('late_ms')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'late_ms')
    r.late_ms = v
    v = get('lease_offset')
    if v is None:
        r.lease_offset = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'lease_offset')
        r.lease_offset = v
    return r


def json_source(r: Source) -> dict[str, Any]:
    return {
        'topic': r.topic,
        'partition': r.partition,
        'offset': r.offset,
        'usage_offset': r.usage_offset,
        'policy_offset': r.policy_offset,
        'late_ms': r.late_ms,
        'lease_offset': r.lease_offset,
    }


def read_effect(d: Any) -> Effect:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Effect)
    v = get('kind')
    if type(v) is not str or v not in EFFECT_KIND:
        raise bad_symbol(EFFECT_KIND, v, 'kind')
    r.kind = v
    v = get('row')
    if type(v) is not str:
        raise wrong('a string', v, 'row')
    r.row = v
    v = get('amount')
    if v is None:
        r.amount = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'amount')
        r.amount = v
    v = get('at_us')
    if v is None:
        r.at_us = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'at_us')
        r.at_us = v
    v = get('until_us')
    if v is None:
        r.until_us = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'until_us')
        r.until_us = v
    v = get('limit')
    if v is None:
        r.limit = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'limit')
        r.limit = v
    v = get('period_us')
    if v is None:
        r.period_us = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'period_us')
        r.period_us = v
    return r


def json_effect(r: Effect) -> dict[str, Any]:
    return {
        'kind': r.kind,
        'row': r.row,
        'amount': r.amount,
        'at_us': r.at_us,
        'until_us': r.until_us,
        'limit': r.limit,
        'period_us': r.period_us,
    }


def read_audit(d: Any) -> Audit:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Audit)
    v = get('sequence')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'sequence')
    r.sequence = v
    v = get('previous')
    try:
        r.previous = read_fixed(v, 32)
    except RequestError as error:
        raise inside('previous', error) from None
    v = get('kind')
    if type(v) is not str or v not in AUDIT_KIND:
        raise bad_symbol(AUDIT_KIND, v, 'kind')
    r.kind = v
    v = get('account')
    if type(v) is not str:
        raise wrong('a string', v, 'account')
    r.account = v
    v = get('time_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'time_us')
    r.time_us = v
    v = get('source')
    try:
        r.source = read_source(v)
    except RequestError as error:
        raise inside('source', error) from None
    v = get('payload')
    try:
        r.payload = read_bytes(v)
    except RequestError as error:
        raise inside('payload', error) from None
    v = get('notes')
    if v is None:
        r.notes = []
    else:
        r.notes = read_array('notes', v, read_string)
    v = get('effects')
    if v is None:
        r.effects = []
    else:
        r.effects = read_array('effects', v, read_effect)
    v = get('digest')
    try:
        r.digest = read_fixed(v, 32)
    except RequestError as error:
        raise inside('digest', error) from None
    return r


def json_audit(r: Audit) -> dict[str, Any]:
    return {
        'sequence': r.sequence,
        'previous': r.previous.hex(),
        'kind': r.kind,
        'account': r.account,
        'time_us': r.time_us,
        'source': json_source(r.source),
        'payload': write_bytes(r.payload),
        'notes': r.notes.copy(),
        'effects': [json_effect(x) for x in r.effects],
        'digest': r.digest.hex(),
    }


def read_budget_row(d: Any) -> BudgetRow:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(BudgetRow)
    v = get('spent_usd')
    try:
        r.spent_usd_nano = read_usd(v)
    except RequestError as error:
        raise inside('spent_usd', error) from None
    v = get('reserved_usd')
    try:
        r.reserved_usd_nano = read_usd(v)
    except RequestError as error:
        raise inside('reserved_usd', error) from None
    v = get('window_end_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'window_end_us')
    r.window_end_us = v
    return r


def json_budget_row(r: BudgetRow) -> dict[str, Any]:
    return {
        'spent_usd': write_usd(r.spent_usd_nano),
        'reserved_usd': write_usd(r.reserved_usd_nano),
        'window_end_us': r.window_end_us,
    }


def read_allocation(d: Any) -> Allocation:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Allocation)
    v = get('row')
    if type(v) is not str:
        raise wrong('a string', v, 'row')
    r.row = v
    v = get('amount')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'amount')
    r.amount = v
    v = get('until_us')
    if v is None:
        r.until_us = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'until_us')
        r.until_us = v
    v = get('limit')
    if v is None:
        r.limit = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'limit')
        r.limit = v
    v = get('period_us')
    if v is None:
        r.period_us = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'period_us')
        r.period_us = v
    return r


def json_allocation(r: Allocation) -> dict[str, Any]:
    return {
        'row': r.row,
        'amount': r.amount,
        'until_us': r.until_us,
        'limit': r.limit,
        'period_us': r.period_us,
    }


def read_call_row(d: Any) -> CallRow:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(CallRow)
    v = get('end_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'end_us')
    r.end_us = v
    v = get('status')
    if type(v) is not str or v not in CALL_STATUS:
        raise bad_symbol(CALL_STATUS, v, 'status')
    r.status = v
    v = get('content')
    try:
        r.content = read_fixed(v, 32)
    except RequestError as error:
        raise inside('content', error) from None
    v = get('decision')
    try:
        r.decision = read_bytes(v)
    except RequestError as error:
        raise inside('decision', error) from None
    v = get('time_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'time_us')
    r.time_us = v
    v = get('expires_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'expires_us')
    r.expires_us = v
    v = get('provider')
    if type(v) is not str:
        raise wrong('a string', v, 'provider')
    r.provider = v
    v = get('model')
    if type(v) is not str:
        raise wrong('a string', v, 'model')
    r.model = v
    v = get('service_tier')
    if v is None:
        r.service_tier = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'service_tier')
        r.service_tier = v
    v = get('reserved_usd')
    if v is None:
        r.reserved_usd_nano = 0
    else:
        try:
            r.reserved_usd_nano = read_usd(v)
        except RequestError as error:
            raise inside('reserved_usd', error) from None
    v = get('input_usd')
    if v is None:
        r.input_usd_nano = 0
    else:
        try:
            r.input_usd_nano = read_usd(v)
        except RequestError as error:
            raise inside('input_usd', error) from None
    v = get('estimated_tokens')
    if v is None:
        r.estimated_tokens = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'estimated_tokens')
        r.estimated_tokens = v
    v = get('charged_usd')
    if v is None:
        r.charged_usd_nano = 0
    else:
        try:
            r.charged_usd_nano = read_usd(v)
        except RequestError as error:
            raise inside('charged_usd', error) from None
    v = get('charged_tokens')
    if v is None:
        r.charged_tokens = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'charged_tokens')
        r.charged_tokens = v
    v = get('release_on_expiry')
    if v is None:
        r.release_on_expiry = False
    else:
        if type(v) is not bool:
            raise wrong('a boolean', v, 'release_on_expiry')
        r.release_on_expiry = v
    v = get('budgets')
    if v is None:
        r.budgets = []
    else:
        r.budgets = read_array('budgets', v, read_allocation)
    v = get('token_rates')
    if v is None:
        r.token_rates = []
    else:
        r.token_rates = read_array('token_rates', v, read_allocation)
    return r


def json_call_row(r: CallRow) -> dict[str, Any]:
    return {
        'end_us': r.end_us,
        'status': r.status,
        'content': r.content.hex(),
        'decision': write_bytes(r.decision),
        'time_us': r.time_us,
        'expires_us': r.expires_us,
        'provider': r.provider,
        'model': r.model,
        'service_tier': r.service_tier,
        'reserved_usd': write_usd(r.reserved_usd_nano),
        'input_usd': write_usd(r.input_usd_nano),
        'estimated_tokens': r.estimated_tokens,
        'charged_usd': write_usd(r.charged_usd_nano),
        'charged_tokens': r.charged_tokens,
        'release_on_expiry': r.release_on_expiry,
        'budgets': [json_allocation(x) for x in r.budgets],
        'token_rates': [json_allocation(x) for x in r.token_rates],
    }


def read_claim(d: Any) -> Claim:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Claim)
    v = get('partition')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'partition')
    r.partition = v
    v = get('epoch')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'epoch')
    r.epoch = v
    v = get('owner')
    if type(v) is not str:
        raise wrong('a string', v, 'owner')
    r.owner = v
    v = get('starts')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'starts')
    r.starts = v
    return r


def json_claim(r: Claim) -> dict[str, Any]:
    return {
        'partition': r.partition,
        'epoch': r.epoch,
        'owner': r.owner,
        'starts': r.starts,
    }


def read_dead_letter(d: Any) -> DeadLetter:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(DeadLetter)
    v = get('topic')
    if type(v) is not str:
        raise wrong('a string', v, 'topic')
    r.topic = v
    v = get('partition')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'partition')
    r.partition = v
    v = get('offset')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'offset')
    r.offset = v
    v = get('time_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'time_us')
    r.time_us = v
    v = get('code')
    if type(v) is not str:
        raise wrong('a string', v, 'code')
    r.code = v
    v = get('reason')
    if type(v) is not str:
        raise wrong('a string', v, 'reason')
    r.reason = v
    v = get('key')
    if v is None:
        r.key = None
    else:
        try:
            r.key = read_bytes(v)
        except RequestError as error:
            raise inside('key', error) from None
    v = get('value')
    if v is None:
        r.value = None
    else:
        try:
            r.value = read_bytes(v)
        except RequestError as error:
            raise inside('value', error) from None
    v = get('headers')
    if v is None:
        r.headers = {}
    else:
        r.headers = read_map('headers', v, read_bytes)
    return r


def json_dead_letter(r: DeadLetter) -> dict[str, Any]:
    return {
        'topic': r.topic,
        'partition': r.partition,
        'offset': r.offset,
        'time_us': r.time_us,
        'code': r.code,
        'reason': r.reason,
        'key': None if r.key is None else write_bytes(r.key),
        'value': None if r.value is None else write_bytes(r.value),
        'headers': {k: write_bytes(x) for k, x in r.headers.items()},
    }


def read_reason(d: Any) -> Reason:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Reason)
    v = get('policy')
    if type(v) is not str:
        raise wrong('a string', v, 'policy')
    r.policy = v
    v = get('rule')
    if type(v) is not str:
        raise wrong('a string', v, 'rule')
    r.rule = v
    v = get('verdict')
    if type(v) is not str or v not in VERDICT:
        raise bad_symbol(VERDICT, v, 'verdict')
    r.verdict = v
    v = get('code')
    if type(v) is not str:
        raise wrong('a string', v, 'code')
    r.code = v
    v = get('message')
    if type(v) is not str:
        raise wrong('a string', v, 'message')
    r.message = v
    return r


def json_reason(r: Reason) -> dict[str, Any]:
    return {
        'policy': r.policy,
        'rule': r.rule,
        'verdict': r.verdict,
        'code': r.code,
        'message': r.message,
    }


def read_edit(d: Any) -> Edit:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Edit)
    v = get('op')
    if type(v) is not str or v not in EDIT_OP:
        raise bad_symbol(EDIT_OP, v, 'op')
    r.op = v
    v = get('path')
    if type(v) is not str:
        raise wrong('a string', v, 'path')
    r.path = v
    r.value = None
    if 'value' in d:
        v = d['value']
        try:
            r.value = read_json(v)
        except RequestError as error:
            raise inside('value', error) from None
    v = get('start')
    if v is None:
        r.start = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'start')
        r.start = v
    v = get('end')
    if v is None:
        r.end = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'end')
        r.end = v
    v = get('text')
    if v is None:
        r.text = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'text')
        r.text = v
    v = get('sha256')
    if v is None:
        r.sha256 = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'sha256')
        r.sha256 = v
    return r


def json_edit(r: Edit) -> dict[str, Any]:
    d: dict[str, Any] = {
        'op': r.op,
        'path': r.path,
    }
    if r.value is not None:
        d['value'] = write_json(r.value)
    if r.start is not None:
        d['start'] = r.start
    if r.end is not None:
        d['end'] = r.end
    if r.text is not None:
        d['text'] = r.text
    if r.sha256 is not None:
        d['sha256'] = r.sha256
    return d


def read_facts(d: Any) -> Facts:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Facts)
    v = get('input_tokens')
    if v is None:
        r.input_tokens = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'input_tokens')
        r.input_tokens = v
    v = get('estimated_cost_usd')
    if v is None:
        r.estimated_cost_usd_nano = None
    else:
        try:
            r.estimated_cost_usd_nano = read_usd(v)
        except RequestError as error:
            raise inside('estimated_cost_usd', error) from None
    v = get('pii')
    if v is None:
        r.pii = {}
    else:
        r.pii = read_map('pii', v, read_long)
    v = get('secrets')
    if v is None:
        r.secrets = {}
    else:
        r.secrets = read_map('secrets', v, read_long)
    v = get('injection')
    if v is None:
        r.injection = None
    else:
        try:
            r.injection = read_double(v)
        except RequestError as error:
            raise inside('injection', error) from None
    return r


def json_facts(r: Facts) -> dict[str, Any]:
    return {
        'input_tokens': r.input_tokens,
        'estimated_cost_usd': None if r.estimated_cost_usd_nano is None else write_usd(r.estimated_cost_usd_nano),
        'pii': r.pii.copy(),
        'secrets': r.secrets.copy(),
        'injection': r.injection,
    }


def read_budget_view(d: Any) -> BudgetView:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(BudgetView)
    v = get('policy')
    if type(v) is not str:
        raise wrong('a string', v, 'policy')
    r.policy = v
    v = get('id')
    if type(v) is not str:
        raise wrong('a string', v, 'id')
    r.id = v
    v = get('key')
    if type(v) is not str:
        raise wrong('a string', v, 'key')
    r.key = v
    v = get('limit_usd')
    try:
        r.limit_usd_nano = read_usd(v)
    except RequestError as error:
        raise inside('limit_usd', error) from None
    v = get('spent_usd')
    try:
        r.spent_usd_nano = read_usd(v)
    except RequestError as error:
        raise inside('spent_usd', error) from None
    v = get('reserved_usd')
    try:
        r.reserved_usd_nano = read_usd(v)
    except RequestError as error:
        raise inside('reserved_usd', error) from None
    return r


def json_budget_view(r: BudgetView) -> dict[str, Any]:
    return {
        'policy': r.policy,
        'id': r.id,
        'key': r.key,
        'limit_usd': write_usd(r.limit_usd_nano),
        'spent_usd': write_usd(r.spent_usd_nano),
        'reserved_usd': write_usd(r.reserved_usd_nano),
    }


def read_reservation(d: Any) -> Reservation:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Reservation)
    v = get('usd')
    try:
        r.usd_nano = read_usd(v)
    except RequestError as error:
        raise inside('usd', error) from None
    v = get('expires_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'expires_us')
    r.expires_us = v
    return r


def json_reservation(r: Reservation) -> dict[str, Any]:
    return {
        'usd': write_usd(r.usd_nano),
        'expires_us': r.expires_us,
    }


def read_rule_error(d: Any) -> RuleError:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(RuleError)
    v = get('policy')
    if type(v) is not str:
        raise wrong('a string', v, 'policy')
    r.policy = v
    v = get('rule')
    if type(v) is not str:
        raise wrong('a string', v, 'rule')
    r.rule = v
    v = get('code')
    if type(v) is not str:
        raise wrong('a string', v, 'code')
    r.code = v
    v = get('message')
    if type(v) is not str:
        raise wrong('a string', v, 'message')
    r.message = v
    return r


def json_rule_error(r: RuleError) -> dict[str, Any]:
    return {
        'policy': r.policy,
        'rule': r.rule,
        'code': r.code,
        'message': r.message,
    }


def read_subject(d: Any) -> Subject:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Subject)
    v = get('key_id')
    if type(v) is not str:
        raise wrong('a string', v, 'key_id')
    r.key_id = v
    v = get('data')
    try:
        r.data = read_bytes(v)
    except RequestError as error:
        raise inside('data', error) from None
    return r


def json_subject(r: Subject) -> dict[str, Any]:
    return {
        'key_id': r.key_id,
        'data': write_bytes(r.data),
    }


def read_decision(d: Any) -> Decision:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Decision)
    v = get('id')
    if type(v) is not str:
        raise wrong('a string', v, 'id')
    r.id = v
    v = get('request_id')
    if type(v) is not str:
        raise wrong('a string', v, 'request_id')
    r.request_id = v
    v = get('attempt')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'attempt')
    r.attempt = v
    v = get('tenant')
    if type(v) is not str:
        raise wrong('a string', v, 'tenant')
    r.tenant = v
    v = get('account')
    if type(v) is not str:
        raise wrong('a string', v, 'account')
    r.account = v
    v = get('verdict')
    if type(v) is not str or v not in VERDICT:
        raise bad_symbol(VERDICT, v, 'verdict')
    r.verdict = v
    v = get('http_status')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'http_status')
    r.http_status = v
    v = get('reasons')
    r.reasons = read_array('reasons', v, read_reason)
    v = get('reasons_count')
    if v is None:
        r.reasons_count = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'reasons_count')
        r.reasons_count = v
    v = get('edits')
    if v is None:
        r.edits = []
    else:
        r.edits = read_array('edits', v, read_edit)
    v = get('warnings')
    if v is None:
        r.warnings = []
    else:
        r.warnings = read_array('warnings', v, read_reason)
    v = get('retry_after_ms')
    if v is None:
        r.retry_after_ms = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'retry_after_ms')
        r.retry_after_ms = v
    v = get('facts')
    if v is None:
        r.facts = Facts()
    else:
        try:
            r.facts = read_facts(v)
        except RequestError as error:
            raise inside('facts', error) from None
    v = get('budgets')
    if v is None:
        r.budgets = []
    else:
        r.budgets = read_array('budgets', v, read_budget_view)
    v = get('reservation')
    if v is None:
        r.reservation = None
    else:
        try:
            r.reservation = read_reservation(v)
        except RequestError as error:
            raise inside('reservation', error) from None
    v = get('errors')
    if v is None:
        r.errors = []
    else:
        r.errors = read_array('errors', v, read_rule_error)
    v = get('shadow')
    if v is None:
        r.shadow = []
    else:
        r.shadow = read_array('shadow', v, read_reason)
    v = get('policy_digest')
    if type(v) is not str:
        raise wrong('a string', v, 'policy_digest')
    r.policy_digest = v
    v = get('policy_sets')
    if v is None:
        r.policy_sets = {}
    else:
        r.policy_sets = read_map('policy_sets', v, read_string)
    v = get('data_digest')
    if type(v) is not str:
        raise wrong('a string', v, 'data_digest')
    r.data_digest = v
    v = get('engine')
    if type(v) is not str:
        raise wrong('a string', v, 'engine')
    r.engine = v
    v = get('source')
    try:
        r.source = read_source(v)
    except RequestError as error:
        raise inside('source', error) from None
    v = get('time_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'time_us')
    r.time_us = v
    v = get('subject')
    if v is None:
        r.subject = None
    else:
        try:
            r.subject = read_subject(v)
        except RequestError as error:
            raise inside('subject', error) from None
    v = get('effects')
    if v is None:
        r.effects = []
    else:
        r.effects = read_array('effects', v, read_effect)
    return r


def json_decision(r: Decision) -> dict[str, Any]:
    return {
        'id': r.id,
        'request_id': r.request_id,
        'attempt': r.attempt,
        'tenant': r.tenant,
        'account': r.account,
        'verdict': r.verdict,
        'http_status': r.http_status,
        'reasons': [json_reason(x) for x in r.reasons],
        'reasons_count': r.reasons_count,
        'edits': [json_edit(x) for x in r.edits],
        'warnings': [json_reason(x) for x in r.warnings],
        'retry_after_ms': r.retry_after_ms,
        'facts': json_facts(r.facts),
        'budgets': [json_budget_view(x) for x in r.budgets],
        'reservation': None if r.reservation is None else json_reservation(r.reservation),
        'errors': [json_rule_error(x) for x in r.errors],
        'shadow': [json_reason(x) for x in r.shadow],
        'policy_digest': r.policy_digest,
        'policy_sets': r.policy_sets.copy(),
        'data_digest': r.data_digest,
        'engine': r.engine,
        'source': json_source(r.source),
        'time_us': r.time_us,
        'subject': None if r.subject is None else json_subject(r.subject),
        'effects': [json_effect(x) for x in r.effects],
    }


def read_lease(d: Any) -> Lease:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Lease)
    v = get('kind')
    if type(v) is not str or v not in LEASE_KIND:
        raise bad_symbol(LEASE_KIND, v, 'kind')
    r.kind = v
    v = get('tenant')
    if type(v) is not str:
        raise wrong('a string', v, 'tenant')
    r.tenant = v
    v = get('row')
    if type(v) is not str:
        raise wrong('a string', v, 'row')
    r.row = v
    v = get('holder')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'holder')
    r.holder = v
    v = get('sequence')
    if v is None:
        r.sequence = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'sequence')
        r.sequence = v
    v = get('amount_usd')
    if v is None:
        r.amount_usd_nano = 0
    else:
        try:
            r.amount_usd_nano = read_usd(v)
        except RequestError as error:
            raise inside('amount_usd', error) from None
    v = get('need_usd')
    if v is None:
        r.need_usd_nano = 0
    else:
        try:
            r.need_usd_nano = read_usd(v)
        except RequestError as error:
            raise inside('need_usd', error) from None
    v = get('least_usd')
    if v is None:
        r.least_usd_nano = 0
    else:
        try:
            r.least_usd_nano = read_usd(v)
        except RequestError as error:
            raise inside('least_usd', error) from None
    v = get('window_end_us')
    if v is None:
        r.window_end_us = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'window_end_us')
        r.window_end_us = v
    v = get('is_short')
    if v is None:
        r.is_short = False
    else:
        if type(v) is not bool:
            raise wrong('a boolean', v, 'is_short')
        r.is_short = v
    return r


def json_lease(r: Lease) -> dict[str, Any]:
    return {
        'kind': r.kind,
        'tenant': r.tenant,
        'row': r.row,
        'holder': r.holder,
        'sequence': r.sequence,
        'amount_usd': write_usd(r.amount_usd_nano),
        'need_usd': write_usd(r.need_usd_nano),
        'least_usd': write_usd(r.least_usd_nano),
        'window_end_us': r.window_end_us,
        'is_short': r.is_short,
    }


def read_lease_row(d: Any) -> LeaseRow:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(LeaseRow)
    v = get('granted_usd')
    try:
        r.granted_usd_nano = read_usd(v)
    except RequestError as error:
        raise inside('granted_usd', error) from None
    v = get('repaid_usd')
    try:
        r.repaid_usd_nano = read_usd(v)
    except RequestError as error:
        raise inside('repaid_usd', error) from None
    v = get('window_end_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'window_end_us')
    r.window_end_us = v
    v = get('sequence')
    if v is None:
        r.sequence = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'sequence')
        r.sequence = v
    v = get('answered')
    if v is None:
        r.answered = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'answered')
        r.answered = v
    v = get('asked_us')
    if v is None:
        r.asked_us = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'asked_us')
        r.asked_us = v
    v = get('asked_usd')
    if v is None:
        r.asked_usd_nano = 0
    else:
        try:
            r.asked_usd_nano = read_usd(v)
        except RequestError as error:
            raise inside('asked_usd', error) from None
    v = get('used_usd')
    if v is None:
        r.used_usd_nano = 0
    else:
        try:
            r.used_usd_nano = read_usd(v)
        except RequestError as error:
            raise inside('used_usd', error) from None
    v = get('until_us')
    if v is None:
        r.until_us = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'until_us')
        r.until_us = v
    v = get('is_short')
    if v is None:
        r.is_short = False
    else:
        if type(v) is not bool:
            raise wrong('a boolean', v, 'is_short')
        r.is_short = v
    v = get('is_recalled')
    if v is None:
        r.is_recalled = False
    else:
        if type(v) is not bool:
            raise wrong('a boolean', v, 'is_recalled')
        r.is_recalled = v
    return r


def json_lease_row(r: LeaseRow) -> dict[str, Any]:
    return {
        'granted_usd': write_usd(r.granted_usd_nano),
        'repaid_usd': write_usd(r.repaid_usd_nano),
        'window_end_us': r.window_end_us,
        'sequence': r.sequence,
        'answered': r.answered,
        'asked_us': r.asked_us,
        'asked_usd': write_usd(r.asked_usd_nano),
        'used_usd': write_usd(r.used_usd_nano),
        'until_us': r.until_us,
        'is_short': r.is_short,
        'is_recalled': r.is_recalled,
    }


def read_holding(d: Any) -> Holding:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Holding)
    v = get('holder')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'holder')
    r.holder = v
    v = get('granted_usd')
    try:
        r.granted_usd_nano = read_usd(v)
    except RequestError as error:
        raise inside('granted_usd', error) from None
    v = get('repaid_usd')
    try:
        r.repaid_usd_nano = read_usd(v)
    except RequestError as error:
        raise inside('repaid_usd', error) from None
    v = get('sequence')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'sequence')
    r.sequence = v
    v = get('is_recalled')
    if v is None:
        r.is_recalled = False
    else:
        if type(v) is not bool:
            raise wrong('a boolean', v, 'is_recalled')
        r.is_recalled = v
    return r


def json_holding(r: Holding) -> dict[str, Any]:
    return {
        'holder': r.holder,
        'granted_usd': write_usd(r.granted_usd_nano),
        'repaid_usd': write_usd(r.repaid_usd_nano),
        'sequence': r.sequence,
        'is_recalled': r.is_recalled,
    }


def read_lent_row(d: Any) -> LentRow:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(LentRow)
    v = get('window_end_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'window_end_us')
    r.window_end_us = v
    v = get('holdings')
    if v is None:
        r.holdings = []
    else:
        r.holdings = read_array('holdings', v, read_holding)
    return r


def json_lent_row(r: LentRow) -> dict[str, Any]:
    return {
        'window_end_us': r.window_end_us,
        'holdings': [json_holding(x) for x in r.holdings],
    }


def read_moved_row(d: Any) -> MovedRow:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(MovedRow)
    v = get('key')
    if type(v) is not str:
        raise wrong('a string', v, 'key')
    r.key = v
    v = get('value')
    if v is None:
        r.value = None
    else:
        try:
            r.value = read_bytes(v)
        except RequestError as error:
            raise inside('value', error) from None
    return r


def json_moved_row(r: MovedRow) -> dict[str, Any]:
    return {
        'key': r.key,
        'value': None if r.value is None else write_bytes(r.value),
    }


def read_move(d: Any) -> Move:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Move)
    v = get('from_partition')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'from_partition')
    r.from_partition = v
    v = get('to_partition')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'to_partition')
    r.to_partition = v
    v = get('partition_count')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'partition_count')
    r.partition_count = v
    v = get('rows')
    r.rows = read_array('rows', v, read_moved_row)
    v = get('partition_count_before')
    if v is None:
        r.partition_count_before = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'partition_count_before')
        r.partition_count_before = v
    return r


def json_move(r: Move) -> dict[str, Any]:
    return {
        'from_partition': r.from_partition,
        'to_partition': r.to_partition,
        'partition_count': r.partition_count,
        'rows': [json_moved_row(x) for x in r.rows],
        'partition_count_before': r.partition_count_before,
    }


def read_policy_ack(d: Any) -> PolicyAck:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(PolicyAck)
    v = get('instance_id')
    if type(v) is not str:
        raise wrong('a string', v, 'instance_id')
    r.instance_id = v
    v = get('policy_offset')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'policy_offset')
    r.policy_offset = v
    v = get('partitions')
    if v is None:
        r.partitions = []
    else:
        r.partitions = read_array('partitions', v, read_long)
    v = get('sets')
    if v is None:
        r.sets = {}
    else:
        r.sets = read_map('sets', v, read_string)
    v = get('invalid')
    if v is None:
        r.invalid = {}
    else:
        r.invalid = read_map('invalid', v, read_string)
    v = get('time_us')
    if v is None:
        r.time_us = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'time_us')
        r.time_us = v
    v = get('refused')
    if v is None:
        r.refused = {}
    else:
        r.refused = read_map('refused', v, read_string)
    v = get('revisions')
    if v is None:
        r.revisions = {}
    else:
        r.revisions = read_map('revisions', v, read_long)
    return r


def json_policy_ack(r: PolicyAck) -> dict[str, Any]:
    return {
        'instance_id': r.instance_id,
        'policy_offset': r.policy_offset,
        'partitions': r.partitions.copy(),
        'sets': r.sets.copy(),
        'invalid': r.invalid.copy(),
        'time_us': r.time_us,
        'refused': r.refused.copy(),
        'revisions': r.revisions.copy(),
    }


def read_policy_document(d: Any) -> PolicyDocument:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(PolicyDocument)
    v = get('kind')
    if type(v) is not str:
        raise wrong('a string', v, 'kind')
    r.kind = v
    v = get('id')
    if type(v) is not str:
        raise wrong('a string', v, 'id')
    r.id = v
    v = get('scope')
    if type(v) is not str:
        raise wrong('a string', v, 'scope')
    r.scope = v
    v = get('digest')
    if type(v) is not str:
        raise wrong('a string', v, 'digest')
    r.digest = v
    v = get('canonical')
    if type(v) is not str:
        raise wrong('a string', v, 'canonical')
    r.canonical = v
    v = get('source')
    if v is None:
        r.source = ''
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'source')
        r.source = v
    v = get('place')
    if v is None:
        r.place = ''
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'place')
        r.place = v
    return r


def json_policy_document(r: PolicyDocument) -> dict[str, Any]:
    return {
        'kind': r.kind,
        'id': r.id,
        'scope': r.scope,
        'digest': r.digest,
        'canonical': r.canonical,
        'source': r.source,
        'place': r.place,
    }


def read_policy_set(d: Any) -> PolicySet:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(PolicySet)
    v = get('scope')
    if type(v) is not str:
        raise wrong('a string', v, 'scope')
    r.scope = v
    v = get('revision')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'revision')
    r.revision = v
    v = get('replaces')
    if v is None:
        r.replaces = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'replaces')
        r.replaces = v
    v = get('documents')
    r.documents = read_array('documents', v, read_string)
    v = get('digest')
    if type(v) is not str:
        raise wrong('a string', v, 'digest')
    r.digest = v
    v = get('author')
    if v is None:
        r.author = ''
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'author')
        r.author = v
    v = get('time_us')
    if v is None:
        r.time_us = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'time_us')
        r.time_us = v
    return r


def json_policy_set(r: PolicySet) -> dict[str, Any]:
    return {
        'scope': r.scope,
        'revision': r.revision,
        'replaces': r.replaces,
        'documents': r.documents.copy(),
        'digest': r.digest,
        'author': r.author,
        'time_us': r.time_us,
    }


def read_position_row(d: Any) -> PositionRow:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(PositionRow)
    v = get('request_offset')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'request_offset')
    r.request_offset = v
    v = get('usage_offset')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'usage_offset')
    r.usage_offset = v
    v = get('chain_head')
    try:
        r.chain_head = read_fixed(v, 32)
    except RequestError as error:
        raise inside('chain_head', error) from None
    v = get('next_sequence')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'next_sequence')
    r.next_sequence = v
    v = get('tail_start')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'tail_start')
    r.tail_start = v
    v = get('now_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'now_us')
    r.now_us = v
    v = get('policy_offset')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'policy_offset')
    r.policy_offset = v
    v = get('partition_count')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'partition_count')
    r.partition_count = v
    v = get('starts')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'starts')
    r.starts = v
    v = get('trying')
    if v is None:
        r.trying = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'trying')
        r.trying = v
    v = get('trying_count')
    if v is None:
        r.trying_count = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'trying_count')
        r.trying_count = v
    v = get('lease_offset')
    if v is None:
        r.lease_offset = 0
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'lease_offset')
        r.lease_offset = v
    return r


def json_position_row(r: PositionRow) -> dict[str, Any]:
    return {
        'request_offset': r.request_offset,
        'usage_offset': r.usage_offset,
        'chain_head': r.chain_head.hex(),
        'next_sequence': r.next_sequence,
        'tail_start': r.tail_start,
        'now_us': r.now_us,
        'policy_offset': r.policy_offset,
        'partition_count': r.partition_count,
        'starts': r.starts,
        'trying': r.trying,
        'trying_count': r.trying_count,
        'lease_offset': r.lease_offset,
    }


def read_rate_row(d: Any) -> RateRow:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(RateRow)
    v = get('full_at_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'full_at_us')
    r.full_at_us = v
    v = get('fraction')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'fraction')
    r.fraction = v
    v = get('limit')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'limit')
    r.limit = v
    return r


def json_rate_row(r: RateRow) -> dict[str, Any]:
    return {
        'full_at_us': r.full_at_us,
        'fraction': r.fraction,
        'limit': r.limit,
    }


def read_user(d: Any) -> User:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(User)
    v = get('id')
    if v is None:
        r.id = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'id')
        r.id = v
    v = get('roles')
    if v is None:
        r.roles = []
    else:
        r.roles = read_array('roles', v, read_string)
    v = get('permissions')
    if v is None:
        r.permissions = []
    else:
        r.permissions = read_array('permissions', v, read_string)
    v = get('email')
    if v is None:
        r.email = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'email')
        r.email = v
    v = get('region')
    if v is None:
        r.region = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'region')
        r.region = v
    return r


def json_user(r: User) -> dict[str, Any]:
    return {
        'id': r.id,
        'roles': r.roles.copy(),
        'permissions': r.permissions.copy(),
        'email': r.email,
        'region': r.region,
    }


def read_team(d: Any) -> Team:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Team)
    v = get('id')
    if v is None:
        r.id = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'id')
        r.id = v
    v = get('name')
    if v is None:
        r.name = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'name')
        r.name = v
    v = get('tier')
    if v is None:
        r.tier = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'tier')
        r.tier = v
    return r


def json_team(r: Team) -> dict[str, Any]:
    return {
        'id': r.id,
        'name': r.name,
        'tier': r.tier,
    }


def read_project(d: Any) -> Project:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Project)
    v = get('id')
    if v is None:
        r.id = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'id')
        r.id = v
    v = get('name')
    if v is None:
        r.name = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'name')
        r.name = v
    v = get('environment')
    if v is None:
        r.environment = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'environment')
        r.environment = v
    return r


def json_project(r: Project) -> dict[str, Any]:
    return {
        'id': r.id,
        'name': r.name,
        'environment': r.environment,
    }


def read_caller(d: Any) -> Caller:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Caller)
    v = get('kind')
    if v is None:
        r.kind = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'kind')
        r.kind = v
    v = get('ip')
    if v is None:
        r.ip = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'ip')
        r.ip = v
    return r


def json_caller(r: Caller) -> dict[str, Any]:
    return {
        'kind': r.kind,
        'ip': r.ip,
    }


def read_part(d: Any) -> Part:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Part)
    v = get('type')
    if type(v) is not str:
        raise wrong('a string', v, 'type')
    r.type = v
    v = get('text')
    if v is None:
        r.text = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'text')
        r.text = v
    v = get('mime')
    if v is None:
        r.mime = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'mime')
        r.mime = v
    v = get('bytes')
    if v is None:
        r.bytes = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'bytes')
        r.bytes = v
    v = get('width')
    if v is None:
        r.width = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'width')
        r.width = v
    v = get('height')
    if v is None:
        r.height = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'height')
        r.height = v
    v = get('seconds')
    if v is None:
        r.seconds = None
    else:
        try:
            r.seconds = read_double(v)
        except RequestError as error:
            raise inside('seconds', error) from None
    v = get('sha256')
    if v is None:
        r.sha256 = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'sha256')
        r.sha256 = v
    return r


def json_part(r: Part) -> dict[str, Any]:
    d: dict[str, Any] = {
        'type': r.type,
    }
    if r.text is not None:
        d['text'] = r.text
    if r.mime is not None:
        d['mime'] = r.mime
    if r.bytes is not None:
        d['bytes'] = r.bytes
    if r.width is not None:
        d['width'] = r.width
    if r.height is not None:
        d['height'] = r.height
    if r.seconds is not None:
        d['seconds'] = r.seconds
    if r.sha256 is not None:
        d['sha256'] = r.sha256
    return d


def read_tool_call(d: Any) -> ToolCall:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(ToolCall)
    v = get('id')
    if v is None:
        r.id = ''
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'id')
        r.id = v
    v = get('name')
    if type(v) is not str:
        raise wrong('a string', v, 'name')
    r.name = v
    v = get('arguments')
    if v is None:
        r.arguments = ''
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'arguments')
        r.arguments = v
    return r


def json_tool_call(r: ToolCall) -> dict[str, Any]:
    return {
        'id': r.id,
        'name': r.name,
        'arguments': r.arguments,
    }


def read_message(d: Any) -> Message:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Message)
    v = get('role')
    if type(v) is not str:
        raise wrong('a string', v, 'role')
    r.role = v
    v = get('content')
    if v is None:
        r.content = ''
    else:
        try:
            r.content = _read_string_or_parts(v)
        except RequestError as error:
            raise inside('content', error) from None
    v = get('name')
    if v is None:
        r.name = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'name')
        r.name = v
    v = get('origin')
    if v is None:
        r.origin = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'origin')
        r.origin = v
    v = get('tool_calls')
    if v is None:
        r.tool_calls = []
    else:
        r.tool_calls = read_array('tool_calls', v, read_tool_call)
    v = get('tool_call_id')
    if v is None:
        r.tool_call_id = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'tool_call_id')
        r.tool_call_id = v
    return r


def json_message(r: Message) -> dict[str, Any]:
    d: dict[str, Any] = {
        'role': r.role,
        'content': [json_part(x) for x in r.content] if isinstance(r.content, list) else r.content,
    }
    if r.name is not None:
        d['name'] = r.name
    if r.origin is not None:
        d['origin'] = r.origin
    if r.tool_calls:
        d['tool_calls'] = [json_tool_call(x) for x in r.tool_calls]
    if r.tool_call_id is not None:
        d['tool_call_id'] = r.tool_call_id
    return d


def read_llm(d: Any) -> Llm:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Llm)
    v = get('provider')
    if type(v) is not str or not v:
        raise bad_string(v, 'provider')
    r.provider = v
    v = get('model')
    if type(v) is not str or not v:
        raise bad_string(v, 'model')
    r.model = v
    v = get('operation')
    if v is None:
        r.operation = 'chat'
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'operation')
        r.operation = v
    v = get('max_tokens')
    if v is None:
        r.max_tokens = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'max_tokens')
        r.max_tokens = v
    v = get('temperature')
    if v is None:
        r.temperature = None
    else:
        try:
            r.temperature = read_double(v)
        except RequestError as error:
            raise inside('temperature', error) from None
    v = get('n')
    if v is None:
        r.n = 1
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'n')
        r.n = v
    v = get('stream')
    if v is None:
        r.stream = False
    else:
        if type(v) is not bool:
            raise wrong('a boolean', v, 'stream')
        r.stream = v
    v = get('messages')
    if v is None:
        r.messages = []
    else:
        r.messages = read_array('messages', v, read_message)
    v = get('prompt')
    if v is None:
        r.prompt = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'prompt')
        r.prompt = v
    v = get('tools')
    if v is None:
        r.tools = []
    else:
        r.tools = read_array('tools', v, read_json)
    v = get('tool_choice')
    if v is None:
        r.tool_choice = None
    else:
        try:
            r.tool_choice = read_json(v)
        except RequestError as error:
            raise inside('tool_choice', error) from None
    v = get('response_format')
    if v is None:
        r.response_format = None
    else:
        try:
            r.response_format = read_json(v)
        except RequestError as error:
            raise inside('response_format', error) from None
    v = get('reasoning_effort')
    if v is None:
        r.reasoning_effort = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'reasoning_effort')
        r.reasoning_effort = v
    v = get('service_tier')
    if v is None:
        r.service_tier = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'service_tier')
        r.service_tier = v
    return r


def json_llm(r: Llm) -> dict[str, Any]:
    return {
        'provider': r.provider,
        'model': r.model,
        'operation': r.operation,
        'max_tokens': r.max_tokens,
        'temperature': r.temperature,
        'n': r.n,
        'stream': r.stream,
        'messages': [json_message(x) for x in r.messages],
        'prompt': r.prompt,
        'tools': [write_json(x) for x in r.tools],
        'tool_choice': None if r.tool_choice is None else write_json(r.tool_choice),
        'response_format': None if r.response_format is None else write_json(r.response_format),
        'reasoning_effort': r.reasoning_effort,
        'service_tier': r.service_tier,
    }


def read_request(d: Any) -> Request:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Request)
    v = get('id')
    if type(v) is not str or not v:
        raise bad_string(v, 'id')
    r.id = v
    v = get('tenant')
    if type(v) is not str or not v:
        raise bad_string(v, 'tenant')
    r.tenant = v
    v = get('attempt')
    if v is None:
        r.attempt = 1
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'attempt')
        r.attempt = v
    v = get('phase')
    if v is None:
        r.phase = 'request'
    else:
        if type(v) is not str or v not in PHASE:
            raise bad_symbol(PHASE, v, 'phase')
        r.phase = v
    v = get('deadline_ms')
    if v is None:
        r.deadline_ms = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'deadline_ms')
        r.deadline_ms = v
    v = get('parent_id')
    if v is None:
        r.parent_id = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'parent_id')
        r.parent_id = v
    v = get('part')
    if v is None:
        r.part = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'part')
        r.part = v
    v = get('final')
    if v is None:
        r.final = None
    else:
        if type(v) is not bool:
            raise wrong('a boolean', v, 'final')
        r.final = v
    v = get('user')
    if v is None:
        r.user = User()
    else:
        try:
            r.user = read_user(v)
        except RequestError as error:
            raise inside('user', error) from None
    v = get('team')
    if v is None:
        r.team = Team()
    else:
        try:
            r.team = read_team(v)
        except RequestError as error:
            raise inside('team', error) from None
    v = get('project')
    if v is None:
        r.project = Project()
    else:
        try:
            r.project = read_project(v)
        except RequestError as error:
            raise inside('project', error) from None
    v = get('conversation_id')
    if v is None:
        r.conversation_id = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'conversation_id')
        r.conversation_id = v
    v = get('caller')
    if v is None:
        r.caller = Caller()
    else:
        try:
            r.caller = read_caller(v)
        except RequestError as error:
            raise inside('caller', error) from None
    v = get('llm')
    try:
        r.llm = read_llm(v)
    except RequestError as error:
        raise inside('llm', error) from None
    v = get('attributes')
    if v is None:
        r.attributes = {}
    else:
        r.attributes = read_map('attributes', v, _read_null_or_boolean_or_long_or_double_or_string_or_strings)
    r.raw = None
    return r


def json_request(r: Request) -> dict[str, Any]:
    return {
        'id': r.id,
        'tenant': r.tenant,
        'attempt': r.attempt,
        'phase': r.phase,
        'deadline_ms': r.deadline_ms,
        'parent_id': r.parent_id,
        'part': r.part,
        'final': r.final,
        'user': json_user(r.user),
        'team': json_team(r.team),
        'project': json_project(r.project),
        'conversation_id': r.conversation_id,
        'caller': json_caller(r.caller),
        'llm': json_llm(r.llm),
        'attributes': r.attributes.copy(),
    }


def read_usage(d: Any) -> Usage:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(Usage)
    v = get('request_id')
    if type(v) is not str or not v:
        raise bad_string(v, 'request_id')
    r.request_id = v
    v = get('tenant')
    if type(v) is not str or not v:
        raise bad_string(v, 'tenant')
    r.tenant = v
    v = get('attempt')
    if v is None:
        r.attempt = 1
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'attempt')
        r.attempt = v
    v = get('final')
    if v is None:
        r.final = True
    else:
        if type(v) is not bool:
            raise wrong('a boolean', v, 'final')
        r.final = v
    v = get('outcome')
    if v is None:
        r.outcome = 'completed'
    else:
        if type(v) is not str or v not in OUTCOME:
            raise bad_symbol(OUTCOME, v, 'outcome')
        r.outcome = v
    v = get('provider')
    if v is None:
        r.provider = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'provider')
        r.provider = v
    v = get('model')
    if v is None:
        r.model = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'model')
        r.model = v
    v = get('input_tokens')
    if v is None:
        r.input_tokens = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'input_tokens')
        r.input_tokens = v
    v = get('cached_tokens')
    if v is None:
        r.cached_tokens = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'cached_tokens')
        r.cached_tokens = v
    v = get('cache_write_tokens')
    if v is None:
        r.cache_write_tokens = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'cache_write_tokens')
        r.cache_write_tokens = v
    v = get('output_tokens')
    if v is None:
        r.output_tokens = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'output_tokens')
        r.output_tokens = v
    v = get('reasoning_tokens')
    if v is None:
        r.reasoning_tokens = None
    else:
        if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
            raise bad_integer(v, 'reasoning_tokens')
        r.reasoning_tokens = v
    v = get('cost_usd')
    if v is None:
        r.cost_usd_nano = None
    else:
        try:
            r.cost_usd_nano = read_usd(v)
        except RequestError as error:
            raise inside('cost_usd', error) from None
    v = get('acted')
    if v is None:
        r.acted = None
    else:
        if type(v) is not str or v not in ACTED:
            raise bad_symbol(ACTED, v, 'acted')
        r.acted = v
    v = get('user')
    if v is None:
        r.user = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'user')
        r.user = v
    v = get('team')
    if v is None:
        r.team = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'team')
        r.team = v
    v = get('project')
    if v is None:
        r.project = None
    else:
        if type(v) is not str:
            raise wrong('a string', v, 'project')
        r.project = v
    return r


def json_usage(r: Usage) -> dict[str, Any]:
    return {
        'request_id': r.request_id,
        'tenant': r.tenant,
        'attempt': r.attempt,
        'final': r.final,
        'outcome': r.outcome,
        'provider': r.provider,
        'model': r.model,
        'input_tokens': r.input_tokens,
        'cached_tokens': r.cached_tokens,
        'cache_write_tokens': r.cache_write_tokens,
        'output_tokens': r.output_tokens,
        'reasoning_tokens': r.reasoning_tokens,
        'cost_usd': None if r.cost_usd_nano is None else write_usd(r.cost_usd_nano),
        'acted': r.acted,
        'user': r.user,
        'team': r.team,
        'project': r.project,
    }


def read_waiting_usage_row(d: Any) -> WaitingUsageRow:
    if type(d) is not dict:
        raise wrong('an object', d)
    get = d.get
    r = new_instance(WaitingUsageRow)
    v = get('end_us')
    if type(v) is not int or not INT64_MIN <= v <= INT64_MAX:
        raise bad_integer(v, 'end_us')
    r.end_us = v
    v = get('account')
    if type(v) is not str:
        raise wrong('a string', v, 'account')
    r.account = v
    v = get('reports')
    r.reports = read_array('reports', v, read_bytes)
    return r


def json_waiting_usage_row(r: WaitingUsageRow) -> dict[str, Any]:
    return {
        'end_us': r.end_us,
        'account': r.account,
        'reports': [write_bytes(x) for x in r.reports],
    }


READERS: Final[dict[type, Callable[[Any], Any]]] = {
    Source: read_source,
    Effect: read_effect,
    Audit: read_audit,
    BudgetRow: read_budget_row,
    Allocation: read_allocation,
    CallRow: read_call_row,
    Claim: read_claim,
    DeadLetter: read_dead_letter,
    Reason: read_reason,
    Edit: read_edit,
    Facts: read_facts,
    BudgetView: read_budget_view,
    Reservation: read_reservation,
    RuleError: read_rule_error,
    Subject: read_subject,
    Decision: read_decision,
    Lease: read_lease,
    LeaseRow: read_lease_row,
    Holding: read_holding,
    LentRow: read_lent_row,
    MovedRow: read_moved_row,
    Move: read_move,
    PolicyAck: read_policy_ack,
    PolicyDocument: read_policy_document,
    PolicySet: read_policy_set,
    PositionRow: read_position_row,
    RateRow: read_rate_row,
    User: read_user,
    Team: read_team,
    Project: read_project,
    Caller: read_caller,
    Part: read_part,
    ToolCall: read_tool_call,
    Message: read_message,
    Llm: read_llm,
    Request: read_request,
    Usage: read_usage,
    WaitingUsageRow: read_waiting_usage_row,
}
WRITERS: Final[dict[type, Callable[[Any], dict[str, Any]]]] = {
    Source: json_source,
    Effect: json_effect,
    Audit: json_audit,
    BudgetRow: json_budget_row,
    Allocation: json_allocation,
    CallRow: json_call_row,
    Claim: json_claim,
    DeadLetter: json_dead_letter,
    Reason: json_reason,
    Edit: json_edit,
    Facts: json_facts,
    BudgetView: json_budget_view,
    Reservation: json_reservation,
    RuleError: json_rule_error,
    Subject: json_subject,
    Decision: json_decision,
    Lease: json_lease,
    LeaseRow: json_lease_row,
    Holding: json_holding,
    LentRow: json_lent_row,
    MovedRow: json_moved_row,
    Move: json_move,
    PolicyAck: json_policy_ack,
    PolicyDocument: json_policy_document,
    PolicySet: json_policy_set,
    PositionRow: json_position_row,
    RateRow: json_rate_row,
    User: json_user,
    Team: json_team,
    Project: json_project,
    Caller: json_caller,
    Part: json_part,
    ToolCall: json_tool_call,
    Message: json_message,
    Llm: json_llm,
    Request: json_request,
    Usage: json_usage,
    WaitingUsageRow: json_waiting_usage_row,
}
WITH_AMOUNTS: Final[frozenset[type]] = frozenset(
    {
        BudgetRow,
        CallRow,
        Facts,
        BudgetView,
        Reservation,
        Decision,
        Lease,
        LeaseRow,
        Holding,
        LentRow,
        Usage,
    }
)
