"""Usage blocks of providers, in one normal form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.detect.usage import NormalUsage, normal_usage

OPENAI_CHAT = {
    "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 30},
}  # fmt: skip
OPENAI_RESPONSES = {
    "input_tokens": 100, "output_tokens": 50, "total_tokens": 150,
    "input_tokens_details": {"cached_tokens": 40}, "output_tokens_details": {"reasoning_tokens": 30},
}  # fmt: skip
ANTHROPIC = {
    "input_tokens": 50, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 10, "output_tokens": 50,
}  # fmt: skip
ANTHROPIC_BY_AGE = {
    "input_tokens": 50, "cache_read_input_tokens": 40, "output_tokens": 50,
    "cache_creation": {"ephemeral_5m_input_tokens": 6, "ephemeral_1h_input_tokens": 4},
}  # fmt: skip
BEDROCK = {
    "inputTokens": 50, "outputTokens": 50, "totalTokens": 150, "cacheReadInputTokens": 40, "cacheWriteInputTokens": 10,
}  # fmt: skip
GOOGLE = {
    "promptTokenCount": 100, "candidatesTokenCount": 20, "thoughtsTokenCount": 30, "cachedContentTokenCount": 40,
    "totalTokenCount": 150,
}  # fmt: skip
MISTRAL = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
DEEPSEEK = {**MISTRAL, "prompt_cache_hit_tokens": 40, "prompt_cache_miss_tokens": 60}


@pytest.mark.parametrize(
    ("block", "cached", "written", "reasoning"),
    [
        (OPENAI_CHAT, 40, 0, 30),
        (OPENAI_RESPONSES, 40, 0, 30),
        (ANTHROPIC, 40, 10, 0),
        (ANTHROPIC_BY_AGE, 40, 10, 0),
        (BEDROCK, 40, 10, 0),
        (GOOGLE, 40, 0, 30),
        (MISTRAL, 0, 0, 0),
        (DEEPSEEK, 40, 0, 0),
        ({"model": "x", "usage": OPENAI_CHAT}, 40, 0, 30),
        ({"usageMetadata": GOOGLE}, 40, 0, 30),
    ],
)
def test_the_same_call_is_the_same_usage(block, cached, written, reasoning):
    """
    A call of 100 tokens in and 50 out is that in every provider's words, parts in their sums.
    """
    kept_for_an_hour = 4 if block is ANTHROPIC_BY_AGE else 0
    assert normal_usage(block) == NormalUsage(100, 50, cached, written, reasoning, kept_for_an_hour)


def test_google_bills_the_prompts_of_tools():
    """
    Tokens of tool prompts stand beside Google's input count and belong to it.
    """
    assert normal_usage({**GOOGLE, "toolUsePromptTokenCount": 7}) == NormalUsage(107, 50, 40, 0, 30)


@pytest.mark.parametrize("block", [{}, {"usage": {}}, {"tokens": 3}, {"usage": None}])
def test_an_unknown_block_is_none(block):
    """
    What is no usage block is None, not zero tokens.
    """
    assert normal_usage(block) is None


@pytest.mark.parametrize("count", [-1, True, "12", 1.5, None, 1 << 60])
def test_what_is_no_count_is_nothing(count):
    """
    Negative, absurd and untyped counts are taken as not reported.
    """
    assert normal_usage({"prompt_tokens": count, "completion_tokens": 3}) == NormalUsage(0, 3)


KEYS = st.sampled_from(
    [*OPENAI_CHAT, *ANTHROPIC, *BEDROCK, *GOOGLE, "usage", "usageMetadata", "cache_creation"]
)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: st.dictionaries(KEYS, inner),
        max_leaves=9,
    )
)
def test_any_block_gives_counts_or_none(block):
    """
    Whatever a provider sends, the answer is counts of 0 or more, or None.
    """
    found = normal_usage(block if isinstance(block, dict) else {"usage": block})
    assert (
        found is None
        or min(
            found.input_tokens,
            found.output_tokens,
            found.cached_tokens,
            found.cache_write_tokens,
            found.reasoning_tokens,
        )
        >= 0
    )
