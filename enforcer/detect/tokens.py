"""
Tokens of texts and of requests: exact where the vocabulary is known, else a stated estimate.

Counting is linear in the text. It never fails: a lone surrogate, which no wire format carries,
counts as the replacement it would be sent as.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from enforcer.detect import chat
from enforcer.detect.vocabulary import Vocabulary, encoder, vocabulary_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.events import Request

EXACT = "exact"
ESTIMATED = "estimated"
WARM_VOCABULARIES = ("o200k_base", "cl100k_base", "llama3", "mistral_v3", "qwen3", "deepseek_v3")


@dataclass(frozen=True, slots=True)
class TokenCount:
    """
    A number of tokens and how it is known.

    Attributes:
        tokens: The count, or the estimate.
        method: ``exact`` or ``estimated``.
        error_bound: Relative error of an estimate (0.25: a quarter either way); 0.0 when exact.
    """

    tokens: int
    method: str = EXACT
    error_bound: float = 0.0


def ordinary_tokens(text: str, vocabulary: str) -> int:
    """The tokens of a text in a vocabulary of splintr-rs, no special token recognised."""
    encode = encoder(vocabulary)
    try:
        return len(encode(text))
    except UnicodeEncodeError:
        return len(encode(text.encode("utf-8", "replace").decode()))


def scaled(tokens: int, vocabulary: Vocabulary) -> int:
    """Tokens of the model from tokens of the vocabulary it is counted in, rounded up."""
    return -(-tokens * vocabulary.permille // 1000)


def count_text(text: str, model: str, provider: str = "") -> TokenCount:
    """The tokens of one text as the model counts them, without any chat template."""
    vocabulary = vocabulary_of(model, provider)
    tokens = ordinary_tokens(text, vocabulary.name) if text else 0
    return _as_count(tokens, vocabulary)


def count_request(request: Request) -> TokenCount:
    """The input tokens of a request: texts, chat template, tools and media, as the model counts."""
    llm = request.llm
    vocabulary = vocabulary_of(llm.model, llm.provider)
    counted = chat.input_tokens(
        llm, vocabulary, lambda text: ordinary_tokens(text, vocabulary.name)
    )
    return request_count(counted, vocabulary)


def request_count(counted: chat.Counted, vocabulary: Vocabulary) -> TokenCount:
    """What was counted in a vocabulary, as the model would count it."""
    bound = max(vocabulary.error_bound, counted.error_bound)
    method = EXACT if bound == 0.0 else ESTIMATED
    return TokenCount(scaled(counted.tokens, vocabulary) + counted.media_tokens, method, bound)


def warm(vocabularies: Iterable[str] = WARM_VOCABULARIES) -> None:
    """
    Load vocabularies so that the first request does not wait for them: about 0.3 s each.

    The long word matters: splintr-rs builds the table for words of its kind when it meets the
    first one, which takes longer than loading the vocabulary.
    """
    for name in vocabularies:
        encoder(name)("Warm: 12:30, " + "a" * 256 + " \n世界")


def _as_count(tokens: int, vocabulary: Vocabulary) -> TokenCount:
    if vocabulary.exact:
        return TokenCount(tokens)
    return TokenCount(scaled(tokens, vocabulary), ESTIMATED, vocabulary.error_bound)
