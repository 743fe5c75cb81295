"""
Redaction: the replacements that leave no finding of the asked kinds in a text.

Findings that overlap or touch become one replacement, so that no character of any of them stays.
What is left is scanned again: two harmless halves can join to a finding, above all where nothing
is put in between, and such a join is taken into the replacement beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from enforcer.detect import pii

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Style = Literal["label", "remove"]

# Each round takes at least one more character away; a text that still holds a finding after
# this many is adversarial and is replaced whole.
_ROUNDS_MAX = 6


@dataclass(frozen=True, slots=True)
class Splice:
    """
    Replace the code points from *start* up to *end* by *text*.

    The splices of one text are sorted and disjoint, and are applied from the end, so that none
    moves another.
    """

    start: int
    end: int
    text: str


def label_of(kind: str) -> str:
    """What stands in place of a finding: ``[EMAIL_REDACTED]``."""
    return f"[{kind.upper()}_REDACTED]"


def redact(
    text: str,
    kinds: Iterable[str],
    style: Style = "label",
    *,
    at: float = pii.CONFIDENCE_DEFAULT,
    scan_bytes_max: int = pii.SCAN_BYTES_MAX,
) -> list[Splice]:
    """
    The splices that redact a text; none where it holds nothing of the asked kinds.

    Args:
        text: The text as it came.
        kinds: Kinds of personal data to redact.
        style: ``label`` puts the kind's name in place; ``remove`` puts nothing.
        at: Findings below this confidence stay.
        scan_bytes_max: As for ``pii.scan``.

    Returns: Sorted, disjoint splices; one over the whole text, if findings of a kind were too
        many to be listed or if redaction does not come to rest.
    Raises: DetectError, as ``pii.scan``: nothing is redacted that was not read.
    """
    return redact_by(text, dict.fromkeys(kinds, style), at=at, scan_bytes_max=scan_bytes_max)


def redact_by(
    text: str,
    styles: Mapping[str, Style],
    *,
    at: float = pii.CONFIDENCE_DEFAULT,
    scan_bytes_max: int = pii.SCAN_BYTES_MAX,
) -> list[Splice]:
    """As ``redact``, each kind in its own style; where kinds overlap, ``remove`` is the stricter."""
    asked = frozenset(styles)
    findings = pii.scan(text, asked, at=at, scan_bytes_max=scan_bytes_max)
    if not findings:
        return []
    if findings.truncated:
        return [Splice(0, len(text), _replacement(min(findings.truncated), styles))]
    ranges = [(f.start, f.end, f.kind) for f in findings]
    for _ in range(_ROUNDS_MAX):
        splices = _merged(ranges, styles)
        left = apply_splices(text, splices)
        # Labels make a text longer, so the second scan must not be the one that errs.
        again = pii.scan(left, asked, at=at, scan_bytes_max=scan_bytes_max + 4 * len(left))
        if not again:
            return splices
        ranges += [(*_original_range(f.start, f.end, splices), f.kind) for f in again]
    return [Splice(0, len(text), _replacement(findings[0].kind, styles))]


def apply_splices(text: str, splices: Sequence[Splice]) -> str:
    """The text after its splices."""
    pieces: list[str] = []
    at = 0
    for splice in splices:
        pieces += (text[at : splice.start], splice.text)
        at = splice.end
    pieces.append(text[at:])
    return "".join(pieces)


def _replacement(kind: str, styles: Mapping[str, Style]) -> str:
    return "" if styles[kind] == "remove" else label_of(kind)


def _merged(ranges: list[tuple[int, int, str]], styles: Mapping[str, Style]) -> list[Splice]:
    """One splice for each run of overlapping ranges: empty if one of its kinds is to be removed."""
    splices: list[Splice] = []
    for start, end, kind in sorted(ranges):
        replacement = _replacement(kind, styles)
        if splices and start < splices[-1].end:
            last = splices[-1]
            kept = last.text if replacement else ""
            splices[-1] = Splice(last.start, max(last.end, end), kept)
        else:
            splices.append(Splice(start, end, replacement))
    return splices


def _original_range(start: int, end: int, splices: Sequence[Splice]) -> tuple[int, int]:
    """The part of the original text that a range of the spliced text came from."""
    first, last = _original(start, splices)[0], _original(end - 1, splices)[1]
    return first, last


def _original(index: int, splices: Sequence[Splice]) -> tuple[int, int]:
    """The original range of one code point of the spliced text: its own, or its splice's."""
    shift = 0
    for splice in splices:
        begin = splice.start + shift
        if index < begin:
            break
        if index < begin + len(splice.text):
            return splice.start, splice.end
        shift += len(splice.text) - (splice.end - splice.start)
    return index - shift, index - shift + 1
