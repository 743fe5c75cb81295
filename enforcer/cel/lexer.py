"""
The lexer: a text to tokens, each with its place.

Source of the grammar: the CEL specification, doc/langdef.md, "Syntax".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from enforcer.cel.limits import TEXT_CHARACTERS_MAX
from enforcer.cel.values import INT_MAX, UINT_MAX, UInt

if TYPE_CHECKING:
    from enforcer.cel.source import Source

RESERVED: Final = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
KEYWORDS: Final = frozenset({"true", "false", "null", "in"})

_TOKEN = re.compile(
    r"""
    (?P<space>  [\t\n\f\r ]+ | //[^\r\n]* )
  | (?P<text>   (?:[rR][bB]?|[bB][rR]?)? (?:"{3}|'{3}|"|') )
  | (?P<float>  [0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)? | [0-9]+[eE][+-]?[0-9]+ )
  | (?P<int>    (?:0x[0-9a-fA-F]+|[0-9]+)[uU]? )
  | (?P<name>   [_a-zA-Z][_a-zA-Z0-9]* )
  | (?P<quoted> `[a-zA-Z0-9_.\-/ ]+` )
  | (?P<sign>   && | \|\| | [=!<>]= | [-+*/%!<>?:.,()\[\]{}] )
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"""\\(?: (?P<plain>[abfnrtv\\?"'`]) | [xX](?P<hex>[0-9a-fA-F]{2})
        | u(?P<u4>[0-9a-fA-F]{4}) | U(?P<u8>[0-9a-fA-F]{8}) | (?P<octal>[0-3][0-7]{2}) )""",
    re.VERBOSE,
)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ENDS: Final[dict[tuple[str, bool], re.Pattern[str]]] = {}
_NUMBER_CHARACTERS_MAX = 400


@dataclass(frozen=True, slots=True)
class Token:
    """
    One token. ``kind`` is ``literal``, ``name``, ``quoted`` (in backticks), ``end``, or the sign itself.

    ``value`` is the value of a literal, else the text of the token.
    """

    kind: str
    value: Any
    start: int
    end: int


def tokens(source: Source) -> list[Token]:
    """
    The tokens of *source*, the last of kind ``end``.

    Raises: CelSyntaxError, for what is no token; LimitError, for a text that is too long.
    """
    text = source.text
    if len(text) > TEXT_CHARACTERS_MAX:
        raise source.too_large(
            f"the expression has more than {TEXT_CHARACTERS_MAX} characters", TEXT_CHARACTERS_MAX
        )
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise source.error(f"unexpected character {text[at]!r}", at, at + 1)
        kind, end = match.lastgroup, match.end()
        if kind == "text":
            token = _text(source, match)
            found.append(token)
            end = token.end
        elif kind == "int" or kind == "float":  # noqa: PLR1714 — twice as fast as a set
            found.append(Token("literal", _number(source, match), at, end))
        elif kind == "name":
            found.append(_name(match.group(), at, end))
        elif kind == "quoted":
            found.append(Token("quoted", match.group()[1:-1], at, end))
        elif kind == "sign":
            found.append(Token(match.group(), match.group(), at, end))
        at = end
    found.append(Token("end", "", at, at))
    return found


def _name(name: str, start: int, end: int) -> Token:
    if name not in KEYWORDS:
        return Token("name", name, start, end)
    if name == "in":
        return Token("in", name, start, end)
    return Token("literal", None if name == "null" else name == "true", start, end)


def _number(source: Source, match: re.Match[str]) -> int | float:
    text, at = match.group(), match.start()
    # A number has hardly this many digits; Python refuses to read an integer of thousands.
    if len(text) > _NUMBER_CHARACTERS_MAX:
        raise source.error("a number with too many digits", at, match.end())
    if match.lastgroup == "float":
        number = float(text)
        if number in {float("inf"), float("-inf")}:
            raise source.error("a double out of range", at, match.end())
        return number
    unsigned = text[-1] in "uU"
    digits = text[:-1] if unsigned else text
    value = int(digits, 16 if digits.startswith("0x") else 10)
    if unsigned:
        if value > UINT_MAX:
            raise source.error("an unsigned integer out of range", at, match.end())
        return UInt(value)
    # One more than the largest is allowed here: the parser accepts it right after a minus only.
    if value > INT_MAX + 1:
        raise source.error("an integer out of range", at, match.end())
    return value


def _text(source: Source, match: re.Match[str]) -> Token:
    """A string or bytes literal, whose opening *match* is."""
    opening = match.group()
    mark = opening.lstrip("rRbB")
    prefix = opening[: -len(mark)].lower()
    raw = "r" in prefix
    # Whatever stands between the marks: in a short literal no line end, in a raw one no escape.
    end = _end_of(mark, raw=raw).match(source.text, match.end())
    if end is None:
        raise source.error("a string without an end", match.start(), match.end())
    body = end.group(1)
    if not body.isascii():
        _no_surrogates(source, body, match.start(), end.end())
    value: str | bytes
    if "b" in prefix:
        value = body.encode() if raw else _bytes(source, body, match.end())
    else:
        value = body if raw else _string(source, body, match.end())
    return Token("literal", value, match.start(), end.end())


def _end_of(mark: str, *, raw: bool) -> re.Pattern[str]:
    pattern = _ENDS.get((mark, raw))
    if pattern is None:
        stop = "" if len(mark) == 3 else r"\r\n"
        if raw:
            inner = f"[^{stop}]" if stop else r"[\s\S]"
            pattern = re.compile(rf"({inner}*?){mark}")
        else:
            inner = rf"[^\\{stop}]" if stop else r"[^\\]"
            pattern = re.compile(rf"((?:{inner}|\\[\s\S])*?){mark}")
        _ENDS[mark, raw] = pattern
    return pattern


def _no_surrogates(source: Source, value: str, start: int, end: int) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise source.error("a string that is not valid Unicode", start, end) from None


def _escapes(source: Source, body: str, offset: int) -> list[re.Match[str] | str]:
    """The pieces of a literal: text as it stands, and escapes."""
    pieces: list[re.Match[str] | str] = []
    at = 0
    while (backslash := body.find("\\", at)) >= 0:
        pieces.append(body[at:backslash])
        match = _ESCAPE.match(body, backslash)
        if match is None:
            here = offset + backslash
            raise source.error("an unknown escape", here, here + 2)
        pieces.append(match)
        at = match.end()
    pieces.append(body[at:])
    return pieces


def _string(source: Source, body: str, offset: int) -> str:
    parts: list[str] = []
    for piece in _escapes(source, body, offset):
        if isinstance(piece, str):
            parts.append(piece)
            continue
        plain = piece["plain"]
        if plain is not None:
            parts.append(_PLAIN.get(plain, plain))
            continue
        point = _code_point(piece)
        if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
            start = offset + piece.start()
            raise source.error("an escape that is no code point", start, offset + piece.end())
        parts.append(chr(point))
    return "".join(parts)


def _bytes(source: Source, body: str, offset: int) -> bytes:
    parts: list[bytes] = []
    for piece in _escapes(source, body, offset):
        if isinstance(piece, str):
            parts.append(piece.encode())
            continue
        plain = piece["plain"]
        if plain is not None:
            parts.append(_PLAIN.get(plain, plain).encode())
        elif piece["u4"] or piece["u8"]:
            start = offset + piece.start()
            raise source.error("no Unicode escapes in bytes", start, offset + piece.end())
        else:
            parts.append(bytes([_code_point(piece)]))
    return b"".join(parts)


def _code_point(piece: re.Match[str]) -> int:
    if piece["octal"]:
        return int(piece["octal"], 8)
    return int(piece["hex"] or piece["u4"] or piece["u8"], 16)
