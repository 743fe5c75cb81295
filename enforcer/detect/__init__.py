"""
Facts about a text that policies rest on: tokens, cost, personal data, secrets, injection; redaction.

Pure: no clock, no I/O but the packaged data at first use. What is not known says so: an estimate
has a bound, an unknown price is None, a text too large to read raises ``DetectError``.
"""

from __future__ import annotations

from enforcer.detect import charges, combined, facts, injection, pii, pricing, secrets, tokens
from enforcer.detect.cache import CachedFacts, FactCache
from enforcer.detect.digest import DATA_DIGEST
from enforcer.detect.errors import DetectError
from enforcer.detect.facts import RequestFacts, Timed
from enforcer.detect.longtexts import LongText, LostFacts, Wanted, facts_of, long_texts
from enforcer.detect.models import Models
from enforcer.detect.pseudonyms import Pseudonyms, conversation_name
from enforcer.detect.redaction import (
    RedactionKeys,
    Splice,
    Style,
    apply_splices,
    label_of,
    redact,
    redact_by,
)
from enforcer.detect.stream import StreamRedactor
from enforcer.detect.text import prompt, text_parts
from enforcer.detect.tokens import LIKELY_VOCABULARIES, warm
from enforcer.detect.usage import NormalUsage, normal_usage
from enforcer.detect.vocabulary import loaded, vocabulary_of

__all__ = [
    "DATA_DIGEST",
    "LIKELY_VOCABULARIES",
    "CachedFacts",
    "DetectError",
    "FactCache",
    "LongText",
    "LostFacts",
    "Models",
    "NormalUsage",
    "Pseudonyms",
    "RedactionKeys",
    "RequestFacts",
    "Splice",
    "StreamRedactor",
    "Style",
    "Timed",
    "Wanted",
    "apply_splices",
    "charges",
    "combined",
    "conversation_name",
    "facts",
    "facts_of",
    "injection",
    "label_of",
    "loaded",
    "long_texts",
    "normal_usage",
    "pii",
    "pricing",
    "prompt",
    "redact",
    "redact_by",
    "secrets",
    "text_parts",
    "tokens",
    "vocabulary_of",
    "warm",
]
