"""
The facts of one request: each computed when first asked for, and at most once.

Facts are pure, so they may be cached where verdicts may not: ``FactCache`` keeps the counts of
single texts, which is where a conversation repeats itself. It holds numbers under keyed
digests, never text.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING

from enforcer.detect import chat, pii, pricing
from enforcer.detect.text import prompt, text_parts
from enforcer.detect.tokens import TokenCount, ordinary_tokens, request_count
from enforcer.detect.vocabulary import vocabulary_of
from enforcer.events import Facts

if TYPE_CHECKING:
    from datetime import date

    from enforcer.events import Request

ASSUMED_OUTPUT_TOKENS = 4096
CACHE_ENTRIES = 16_384
# A shorter text is counted in less time than its digest takes.
CACHED_CHARACTERS_MIN = 192
_NANO = 1_000_000_000
_UNSET = object()
_DIGEST_BYTES = 16


class TextFacts:
    """What is known of one text: tokens by vocabulary and personal data by the kinds looked for."""

    __slots__ = ("pii", "tokens")

    def __init__(self) -> None:
        self.tokens: dict[str, int] = {}
        self.pii: dict[frozenset[str], dict[str, int]] = {}


class FactCache:
    """
    Facts of texts by keyed content digest, least recently used out first.

    Args:
        key: Secret of this process, 16 to 64 bytes. Without it a digest cannot be matched to a
            guessed text.
        entries: How many texts are kept; one takes about 700 bytes.
    """

    __slots__ = ("_entries", "_hasher", "_rows", "hits", "misses")

    def __init__(self, key: bytes, entries: int = CACHE_ENTRIES) -> None:
        assert 16 <= len(key) <= 64, "a cache key has 16 to 64 bytes"
        assert entries > 0, entries
        # A keyed hasher is prepared once and copied: setting the key up costs a block.
        self._hasher = blake2b(digest_size=_DIGEST_BYTES, key=key)
        self._entries = entries
        self._rows: OrderedDict[bytes, TextFacts] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def of(self, text: str) -> TextFacts:
        """The facts of a text: those known, or empty ones that are kept from now on."""
        hasher = self._hasher.copy()
        hasher.update(text.encode("utf-8", "replace"))
        digest = hasher.digest()
        rows = self._rows
        found = rows.get(digest)
        if found is not None:
            self.hits += 1
            rows.move_to_end(digest)
            return found
        self.misses += 1
        found = rows[digest] = TextFacts()
        if len(rows) > self._entries:
            rows.popitem(last=False)
        return found

    def __len__(self) -> int:
        return len(self._rows)


class RequestFacts:
    """
    Lazy facts of a request.

    Args:
        request: As it came. Whoever edits it makes new facts for the edited request.
        day: Date of the event in UTC: prices are that day's.
        assumed_output_tokens: Output of a call that names no maximum (the tenant's setting).
        cache: Counts of messages seen before; None computes everything.
        kinds: Kinds of personal data to look for.

    A fact that cannot be known raises ``DetectError`` at each access; rules reading it err.
    """

    __slots__ = (
        "_cache",
        "_cost",
        "_day",
        "_kinds",
        "_parts",
        "_pii",
        "_prompt",
        "_rates",
        "_request",
        "_texts",
        "_tokens",
        "assumed_output_tokens",
    )

    def __init__(
        self,
        request: Request,
        *,
        day: date,
        assumed_output_tokens: int = ASSUMED_OUTPUT_TOKENS,
        cache: FactCache | None = None,
        kinds: frozenset[str] = pii.DEFAULT,
    ) -> None:
        self._request = request
        self._day = day
        self.assumed_output_tokens = assumed_output_tokens
        # One message is a prompt that never came before: hashing it would only cost.
        self._cache = cache if len(request.llm.messages) > 1 else None
        self._kinds = kinds
        self._prompt: str | None = None
        self._tokens: TokenCount | None = None
        self._pii: dict[str, int] | None = None
        self._parts: list[tuple[str, str]] | None = None
        self._texts: dict[str, TextFacts] = {}
        self._rates: object = _UNSET
        self._cost: object = _UNSET

    @property
    def prompt(self) -> str:
        """``llm.prompt``: all texts joined by newlines."""
        if self._prompt is None:
            self._prompt = prompt(self._request)
        return self._prompt

    @property
    def text_parts(self) -> list[tuple[str, str]]:
        """(JSON pointer, text) of every text, in order."""
        if self._parts is None:
            self._parts = text_parts(self._request)
        return self._parts

    @property
    def tokens(self) -> TokenCount:
        """Input tokens with their method and error bound."""
        if self._tokens is None:
            self._tokens = self._count_tokens()
        return self._tokens

    @property
    def input_tokens(self) -> int:
        """``llm.input_tokens``: what the model reads, chat template and tools included."""
        return self.tokens.tokens

    @property
    def max_output_tokens(self) -> int:
        """``llm.max_output_tokens``: n times what one answer may take at most, or is assumed to."""
        llm = self._request.llm
        limit = self.assumed_output_tokens if llm.max_tokens is None else llm.max_tokens
        return max(limit, 0) * max(llm.n, 1)

    @property
    def rates(self) -> pricing.Rates | None:
        """The model's rates on the day, or None if its price is unknown."""
        if self._rates is _UNSET:
            llm = self._request.llm
            self._rates = pricing.resolve(llm.provider, llm.model, llm.service_tier, self._day)
        return self._rates  # type: ignore[return-value]

    @property
    def estimated_cost_usd_nano(self) -> int | None:
        """What the call may cost at most in nano-USD, or None if its price is unknown."""
        if self._cost is _UNSET:
            rates = self.rates
            self._cost = None
            if rates is not None:
                self._cost = rates.cost_usd_nano(
                    input_tokens=self.input_tokens, output_tokens=self.max_output_tokens
                )
        return self._cost  # type: ignore[return-value]

    @property
    def estimated_cost_usd(self) -> float | None:
        """``llm.estimated_cost_usd``: the same in USD."""
        nano = self.estimated_cost_usd_nano
        return None if nano is None else nano / _NANO

    @property
    def pii_counts(self) -> dict[str, int]:
        """``pii.counts``: findings by kind over all texts; kinds without any are left out."""
        if self._pii is None:
            self._pii = self._count_pii()
        return self._pii

    @property
    def pii_types(self) -> list[str]:
        """``pii.types``: the kinds found, sorted."""
        return sorted(self.pii_counts)

    @property
    def pii_count(self) -> int:
        """``pii.count``: findings of all kinds."""
        return sum(self.pii_counts.values())

    def counted(self) -> Facts:
        """The facts that were computed, for the decision; what no rule asked for is absent."""
        facts = Facts()
        if self._tokens is not None:
            facts.input_tokens = self._tokens.tokens
        if self._cost is not _UNSET:
            facts.estimated_cost_usd_nano = self._cost  # type: ignore[assignment]
        if self._pii is not None:
            facts.pii = dict(self._pii)
        return facts

    def _count_tokens(self) -> TokenCount:
        llm = self._request.llm
        vocabulary = vocabulary_of(llm.model, llm.provider)
        name = vocabulary.name
        if self._cache is None:
            counted = chat.input_tokens(llm, vocabulary, lambda text: ordinary_tokens(text, name))
        else:
            counted = chat.input_tokens(llm, vocabulary, lambda text: self._tokens_of(text, name))
        return request_count(counted, vocabulary)

    def _count_pii(self) -> dict[str, int]:
        totals: dict[str, int] = {}
        for _, text in self.text_parts:
            for kind, count in self._pii_of(text).items():
                totals[kind] = totals.get(kind, 0) + count
        return totals

    def _facts_of(self, text: str, cache: FactCache) -> TextFacts:
        """The text's facts, its digest taken once a request however many facts are asked for."""
        found = self._texts.get(text)
        if found is None:
            found = self._texts[text] = cache.of(text)
        return found

    def _tokens_of(self, text: str, vocabulary: str) -> int:
        cache = self._cache
        if cache is None or len(text) < CACHED_CHARACTERS_MIN:
            return ordinary_tokens(text, vocabulary)
        known = self._facts_of(text, cache).tokens
        count = known.get(vocabulary)
        if count is None:
            count = known[vocabulary] = ordinary_tokens(text, vocabulary)
        return count

    def _pii_of(self, text: str) -> dict[str, int]:
        cache = self._cache
        if cache is None or len(text) < CACHED_CHARACTERS_MIN:
            return pii.counts(text, self._kinds)
        known = self._facts_of(text, cache).pii
        counts = known.get(self._kinds)
        if counts is None:
            counts = known[self._kinds] = pii.counts(text, self._kinds)
        return counts
