"""
What a chat template adds to the texts of a request, and what its tools cost.

OpenAI's chat format is exact on the published cases: 3 tokens a message and 1 for a name, 3 to
prime the reply, and tools as the TypeScript namespace they are shown to the model as (formula of
hmarr/openai-chat-tokens, MIT, checked against usage that OpenAI reported). Other families follow
their published templates; what a provider adds of its own makes those estimates.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from enforcer.detect import media

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.detect.vocabulary import Vocabulary
    from enforcer.events import Llm, Message

    Count = Callable[[str], int]

_ROLE_TOKENS = {"system": 1, "user": 1, "assistant": 1, "tool": 1, "function": 1, "developer": 1}
_TOOL_CALL_TOKENS = 3
_TOOLS_TOKENS = 9
_TOOLS_BESIDE_SYSTEM_TOKENS = -4
_TOOL_CHOICE_TOKENS = 4
_TOOL_DEPTH_MAX = 32
_SCHEMA_ERROR_BOUND = 0.05


@dataclass(frozen=True, slots=True)
class Overhead:
    """
    What a template adds, in tokens.

    Attributes:
        message: For each message, its role left out.
        name: For a message with a name, beside the name's own tokens.
        reply: Once, to open the answer.
        error_bound: Relative; 0.0 where usage reported by the provider was matched exactly.
    """

    message: int
    name: int
    reply: int
    error_bound: float


# A call that takes text as it is: no template, so nothing to add.
_PLAIN_OPERATIONS = frozenset(
    {"completion", "completions", "embedding", "embeddings", "moderation"}
)
_PLAIN = Overhead(-1, 0, 0, 0.0)  # Takes back the token of the role that no template names.
OVERHEADS: dict[str, Overhead] = {
    "openai": Overhead(3, 1, 3, 0.0),
    "harmony": Overhead(3, 1, 3, 0.05),
    "chatml": Overhead(4, 1, 3, 0.05),
    "llama3": Overhead(4, 1, 5, 0.05),
    "llama2": Overhead(4, 1, 1, 0.05),
    "mistral": Overhead(1, 1, 1, 0.05),
    "gemma": Overhead(4, 1, 4, 0.05),
    "deepseek": Overhead(0, 1, 2, 0.05),
    "glm": Overhead(1, 1, 4, 0.05),
    "kimi": Overhead(2, 1, 3, 0.05),
    "none": Overhead(3, 1, 3, 0.05),
}


@dataclass(slots=True)
class Counted:
    """
    What was counted.

    Attributes:
        tokens: Of the vocabulary, all in all.
        message_tokens: Those of them that messages brought, in their template.
        media_tokens: Already the model's own, beside the others.
        error_bound: Of the template and of media; the vocabulary has its own.
    """

    tokens: int
    message_tokens: int
    media_tokens: int
    error_bound: float


def input_tokens(
    llm: Llm, vocabulary: Vocabulary, count: Count, *, beginning: tuple[int, int] = (0, 0)
) -> Counted:
    """
    The input tokens of a call: messages or prompt, template, tools, response schema, media.

    Args:
        llm: The call.
        vocabulary: The model's, for its template.
        count: Tokens of a text in it.
        beginning: How many leading messages are known, and the tokens that they bring.
    """
    plain = llm.operation in _PLAIN_OPERATIONS
    overhead = _PLAIN if plain else OVERHEADS[vocabulary.chat]
    known, tokens = beginning
    counted = Counted(overhead.reply, tokens, 0, overhead.error_bound)
    if llm.prompt:
        counted.tokens += overhead.message + 1 + count(llm.prompt)
    for message in llm.messages[known:] if known else llm.messages:
        counted.message_tokens += message_tokens(message, overhead, count)
    counted.tokens += counted.message_tokens
    for message in llm.messages:
        if type(message.content) is not str:
            counted.media_tokens += message_media_tokens(message, llm.model)
    if llm.tools or llm.tool_choice or llm.response_format:
        counted.tokens += fixed_tokens(llm, count)
    if counted.media_tokens:
        counted.error_bound = max(counted.error_bound, media.ERROR_BOUND)
    if llm.response_format:
        counted.error_bound = max(counted.error_bound, _SCHEMA_ERROR_BOUND)
    return counted


def message_tokens(message: Message, overhead: Overhead, count: Count) -> int:
    """The tokens of one message in its template, its media left out."""
    role = message.role
    content = message.content
    tokens = overhead.message + (_ROLE_TOKENS.get(role) or count(role))
    if isinstance(content, str):
        if content:
            tokens += count(content)
    else:
        tokens += sum([count(part.text) for part in content if part.text])
    if message.name:
        tokens += count(message.name) + overhead.name
    if role == "function":
        # The name stands in place of the role here (a rule of OpenAI's retired functions).
        tokens -= 2
    for call in message.tool_calls:
        tokens += count(call.name) + count(call.arguments) + _TOOL_CALL_TOKENS
    return tokens


def message_media_tokens(message: Message, model: str) -> int:
    """The tokens of a message's images, audio and files."""
    if isinstance(message.content, str):
        return 0
    return sum(media.media_tokens(part, model) for part in message.content if part.type != "text")


