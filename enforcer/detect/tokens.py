"""
Tokens of texts and of requests: exact where the vocabulary is known, else a stated estimate.

Counting is linear in the text. It never fails: a lone surrogate, which no wire format carries,
counts as the replacement it would be sent as.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from enforcer.detect import chat
from enforcer.detect.vocabulary import (
    OLDER,
    OLDER_NAMES,
    Vocabulary,
    counter,
    named,
    vocabulary_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.events import Request

EXACT = "exact"
ESTIMATED = "estimated"
# A long text is compared with a limit in pieces of about this size.
_PIECE_CHARACTERS = 2048
# SentencePiece merges without splitting words first: its pieces' counts need not add up.
_WHOLE_TEXT_VOCABULARIES = frozenset(
    {"llama2", "codellama", "mistral_v1", "mistral_v2", "gemma2", "gemma3", "gemma4"}
)
LIKELY_VOCABULARIES = ("o200k_base", "cl100k_base")
"""OpenAI's, in which Claude, Gemini and unknown models are estimated too: every installation meets them."""


class TokenCount(NamedTuple):
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
    count = counter(vocabulary)
    try:
        return count(text)
    except UnicodeEncodeError:
        return count(text.encode("utf-8", "replace").decode())


def scaled(tokens: int, vocabulary: Vocabulary) -> int:
    """Tokens of the model from tokens of the vocabulary it is counted in, rounded up."""
    return -(-tokens * vocabulary.permille // 1000)


def count_text(text: str, model: str, provider: str = "") -> TokenCount:
    """The tokens of one text as the model counts them, without any chat template."""
    vocabulary = vocabulary_of(model, provider)
    tokens = ordinary_tokens(text, vocabulary.name) if text else 0
    return _as_count(tokens, vocabulary)


def count_in(text: str, encoding: str) -> TokenCount:
    """
    The tokens of one text in a vocabulary that is named: tiktoken's or splintr-rs's name of it.

    An estimate for the older ones that are not shipped (``OLDER_NAMES``).

    Raises: UnknownVocabularyError, if none is called so.
    """
    if encoding in OLDER_NAMES:
        return _as_count(ordinary_tokens(text, OLDER.name) if text else 0, OLDER)
    return TokenCount(ordinary_tokens(text, named(encoding)) if text else 0)


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


def exceeds(text: str, limit: int, model: str, provider: str = "") -> bool:
    """
    Whether a text has more than *limit* tokens; tokenizes no more of it than the answer needs.

    Nothing of a text whose bytes are too few, for a token has at least one, and of a long one only
    up to where the limit is passed. The answer is that of ``count_text(...).tokens > limit``.
    """
    vocabulary = vocabulary_of(model, provider)
    # A blank that SentencePiece puts before a text makes one token more than there are bytes.
    if scaled(4 * len(text) + 1, vocabulary) <= limit:
        return False
    if scaled(len(text.encode("utf-8", "replace")) + 1, vocabulary) <= limit:
        return False
    try:
        _Counter(vocabulary, limit).count(text)
    except _PassedError:
        return True
    return False


def request_exceeds(request: Request, limit: int) -> bool:
    """Whether a request has more than *limit* input tokens, tokenizing no more than that needs."""
    llm = request.llm
    vocabulary = vocabulary_of(llm.model, llm.provider)
    # Templates take back a few tokens a message, and the exact sum is asked for at the end.
    counter = _Counter(vocabulary, limit + 16 + 4 * len(llm.messages))
    try:
        counted = chat.input_tokens(llm, vocabulary, counter.count)
    except _PassedError:
        return True
    return request_count(counted, vocabulary).tokens > limit


class _PassedError(Exception):
    """The limit is passed: nothing more needs to be counted."""


class _Counter:
    """
    Counts texts until their sum passes a limit.

    Where a vocabulary splits words before it merges, a text may be counted in pieces that are cut
    before the blank between two letters: the pieces' counts add up to the whole's.
    """

    __slots__ = ("_left", "_vocabulary")

    def __init__(self, vocabulary: Vocabulary, limit: int) -> None:
        # The most tokens of the vocabulary that are still no more than the limit of the model.
        self._left = limit * 1000 // vocabulary.permille
        self._vocabulary = vocabulary.name

    def count(self, text: str) -> int:
        if self._vocabulary in _WHOLE_TEXT_VOCABULARIES or len(text) <= _PIECE_CHARACTERS:
            return self._spend(text)
        total = at = 0
        while at < len(text):
            end = _cut(text, at + _PIECE_CHARACTERS)
            total += self._spend(text[at:end])
            at = end
        return total

    def _spend(self, piece: str) -> int:
        tokens = ordinary_tokens(piece, self._vocabulary) if piece else 0
        self._left -= tokens
        if self._left < 0:
            raise _PassedError
        return tokens


def _cut(text: str, at: int) -> int:
    """The first place from *at* on between a letter and a blank before another letter; else the end."""
    while True:
        at = text.find(" ", at)
        if at < 0 or at + 1 >= len(text):
            return len(text)
        if text[at - 1].isalpha() and text[at + 1].isalpha():
            return at
        at += 1


def warm(vocabularies: Iterable[str] = LIKELY_VOCABULARIES) -> None:
    """
    Load vocabularies so that the first request does not wait for them: 0.1 to 0.3 s each, 20 to 40 MB.

    The long word matters: splintr-rs builds the table for words of its kind when it meets the
    first one, which takes longer than loading the vocabulary. A name that is not shipped is passed over.
    """
    for name in vocabularies:
        with suppress(ValueError, KeyError):
            counter(name)("Warm: 12:30, " + "a" * 256 + " \n世界")


def _as_count(tokens: int, vocabulary: Vocabulary) -> TokenCount:
    if vocabulary.exact:
        return TokenCount(tokens)
    return TokenCount(scaled(tokens, vocabulary), ESTIMATED, vocabulary.error_bound)
