"""Personal data in a text: ``scan`` finds kinds of it, with their places and never their values."""

from __future__ import annotations

from enforcer.detect.pii.scanner import (
    CONFIDENCE_DEFAULT,
    DEFAULT,
    FINDINGS_MAX,
    KINDS,
    SCAN_BYTES_MAX,
    Finding,
    Findings,
    counts,
    scan,
)

__all__ = [
    "CONFIDENCE_DEFAULT",
    "DEFAULT",
    "FINDINGS_MAX",
    "KINDS",
    "SCAN_BYTES_MAX",
    "Finding",
    "Findings",
    "counts",
    "scan",
]
