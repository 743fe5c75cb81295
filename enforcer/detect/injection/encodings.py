"""
What a text says once it is decoded: base64, hex, percent, entities, escapes, rot13, reversal.

Each reading is bounded: decoding makes a text shorter, twice at most, and of a text's many encoded
parts the readings together are no longer than the text.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from enforcer.detect.injection.phrases import REVERSED_WORDS, ROT13_WORDS
from enforcer.detect.recogniser import Words, pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

_BASE64 = pattern(rb"[A-Za-z0-9+/_\-]{20,}={0,2}")
_HEX = pattern(rb"(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ ,:]?){14,}")
_DECIMALS = pattern(rb"(?:\b(?:3[2-9]|[4-9]\d|1[01]\d|12[0-6])[ ,]{1,2}){14,}")
_BINARY = pattern(rb"(?:[01]{8} ?){10,}")
_PRINTABLE_PERMILLE_MIN = 900
_LETTERS_PERMILLE_MIN = 500


def readings(text: str) -> Iterator[tuple[str, str]]:
    """(how, what it says) of every encoding that seems to be there; none for most texts."""
    data = text.encode("utf-8", "replace")
    for index in sorted(_CUES.of(data)):
        how, _, read = _READERS[index]
        said = read(text, data)
        if said:
            yield how, said


def _decoded_runs(data: bytes) -> Iterator[str]:
    for match in _BASE64.finditer(data):
        run = match.group(0).rstrip(b"=")
        run = run.translate(bytes.maketrans(b"-_", b"+/"))
        run = run[: len(run) - (len(run) % 4 == 1)]
        try:
            decoded = base64.b64decode(run + b"=" * (-len(run) % 4))
        except (ValueError, binascii.Error):
            continue
        said = _as_text(decoded)
        if said:
            yield said


def _hex_runs(data: bytes) -> Iterator[str]:
    for match in _HEX.finditer(data):
        run = match.group(0).replace(b"0x", b"").replace(b"\\x", b"")
        digits = run.translate(None, b" ,:")
        said = _as_text(bytes.fromhex(digits[: len(digits) // 2 * 2].decode()))
        if said:
            yield said


def _escapes(text: str) -> str:
    """A text with its backslash escapes read, as C and Python read them; what is none stays."""
    braces = text.replace("\\u{", "\\u00").replace("}", " ") if "\\u{" in text else text
    raw = braces.encode("ascii", "backslashreplace")
    try:
        read = raw.decode("unicode_escape")
    except UnicodeDecodeError:
        read = raw.decode("unicode_escape", "replace")
    return read.encode("utf-8", "replace").decode()


def _as_text(decoded: bytes) -> str:
    """The text that bytes spell, or nothing where they spell none."""
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        return ""
    if not text:
        return ""
    printable = sum(map(str.isprintable, text)) + text.count("\n") + text.count("\t")
    letters = sum(map(str.isalpha, text))
    if printable * 1000 < _PRINTABLE_PERMILLE_MIN * len(text):
        return ""
    return text if letters * 1000 >= _LETTERS_PERMILLE_MIN * len(text) else ""


def _decimals(data: bytes) -> str:
    runs = [run.group(0).replace(b",", b" ").split() for run in _DECIMALS.finditer(data)]
    return " ".join(["".join([chr(int(number)) for number in run]) for run in runs])


def _binary(data: bytes) -> str:
    runs = [run.group(0).replace(b" ", b"") for run in _BINARY.finditer(data)]
    octets = [[int(run[at : at + 8], 2) for at in range(0, len(run) - 7, 8)] for run in runs]
    return " ".join(["".join([chr(number) for number in run]) for run in octets])


_Reader = Callable[[str, bytes], str]
# (name, what has to be there for the reading to be tried, the reading).
_READERS: tuple[tuple[str, bytes, _Reader], ...] = (
    ("base64", rb"[A-Za-z0-9+/_\-]{20}", lambda _, data: " ".join(_decoded_runs(data))),
    (
        "hex",
        rb"(?:[0-9A-Fa-f]{2}[ ,:]?){14}|(?:\\x[0-9A-Fa-f]{2}){8}|(?:0x[0-9A-Fa-f]{2}[ ,]*){8}",
        lambda _, data: " ".join(_hex_runs(data)),
    ),
    (
        "percent",
        rb"(?:%[0-9A-Fa-f]{2}.{0,20}){3}",
        lambda text, _: unquote(text, errors="replace"),
    ),
    ("entities", rb"(?:&#x?[0-9A-Fa-f]{2,6};){3}", lambda text, _: html.unescape(text)),
    (
        "escapes",
        rb"\\u\{?[0-9A-Fa-f]{2,5}|\\x[0-9A-Fa-f]{2}|\\[0-7]{3}",
        lambda text, _: _escapes(text),
    ),
    ("rot13", ROT13_WORDS.encode(), lambda text, _: codecs.encode(text, "rot13")),
    ("reversed", REVERSED_WORDS.encode(), lambda text, _: text[::-1]),
    ("decimal", rb"(?:\d{2,3}[ ,]{1,2}){14}", lambda _, data: _decimals(data)),
    ("binary", rb"(?:[01]{8} ?){10}", lambda _, data: _binary(data)),
)
_CUES = Words(*[cue for _, cue, _ in _READERS])
