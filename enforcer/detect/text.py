"""The text of a request: which strings of it a model reads, and where they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enforcer.events import Message, Request


def text_parts(request: Request) -> list[tuple[str, str]]:
    """
    Every text a model would read, with its place as an RFC 6901 JSON pointer, in order.

    These are the prompt, the text parts of all messages (tool results are messages) and the
    arguments of tool calls. Empty texts are left out; media never travel, so they have none.
    """
    llm = request.llm
    parts: list[tuple[str, str]] = []
    if llm.prompt:
        parts.append(("/llm/prompt", llm.prompt))
    for index, message in enumerate(llm.messages):
        content = message.content
        if type(content) is str and not message.tool_calls:
            # The common message, kept free of calls: this runs for every message of every event.
            if content:
                parts.append((f"/llm/messages/{index}/content", content))
        else:
            parts.extend(_parts_of(message, f"/llm/messages/{index}"))
    return parts


def message_texts(message: Message) -> list[str]:
    """The texts of one message: its content and the arguments of its tool calls, none empty."""
    if type(message.content) is str and not message.tool_calls:
        return [message.content] if message.content else []
    return [text for _, text in _parts_of(message, "")]


def prompt(request: Request) -> str:
    """All text parts joined by newlines: the fact ``llm.prompt``."""
    llm = request.llm
    if not llm.prompt and len(llm.messages) == 1:
        message = llm.messages[0]
        if isinstance(message.content, str) and not message.tool_calls:
            return message.content
    return "\n".join([text for _, text in text_parts(request)])


def _parts_of(message: Message, place: str) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    content = message.content
    if isinstance(content, str):
        if content:
            parts.append((f"{place}/content", content))
    else:
        for index, part in enumerate(content):
            if part.text:
                parts.append((f"{place}/content/{index}/text", part.text))
    for index, call in enumerate(message.tool_calls):
        if call.arguments:
            parts.append((f"{place}/tool_calls/{index}/arguments", call.arguments))
    return parts
