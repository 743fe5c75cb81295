"""The kinds of personal data, and the scan for them."""

from __future__ import annotations

from enforcer.detect.pii import (
    accounts,
    dates,
    documents,
    national,
    network,
    numbers,
    people,
    phones,
)
from enforcer.detect.scanning import (
    CONFIDENCE_DEFAULT,
    FINDINGS_MAX,
    SCAN_BYTES_MAX,
    Finding,
    Findings,
    Registry,
)

RECOGNISERS = (
    network.EMAIL,
    phones.PHONE,
    numbers.SSN,
    numbers.CREDIT_CARD,
    network.IP_ADDRESS,
    people.NAME,
    people.ADDRESS,
    dates.DATE_OF_BIRTH,
    dates.DATE,
    accounts.IBAN,
    accounts.BIC,
    accounts.URL,
    accounts.MAC_ADDRESS,
    accounts.IMEI,
    accounts.VIN,
    accounts.CRYPTO_WALLET,
    *documents.RECOGNISERS,
    *national.RECOGNISERS,
)
REGISTRY = Registry(RECOGNISERS)
KINDS: tuple[str, ...] = REGISTRY.kinds
# What nearly every text holds, and what is told by shape more than by proof: looked for where a tenant, a
# rule, a redaction or ``pii.at`` names them.
OFF: frozenset[str] = frozenset({"name", "address", "date", "url", "age"})
DEFAULT: frozenset[str] = frozenset(KINDS) - OFF
"""What every request is searched for where a rule reads ``pii.types``."""

__all__ = [
    "CONFIDENCE_DEFAULT",
    "DEFAULT",
    "FINDINGS_MAX",
    "KINDS",
    "RECOGNISERS",
    "REGISTRY",
    "SCAN_BYTES_MAX",
    "Finding",
    "Findings",
    "counts",
    "scan",
]


def scan(
    text: str,
    kinds: frozenset[str] = DEFAULT,
    *,
    at: float = CONFIDENCE_DEFAULT,
    scan_bytes_max: int = SCAN_BYTES_MAX,
) -> Findings:
    """
    Find personal data of some kinds; as ``Registry.scan``.

    Raises: DetectError, if the text is larger than *scan_bytes_max* or the pattern set failed.
    """
    return REGISTRY.scan(text, kinds, at=at, scan_bytes_max=scan_bytes_max)


def counts(
    text: str, kinds: frozenset[str] = DEFAULT, *, at: float = CONFIDENCE_DEFAULT
) -> dict[str, int]:
    """
    Findings by kind, kinds without any left out; a kind that was truncated counts 1,000.

    What was truncated before anything was found counts as one: the text counts as holding it.
    """
    totals: dict[str, int] = {}
    found = scan(text, kinds, at=at)
    for finding in found:
        totals[finding.kind] = totals.get(finding.kind, 0) + 1
    for kind in found.truncated:
        totals.setdefault(kind, 1)
    return totals
