"""What can go wrong while facts are taken from a text."""

from __future__ import annotations

from enforcer.errors import RequestError


class DetectError(RequestError):
    """
    A fact cannot be known: the text is larger than a scan may read, or a pattern set failed.

    Rules that read the fact count as erring, so deny rules fail closed. The message holds sizes
    and names, never text.
    """

    code = "detect_failed"
