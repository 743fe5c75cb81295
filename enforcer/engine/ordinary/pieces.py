"""
What of a program's decisions and rows never changes, encoded once: cut out of samples by their own encoders.

A sample is made as the general path makes the record, with conspicuous values where events differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer import __version__, detect, events
from enforcer.engine.ruling import REASONS_MAX
from enforcer.events.binary import encode_bytes, encode_double, encode_long, encode_string
from enforcer.events.generated import (
    write_allocation,
    write_budget_view,
    write_effect,
    write_reservation,
    write_subject,
)
from enforcer.events.pieces import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.policy import Match, TenantProgram

_SOME: Final = b"\x02"
"""Tag of a value that may be absent, and count of a list or map of one, both before it."""
_END: Final = b"\x00"
_NUMBER: Final = 0x5EED_5EED_5EED
_CONTENT: Final = bytes(range(200, 232))
_ID: Final = "~sample-of-a-decision's-own-id.~"
_VERDICTS: Final = frozenset({"warn", "allow", "modify"})
"""Of rules that may match in an ordinary decision; those that modify bring their edits."""


def _number(at: int) -> int:
    return _NUMBER + at


def _text(at: int) -> str:
    return f"~sample-{at}~"


def _long(at: int) -> bytes:
    return encode_long(_number(at))


def _string(at: int) -> bytes:
    return encode_string(_text(at))


class Telling(NamedTuple):
    """
    A decision around what differs between those of one program, account and set of matched rules.

    Attributes:
        verdict: ``allow``, ``warn`` or ``modify``.
        before_id: Up to the decision's own id.
        before_request: Up to the request's id.
        before_facts: Up to the first fact.
        before_source: From behind the reservation up to the place in the inputs.
    """

    verdict: str
    before_id: bytes
    before_request: bytes
    before_facts: bytes
    before_source: bytes


_NO_PLACE: Final = events.Source(_text(5), *(_number(at) for at in range(20, 26)))
PLACE_SAMPLE: Final = _string(5) + b"".join(_long(at) for at in range(20, 26))
"""The encoding of a Source: topic, partition, offset, positions in usage, policies, lateness, position in leases."""


def telling(
    program: TenantProgram,
    account: str,
    hits: Sequence[Match],
    *,
    edits: Sequence[events.Edit] = (),
) -> Telling | None:
    """
    The pieces of a decision.

    Args:
        program: Of the tenant.
        account: Whose decision it is.
        hits: What matched, in order; of rules that modify, those whose edits are among *edits*.
        edits: Of the request.

    Returns: None where it is no ordinary decision.
    """
    if any(hit.verdict not in _VERDICTS or hit.origin is not None for hit in hits):
        return None
    if not hits and program.settings.default_verdict == "deny":
        return None
    sample = _sample(program, account, hits, edits)
    found = cut(
        events.encode_decision(sample),
        _ID.encode(),
        _string(1),
        _SOME + _long(2),
        _SOME + _long(3),
        _SOME + _string(4) + _SOME + _END,
        _SOME + _string(18) + _SOME + _END,
        _SOME + encode_double(_INJECTION),
        _SOME + write_budget_view(_VIEW) + _END,
        _SOME + write_reservation(_RESERVATION),
        PLACE_SAMPLE,
        _long(11),
        _SOME + write_subject(_SUBJECT),
        _SOME + write_effect(_EFFECT) + _END,
    )
    if any((*found[3:9], *found[10:])):
        raise ValueError("a decision's facts, or its end, are not where they were")
    before_id, before_request, before_facts = found[:3]
    return Telling(sample.verdict, before_id, before_request, before_facts, found[9])


_INJECTION: Final = 0.7182818
_SUBJECT: Final = events.Subject(_text(12), b"~sample-13~")
_EFFECT: Final = events.Effect("drop", _text(14))
_VIEW: Final = events.BudgetView("", "", _text(15), 0, 0, 0)
_RESERVATION: Final = events.Reservation(_number(16), _number(17))


def _sample(
    program: TenantProgram, account: str, hits: Sequence[Match], edits: Sequence[events.Edit]
) -> events.Decision:
    """The decision of the general path, with samples where events differ."""
    warnings = [_reason(hit) for hit in hits if hit.verdict == "warn"]
    changes = [_reason(hit) for hit in hits if hit.verdict == "modify"]
    reasons = changes or warnings or [_reason(hit) for hit in hits]
    verdict = "modify" if changes else "warn" if warnings else "allow"
    return events.Decision(
        id=_ID,
        request_id=_text(1),
        attempt=1,
        tenant=program.tenant,
        account=account,
        verdict=verdict,
        http_status=200,
        reasons=reasons[:REASONS_MAX],
        reasons_count=len(reasons),
        edits=list(edits),
        warnings=warnings,
        facts=events.Facts(_number(2), _number(3), {_text(4): 1}, {_text(18): 1}, _INJECTION),
        budgets=[_VIEW],
        reservation=_RESERVATION,
        policy_digest=program.policy_digest,
        policy_sets=program.policy_sets,
        data_digest=detect.DATA_DIGEST,
        engine=__version__,
        source=_NO_PLACE,
        time_us=_number(11),
        subject=_SUBJECT,
        effects=[_EFFECT],
    )


def _reason(hit: Match) -> events.Reason:
    return events.Reason(hit.policy, hit.rule, hit.verdict, hit.code, hit.reason)


class CallPieces(NamedTuple):
    """A call's row, open, around its end, content, decision, times, model, amounts and allocations."""

    head: bytes
    status: bytes
    charged: bytes
    """What it was charged (nothing) and what becomes of its reservation."""


