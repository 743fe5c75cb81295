"""What a tenant says of its requests: fields they must have, and the values of those they leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer import events
from enforcer.engine.edits import ABSENT, json_text, pointer, segments, value_at
from enforcer.events.edits import apply_edits

if TYPE_CHECKING:
    from enforcer.policy import TenantSettings


def absent_of(settings: TenantSettings, request: events.Request) -> list[str]:
    """The required paths that are absent in *request*."""
    return [path for path in settings.required if value_at(request, segments(path)) is ABSENT]


def completed_by(settings: TenantSettings, request: events.Request) -> events.Request:
    """
    The request with the tenant's defaults for what it leaves out; the same object where it leaves out nothing.

    Raises: RequestError ``edit_failed``, where a default has no place in this request.
    """
    given = [
        events.Edit("add", pointer(segments(path)), json_text(value))
        for path, value in settings.defaults.items()
        if value_at(request, segments(path)) is ABSENT
    ]
    return apply_edits(request, given) if given else request
