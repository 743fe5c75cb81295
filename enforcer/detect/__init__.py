"""
Facts about a text that policies rest on: tokens, cost, personal data; and its redaction.

Pure: no clock, no I/O but the packaged data at first use. What is not known says so: an estimate
has a bound, an unknown price is None, a text too large to read raises ``DetectError``.
"""

from __future__ import annotations

from enforcer.detect import facts, pii, pricing, tokens
from enforcer.detect.cache import FactCache
from enforcer.detect.digest import DATA_DIGEST
from enforcer.detect.errors import DetectError
from enforcer.detect.facts import RequestFacts
from enforcer.detect.redaction import Splice, apply_splices, label_of, redact, redact_by
from enforcer.detect.text import prompt, text_parts
from enforcer.detect.tokens import warm
from enforcer.detect.usage import NormalUsage, normal_usage

__all__ = [
    "DATA_DIGEST",
    "DetectError",
    "FactCache",
    "NormalUsage",
    "RequestFacts",
    "Splice",
    "apply_splices",
    "facts",
    "label_of",
    "normal_usage",
    "pii",
    "pricing",
    "prompt",
    "redact",
    "redact_by",
    "text_parts",
    "tokens",
    "warm",
]
