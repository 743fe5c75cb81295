"""
Redaction of a text that is still being written: nothing of a finding leaves, and little is held back.

The text is cut into segments at quiet places: between two plain words (letters, no digit, no sign that a
finding holds), across which no finding reaches. A segment of plain words leaves as it is; any other
is scanned with the 64 characters before it and leaves redacted. Where no quiet place comes, what starts
512 characters before the end is decided: a finding is 512 characters at most, so it is there whole. What
may be longer is suppressed from its opening on: a private key up to its end mark, anything unbroken up
to the next blank.

Cuts depend on the text alone, never on how it came in pieces; so the output is the same for every
split, and equals that of the whole text fed at once. This is the stream profile: context to the left
only, findings of at most 512 characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from enforcer.detect import combined, pii
from enforcer.detect.recogniser import pattern
from enforcer.detect.redaction import (
    NO_KEYS,
    ROUNDS_MAX,
    RedactionKeys,
    Splice,
    Style,
    apply_splices,
    label_of,
    merged,
    original_range,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOLD_CHARACTERS_MAX = 512
_CONTEXT_CHARACTERS = 64
# How many plain words have to stand on either side of a cut. Names and addresses are words, too.
_QUIET_WORDS, _QUIET_WORDS_OF_PROSE = 1, 6
_PROSE_KINDS = frozenset({"name", "address"})
_OPEN, _APOSTROPHES, _CLOSE = "(\"'\u201c\u2018\u00ab", "'\u2019", ")\"'\u201d\u2019\u00bb"
_PLAIN = pattern(
    f"^[{_OPEN}]?[\\p{{Lu}}]?[\\p{{Ll}}{_APOSTROPHES}]*[\\p{{Ll}}][.,;:!?{_CLOSE}]*$".encode()
)
_LOWER = pattern(f"^[{_OPEN}]?[\\p{{Ll}}{_APOSTROPHES}]*[\\p{{Ll}}][,;{_CLOSE}]*$".encode())
_WORD_CHARACTERS_MAX = 32
# A plain word that opens or joins a finding: what follows it may be one of several words.
_LEADING = frozenset(
    [
        "bearer",
        "basic",
        "box",
        "psc",
        "unit",
        "apt",
        "suite",
        "ext",
        "extension",
        "x",
        "de",
        "of",
        "born",
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "januar",
        "februar",
        "mai",
        "juni",
        "juli",
        "oktober",
        "dezember",
        "janvier",
        "mars",
        "avril",
        "juin",
        "juillet",
        "septembre",
        "octobre",
        "novembre",
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ]
)
_PEM_BEGIN = pattern(rb"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = pattern(rb"-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----")
_PEM_END_CHARACTERS_MAX = 48
_KEY = "private_key"
_BLANK = re.compile(r"\s")
_Range = tuple[int, int, str]
"""Start, end and kind of what is found."""


class StreamRedactor:
    """
    Redacts a text as it comes. One instance serves one text.

    Args:
        kinds: Kinds of personal data and of secrets.
        style: As ``redact``'s.
        at: Findings below this confidence stay.
        keys: For the styles that need one.
        styles: A style for each kind, in place of *kinds* and *style*.
    """

    __slots__ = (
        "_asked",
        "_at",
        "_before",
        "_held",
        "_is_plain",
        "_keys",
        "_quiet",
        "_read",
        "_styles",
        "_suppressing",
        "_told",
        "_word_starts",
        "redactions",
    )

    def __init__(
        self,
        kinds: Iterable[str] = pii.DEFAULT,
        style: Style = "label",
        *,
        at: float = pii.CONFIDENCE_DEFAULT,
        keys: RedactionKeys = NO_KEYS,
        styles: Mapping[str, Style] | None = None,
    ) -> None:
        self._styles: dict[str, Style] = (
            dict.fromkeys(kinds, style) if styles is None else dict(styles)
        )
        self._asked = frozenset(self._styles)
        self._at = at
        self._keys = keys
        prose = bool(self._asked & _PROSE_KINDS)
        self._quiet = _QUIET_WORDS_OF_PROSE if prose else _QUIET_WORDS
        self._is_plain = _LOWER.search if prose else _PLAIN.search
        self._held = ""
        self._before = ""  # What stood before the segment, for context,
        self._told = ""  # and what left of it.
        self._read = 0  # How far words of the held text were looked at.
        self._word_starts: list[int] = []  # Of the plain words at the end of what was read.
        self._suppressing = ""  # "" | "word" | "key"
        self.redactions = 0

    @property
    def held(self) -> int:
        """Characters that were fed and have not been decided: 512 at most."""
        return 0 if self._suppressing else len(self._held)

    def feed(self, chunk: str) -> str:
        """What may leave after *chunk* has come."""
        out: list[str] = []
        # By pieces no longer than what is held, so that a large chunk costs no more than small ones.
        for at in range(0, len(chunk), HOLD_CHARACTERS_MAX):
            self._held += chunk[at : at + HOLD_CHARACTERS_MAX]
            while self._step(out):
                pass
        return "".join(out)

    def end(self) -> str:
        """What was held back, redacted: nothing comes any more."""
        out: list[str] = []
        if not self._suppressing and self._held:
            self._leave(len(self._held), out)
        self._held = ""
        return "".join(out)

    def _step(self, out: list[str]) -> bool:
        """One decision in order of place; False if more text is needed for the next."""
        if self._suppressing:
            return self._suppress()
        blank = _next_blank(self._held, self._read)
        if blank < 0 or blank >= HOLD_CHARACTERS_MAX:
            # Nothing is decided before the hold is full: where the text was cut up must not matter.
            if len(self._held) > HOLD_CHARACTERS_MAX:
                self._force(out)
                return True
            return False
        word = self._held[self._read : blank]
        if word:
            if self._plain(word):
                self._word_starts.append(self._read)
            else:
                self._word_starts.clear()
        self._read = blank + 1
        if word and len(self._word_starts) >= 2 * self._quiet:
            self._leave(self._word_starts[-self._quiet], out)
        return True

    def _plain(self, word: str) -> bool:
        if len(word) > _WORD_CHARACTERS_MAX or word.lower().strip("(\"'.,;:") in _LEADING:
            return False
        return self._is_plain(word.encode("utf-8", "replace")) is not None

    def _leave(self, cut: int, out: list[str]) -> None:
        """The held text up to *cut* leaves, redacted; where a private key opens in it, up to there."""
        segment = self._held[:cut]
        if not segment:
            return
        if all(self._plain(word) for word in segment.split()):
            out.append(segment)
            self._advance(cut, segment)
            return
        opening = _PEM_BEGIN.search(segment) if _KEY in self._asked else None
        if opening is None:
            left = self._redacted(segment)
            out.append(left)
            self._advance(cut, left)
            return
        out.append(self._redacted(segment[: opening.start()]))
        self._suppress_from(opening.end(), _KEY, "key", out)

    def _force(self, out: list[str]) -> None:
        """No quiet place comes: decide on what starts at the first character, which is there whole."""
        window = self._held[: HOLD_CHARACTERS_MAX + 1]
        if _KEY in self._asked:
            opening = _PEM_BEGIN.match(window)
            if opening is not None:
                self._suppress_from(opening.end(), _KEY, "key", out)
                return
        found = self._found(window)
        splices = self._splices(window, found)
        if not splices or splices[0].start > 0:
            cut = min([_word_end(window), *[each.start for each in splices[:1]]])
            out.append(window[:cut])
            self._advance(cut, window[:cut])
        elif splices[0].end > HOLD_CHARACTERS_MAX:
            # It goes on beyond what is held: nothing more of it leaves, up to the next blank.
            self._suppress_from(len(window), found[0][2], "word", out)
        else:
            out.append(splices[0].text)
            self.redactions += 1
            self._advance(splices[0].end, splices[0].text)

    def _suppress_from(self, cut: int, kind: str, until: str, out: list[str]) -> None:
        # The whole value is not known, so that no hash of it could be right: a label, or nothing.
        out.append("" if self._styles[kind] == "remove" else label_of(kind))
        self.redactions += 1
        self._held = self._held[cut:]
        self._before = self._told = ""
        self._read = 0
        self._word_starts = []
        self._suppressing = until

    def _suppress(self) -> bool:
        """Drop what belongs to a finding whose end has not come; True once it has."""
        if self._suppressing == "word":
            end = _next_blank(self._held, 0)
        else:
            closing = _PEM_END.search(self._held)
            end = -1 if closing is None else closing.end()
        if end < 0:
            self._held = (
                "" if self._suppressing == "word" else self._held[-_PEM_END_CHARACTERS_MAX:]
            )
            return False
        self._held = self._held[end:]
        self._suppressing = ""
        return True

    def _advance(self, cut: int, left: str) -> None:
        """The held text up to *cut* is decided, and *left* is what left of it."""
        self._before = (self._before + self._held[:cut])[-_CONTEXT_CHARACTERS:]
        self._told = (self._told + left)[-_CONTEXT_CHARACTERS:]
        self._held = self._held[cut:]
        self._read = max(0, self._read - cut)
        self._word_starts = [start - cut for start in self._word_starts if start >= cut]

    def _redacted(self, segment: str) -> str:
        """A segment redacted, with what stood before it as context."""
        splices = self._splices(segment, self._found(segment))
        self.redactions += len(splices)
        return apply_splices(segment, splices) if splices else segment

    def _splices(self, text: str, found: list[_Range]) -> list[Splice]:
        return merged(text, found, self._styles, self._keys) if found else []

    def _found(self, text: str) -> list[_Range]:
        """
        What of a text must not leave, in order of place.

        Looked for in the text as it came, behind what stood before it, and in what would be left of it, behind what left
        of that: a value that was glued to another stands alone once a label stands there.
        """
        found = self._ranges(self._before, text)
        if not found and self._told == self._before:
            return found
        for _ in range(ROUNDS_MAX):
            splices = self._splices(text, found)
            again = self._ranges(self._told, apply_splices(text, splices))
            if not again:
                return sorted(found)
            found += [(*original_range(start, end, splices), kind) for start, end, kind in again]
        return [(0, len(text), min(found)[2])]

    def _ranges(self, before: str, text: str) -> list[_Range]:
        """The findings that reach into *text*; all of it where it is not known what it holds."""
        shift = len(before)
        found = combined.scan(before + text, self._asked, at=self._at)
        if found.truncated:
            return [(0, len(text), min(found.truncated))]
        # What reaches in from the context was decided there; the rest of it goes as well.
        return [
            (max(0, each.start - shift), each.end - shift, each.kind)
            for each in found
            if each.end > shift
        ]


def _next_blank(text: str, start: int) -> int:
    """Where the next blank is; -1 if there is none."""
    found = _BLANK.search(text, start)
    return -1 if found is None else found.start()


def _word_end(window: str) -> int:
    """Behind the first character and, inside a word of ASCII, its rest: no finding begins there."""
    end = 1
    if not _is_word(window[0]):
        return end
    while end < len(window) - 1 and _is_word(window[end]):
        end += 1
    return end


def _is_word(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "_")
