"""
A model's answer, redacted while it comes: what ``guard`` yields holds no finding of the asked kinds.

The caller asks for it where a decision says so. Little is held back (``StreamRedactor``), so that the
first words leave after the second word has come, and a finding never leaves by its first half.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from enforcer.detect import combined, pii
from enforcer.detect.redaction import NO_KEYS, RedactionKeys, Style
from enforcer.detect.stream import StreamRedactor

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable

    from enforcer.events import Decision

_LABEL: Final = re.compile(r"\[([A-Z0-9_]+?)_(REDACTED|HASH|PSEUDONYM)(?:_[a-p]+)?\]")


async def guard(
    stream: AsyncIterable[str],
    kinds: Iterable[str] = pii.DEFAULT,
    style: Style = "label",
    *,
    at: float = pii.CONFIDENCE_DEFAULT,
    keys: RedactionKeys = NO_KEYS,
) -> AsyncIterator[str]:
    """
    Redact a stream of text.

    Args:
        stream: The answer's text in the pieces it comes in; closed with this one, if it can be.
        kinds: Kinds of personal data and of secrets.
        style: As ``detect.redact``'s.
        at: Findings below this confidence stay.
        keys: For the styles ``hash`` and ``pseudonym``.

    Yields: Text that may leave; empty pieces are left out.
    Raises: DetectError, if a text cannot be read: what was held back does not leave, and the stream ends.
    """
    redactor = StreamRedactor(kinds, style, at=at, keys=keys)
    try:
        async for chunk in stream:
            ready = redactor.feed(chunk)
            if ready:
                yield ready
        rest = redactor.end()
        if rest:
            yield rest
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def asked_by(
    decision: Decision | None, keys: RedactionKeys = NO_KEYS
) -> tuple[frozenset[str], Style] | None:
    """
    The kinds and the style in which a decision's answer is to be redacted; None where it asks for nothing.

    A decision that redacted the question asks for it. The wire carries its splices and counts, not the policy's
    kinds. So the kinds are those on by default, those that the splices name, those that were counted, and all secrets where
    one is among these: rather more than was asked for than less. The style is that of all splices; labels where they differ,
    or where it takes a key and *keys* has none.
    """
    if decision is None or decision.verdict != "modify":
        return None
    texts = [edit.text or "" for edit in decision.edits if edit.op == "splice"]
    if not texts:
        return None
    labels = [label for text in texts for label in _LABEL.findall(text)]
    seen = {kind.lower() for kind, _ in labels}
    seen |= {*decision.facts.pii, *decision.facts.secrets}
    kinds = pii.DEFAULT | (seen & combined.KINDS)
    if kinds & combined.SECRETS:
        kinds |= combined.SECRETS
    return kinds, _style_of(texts, {written for _, written in labels}, keys)


def _style_of(texts: list[str], written: set[str], keys: RedactionKeys) -> Style:
    if not any(texts):
        return "remove"
    if all(text and not text.strip("*") for text in texts):
        return "mask"
    if len(written) == 1 and all(map(_LABEL.fullmatch, texts)):
        (mark,) = written
        if mark == "HASH" and keys.hash_key is not None:
            return "hash"
        if mark == "PSEUDONYM" and keys.pseudonyms is not None:
            return "pseudonym"
    return "label"
