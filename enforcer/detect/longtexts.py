"""
Facts of long texts, made apart from the request that holds them: where another process has the time.

What comes back is kept by text, as a cache of facts is, so that it holds whatever the request is completed or
edited to. A fact that was not asked for in time, or that could not be known, is made where it is read, and so is
the error that says why.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer.detect import injection, pii
from enforcer.detect.cache import CachedFacts
from enforcer.detect.errors import DetectError
from enforcer.detect.facts import secrets_counts
from enforcer.detect.origins import foreign_texts
from enforcer.detect.text import text_parts
from enforcer.detect.tokens import ordinary_tokens

if TYPE_CHECKING:
    from enforcer.events import Request

LONG_CHARACTERS_MIN: Final = 16 * 1024
"""A shorter text is read in less time than it takes to ask another process."""


class Wanted(NamedTuple):
    """
    Which facts of a text.

    Attributes:
        vocabulary: What its tokens are counted in.
        kinds: Of personal data to look for; None: for none.
        at: Confidences at which all kinds of personal data are looked for.
        secrets: Whether secrets are.
        injection: Whether it is judged.
    """

    vocabulary: str
    kinds: frozenset[str] | None = None
    at: tuple[float, ...] = ()
    secrets: bool = False
    injection: bool = False


class LongText(NamedTuple):
    """A text and who it comes from; None where nobody judges it."""

    text: str
    origin: str | None


class LostFacts(CachedFacts):
    """Of a text on which the process that read it has died, or taken too long: each fact is an error."""

    __slots__ = ()

    def check(self) -> None:
        """See ``CachedFacts``."""
        raise DetectError("a long text could not be read", code="facts_lost")


def long_texts(request: Request) -> list[LongText]:
    """The texts of *request* that are long, each once."""
    found = [text for _, text in text_parts(request) if len(text) >= LONG_CHARACTERS_MIN]
    if not found:
        return []
    llm = request.llm
    origins = dict(foreign_texts(llm.messages))
    if llm.prompt:
        origins[llm.prompt] = "user"
    return [LongText(text, origins.get(text)) for text in dict.fromkeys(found)]


def facts_of(long: LongText, wanted: Wanted) -> CachedFacts:
    """The facts of one text, as ``RequestFacts`` would make them without models of others."""
    text, facts = long.text, CachedFacts()
    facts.tokens[wanted.vocabulary, ""] = ordinary_tokens(text, wanted.vocabulary)
    # What cannot be known is left out: where it is read, it is an error again.
    if wanted.kinds is not None:
        with contextlib.suppress(DetectError):
            facts.pii[wanted.kinds] = pii.counts(text, wanted.kinds)
    for confidence in wanted.at:
        with contextlib.suppress(DetectError):
            facts.pii_at[confidence] = pii.counts(text, frozenset(pii.KINDS), at=confidence)
    if wanted.secrets:
        with contextlib.suppress(DetectError):
            facts.secrets = secrets_counts(text)
    if wanted.injection and long.origin is not None:
        with contextlib.suppress(DetectError):
            judged = injection.judge(text, long.origin)
            facts.injection[long.origin] = (judged.score, judged.signals)
    return facts
