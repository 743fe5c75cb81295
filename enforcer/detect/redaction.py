"""
Redaction: the replacements that leave no finding of the asked kinds in a text.

Findings that overlap or touch become one replacement, so that no character of any of them stays.
What is left is scanned again: two harmless halves can join to a finding, above all where nothing
is put in between, and such a join is taken into the replacement beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from enforcer.detect import combined, pii
from enforcer.detect.errors import DetectError
from enforcer.detect.pseudonyms import Pseudonyms, derived_key, hashed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Style = Literal["label", "remove", "mask", "hash", "pseudonym"]

STRICTNESS: dict[str, int] = {"remove": 5, "label": 4, "hash": 3, "pseudonym": 2, "mask": 1}
"""Where several styles are asked for one place, the highest stands."""
MASK_CHARACTERS_MAX = 8
# Each round takes at least one more character away; a text that still holds a finding after
# this many is adversarial and is replaced whole.
ROUNDS_MAX = 6


@dataclass(frozen=True, slots=True)
class Splice:
    """
    Replace the code points from *start* up to *end* by *text*.

    The splices of one text are sorted and disjoint, and are applied from the end, so that none
    moves another. A splice never holds what it replaces.
    """

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class RedactionKeys:
    """
    What the styles ``hash`` and ``pseudonym`` need; kept outside of every record.

    Attributes:
        hash_key: 16 bytes at least.
        pseudonyms: Of the conversation that the text is part of.
    """

    hash_key: bytes | None = None
    pseudonyms: Pseudonyms | None = None

    @staticmethod
    def derived(key: bytes, conversation: str) -> RedactionKeys:
        """The keys that an installation's one key gives for a conversation (``conversation_name``)."""
        return RedactionKeys(
            derived_key(key, "hash"), Pseudonyms(derived_key(key, "pseudonym"), conversation)
        )


NO_KEYS = RedactionKeys()


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
    keys: RedactionKeys = NO_KEYS,
) -> list[Splice]:
    """
    The splices that redact a text; none where it holds nothing of the asked kinds.

    Args:
        text: The text as it came.
        kinds: Kinds of personal data and of secrets to redact.
        style: ``label`` puts the kind's name in place, ``remove`` nothing, ``mask`` at most eight
            asterisks, ``hash`` a keyed hash, ``pseudonym`` what the key's holder can undo.
        at: Findings below this confidence stay.
        scan_bytes_max: As for ``pii.scan``.
        keys: For the styles that need one.

    Returns: Sorted, disjoint splices; one over the whole text, if findings of a kind were too
        many to be listed or if redaction does not come to rest.
    Raises: DetectError, as ``pii.scan``: nothing is redacted that was not read; and ``no_key``, if the
        style needs a key that is not there.
    """
    return redact_by(
        text, dict.fromkeys(kinds, style), at=at, scan_bytes_max=scan_bytes_max, keys=keys
    )


def redact_by(
    text: str,
    styles: Mapping[str, Style],
    *,
    at: float = pii.CONFIDENCE_DEFAULT,
    scan_bytes_max: int = pii.SCAN_BYTES_MAX,
    keys: RedactionKeys = NO_KEYS,
    also: Sequence[tuple[int, int, str]] = (),
) -> list[Splice]:
    """
    As ``redact``, each kind in its own style; where kinds overlap, the stricter style stands.

    *also* are (start, end, kind) that somebody else found, of the asked kinds.
    """
    asked = frozenset(styles)
    findings = combined.scan(text, asked, at=at, scan_bytes_max=scan_bytes_max)
    if findings.truncated:
        return _whole(text, min(findings.truncated), styles)
    if not findings and not also:
        return []
    ranges = [*[(f.start, f.end, f.kind) for f in findings], *also]
    for _ in range(ROUNDS_MAX):
        splices = merged(text, ranges, styles, keys)
        left = apply_splices(text, splices)
        # Labels make a text longer, so the second scan must not be the one that errs.
        again = combined.scan(left, asked, at=at, scan_bytes_max=scan_bytes_max + 4 * len(left))
        if again.truncated:
            break
        if not again:
            return splices
        ranges += [(*original_range(f.start, f.end, splices), f.kind) for f in again]
    return _whole(text, min(styles), styles)


def apply_splices(text: str, splices: Sequence[Splice]) -> str:
    """The text after its splices."""
    pieces: list[str] = []
    at = 0
    for splice in splices:
        pieces += (text[at : splice.start], splice.text)
        at = splice.end
    pieces.append(text[at:])
    return "".join(pieces)


def _whole(text: str, kind: str, styles: Mapping[str, Style]) -> list[Splice]:
    """The text replaced as a whole: what it holds was not listed, so that no hash of it is of use."""
    if not text:
        return []
    return [Splice(0, len(text), "" if styles[kind] == "remove" else label_of(kind))]


def replacement(kind: str, style: str, value: str, keys: RedactionKeys) -> str:
    """
    What stands in place of a value.

    Raises: DetectError ``no_key``, if the style needs a key that is not there.
    """
    if style == "remove":
        return ""
    if style == "label":
        return label_of(kind)
    if style == "mask":
        return "*" * min(len(value), MASK_CHARACTERS_MAX)
    if style == "hash" and keys.hash_key is not None:
        return hashed(keys.hash_key, kind, value)
    if style == "pseudonym" and keys.pseudonyms is not None:
        return keys.pseudonyms.of(kind, value)
    raise DetectError(f"the style `{style}` needs a key, and none is configured", code="no_key")


def merged(
    text: str,
    ranges: Iterable[tuple[int, int, str]],
    styles: Mapping[str, Style],
    keys: RedactionKeys,
) -> list[Splice]:
    """One splice for each run of overlapping ranges (start, end, kind), in the strictest of their styles."""
    runs: list[tuple[int, int, str]] = []
    for start, end, kind in sorted(ranges):
        if runs and start < runs[-1][1]:
            first, last, before = runs[-1]
            stricter = STRICTNESS[styles[kind]] > STRICTNESS[styles[before]]
            runs[-1] = (first, max(last, end), kind if stricter else before)
        else:
            runs.append((start, end, kind))
    return [
        Splice(start, end, replacement(kind, styles[kind], text[start:end], keys))
        for start, end, kind in runs
    ]


def original_range(start: int, end: int, splices: Sequence[Splice]) -> tuple[int, int]:
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
