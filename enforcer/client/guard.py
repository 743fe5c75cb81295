"""
A model's answer, redacted while it comes: what ``guard`` yields holds no finding of the asked kinds.

The caller asks for it where a decision says so. Little is held back (``StreamRedactor``), so that the
first words leave after the second word has come, and a finding never leaves by its first half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.detect import pii
from enforcer.detect.redaction import NO_KEYS, RedactionKeys, Style
from enforcer.detect.stream import StreamRedactor

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable


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
