"""Tokens: exact where the vocabulary is known, honest where it is not, linear always."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from splintr import Tokenizer

from enforcer.detect import chat, openai_body, tokens
from enforcer.detect.media import media_tokens
from enforcer.detect.vocabulary import UNKNOWN, UnknownVocabularyError, encoder, vocabulary_of
from enforcer.errors import RequestError
from enforcer.events import Llm, Message, Part, Request, ToolCall


def chat_request(model: str, body: dict, provider: str = "openai") -> Request:
    """An OpenAI chat body, as the request record holds it."""
    messages = []
    for message in body["messages"]:
        call = message.get("function_call")
        calls = [ToolCall(name=call["name"], arguments=call["arguments"])] if call else []
        messages.append(
            Message(
                role=message["role"],
                content=message["content"],
                name=message.get("name"),
                tool_calls=calls,
            )
        )
    choice = json.dumps(body["function_call"]) if "function_call" in body else None
    tools = [json.dumps(function) for function in body.get("functions", [])]
    llm = Llm(provider=provider, model=model, messages=messages, tools=tools, tool_choice=choice)
    return Request(id="r", tenant="t", llm=llm)


def one_message(model: str, text: str, provider: str = "openai", **llm) -> Request:
    message = Message(role="user", content=text)
    return Request(
        id="r", tenant="t", llm=Llm(provider=provider, model=model, messages=[message], **llm)
    )


def test_published_counts_are_met_exactly(shared_data):
    """
    Every published count, of texts in two vocabularies and of chats with tools, is met exactly.
    """
    lines = (shared_data / "detectors" / "tokens_dev.jsonl").read_text().splitlines()
    cases = [json.loads(line) for line in lines]
    assert len(cases) > 50
    for case in cases:
        if "text" in case:
            assert tokens.ordinary_tokens(case["text"], case["encoding"]) == case["tokens"], case
        else:
            counted = tokens.count_request(chat_request(case["model"], case["chat"]))
            assert counted == tokens.TokenCount(case["tokens"]), case


SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|endofprompt|>", "<|fim_prefix|>", "<|begin_of_text|>",
    "<|start_header_id|>", "<|eot_id|>", "[INST]", "<s>", "</s>", "<start_of_turn>", "<think>", "<|user|>",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", ["o200k_base", "cl100k_base", "llama3", "qwen3", "mistral_v3", "deepseek_v3"]
)
@pytest.mark.parametrize("special", SPECIALS)
def test_a_special_token_in_user_text_is_text(name, special):
    """
    What a user types is never control: each special token counts as the several tokens it is spelled by.
    """
    assert tokens.ordinary_tokens(special, name) > 1


def test_endoftext_is_seven_tokens():
    """
    The example of the specification: <|endoftext|> in a prompt is seven tokens, not one.
    """
    assert tokens.count_text("<|endoftext|>", "gpt-4o").tokens == 7


@pytest.mark.parametrize(
    ("model", "vocabulary", "exact"),
    [
        ("gpt-4o", "o200k_base", True),
        ("gpt-4o-mini-2024-07-18", "o200k_base", True),
        ("ft:gpt-4o-mini-2024-07-18:org::x", "o200k_base", True),
        ("openai/gpt-4.1", "o200k_base", True),
        ("o3-mini", "o200k_base", True),
        ("gpt-4-turbo", "cl100k_base", True),
        ("gpt-35-turbo", "cl100k_base", True),
        ("GPT-4", "cl100k_base", True),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "llama3", True),
        ("us.meta.llama3-3-70b-instruct-v1:0", "llama3", True),
        ("accounts/fireworks/models/llama-v3p1-405b-instruct", "llama3", True),
        ("llama-4-scout", "o200k_base", False),
        ("open-mistral-nemo", "mistral_v3", True),
        ("mistral-large-latest", "mistral_v3", False),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistral_v1", True),
        ("google/gemma-2-9b-it", "gemma2", True),
        ("Qwen/Qwen2.5-72B-Instruct", "qwen3", True),
        ("us.deepseek.r1-v1:0", "deepseek_v3", True),
        ("deepseek-r1-distill-llama-70b", "llama3", True),
        ("claude-3-opus", "cl100k_base", False),
        ("gemini-2.5-pro", "o200k_base", False),
        ("kimi-k2-0905", "kimi_k2", True),
        ("phi4:latest", "phi4", True),
    ],
)
def test_a_model_counts_in_its_vocabulary(model, vocabulary, exact):
    """
    Dates, routes, clouds and fine-tunes in a name lead to the vocabulary of the model.
    """
    found = vocabulary_of(model)
    assert (found.name, found.exact) == (vocabulary, exact)


def test_what_is_not_known_says_so():
    """
    An unknown model is an estimate with a bound; an exact one has none.
    """
    assert vocabulary_of("no-such-model") == UNKNOWN
    counted = tokens.count_text("Hello there", "no-such-model")
    assert counted.method == "estimated"
    assert counted.error_bound > 0.3
    assert tokens.count_text("Hello there", "prod", "anthropic").error_bound < counted.error_bound
    assert tokens.count_text("Hello there", "gpt-4o") == tokens.TokenCount(2)
    assert tokens.count_text("", "no-such-model").tokens == 0


def test_estimates_stay_within_their_bound_where_it_can_be_checked():
    """
    Gemini 2 counts in Gemma 3's vocabulary: the cheap estimate of it stays within its bound.
    """
    text = (
        "Enforcer decides each request against its policies. Write a function that adds two numbers:\n"
        "def add(a: int, b: int) -> int:\n    return a + b\n"
        "Die Grenzen meiner Sprache bedeuten die Grenzen meiner Welt. "
    ) * 4
    estimate = tokens.count_text(text, "gemini-2.5-pro")
    true = tokens.ordinary_tokens(text, "gemma3")
    assert abs(estimate.tokens - true) <= estimate.error_bound * true


def test_a_template_adds_to_the_text():
    """
    OpenAI adds 3 a message, 1 for its role and 3 for the reply; plain operations add nothing.
    """
    text = tokens.count_text("Hello there", "gpt-4o").tokens
    assert tokens.count_request(one_message("gpt-4o", "Hello there")).tokens == text + 7
    plain = Request(
        id="r",
        tenant="t",
        llm=Llm(provider="openai", model="gpt-4o", operation="embeddings", prompt="Hello there"),
    )
    assert tokens.count_request(plain) == tokens.TokenCount(text)


@pytest.mark.parametrize("name", sorted(chat.OVERHEADS))
def test_only_a_checked_template_is_exact(name):
    """
    Every template other than the checked one states a bound.
    """
    assert (chat.OVERHEADS[name].error_bound == 0.0) == (name == "openai")


def test_media_are_estimates_by_published_rules():
    """
    A 1024-pixel square is 765 tokens to gpt-4o and 1,398 to Claude, and the count says estimated.
    """
    image = Message(role="user", content=[Part(type="image", width=1024, height=1024)])
    bare = Message(role="user", content="")

    def counted(model: str, message: Message) -> tokens.TokenCount:
        return tokens.count_request(
            Request(id="r", tenant="t", llm=Llm(provider="x", model=model, messages=[message]))
        )

    assert counted("gpt-4o", image).tokens - counted("gpt-4o", bare).tokens == 765
    assert (
        counted("claude-sonnet-4", image).tokens - counted("claude-sonnet-4", bare).tokens == 1399
    )
    assert counted("gpt-4o", image).method == "estimated"
    sized = Message(
        role="user", content=[Part(type="audio", seconds=2.0), Part(type="file", bytes=400)]
    )
    assert (
        counted("gemini-2.0-flash", sized).tokens - counted("gemini-2.0-flash", bare).tokens == 164
    )


@pytest.mark.parametrize(
    ("model", "high", "low"),
    [("gpt-4o", 765, 85), ("gpt-4o-mini", 25_501, 2_833), ("gpt-5-mini", 1_659, 415), ("claude-sonnet-4", 1_399, 1_399)],
)  # fmt: skip
def test_an_image_of_low_detail_costs_what_its_provider_says(model, high, low):
    """Said in the record as a parameter of the type, and read so from a chat body; where there is no detail it is none."""

    def counted(content: object) -> int:
        body = {"messages": [{"role": "user", "content": content}]}
        return tokens.count_request(openai_body.chat_request(model, body)).tokens or 0

    def image(**detail: str) -> list[object]:
        return [{"type": "image_url", "width": 1024, "height": 1024, "image_url": detail}]

    assert counted(image()) - counted("") == high
    assert counted(image(detail="low")) - counted("") == low
    assert counted(image(detail="high")) - counted("") == high
    part = Part(type="image", mime="image/png;detail=low", width=1024, height=1024)
    assert media_tokens(part, model) == low


@pytest.mark.parametrize(
    "tool",
    [
        "not json",
        "[1]",
        '{"function": 3}',
        '{"type":"function","function":{"name":"f"}}',
        "[" * 2000,
    ],
)
def test_odd_tools_are_counted_not_refused(tool):
    """
    A tool that is no proper definition still counts as some text; it never raises.
    """
    assert tokens.count_request(one_message("gpt-4o", "x", tools=[tool])).tokens > 8


def test_a_deep_schema_ends():
    """
    A schema nested a thousand deep is counted and cut, not followed to the end of the stack.
    """
    schema: dict = {"type": "string"}
    for _ in range(200):
        schema = {"type": "object", "properties": {"x": schema}}
    tool = json.dumps({"name": "f", "parameters": schema})
    assert tokens.count_request(one_message("gpt-4o", "x", tools=[tool])).tokens > 50


def test_lone_surrogates_are_counted():
    """
    A lone surrogate, which no wire format carries, counts as what it would be sent as.
    """
    assert tokens.count_text("a\ud800b", "gpt-4o").tokens >= 1


@given(st.text(max_size=200), st.sampled_from(["gpt-4o", "claude-3-opus", "unknown", "mistral-7b"]))
@settings(deadline=None)
def test_tokens_are_bounded_by_bytes(text, model):
    """
    No text has more tokens than bytes (scaled by the estimate's factor), and only none has none.
    """
    counted = tokens.count_text(text, model)
    size = len(text.encode("utf-8", "replace"))
    assert (counted.tokens == 0) == (text == "")
    # SentencePiece vocabularies put a space before the text.
    assert counted.tokens <= vocabulary_of(model).permille * (size + 2) // 1000 + 1


@given(
    st.lists(
        st.sampled_from(
            ["<|", "|>", "<|endoftext|>", "<|im_start|>", "<|eot_id|>", "[INST]", "<s>", " "]
        )
        | st.text(max_size=12),
        max_size=30,
    ).map("".join),
    st.sampled_from(["o200k_base", "cl100k_base", "llama3", "qwen3", "mistral_v3", "deepseek_v3"]),
)
@settings(deadline=None)
def test_a_count_is_that_of_the_list_of_tokens_with_no_special_token_recognised(text, name):
    """
    The shorter way of counting gives the same number, whatever of a special token's spelling is in the text.
    """
    assert tokens.ordinary_tokens(text, name) == len(encoder(name)(text))


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base", "llama3"])
def test_every_special_token_typed_into_a_text_is_counted_as_text(name):
    """
    Of the vocabularies that are counted the shorter way, one by one, alone and within words.
    """
    for special in Tokenizer.from_pretrained(name).special_tokens():
        for text in (special, f"say {special}, then {special[:-1]}"):
            assert tokens.ordinary_tokens(text, name) == len(encoder(name)(text)), special


@pytest.mark.parametrize("unit", ["a", " ", "1", "世", "\U0001f600", "ab ", "\n", "'s", "!?"])
def test_counting_is_linear(unit):
    """
    Doubling a hostile text doubles the time, within the noise of a shared machine.
    """
    tokens.warm(("o200k_base",))
    encode = encoder("o200k_base")

    def seconds(repeats: int) -> float:
        best = 9.0
        for _ in range(3):
            begun = time.perf_counter()
            encode(unit * repeats)
            best = min(best, time.perf_counter() - begun)
        return best

    assert seconds(120_000) < 8 * seconds(30_000) + 0.02


@given(
    st.lists(
        st.sampled_from(["word ", "Ab1", " 世界", "\n\n", "x" * 50, "don't ", "\U0001f600", "  "]),
        max_size=400,
    ).map("".join),
    st.integers(-1, 900),
    st.sampled_from(
        [
            "gpt-4o",
            "gpt-4",
            "llama-3.1-8b",
            "qwen3-8b",
            "claude-3-opus",
            "mistral-7b",
            "deepseek-v3",
        ]
    ),
)
@settings(max_examples=120, deadline=None)
def test_a_comparison_is_that_of_the_count(text, limit, model):
    """
    ``exceeds`` says what the count would, whatever the text, the limit and the vocabulary.
    """
    assert tokens.exceeds(text, limit, model) == (tokens.count_text(text, model).tokens > limit)


def test_a_comparison_tokenizes_no_more_than_it_needs(monkeypatch):
    """
    Nothing of a text that is too short, and of a long one only the first pieces.
    """
    lengths: list[int] = []
    real = tokens.ordinary_tokens
    monkeypatch.setattr(
        tokens, "ordinary_tokens", lambda text, name: lengths.append(len(text)) or real(text, name)
    )
    assert not tokens.exceeds("short", 100, "gpt-4o")
    assert lengths == []
    assert tokens.exceeds("many words " * 50_000, 100, "gpt-4o")
    assert sum(lengths) < 5000


def test_a_vocabulary_may_be_named():
    """
    A count in a named vocabulary is exact; a name that is none is an error of its own.
    """
    assert tokens.count_in("hello", "o200k_base") == tokens.TokenCount(1)
    assert tokens.count_in("", "cl100k_base") == tokens.TokenCount(0)
    with pytest.raises(UnknownVocabularyError):
        tokens.count_in("x", "nobody")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": "x"},
        {"messages": [3]},
        {"messages": [{"role": "user", "content": 3}]},
        {"messages": [{"role": "user", "content": [3]}]},
        {"messages": [{"role": "user", "name": 3}]},
        {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
        {"messages": [], "tools": "x"},
    ],
)
def test_a_body_that_is_none_is_refused(body):
    """
    What is no chat body is an error that names the place.
    """
    with pytest.raises(RequestError) as caught:
        openai_body.chat_request("gpt-4o", body)
    assert caught.value.code == "invalid_request"


def test_a_body_with_everything_is_counted():
    """
    Parts, media, tools, calls, a schema and a choice all count.
    """
    body = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "name": "u", "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {}}, "more"]},
            {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "content": "42"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
    }  # fmt: skip
    full = tokens.count_request(openai_body.chat_request("gpt-4o", body))
    bare = tokens.count_request(openai_body.chat_request("gpt-4o", {"messages": body["messages"]}))
    assert full.tokens > bare.tokens > 765
    assert full.method == "estimated"


@pytest.mark.parametrize("encoding", ["p50k_base", "p50k_edit", "r50k_base", "gpt2"])
def test_an_older_vocabulary_is_estimated_and_says_so(encoding):
    """
    Vocabularies that are not shipped are no error and no exact count: an estimate with its bound.
    """
    counted = tokens.count_in("The quick brown fox jumps over the lazy dog.", encoding)
    assert (counted.method, counted.error_bound) == ("estimated", 0.4)
    assert 6 <= counted.tokens <= 14
    assert tokens.count_in("", encoding).tokens == 0


@pytest.mark.parametrize(
    ("model", "method"),
    [("text-davinci-003", "estimated"), ("davinci", "estimated"), ("gpt2", "estimated"), ("davinci-002", "exact"),
     ("text-embedding-ada-002", "exact"), ("code-davinci-002", "estimated")],
)  # fmt: skip
def test_older_models_are_known(model, method):
    """
    OpenAI's older models count in the older vocabularies, but for those that were moved to the next.
    """
    assert tokens.count_text("some words", model).method == method
