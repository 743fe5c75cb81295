"""A call while it is in flight: what names it, how it is written, and what its verdict makes of it."""

from __future__ import annotations

import os
import time
from copy import copy
from typing import TYPE_CHECKING, Any, Final

import orjson

from enforcer import events
from enforcer.client.outcome import Outcome
from enforcer.errors import RequestError
from enforcer.events.edits import apply_edits, apply_edits_to_json

if TYPE_CHECKING:
    import asyncio

    from enforcer.client.sender import Parcel
    from enforcer.events import Decision, Request, Usage

DEADLINE_MS: Final = 2000
_TRACEPARENT_LENGTH: Final = 55

Key = tuple[str, str, int]
"""Tenant, request id, attempt: what names a call."""


class Call:
    """One call in flight."""

    __slots__ = (
        "account",
        "future",
        "key",
        "on_timeout",
        "parcel",
        "partition",
        "request",
        "started_ns",
        "timer",
        "traceparent",
        "who",
    )

    account: bytes
    future: asyncio.Future[Outcome]
    key: Key
    on_timeout: str
    parcel: Parcel
    partition: int
    request: Request | dict[str, Any]
    started_ns: int
    timer: asyncio.TimerHandle
    traceparent: str
    who: tuple[str | None, str | None, str | None]


def traceparent_of(given: str | None) -> str:
    if given is not None and len(given) == _TRACEPARENT_LENGTH and given.isascii():
        return given
    made = os.urandom(24).hex()
    return f"00-{made[:32]}-{made[32:]}-00"


def deadline_of(request: Request | dict[str, Any], deadline_ms: int | None) -> int:
    if deadline_ms is None:
        own = request.get("deadline_ms") if isinstance(request, dict) else request.deadline_ms
        deadline_ms = DEADLINE_MS if own is None else own
    if type(deadline_ms) is not int or deadline_ms <= 0:
        raise RequestError("deadline_ms is a positive number of milliseconds", place="/deadline_ms")
    return deadline_ms


def read_record(call: Call, request: Request, deadline_ms: int | None) -> bytes:
    """Key and value of a record; the deadline goes into the bytes and not into the caller's object."""
    call.key = (request.tenant, request.id, request.attempt)
    call.who = (request.user.id, request.team.id, request.project.id)
    own = request.deadline_ms
    request.deadline_ms = deadline_of(request, deadline_ms)
    try:
        return events.encode_request(request)
    finally:
        request.deadline_ms = own


def read_json(call: Call, request: dict[str, Any], deadline_ms: int | None) -> bytes:
    """The same of a JSON form. Its agent checks the rest, and denies what does not fit."""
    tenant, request_id, attempt = (
        request.get("tenant"),
        request.get("id"),
        request.get("attempt", 1),
    )
    if not (isinstance(tenant, str) and isinstance(request_id, str) and type(attempt) is int):
        raise RequestError("a request needs id and tenant, and its attempt is a number")
    call.key = (tenant, request_id, attempt)
    call.who = (_id(request, "user"), _id(request, "team"), _id(request, "project"))
    try:
        return orjson.dumps({**request, "deadline_ms": deadline_of(request, deadline_ms)})
    except TypeError as error:
        raise RequestError(f"the request is no JSON: {error}") from None


def _id(request: dict[str, Any], field: str) -> str | None:
    record = request.get(field)
    found = record.get("id") if isinstance(record, dict) else None
    return found if isinstance(found, str) else None


def outcome_of(call: Call, decision: Decision) -> Outcome:
    """What a verdict means for the call; edits that do not fit are a deny."""
    verdict = decision.verdict
    acted = "allow" if verdict == "warn" else verdict
    code = decision.reasons[0].code if decision.reasons else ""
    request = call.request
    if verdict == "modify":
        try:
            if isinstance(request, dict):
                request = apply_edits_to_json(request, decision.edits)
            else:
                request = apply_edits(request, decision.edits)
        except RequestError:
            verdict, acted, code = "deny", "deny", "edit_failed"
    return Outcome(
        verdict=verdict,
        acted=acted,
        code=code,
        decision=decision,
        request=request,
        latency_ms=(time.perf_counter_ns() - call.started_ns) / 1e6,
        by_timeout=False,
        traceparent=call.traceparent,
    )


def filled(usage: Usage, acted: str | None, who: tuple[str | None, ...]) -> Usage:
    """A copy that says what was done and who asked, where the report does not say it itself."""
    usage = copy(usage)
    user, team, project = who
    usage.acted = acted if usage.acted is None else usage.acted
    usage.user = user if usage.user is None else usage.user
    usage.team = team if usage.team is None else usage.team
    usage.project = project if usage.project is None else usage.project
    return usage