def call_pieces(*, release_on_expiry: bool) -> CallPieces:
    """The pieces of the rows that a program opens."""
    budget, rate = events.Allocation(_text(1), 1), events.Allocation(_text(2), 2)
    sample = events.CallRow(
        _number(3), "open", _CONTENT, b"~sample-4~", _number(5), _number(6), _text(7), _text(8), _text(9),
        _number(10), _number(11), _number(12),
        release_on_expiry=release_on_expiry, budgets=[budget], token_rates=[rate],
    )  # fmt: skip
    found = cut(
        events.encode_call_row(sample),
        _long(3),
        _CONTENT,
        encode_bytes(b"~sample-4~"),
        _long(5),
        _long(6),
        _string(7),
        _string(8),
        _SOME + _string(9),
        _long(10),
        _long(11),
        _long(12),
        _SOME + write_allocation(budget) + _END,
        _SOME + write_allocation(rate) + _END,
    )
    if any((*found[2:11], *found[12:])):
        raise ValueError("a call's row is not as it was")
    return CallPieces(found[0], found[1], found[11])


def effect_pieces(kind: str) -> tuple[bytes, ...]:
    """An effect around its row key, amount, at_us, until_us, limit and period_us: what is before them, and nothing else."""
    sample = events.Effect(kind, _text(1), *(_number(at) for at in range(2, 7)))
    head, *rest = cut(write_effect(sample), _string(1), *(_long(at) for at in range(2, 7)))
    if any(rest):
        raise ValueError("an effect is not as it was")
    return (head,)


EFFECT_HEADS: Final = {kind: effect_pieces(kind)[0] for kind in ("reserve", "take", "open")}
"""An effect up to its row key; behind it amount, at_us, until_us, limit and period_us stand bare."""


def _check_plain_records() -> None:
    """What is written field by field elsewhere has these fields in this order, and no other."""
    view = events.BudgetView(_text(1), _text(2), _text(3), _number(4), _number(5), _number(6))
    fields = [_string(1), _string(2), _string(3), _long(4), _long(5), _long(6)]
    allocation = events.Allocation(_text(1), _number(2), _number(3), _number(4), _number(5))
    rest = [_string(1), _long(2), _long(3), _long(4), _long(5)]
    reservation = events.Reservation(_number(1), _number(2))
    subject = events.Subject(_text(1), b"~sample-2~")
    found = (
        *cut(write_budget_view(view), *fields),
        *cut(write_allocation(allocation), *rest),
        *cut(write_reservation(reservation), _long(1), _long(2)),
        *cut(write_subject(subject), _string(1), encode_bytes(b"~sample-2~")),
    )
    if any(found):
        raise ValueError("a record has other fields than it had")


_check_plain_records()
