"""
The scan: one RE2 set over the text says which kinds can be in it; exact work only for those.

Linear in the text for every input: RE2 does not backtrack, recognisers look at bounded windows,
and each kind stops at 1,000 findings. The set carries a pattern that matches every text; a set
that does not report it has erred, and the scan errs with it instead of finding nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import re2

from enforcer.detect.errors import DetectError
from enforcer.detect.pii import accounts, network, numbers, people, phones
from enforcer.detect.pii.recogniser import Candidate, Recogniser, options

if TYPE_CHECKING:
    from collections.abc import Sequence

SCAN_BYTES_MAX = 1 << 20
FINDINGS_MAX = 1000
CONFIDENCE_DEFAULT = 0.5

RECOGNISERS: dict[str, Recogniser] = {
    recogniser.kind: recogniser
    for recogniser in (
        network.EMAIL,
        phones.PHONE,
        numbers.SSN,
        numbers.CREDIT_CARD,
        network.IP_ADDRESS,
        people.NAME,
        people.ADDRESS,
        people.DATE_OF_BIRTH,
        accounts.IBAN,
        accounts.BIC,
        accounts.URL,
        accounts.MAC_ADDRESS,
        accounts.IMEI,
        accounts.VIN,
        accounts.CRYPTO_WALLET,
    )
}
KINDS: tuple[str, ...] = tuple(RECOGNISERS)
DEFAULT: frozenset[str] = frozenset({"email", "phone", "ssn", "credit_card", "ip_address"})


@dataclass(frozen=True, slots=True)
class Finding:
    """
    A place in a text that holds a kind of personal data. Never the value.

    Attributes:
        kind: One of ``KINDS``.
        start: First code point of it.
        end: First code point after it.
        confidence: 0 to 1; what counts is 0.5 and above unless asked otherwise.
        reason: What was seen: a check digit, a context word, a shape.
    """

    kind: str
    start: int
    end: int
    confidence: float
    reason: str = ""


class Findings(list[Finding]):
    """
    What a scan found, in order of place.

    Attributes:
        truncated: Kinds that reached 1,000 findings. The rest of the text counts as holding them,
            and redaction of such a kind replaces the text as a whole.
    """

    __slots__ = ("truncated",)

    def __init__(
        self, findings: list[Finding] | None = None, truncated: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(findings or ())
        self.truncated = truncated


@dataclass(frozen=True, slots=True)
class _Program:
    """The set of patterns of some kinds, and whose pattern each is."""

    matcher: re2.Set
    owners: tuple[Recogniser | None, ...]
    sentinel: int


def scan(
    text: str,
    kinds: frozenset[str] = DEFAULT,
    *,
    at: float = CONFIDENCE_DEFAULT,
    scan_bytes_max: int = SCAN_BYTES_MAX,
) -> Findings:
    """
    Find personal data of some kinds.

    Args:
        text: Any text; a lone surrogate counts as one code point.
        kinds: Which of ``KINDS`` to look for; an unknown kind is a ``KeyError``, a bug.
        at: Findings below this confidence are left out.
        scan_bytes_max: UTF-8 bytes that a scan may read.

    Returns: Findings in order, overlaps resolved in favour of the kind that proves more.
    Raises: DetectError, if the text is larger than *scan_bytes_max* or the pattern set failed.
    """
    data = text.encode("utf-8", "replace")
    if len(data) > scan_bytes_max:
        raise DetectError(
            f"a text of {len(data)} bytes is above scan_bytes_max, {scan_bytes_max}",
            code="scan_too_large",
        )
    program = _program(kinds)
    hits: Sequence[int] = program.matcher.Match(data) or ()
    if len(hits) == 1 and hits[0] == program.sentinel:
        return Findings()
    if program.sentinel not in hits:
        raise DetectError("the pattern set failed", code="detect_failed")
    return _exact(data, text, {program.owners[hit] for hit in hits}, at)


def counts(
    text: str, kinds: frozenset[str] = DEFAULT, *, at: float = CONFIDENCE_DEFAULT
) -> dict[str, int]:
    """Findings by kind, kinds without any left out; a kind that was truncated counts 1,000."""
    totals: dict[str, int] = {}
    for finding in scan(text, kinds, at=at):
        totals[finding.kind] = totals.get(finding.kind, 0) + 1
    return totals


def _exact(data: bytes, text: str, hit: set[Recogniser | None], at: float) -> Findings:
    found: list[tuple[Recogniser, Candidate]] = []
    truncated: set[str] = set()
    for recogniser in hit:
        if recogniser is None:
            continue
        count = 0
        for candidate in recogniser.find(data):
            if candidate.confidence < at:
                continue
            if count == FINDINGS_MAX:
                truncated.add(recogniser.kind)
                break
            found.append((recogniser, candidate))
            count += 1
    if not found:
        return Findings()
    return Findings(_as_findings(_resolved(found), data, text), frozenset(truncated))


def _resolved(found: list[tuple[Recogniser, Candidate]]) -> list[tuple[Recogniser, Candidate]]:
    """Of findings that overlap, those of the highest rank stay, then the longest, then the first."""
    if len(found) == 1:
        return found
    found.sort(key=lambda item: (item[1].start, item[1].end))
    kept: list[tuple[Recogniser, Candidate]] = []
    for item in found:
        recogniser, candidate = item
        while kept and kept[-1][1].end > candidate.start:
            before_recogniser, before = kept[-1]
            if _weight(recogniser, candidate) <= _weight(before_recogniser, before):
                break
            kept.pop()
        else:
            kept.append(item)
    return kept


def _weight(recogniser: Recogniser, candidate: Candidate) -> tuple[int, int]:
    return recogniser.rank, candidate.end - candidate.start


def _as_findings(
    found: list[tuple[Recogniser, Candidate]], data: bytes, text: str
) -> list[Finding]:
    if len(data) == len(text):
        return [Finding(r.kind, c.start, c.end, c.confidence, c.reason) for r, c in found]
    # Byte offsets become code points in one pass, since findings are sorted and disjoint.
    findings: list[Finding] = []
    byte = point = 0
    for recogniser, candidate in found:
        point += len(data[byte : candidate.start].decode())
        width = len(data[candidate.start : candidate.end].decode())
        findings.append(
            Finding(recogniser.kind, point, point + width, candidate.confidence, candidate.reason)
        )
        point += width
        byte = candidate.end
    return findings


@lru_cache(maxsize=256)
def _program(kinds: frozenset[str]) -> _Program:
    matcher = re2.Set.SearchSet(options())
    owners: list[Recogniser | None] = []
    for kind in sorted(kinds):
        recogniser = RECOGNISERS[kind]
        for source in recogniser.patterns:
            matcher.Add(source)
            owners.append(recogniser)
    matcher.Add(b"")
    owners.append(None)
    matcher.Compile()
    return _Program(matcher, tuple(owners), len(owners) - 1)
