"""
A chat body as OpenAI's API takes it, read into the call of a request record.

Tools and the retired functions, tool choice and function call, text and media parts: whatever counts
as input. What is no chat body is a ``RequestError`` that names the place.
"""

from __future__ import annotations

import json
from typing import Any

from enforcer.errors import RequestError
from enforcer.events import Llm, Message, Part, Request, ToolCall

_MEDIA = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "audio": "audio",
    "file": "file",
    "input_file": "file",
}


def chat_request(model: str, body: dict[str, Any], provider: str = "") -> Request:
    """
    The request record of a chat body, for counting and for nothing else: id and tenant are empty.

    Raises: RequestError ``invalid_request``, if messages, tools or calls are not what the API takes.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise _invalid("messages", "a list of messages is needed")
    tools = body.get("tools") or body.get("functions") or []
    if not isinstance(tools, list):
        raise _invalid("tools", "a list of tools is needed")
    choice = body.get("tool_choice", body.get("function_call"))
    form = body.get("response_format")
    llm = Llm(
        provider=provider,
        model=model,
        messages=[_message(message, index) for index, message in enumerate(messages)],
        tools=[json.dumps(tool, ensure_ascii=False) for tool in tools],
        tool_choice=None if choice in (None, "auto") else json.dumps(choice),
        response_format=_schema_text(form),
    )
    return Request(id="", tenant="", llm=llm)


def _schema_text(form: Any) -> str | None:
    """Only a schema is shown to the model; ``text`` and ``json_object`` add nothing."""
    if isinstance(form, dict) and form.get("type") == "json_schema":
        return json.dumps(form, ensure_ascii=False)
    return None


def _message(message: Any, index: int) -> Message:
    place = f"messages[{index}]"
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise _invalid(place, "a message is an object with a role")
    name = message.get("name")
    if name is not None and not isinstance(name, str):
        raise _invalid(f"{place}.name", "a name is a text")
    return Message(
        role=message["role"],
        content=_content(message.get("content"), place),
        name=name,
        tool_calls=_calls(message, place),
    )


def _content(content: Any, place: str) -> str | list[Part]:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return [_part(part, place) for part in content]
    raise _invalid(f"{place}.content", "a content is a text or a list of parts")


def _part(part: Any, place: str) -> Part:
    if isinstance(part, str):
        return Part("text", part)
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise _invalid(f"{place}.content", "a part is an object with a type")
    text = part.get("text", part.get("refusal"))
    if isinstance(text, str):
        return Part("text", text)
    kind = _MEDIA.get(part["type"], "file")
    image = part.get("image_url")
    detail = image.get("detail") if isinstance(image, dict) else part.get("detail")
    # No field of the record says it: a parameter of the type does, see ``media``.
    mime = "image/*;detail=low" if kind == "image" and detail == "low" else None
    return Part(
        kind,
        mime=mime,
        width=_number(part, "width"),
        height=_number(part, "height"),
        seconds=_seconds(part),
    )


def _number(part: dict[str, Any], name: str) -> int | None:
    value = part.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(part: dict[str, Any]) -> float | None:
    value = part.get("seconds")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _calls(message: dict[str, Any], place: str) -> list[ToolCall]:
    found = message.get("tool_calls") or []
    if message.get("function_call") is not None:
        found = [*found, {"function": message["function_call"]}]
    calls = []
    for call in found:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise _invalid(f"{place}.tool_calls", "a call names a function")
        arguments = function.get("arguments") or ""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        calls.append(ToolCall(name=function["name"], arguments=text))
    return calls


def _invalid(place: str, why: str) -> RequestError:
    return RequestError(f"`{place}`: {why}", code="invalid_request", place=place)
