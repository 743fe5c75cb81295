"""
The ordinary decision of a program as one function, which writes its bytes from pieces.

Theory of operation
===================

Most requests are allowed, with a warning or with a smaller answer at most, within every limit. Of their decisions a third is the same for
every request of the program (digests, sets, versions), and the rest is a few values. The general path (``engine.py``)
makes records of all of it and then encodes them. Here the same bytes are written at once:

1. **The function is made for the program**: its limits are unrolled, what its settings do not ask for is not in it.
   Its text holds numbers of our own counting only; values of authors are what it closes over. Programs that differ in values
   alone have the same text, which is compiled once.

2. **It answers, or it stands aside.** At the first thing that is not ordinary it returns None and has changed nothing;
   then the general path decides, from the beginning, with the same facts. Not ordinary is: a deny, an edit that is no
   cap of the answer (``caps.py``), an error, an exception, anything that a shadow policy finds; a limit reached, or changed since its row was written; a call that is known, usage that waits for it,
   anything due; an attempt above the first; JSON; amounts of nothing; names that keys would escape.

3. **What repeats is made once** (``rows.py``): by value of a limit's key the row's key and its encodings, by window
   its end, by account and set of matched rules the decision around its values (``pieces.py``).

4. **The order is the general path's**: rules, limits, bytes, rows. Everything that can fail comes before the first row
   is written.

The general path is the specification: whatever is decided here has the bytes, rows and ledger it would have had there.
A property holds that (tests/unit/engine/test_engine_ordinary.py).
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from enforcer import events
from enforcer.engine import leasing
from enforcer.engine.ordinary import lines
from enforcer.engine.ordinary.caps import Capping, caps_of
from enforcer.engine.ordinary.pieces import Telling, call_pieces, telling
from enforcer.engine.ordinary.rows import BudgetRows, RateRows, call_prefix
from enforcer.engine.outcome import Entry, Outcome
from enforcer.engine.requirements import absent_of
from enforcer.engine.verdict import joined_facts
from enforcer.events.binary import (
    LONGS,
    OPTIONAL_LONGS,
    SHORT,
    encode_bytes,
    encode_double,
    encode_long,
    encode_map,
    encode_string,
)
from enforcer.policy import key_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from enforcer import detect
    from enforcer.engine.outcome import Arrival
    from enforcer.policy import BudgetLimit, Match, RateLimit, TenantProgram
    from enforcer.state import ExpiryQueue, Rows

    _Told: TypeAlias = Telling | Capping | None
    _Tellings: TypeAlias = dict[tuple[Match, ...], _Told]

ACCOUNTS_MAX: Final = 1_024
KEPT_MAX: Final = 4_096
"""Of models, subjects, places and sets of matched rules that are kept encoded."""
VALUE_BYTES_MAX: Final = 64 * 1024
"""Of a decision that is written here: far below what the general path refuses."""
LIMITS_MAX: Final = 16
"""Programs with more are decided the general way: their function would be long."""


class Ordinary(Protocol):
    """Decides one request of its program, or stands aside."""

    def __call__(
        self,
        arrival: Arrival,
        request: events.Request,
        content: bytes,
        facts: detect.RequestFacts,
        rows: Rows,
        queue: ExpiryQueue,
        /,
    ) -> Outcome | None:
        """
        The outcome, its rows written; None, with nothing changed, where the general path must decide.

        Args:
            arrival: A record in Avro.
            request: As it was read from it: a first attempt, of the phase ``request``.
            content: Digest of its content.
            facts: Of the request; what is computed here stays computed.
            rows: Of the partition.
            queue: Of the same rows.
        """


class _LimitsAskedError(Exception):
    """A rule asked how the limits stand, which the general path alone can tell."""


class _NoLimits:
    """Stands where rules look for ``budget()`` and ``rate()``."""

    def amount(self, *_: object) -> float | None:
        raise _LimitsAskedError


def compile_ordinary(program: TenantProgram, key: bytes) -> Ordinary | None:
    """
    The function of a program; None where none of its decisions is ordinary.

    Args:
        program: Of a tenant.
        key: For pseudonyms in the keys of rows.
    """
    settings = program.settings
    is_odd = (
        program.invalid
        or not program.known
        or program.is_watched
        or settings.defaults
        or any(leasing.spanning(program))
        or len(_budgets(program)) + len(_rates(program)) > LIMITS_MAX
    )
    if is_odd:
        return None
    text = lines.Text()
    budgets = {f"b{at}": limit for at, limit in enumerate(_budgets(program))}
    rates = {f"r{at}": limit for at, limit in enumerate(_rates(program))}
    written: list[tuple[str, bool]] = []
    asking: list[str] = []
    # Those that are tried out are booked behind those in force, as the general path books them.
    for is_tried in (False, True):
        for name, budget in budgets.items():
            if budget.shadow == is_tried:
                found, is_optional = lines.budget(text, budget, name)
                asking += found
                written.append((name, is_optional))
        for name, rate in rates.items():
            if rate.shadow == is_tried:
                found, is_optional = lines.rate(text, rate, name)
                asking += found
                written.append((name, is_optional))
    text.add(lines.admission(program))
    text.add(lines.account(program, [*budgets, *rates]))
    shadow = lines.SHADOW if program.shadow_policies else []
    text.add([*lines.RULES, *shadow, *lines.COST, *lines.BOOKING, *asking, *lines.TELLING])
    text.add(lines.puts(written))
    own = _own(program, key) | text.values
    decide: Ordinary = _maker(text.function(sorted(own)))(**own)
    return decide


@lru_cache(maxsize=256)
def _maker(text: str) -> Callable[..., Ordinary]:
    """What makes the function of *text* around the values of a program. What all share are its globals."""
    scope = dict(_SHARED)
    exec(compile(text, "<ordinary>", "exec"), scope)  # noqa: S102 — text of our own, no author's word in it
    make: Callable[..., Ordinary] = scope["make"]
    return make


def _own(program: TenantProgram, key: bytes) -> dict[str, Any]:
    """The values of one program that its function closes over."""
    settings = program.settings
    call = call_pieces(release_on_expiry=settings.on_expiry == "release")
    accounts: dict[str | None, tuple[Any, ...]] = {}
    no_limits = _NoLimits()

    def new_account(team_id: str | None) -> tuple[Any, ...]:
        if len(accounts) >= ACCOUNTS_MAX:
            accounts.clear()
        found = accounts[team_id] = _account(program, team_id, key)
        return found

    def new_telling(known: _Tellings, account: str, hits: Sequence[Match]) -> _Told:
        found: _Told
        if any(hit.verdict == "modify" for hit in hits):
            caps = caps_of(program, hits)
            found = Capping(program, account, hits, caps=caps, limits=no_limits) if caps else None
        else:
            found = telling(program, account, hits)
        if found is not None and hits:
            if len(known) >= KEPT_MAX:
                known.clear()
                known.update(_unmatched(program, account))
            known[tuple(hits)] = found
        return found

    return {
        "settings": settings, "stopped": program.stopped,
        "aliases": settings.models, "candidates": program.candidates, "shadow_candidates": program.shadow_candidates, "no_limits": no_limits,
        "accounts": accounts, "new_account": new_account, "the_account": new_account(None),
        "new_telling": new_telling, "ttl_us": settings.reservation_ttl_us,
        "dedup_us": settings.dedup_window_us,
        "call_head": call.head, "call_status": call.status, "call_charged": call.charged,
        "models": {}, "subjects": {}, "places": {},
    }  # fmt: skip


def _budgets(program: TenantProgram) -> tuple[BudgetLimit, ...]:
    """In force, and behind them those that are tried out."""
    return (*program.budgets, *program.shadow_budgets)


def _rates(program: TenantProgram) -> tuple[RateLimit, ...]:
    """The same of rate limits."""
    return (*program.rate_limits, *program.shadow_rate_limits)


def _account(program: TenantProgram, team_id: str | None, key: bytes) -> tuple[Any, ...]:
    """What the function unpacks: name, record key, encoded name, keys of calls, decisions, and each limit's rows."""
    settings = program.settings
    name = events.account_of(program.tenant, team_id, settings.account_by)
    tellings = _unmatched(program, name)
    budgets = [BudgetRows(limit, name, settings.time_zone, key) for limit in _budgets(program)]
    rates = [RateRows(limit, name, key) for limit in _rates(program)]
    encoded = encode_string(name)
    return (name, name.encode(), encoded, call_prefix(name), tellings, *budgets, *rates)


