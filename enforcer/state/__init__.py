"""
Rows and their transitions: budgets, rate limits, calls. Pure: no clock, no I/O, integers only.

Everything that changes money goes through one door, ``apply_all``; all else here reads rows and
works out effects.
"""

from enforcer.state.buckets import Quota, available, wait_us
from enforcer.state.budgets import admits, remaining_usd_nano
from enforcer.state.calls import Lookup, call_keys, ends, lookup
from enforcer.state.effects import Group, Report, apply, apply_all, split
from enforcer.state.expiry import OTHERS_MAX, ExpiryQueue
from enforcer.state.leases import Demand, lease_key, lent_key, lent_usd_nano, slice_usd_nano
from enforcer.state.reconcile import by_account, leaked
from enforcer.state.rows import (
    MemoryRows,
    Row,
    Rows,
    budget_key,
    call_row_key,
    key_part,
    key_values,
    parse_budget_key,
    parse_call_key,
    parse_rate_key,
    rate_key,
    waiting_key,
    waiting_key_of,
)
from enforcer.state.settlement import Joined, Settlement, expire, join, settle
from enforcer.state.sweep import is_spent
from enforcer.state.usage import Rates, is_absurd
from enforcer.state.windows import PERIODS, Window, window

__all__ = [
    "OTHERS_MAX",
    "PERIODS",
    "Demand",
    "ExpiryQueue",
    "Group",
    "Joined",
    "Lookup",
    "MemoryRows",
    "Quota",
    "Rates",
    "Report",
    "Row",
    "Rows",
    "Settlement",
    "Window",
    "admits",
    "apply",
    "apply_all",
    "available",
    "budget_key",
    "by_account",
    "call_keys",
    "call_row_key",
    "ends",
    "expire",
    "is_absurd",
    "is_spent",
    "join",
    "key_part",
    "key_values",
    "leaked",
    "lease_key",
    "lent_key",
    "lent_usd_nano",
    "lookup",
    "parse_budget_key",
    "parse_call_key",
    "parse_rate_key",
    "rate_key",
    "remaining_usd_nano",
    "settle",
    "slice_usd_nano",
    "split",
    "wait_us",
    "waiting_key",
    "waiting_key_of",
    "window",
]
