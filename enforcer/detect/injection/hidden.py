"""
Text that a reader does not see, and text that is not what it seems: invisible, bidirectional and tag
characters, and letters of other scripts in the place of Latin ones.
"""

# ruff: noqa: RUF001 - the look-alikes are the subject here

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from enforcer.detect.recogniser import pattern

# Zero width space, joiners, word joiner, invisible operators, BOM, soft hyphen, Hangul fillers,
# Mongolian vowel separator, combining grapheme joiner, and the variation selectors beyond emoji's.
_INVISIBLE = "\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff\u00ad\u3164\u115f\u1160\uffa0\u180e\u034f"
_SELECTORS = "".join([chr(point) for point in (*range(0xFE00, 0xFE0F), *range(0xE0100, 0xE01F0))])
_BIDI = "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u202c\u2069\u200e\u200f"
_BIDI_OVERRIDES = frozenset("\u202d\u202e")
_TAGS = range(0xE0000, 0xE0080)
_FLAG = "\U0001f3f4"
_INVISIBLE_MIN = 3

_REMOVED = {ord(char): None for char in _INVISIBLE + _SELECTORS + _BIDI}
_REMOVED.update(dict.fromkeys(_TAGS))
_HIDDEN_PATTERN = pattern(f"[{_INVISIBLE}{_SELECTORS}{_BIDI}\U000e0000-\U000e007f]".encode())

# Letters that look like Latin ones (a part of Unicode's confusables.txt: Cyrillic, Greek, Armenian,
# and phonetic letters and small capitals that a keyboard or a word list has at hand).
_LOOK_ALIKES = {
    "a": "аɑαᴀ", "b": "Ьʙв", "c": "сϲᴄ", "d": "ԁᴅ", "e": "еҽεᴇ", "f": "ꜰ", "g": "ɡցɢ", "h": "һհʜн", "i": "іɩıιɪ",
    "j": "јϳᴊ", "k": "кκᴋ", "l": "ӏʟ", "m": "мᴍ", "n": "ոпɴ", "o": "оοօᴏ", "p": "рρᴘ", "q": "ԛ", "r": "гʀ", "s": "ѕꜱ",
    "t": "тτᴛ", "u": "սυᴜ", "v": "ѵνᴠ", "w": "ԝωաᴡ", "x": "хχ", "y": "уүγʏ", "z": "ᴢ",
    "A": "АΑ", "B": "ВΒ", "C": "С", "E": "ЕΕ", "H": "НΗ", "I": "ІΙ", "J": "Ј", "K": "КΚ", "M": "МΜ", "N": "Ν", "O": "ОΟ",
    "P": "РΡ", "S": "Ѕ", "T": "ТΤ", "X": "ХΧ", "Y": "ҮΥ", "Z": "Ζ",
}  # fmt: skip
_CONFUSABLES = {ord(char): latin for latin, chars in _LOOK_ALIKES.items() for char in chars}
_GROWTH_MAX = 4


class Cleaned(NamedTuple):
    """
    A text as a reader takes it, and what had been done to it.

    Attributes:
        text: NFKC, without invisible characters, look-alikes as Latin letters, marks taken off.
        signals: Which of ``invisible_text, tag_characters, bidi_control, homoglyphs, truncated``.
        tags: What tag characters spell; empty where there are none.
    """

    text: str
    signals: tuple[str, ...]
    tags: str


def cleaned(text: str) -> Cleaned:
    """The clean form of a text; ASCII is its own."""
    if text.isascii():
        return Cleaned(text, (), "")
    signals: list[str] = []
    tags = ""
    if _HIDDEN_PATTERN.search(text.encode("utf-8", "replace")):
        signals, tags = _hidden_signals(text)
        text = text.translate(_REMOVED)
    normal = unicodedata.normalize("NFKC", text)
    if len(normal) > _GROWTH_MAX * max(len(text), 16):
        return Cleaned(normal[: _GROWTH_MAX * len(text)], (*signals, "truncated"), tags)
    latin = normal.translate(_CONFUSABLES)
    if latin != normal and _mixes_scripts(normal, latin):
        signals.append("homoglyphs")
    bare = unicodedata.normalize("NFD", latin)
    if len(bare) != len(latin):
        bare = "".join([char for char in bare if not unicodedata.combining(char)])
    return Cleaned(bare, tuple(signals), tags)


def _hidden_signals(text: str) -> tuple[list[str], str]:
    signals: list[str] = []
    tags = "".join([chr(ord(char) - 0xE0000) for char in text if 0xE0020 <= ord(char) < 0xE007F])
    if tags and not _is_flag(text):
        signals.append("tag_characters")
    else:
        tags = ""
    if _invisible_count(text) >= _INVISIBLE_MIN:
        signals.append("invisible_text")
    if any(char in _BIDI_OVERRIDES for char in text):
        signals.append("bidi_control")
    return signals, tags


def _is_flag(text: str) -> bool:
    """Whether tag characters stand only behind a black flag: those of England, Scotland, Wales."""
    before = ""
    for char in text:
        if 0xE0020 <= ord(char) < 0xE0080 and before != _FLAG:
            return False
        if not 0xE0020 <= ord(char) < 0xE0080:
            before = char
    return True


def _invisible_count(text: str) -> int:
    """Invisible characters between Latin letters; joiners within emoji, Arabic or Indic do not count."""
    count = 0
    for at, char in enumerate(text):
        if char not in _INVISIBLE and char not in _SELECTORS:
            continue
        before = text[at - 1] if at else " "
        after = text[at + 1] if at + 1 < len(text) else " "
        if (before.isascii() or before in _INVISIBLE) and (after.isascii() or after in _INVISIBLE):
            count += 1
    return count


def _mixes_scripts(normal: str, latin: str) -> bool:
    """Whether single words mix Latin letters with look-alikes of other scripts."""
    mixed = 0
    for word, plain in zip(normal.split(), latin.split(), strict=False):
        if word != plain and any("a" <= char.lower() <= "z" for char in word):
            mixed += 1
            if mixed >= 2:
                return True
    return False