def fixed_tokens(llm: Llm, count: Count) -> int:
    """The tokens of what is no message: tools, tool choice and response schema."""
    tokens = count(llm.response_format) if llm.response_format else 0
    if llm.tools:
        tokens += count(tools_text(llm.tools)) + _TOOLS_TOKENS
        system = next((m for m in llm.messages if m.role == "system"), None)
        if system is not None:
            tokens += _TOOLS_BESIDE_SYSTEM_TOKENS
            # The first system message gets a line end before the tools that follow it.
            content = system.content
            if isinstance(content, str) and content and not content.endswith("\n"):
                tokens += count(content + "\n") - count(content)
    if llm.tool_choice:
        tokens += _tool_choice_tokens(llm.tool_choice, count)
    return tokens


def tools_text(tools: list[str]) -> str:
    """The tools of a request as the TypeScript namespace that OpenAI's models are shown."""
    lines = ["namespace functions {", ""]
    for source in tools:
        function = _function_of(source)
        name = function.get("name")
        if function.get("description"):
            lines.append(f"// {function['description']}")
        parameters = function.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, dict) else None
        if isinstance(parameters, dict) and isinstance(properties, dict) and properties:
            lines += [f"type {name} = (_: {{", _properties(parameters, 0, 0), "}) => any;"]
        else:
            lines.append(f"type {name} = () => any;")
        lines.append("")
    lines.append("} // namespace functions")
    return "\n".join(lines)


def _tool_choice_tokens(tool_choice: str, count: Count) -> int:
    choice = _json_or_none(tool_choice)
    if choice == "none":
        return 1
    if isinstance(choice, dict):
        function = choice.get("function", choice)
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str):
            return count(name) + _TOOL_CHOICE_TOKENS
    return 0


def _function_of(source: str) -> dict[str, Any]:
    tool = _json_or_none(source)
    if not isinstance(tool, dict):
        return {"name": source}
    function = tool.get("function", tool)
    if not isinstance(function, dict):
        return {"name": str(function)}
    if "parameters" not in function and isinstance(function.get("input_schema"), dict):
        function = {**function, "parameters": function["input_schema"]}
    return function


def _json_or_none(source: str) -> Any:
    try:
        return json.loads(source)
    except (ValueError, RecursionError):
        return None


def _properties(schema: dict[str, Any], indent: int, depth: int) -> str:
    required = schema.get("required") or ()
    properties = schema.get("properties")
    lines = []
    for name, value in (properties if isinstance(properties, dict) else {}).items():
        child = value if isinstance(value, dict) else {}
        if child.get("description") and indent < 2:
            lines.append(f"// {child['description']}")
        optional = "" if isinstance(required, list) and name in required else "?"
        lines.append(f"{name}{optional}: {_type(child, indent, depth)},")
    return "\n".join([" " * indent + line for line in lines])


def _type(schema: dict[str, Any], indent: int, depth: int) -> str:
    if depth >= _TOOL_DEPTH_MAX:
        return "any"
    kind = schema.get("type")
    options = schema.get("enum")
    if isinstance(options, list) and options and kind in ("string", "number", "integer"):
        quote = '"' if kind == "string" else ""
        return " | ".join([f"{quote}{option}{quote}" for option in options])
    if kind == "array":
        items = schema.get("items")
        return f"{_type(items, indent, depth + 1)}[]" if isinstance(items, dict) else "any[]"
    if kind == "object":
        return "\n".join(["{", _properties(schema, indent + 2, depth + 1), "}"])
    simple = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean"}
    return simple.get(str(kind), "null" if kind == "null" else "any")
