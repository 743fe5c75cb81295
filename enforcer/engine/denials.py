"""Denials that need no rule: what the caller, the tenant or the engine itself stands in the way with."""

from __future__ import annotations

from enforcer import events
from enforcer.engine.ruling import Ruling
from enforcer.errors import RequestError


class DenialError(RequestError):
    """Ends the evaluation of a request with a denial. *code* is the reason's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code=code)


def deny(code: str, message: str) -> Ruling:
    """A ruling with one reason and nothing else known of the request."""
    return Ruling(verdict="deny", reasons=[events.Reason("", "", "deny", code, message)])
