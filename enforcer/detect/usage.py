"""
Usage blocks of providers in one normal form: input includes cached, output includes reasoning.

Providers count the same things in different sums. Anthropic and Bedrock leave cached tokens out of
the input, Google leaves thoughts out of the output; the others include both. The normal form is
that of a usage record, so that a charge is the same whichever provider was called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TOKENS_MAX = 1 << 53


@dataclass(frozen=True, slots=True)
class NormalUsage:
    """
    Tokens of one call.

    Attributes:
        input_tokens: All that was read, cached and cache-write tokens included.
        output_tokens: All that was written, reasoning included.
        cached_tokens: Those of the input that came from the provider's cache.
        cache_write_tokens: Those of the input that were written to it.
        reasoning_tokens: Those of the output that nobody sees.
        cache_write_1h_tokens: Those of the cache writes that are kept for an hour.
        audio_input_tokens: Those of the input that are sound.
        audio_output_tokens: Those of the output that are sound.
        cached_audio_tokens: Those of the cached input that are sound.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    cached_audio_tokens: int = 0


def normal_usage(block: Mapping[str, Any]) -> NormalUsage | None:
    """
    The normal form of a provider's usage block, or None if it is none that is known.

    Args:
        block: ``usage`` of OpenAI (chat and responses), Azure, Mistral, DeepSeek, Anthropic, or
            Bedrock (Converse and the messages of its models); ``usageMetadata`` of Google; or a usage
            record of ours. A whole response works as well.
    """
    for outer in ("usage", "usageMetadata", "usage_metadata"):
        inner = block.get(outer)
        if isinstance(inner, Mapping):
            block = inner
            break
    if _has(block, "promptTokenCount", "prompt_token_count"):
        return _google(block)
    if _has(block, "inputTokens"):
        return _bedrock(block)
    if _has(block, "prompt_tokens"):
        return _openai(block, "prompt", "completion")
    if _has(block, "input_tokens"):
        if _has(block, "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"):
            return _anthropic(block)
        if "input_tokens_details" not in block and _has(block, *_OWN_NAMES):
            return _own(block)
        return _openai(block, "input", "output")
    return None


def _openai(block: Mapping[str, Any], inputs: str, outputs: str) -> NormalUsage:
    """Sums that include their parts; DeepSeek names the cached part otherwise."""
    read = _part(block, f"{inputs}_tokens_details")
    written = _part(block, f"{outputs}_tokens_details")
    cached = _count(read, "cached_tokens") or _count(block, "prompt_cache_hit_tokens")
    sound = _part(read, "cached_tokens_details")
    return NormalUsage(
        input_tokens=_count(block, f"{inputs}_tokens"),
        output_tokens=_count(block, f"{outputs}_tokens"),
        cached_tokens=cached,
        cache_write_tokens=_count(read, "cache_write_tokens"),
        reasoning_tokens=_count(written, "reasoning_tokens"),
        audio_input_tokens=_count(read, "audio_tokens"),
        audio_output_tokens=_count(written, "audio_tokens"),
        cached_audio_tokens=_count(sound, "audio_tokens"),
    )


def _own(block: Mapping[str, Any]) -> NormalUsage:
    """A usage record's names: the normal form itself."""
    return NormalUsage(
        input_tokens=_count(block, "input_tokens"),
        output_tokens=_count(block, "output_tokens"),
        cached_tokens=_count(block, "cached_tokens", "cache_read_tokens", "cached_input_tokens"),
        cache_write_tokens=_count(block, "cache_write_tokens"),
        reasoning_tokens=_count(block, "reasoning_tokens", "output_reasoning_tokens"),
        cache_write_1h_tokens=_count(block, "cache_write_1h_tokens"),
        audio_input_tokens=_count(block, "audio_input_tokens", "input_audio_tokens"),
        audio_output_tokens=_count(block, "audio_output_tokens", "output_audio_tokens"),
        cached_audio_tokens=_count(block, "cached_audio_tokens", "cache_audio_read_tokens"),
    )


def _anthropic(block: Mapping[str, Any]) -> NormalUsage:
    """The input without what was read from or written to the cache."""
    cached = _count(block, "cache_read_input_tokens")
    written = _count(block, "cache_creation_input_tokens")
    if not written:
        written = sum(_count(_part(block, "cache_creation"), key) for key in _CACHE_WRITES)
    return NormalUsage(
        input_tokens=_count(block, "input_tokens") + cached + written,
        output_tokens=_count(block, "output_tokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=_count(_part(block, "cache_creation"), _CACHE_WRITES[1]),
    )


def _bedrock(block: Mapping[str, Any]) -> NormalUsage:
    """As Anthropic's sums, in the names of Bedrock's Converse."""
    cached = _count(block, "cacheReadInputTokens")
    written = _count(block, "cacheWriteInputTokens")
    return NormalUsage(
        input_tokens=_count(block, "inputTokens") + cached + written,
        output_tokens=_count(block, "outputTokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
    )


def _google(block: Mapping[str, Any]) -> NormalUsage:
    """The input with what was cached, without the prompts of tools; the output without thoughts."""
    thoughts = _count(block, "thoughtsTokenCount", "thoughts_token_count")
    tools = _count(block, "toolUsePromptTokenCount", "tool_use_prompt_token_count")
    return NormalUsage(
        input_tokens=_count(block, "promptTokenCount", "prompt_token_count") + tools,
        output_tokens=_count(block, "candidatesTokenCount", "candidates_token_count") + thoughts,
        cached_tokens=_count(block, "cachedContentTokenCount", "cached_content_token_count"),
        reasoning_tokens=thoughts,
        audio_input_tokens=_modality(block, "promptTokensDetails", "prompt_tokens_details"),
        audio_output_tokens=_modality(
            block, "candidatesTokensDetails", "candidates_tokens_details"
        ),
        cached_audio_tokens=_modality(block, "cacheTokensDetails", "cache_tokens_details"),
    )


def _modality(block: Mapping[str, Any], *names: str) -> int:
    """The tokens of sound in Google's list of modalities."""
    rows: list[Any] = next((block[name] for name in names if isinstance(block.get(name), list)), [])
    return sum(
        _count(row, "tokenCount", "token_count")
        for row in rows
        if isinstance(row, Mapping) and row.get("modality") == "AUDIO"
    )


# Names of a usage record's parts beside its sums; a provider puts its own into ``..._details``.
_OWN_NAMES = (
    "cached_tokens",
    "cache_read_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "output_reasoning_tokens",
    "audio_input_tokens",
    "input_audio_tokens",
    "audio_output_tokens",
    "output_audio_tokens",
)
_CACHE_WRITES = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


def _has(block: Mapping[str, Any], *names: str) -> bool:
    return any(name in block for name in names)


def _part(block: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = block.get(name)
    return found if isinstance(found, Mapping) else {}


def _count(block: Mapping[str, Any], *names: str) -> int:
    """The first of the counts that is there; what is no count of tokens is 0."""
    for name in names:
        value = block.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _TOKENS_MAX:
            return value
    return 0
