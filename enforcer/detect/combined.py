"""All pattern detectors in one scan: personal data and secrets, one set of patterns, one pass."""

from __future__ import annotations

from enforcer.detect import pii, secrets
from enforcer.detect.pii.scanner import RECOGNISERS as PII_RECOGNISERS
from enforcer.detect.scanning import CONFIDENCE_DEFAULT, SCAN_BYTES_MAX, Findings, Registry

REGISTRY = Registry((*PII_RECOGNISERS, *secrets.RECOGNISERS))
KINDS: frozenset[str] = frozenset(REGISTRY.kinds)
PII: frozenset[str] = frozenset(pii.KINDS)
SECRETS: frozenset[str] = frozenset(secrets.KINDS)
assert not PII & SECRETS, "a kind belongs to one detector"


def detector_of(kind: str) -> str:
    """``pii`` or ``secrets``: whose kind it is."""
    return REGISTRY.recognisers[kind].detector


def has_any(text: str, kinds: frozenset[str]) -> bool:
    """Whether a text holds any of some kinds, or may: of a truncated text nobody knows."""
    found = scan(text, kinds)
    return bool(found) or bool(found.truncated)


def scan(
    text: str,
    kinds: frozenset[str] = KINDS,
    *,
    at: float = CONFIDENCE_DEFAULT,
    scan_bytes_max: int = SCAN_BYTES_MAX,
) -> Findings:
    """
    Find personal data and secrets of some kinds; as ``Registry.scan``.

    Overlaps are resolved among the kinds of one detector: a key in a web address is both.

    Raises: DetectError, if the text is larger than *scan_bytes_max* or the pattern set failed.
    """
    return REGISTRY.scan(text, kinds, at=at, scan_bytes_max=scan_bytes_max)