def _unmatched(program: TenantProgram, account: str) -> _Tellings:
    """The decision in which no rule matched, ordinary or not."""
    return {(): telling(program, account, ())}


def _new_model(
    known: dict[tuple[str, str, str | None], bytes], provider: str, model: str, tier: str | None
) -> bytes:
    if len(known) >= KEPT_MAX:
        known.clear()
    found = encode_string(provider) + encode_string(model)
    found += b"\x00" if tier is None else b"\x02" + encode_string(tier)
    known[provider, model, tier] = found
    return found


def _new_subject(known: dict[str | None, bytes], user_id: str | None) -> bytes:
    if len(known) >= KEPT_MAX:
        known.clear()
    found = known[user_id] = _subject(user_id, None, None)
    return found


def _subject(user_id: str | None, email: str | None, ip: str | None) -> bytes:
    """What names a person, encoded as the general path has it."""
    named = {"user": user_id, "email": email, "ip": ip}
    named = {name: value for name, value in named.items() if value is not None}
    if not named:
        return b"\x00"
    return b"\x02" + encode_string("none") + encode_bytes(orjson.dumps(named))


def _new_place(known: dict[tuple[str, int], bytes], topic: str, partition: int) -> bytes:
    if len(known) >= KEPT_MAX:
        known.clear()
    found = known[topic, partition] = encode_string(topic) + encode_long(partition)
    return found


_SHARED: Final[dict[str, Any]] = {
    "LONGS": LONGS, "OPTIONAL_LONGS": OPTIONAL_LONGS, "SHORT": SHORT,
    "encode_long": encode_long, "encode_map": encode_map, "encode_double": encode_double,
    "sha256": sha256, "key_values": key_values, "absent_of": absent_of,
    "partition_of": events.partition_of, "BudgetRow": events.BudgetRow, "RateRow": events.RateRow,
    "Capping": Capping, "joined_facts": joined_facts, "Outcome": Outcome, "Entry": Entry, "value_bytes_max": VALUE_BYTES_MAX,
    "new_model": _new_model, "new_subject": _new_subject, "subject_of": _subject, "new_place": _new_place,
}  # fmt: skip
