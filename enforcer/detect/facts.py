"""The facts of one request: each computed when first asked for, and at most once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from enforcer.detect import chat, injection, pii, pricing, secrets
from enforcer.detect.models import NO_MODELS, Models
from enforcer.detect.origins import foreign_texts
from enforcer.detect.scanning import CONFIDENCE_DEFAULT
from enforcer.detect.text import message_texts, prompt, text_parts
from enforcer.detect.tokens import (
    TokenCount,
    ordinary_tokens,
    request_count,
    request_exceeds,
)
from enforcer.detect.vocabulary import vocabulary_of
from enforcer.events import Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from enforcer.detect.cache import CachedFacts, Conversation, FactCache
    from enforcer.events import Request

ASSUMED_OUTPUT_TOKENS = 4096
# A shorter text is counted in less time than its digest takes.
CACHED_CHARACTERS_MIN = 192
_NANO = 1_000_000_000
# Of a model call, all that tokens and findings in texts follow from.
_READ_BY_COUNTS = (
    "provider", "model", "operation", "messages", "prompt", "tools", "tool_choice", "response_format",
)  # fmt: skip
_UNSET = object()
_NOTHING: frozenset[str | float] = frozenset()
_Judged = tuple[float, tuple[str, ...]]
_T = TypeVar("_T")


class Timed(Protocol):
    """Calls what computes a fact and takes its time; facts themselves know no clock."""

    def __call__(self, compute: Callable[[], _T], /) -> _T:
        """The fact."""
        ...


class RequestFacts:
    """
    Lazy facts of a request.

    Args:
        request: As it came. Whoever edits it makes new facts for the edited request.
        day: Date of the event in UTC: prices are that day's.
        assumed_output_tokens: Output of a call that names no maximum (the tenant's setting).
        cache: Counts of messages seen before; None computes everything.
        kinds: Kinds of personal data to look for.
        models: Of others, asked beside the detectors.
        timed: Called with each computation over the texts, so that its time can be told.
        known: Facts by text, of long ones that were read elsewhere (``longtexts``).

    A fact that cannot be known raises ``DetectError`` at each access; rules reading it err.
    """

    __slots__ = (
        "_cache",
        "_conversation",
        "_cost",
        "_day",
        "_foreseen_pii",
        "_injection",
        "_kinds",
        "_long",
        "_models",
        "_parts",
        "_pii",
        "_pii_at",
        "_prompt",
        "_rates",
        "_request",
        "_secrets",
        "_texts",
        "_timed",
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
        timed: Timed | None = None,
        models: Models = NO_MODELS,
        known: Mapping[str, CachedFacts] | None = None,
    ) -> None:
        self._request = request
        self._long = known
        self._timed = timed
        self._day = day
        self.assumed_output_tokens = assumed_output_tokens
        # One message is a prompt that never came before: hashing it would only cost.
        self._cache = cache if len(request.llm.messages) > 1 else None
        self._kinds = kinds
        self._models = models
        self._prompt: str | None = None
        self._tokens: TokenCount | None = None
        self._pii: dict[str, int] | None = None
        self._foreseen_pii: dict[str, int] | None = None
        self._pii_at: dict[float, dict[str, int]] = {}
        self._secrets: dict[str, int] | None = None
        self._injection: injection.Judgement | None = None
        self._parts: list[tuple[str, str]] | None = None
        self._texts: dict[str, CachedFacts] = {}
        self._conversation: Conversation | None = None
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
            self._tokens = self._computed(self._count_tokens)
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
            foreseen = self._foreseen_pii
            self._pii = self._computed(self._count_pii) if foreseen is None else foreseen
        return self._pii

    @property
    def pii_types(self) -> list[str]:
        """``pii.types``: the kinds found, sorted."""
        return sorted(self.pii_counts)

    @property
    def pii_count(self) -> int:
        """``pii.count``: findings of all kinds."""
        return sum(self.pii_counts.values())

    def pii_counts_at(self, confidence: float) -> dict[str, int]:
        """``pii.at(0.3).counts``: findings by kind from another confidence on, all kinds, over all texts."""
        found = self._pii_at.get(confidence)
        if found is None:
            found = self._computed(lambda: self._count_pii_at(confidence))
            self._pii_at[confidence] = found
        return found

    def pii_types_at(self, confidence: float) -> list[str]:
        """``pii.at(0.3).types``: the kinds found so, sorted."""
        return sorted(self.pii_counts_at(confidence))

    def pii_count_at(self, confidence: float) -> int:
        """``pii.at(0.3).count``: findings so, of all kinds."""
        return sum(self.pii_counts_at(confidence).values())

    @property
    def secrets_counts(self) -> dict[str, int]:
        """``secrets.counts``: secrets by kind over all texts; kinds without any are left out."""
        if self._secrets is None:
            self._secrets = self._computed(self._count_secrets)
        return self._secrets

    @property
    def secrets_types(self) -> list[str]:
        """``secrets.types``: the kinds of secrets found, sorted."""
        return sorted(self.secrets_counts)

    @property
    def secrets_count(self) -> int:
        """``secrets.count``: secrets of all kinds."""
        return sum(self.secrets_counts.values())

    @property
    def injection_score(self) -> float:
        """``injection.score``: 0 to 1, the highest of all texts that nobody of the house wrote."""
        return self._judgement().score

    @property
    def injection_signals(self) -> list[str]:
        """``injection.signals``: the names of all signals in those texts, sorted."""
        return list(self._judgement().signals)

    def input_tokens_exceed(self, limit: int) -> bool:
        """``llm.input_tokens > limit``, tokenizing no more than the answer needs."""
        if self._tokens is None and self._cache is None and not self._long:
            return self._computed(lambda: request_exceeds(self._request, limit))
        return self.input_tokens > limit

    def counted(self) -> Facts:
        """The facts that were computed, for the decision; what no rule asked for is absent."""
        facts = Facts()
        if self._tokens is not None:
            facts.input_tokens = self._tokens.tokens
        if self._cost is not _UNSET:
            facts.estimated_cost_usd_nano = self._cost  # type: ignore[assignment]
        if self._pii is not None:
            facts.pii = dict(self._pii)
        if self._secrets is not None:
            facts.secrets = dict(self._secrets)
        if self._injection is not None:
            facts.injection = self._injection.score
        return facts

    def inherit(self, before: RequestFacts) -> None:
        """Take over tokens and personal data of the request *before* its edits, where its texts are the same."""
        mine, theirs = self._request.llm, before._request.llm
        if any(getattr(mine, name) != getattr(theirs, name) for name in _READ_BY_COUNTS):
            return
        self._tokens = before._tokens
        self._foreseen_pii = before._foreseen_pii if before._pii is None else before._pii

    def with_other_maxima(self, request: Request) -> RequestFacts:
        """Facts of *request*, which is this one with other maxima of its answer: of its texts nothing is new."""
        found = object.__new__(RequestFacts)
        for name in RequestFacts.__slots__:
            setattr(found, name, getattr(self, name))
        found._request = request
        found._cost = _UNSET
        return found

    @property
    def has_asked_for_pii(self) -> bool:
        """Whether some rule has."""
        return self._pii is not None

    @property
    def more_asked_for(self) -> frozenset[str | float]:
        """What else rules have asked for: ``secrets``, ``injection``, confidences of personal data."""
        if self._secrets is None and self._injection is None and not self._pii_at:
            return _NOTHING
        asked: set[str | float] = set(self._pii_at)
        if self._secrets is not None:
            asked.add("secrets")
        if self._injection is not None:
            asked.add("injection")
        return frozenset(asked)

    def foresee_tokens(self) -> None:
        """Count the tokens now, which every decision tells. May raise what ``tokens`` would."""
        if self._tokens is None:
            self._tokens = self._count_tokens()

    def foresee_pii(self) -> None:
        """
        Look for personal data now. It counts as asked for only when a rule asks.

        May raise what ``pii_counts`` would; the rule that asks meets it again.
        """
        if self._pii is None:
            self._foreseen_pii = self._count_pii()

    def _computed(self, compute: Callable[[], _T]) -> _T:
        return compute() if self._timed is None else self._timed(compute)

    def _count_tokens(self) -> TokenCount:
        llm = self._request.llm
        vocabulary = vocabulary_of(llm.model, llm.provider)
        name = vocabulary.name
        if self._cache is None and not self._long:
            counted = chat.input_tokens(llm, vocabulary, lambda text: ordinary_tokens(text, name))
            return request_count(counted, vocabulary)
        if self._cache is None:
            counted = chat.input_tokens(llm, vocabulary, lambda text: self._tokens_of(text, name))
            return request_count(counted, vocabulary)
        known, before, whole = self._beginning(self._cache)
        form = (name, llm.operation if llm.operation != "chat" else vocabulary.chat)
        tokens = None if before is None else before.tokens.get(form)
        counted = chat.input_tokens(
            llm,
            vocabulary,
            lambda text: self._tokens_of(text, name),
            beginning=(0, 0) if tokens is None else (known, tokens),
        )
        whole.tokens[form] = counted.message_tokens
        return request_count(counted, vocabulary)

    def _count_pii(self) -> dict[str, int]:
        llm = self._request.llm
        if self._cache is None:
            return self._pii_of_all([text for _, text in self.text_parts], {})
        known, before, whole = self._beginning(self._cache)
        counts = None if before is None else before.pii.get(self._kinds)
        new = llm.messages if counts is None else llm.messages[known:]
        texts = [text for message in new for text in message_texts(message)]
        totals = whole.pii[self._kinds] = self._pii_of_all(texts, counts or {})
        return self._pii_of_all([llm.prompt], totals) if llm.prompt else dict(totals)

    def _pii_of_all(self, texts: list[str], before: dict[str, int]) -> dict[str, int]:
        totals = dict(before)
        for text in texts:
            for kind, count in self._pii_of(text).items():
                totals[kind] = totals.get(kind, 0) + count
        return totals

    def _count_pii_at(self, confidence: float) -> dict[str, int]:
        kinds = frozenset(pii.KINDS)
        totals: dict[str, int] = {}
        for _, text in self.text_parts:
            known = None if self._long is None else self._known_text(text)
            counts = None if known is None else known.pii_at.get(confidence)
            if counts is None:
                counts = pii.counts(text, kinds, at=confidence)
            for kind, count in counts.items():
                totals[kind] = totals.get(kind, 0) + count
        return totals

    def _count_secrets(self) -> dict[str, int]:
        llm = self._request.llm
        if self._cache is None:
            return self._secrets_of_all([text for _, text in self.text_parts], {})
        known, before, whole = self._beginning(self._cache)
        counts = None if before is None else before.secrets
        new = llm.messages if counts is None else llm.messages[known:]
        texts = [text for message in new for text in message_texts(message)]
        totals = whole.secrets = self._secrets_of_all(texts, counts or {})
        return self._secrets_of_all([llm.prompt], totals) if llm.prompt else dict(totals)

    def _secrets_of_all(self, texts: list[str], before: dict[str, int]) -> dict[str, int]:
        totals = dict(before)
        for text in texts:
            known = self._known_text(text)
            counts = None if known is None else known.secrets
            if counts is None:
                counts = secrets_counts(text)
                if known is not None:
                    known.secrets = counts
            for kind, count in counts.items():
                totals[kind] = totals.get(kind, 0) + count
        return totals

    def _judgement(self) -> injection.Judgement:
        if self._injection is None:
            self._injection = self._computed(self._judge)
        return self._injection

    def _judge(self) -> injection.Judgement:
        llm = self._request.llm
        known, before, whole = 0, None, None
        if self._cache is not None:
            known, before, whole = self._beginning(self._cache)
        judged = None if before is None else before.injection.get("")
        messages = llm.messages if judged is None else llm.messages[known:]
        judged = self._judged_all(foreign_texts(messages), judged or (0.0, ()))
        if whole is not None:
            whole.injection[""] = judged
        if llm.prompt:
            judged = self._judged_all([(llm.prompt, "user")], judged)
        return injection.Judgement(*judged)

    def _judged_all(self, texts: list[tuple[str, str]], before: _Judged) -> _Judged:
        score, signals = before[0], set(before[1])
        for text, origin in texts:
            known = self._known_text(text)
            found = None if known is None else known.injection.get(origin)
            if found is None:
                judgement = injection.judge(text, origin)
                found = self._models.judged(text, judgement.score, judgement.signals)
                if known is not None:
                    known.injection[origin] = found
            score = max(score, found[0])
            signals.update(found[1])
        return score, tuple(sorted(signals))

    def _beginning(self, cache: FactCache) -> Conversation:
        """What is known of the messages, looked up once however many facts are asked for."""
        if self._conversation is None:
            self._conversation = cache.of_conversation(self._request.llm.messages)
        return self._conversation

    def _known_text(self, text: str) -> CachedFacts | None:
        """
        The facts of a text by itself, or None where looking it up would only cost.

        Behind a known beginning texts are new; a short one is counted faster than digested.
        Raises: DetectError, for a long one that could not be read elsewhere.
        """
        if self._long:
            long = self._long.get(text)
            if long is not None:
                long.check()
                return long
        if self._cache is None or len(text) < CACHED_CHARACTERS_MIN:
            return None
        if self._conversation is not None and self._conversation.known:
            return None
        found = self._texts.get(text)
        if found is None:
            found = self._texts[text] = self._cache.of_text(text)
        return found

    def _tokens_of(self, text: str, vocabulary: str) -> int:
        known = self._known_text(text)
        if known is None:
            return ordinary_tokens(text, vocabulary)
        count = known.tokens.get((vocabulary, ""))
        if count is None:
            count = known.tokens[vocabulary, ""] = ordinary_tokens(text, vocabulary)
        return count

    def _pii_of(self, text: str) -> dict[str, int]:
        known = self._known_text(text)
        if known is None:
            return self._counted_pii(text)
        counts = known.pii.get(self._kinds)
        if counts is None:
            counts = known.pii[self._kinds] = self._counted_pii(text)
        return counts

    def _counted_pii(self, text: str) -> dict[str, int]:
        if self._models.entities is None:
            return pii.counts(text, self._kinds)
        return self._models.counted(text, self._kinds)


def secrets_counts(text: str) -> dict[str, int]:
    """Secrets by kind; one that was truncated before anything was found counts as found."""
    found = secrets.scan(text, at=CONFIDENCE_DEFAULT)
    counts: dict[str, int] = {}
    for finding in found:
        counts[finding.kind] = counts.get(finding.kind, 0) + 1
    for kind in found.truncated:
        counts.setdefault(kind, 1)
    return counts
