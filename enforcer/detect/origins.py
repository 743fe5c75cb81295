"""Whose a text is: the house's own, or somebody's who may give the model orders that are not the tenant's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.detect import injection
from enforcer.detect.text import message_texts

if TYPE_CHECKING:
    from enforcer.events import Message

# Who writes these speaks for the tenant: orders to the model are their business.
_OWN_ROLES = frozenset({"system", "developer"})


def foreign_texts(messages: list[Message]) -> list[tuple[str, str]]:
    """(text, origin) of what nobody of the house wrote."""
    texts: list[tuple[str, str]] = []
    for message in messages:
        origin = _origin(message)
        if origin is not None:
            texts += [(text, origin) for text in message_texts(message)]
    return texts


def _origin(message: Message) -> str | None:
    """Where a message's text comes from: as it says, else by its role; None for the house's own."""
    if message.origin in injection.ORIGINS:
        return message.origin
    if message.role in _OWN_ROLES:
        return None
    return "tool" if message.role in {"tool", "function"} else "user"
