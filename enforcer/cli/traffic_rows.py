"""Outcomes, decisions and audit records as JSON and as a line for people."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from enforcer import events
from enforcer.errors import EnforcerError

if TYPE_CHECKING:
    from enforcer.broker import Record
    from enforcer.client import Outcome


def outcome_json(request: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    """What a gateway was told about one call."""
    return {
        "request_id": request["id"],
        "tenant": request["tenant"],
        "attempt": request.get("attempt", 1),
        "verdict": outcome.verdict,
        "acted": outcome.acted,
        "code": outcome.code,
        "by_timeout": outcome.by_timeout,
        "latency_ms": round(outcome.latency_ms, 3),
        "decision": None if outcome.decision is None else events.to_json(outcome.decision),
    }


def outcome_line(request: dict[str, Any], outcome: Outcome) -> str:
    """The same for people."""
    reasons = outcome.decision.reasons if outcome.decision is not None else []
    why = reasons[0].message if reasons else ""
    verdict = "timeout" if outcome.by_timeout else outcome.verdict
    columns = f"{verdict:<8} {outcome.latency_ms:>8.1f} ms  {request['id']:<24} {outcome.code:<20}"
    return f"{columns} {why}".rstrip()


def record_json(record: Record, *, is_audit: bool) -> dict[str, Any] | None:
    """
    A record of decisions or audit, with its place.

    None for a claim. A record that cannot be read has its place and an ``error``.
    """
    place = {"partition": record.partition, "offset": record.offset}
    value = record.value or b""
    try:
        if is_audit:
            return {**place, **_audit_json(value)}
        decision = events.read_decision(value)
    except EnforcerError as error:
        return {**place, "error": error.code}
    if isinstance(decision, events.Claim):
        return None
    return {**place, **events.to_json(decision)}


def _audit_json(value: bytes) -> dict[str, Any]:
    audit = events.decode_audit(value)
    plain = events.to_json(audit)
    payload = plain.pop("payload")
    try:
        if audit.kind == "decision":
            plain["decision"] = events.to_json(events.read_decision(audit.payload))
        elif audit.kind == "settlement":
            plain["usage"] = events.to_json(events.read_usage(audit.payload))
        else:
            plain["payload"] = payload
    except EnforcerError:
        plain["payload"] = base64.b64encode(audit.payload).decode()
    return plain


def matches(plain: dict[str, Any], wanted: list[tuple[str, str]]) -> bool:
    """Whether all (field, value) pairs hold, here or in the decision or usage inside."""
    inner = plain.get("decision") or plain.get("usage") or {}
    return all(value in {_text(plain, field), _text(inner, field)} for field, value in wanted)


def _text(plain: dict[str, Any], field: str) -> str | None:
    found: Any = plain
    for name in field.split("."):
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    if isinstance(found, bool) or found is None:
        return {True: "true", False: "false", None: "null"}[found]
    return str(found)


def line(plain: dict[str, Any]) -> str:
    """One record for people: when, where, who, what and why."""
    place = f"{plain['partition']}/{plain['offset']}"
    if "error" in plain:
        return f"{'?':<12} {place:<10} unreadable: {plain['error']}"
    time = _clock(plain["time_us"])
    decision = plain if "verdict" in plain else plain.get("decision")
    kind = f"{plain['kind']:<10} {plain['sequence']:<7} " if "kind" in plain else ""
    if decision is None:
        what = " ".join([plain["account"], *plain.get("notes", [])])
        usage = plain.get("usage") or {}
        return f"{time} {place:<10} {kind}{what} {usage.get('request_id', '')}".rstrip()
    why = _why(decision)
    return f"{time} {place:<10} {kind}{decision['verdict']:<7} {decision['account']:<16} {why}"


def _clock(time_us: int) -> str:
    """Event time, as people read it; a dash before a partition's first event, where there is none."""
    if time_us <= 0:
        return f"{'-':<12}"
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%H:%M:%S.%f")[:-3]


def _why(decision: dict[str, Any]) -> str:
    reasons = decision.get("reasons") or []
    request_id = decision["request_id"]
    if not reasons:
        return str(request_id)
    first = reasons[0]
    rule = f"{first['policy']}/{first['rule']}"
    return f"{request_id}  {first['code']} {rule}: {first['message']}"
