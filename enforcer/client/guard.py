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

_LABEL: Final = re.compile(r"\[([A-Z0-9_]+?)_(?:REDACTED|HASH_[a-p]+|PSEUDONYM_[a-p]+)\]")


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


def asked_by(decision: Decision | None) -> tuple[frozenset[str], Style] | None:
    """
    The kinds and the style in which a decision's answer is to be redacted; None where it asks for nothing.

    A decision that redacted the question asks for it. The wire carries its splices, not the policy's
    kinds: so the kinds on by default, and those the splices name. The style is the splices' own if all
    were removed or masked; else labels, which need no key.
    """
    if decision is None or decision.verdict != "modify":
        return None
    texts = [edit.text or "" for edit in decision.edits if edit.op == "splice"]
    if not texts:
        return None
    named = {kind.lower() for text in texts for kind in _LABEL.findall(text)}
    style: Style = "label"
    if not any(texts):
        style = "remove"
    elif all(text and not text.strip("*") for text in texts):
        style = "mask"
    return pii.DEFAULT | (named & combined.KINDS), style
