"""Functions of strings: the standard ones, the strings extension, and the encoders."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from enforcer.cel.errors import EvaluationError
from enforcer.cel.functions.formatting import formatted
from enforcer.cel.limits import TEXT_LENGTH_MAX
from enforcer.cel.registry import declare, no_overload

# Unicode's White_Space; Python's own strip() also takes the separators U+001C to U+001F.
_SPACES: Final = (
    "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_UPPER: Final = {lower: lower - 32 for lower in range(ord("a"), ord("z") + 1)}
_QUOTES: Final = str.maketrans(
    {
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
        "\\": "\\\\",
        '"': '\\"',
    }
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")


def _out_of_range(at: int) -> EvaluationError:
    return EvaluationError("index_out_of_range", f"index out of range: {at}")


def _fitting(text: str) -> str:
    if len(text) > TEXT_LENGTH_MAX:
        raise EvaluationError("limit", "the result is too long")
    return text


def _place(text: str, at: int) -> int:
    if not 0 <= at <= len(text):
        raise _out_of_range(at)
    return at


@declare("size(string) -> int", "size(bytes) -> int", "size(list(A)) -> int", certain=True)
@declare("size(map(A, B)) -> int", "string:size() -> int", "bytes:size() -> int", certain=True)
@declare("list(A):size() -> int", "map(A, B):size() -> int", certain=True)
def _size(value: Any) -> int:
    return len(value)


@declare("string:contains(string) -> bool", certain=True)
def _contains(text: str, part: str) -> bool:
    return part in text


@declare("string:startsWith(string) -> bool", certain=True)
def _starts_with(text: str, start: str) -> bool:
    return text.startswith(start)


@declare("string:endsWith(string) -> bool", certain=True)
def _ends_with(text: str, end: str) -> bool:
    return text.endswith(end)


@declare("string:charAt(int) -> string")
def _char_at(text: str, at: int) -> str:
    return text[_place(text, at) : at + 1]


@declare("string:indexOf(string) -> int", certain=True)
def _index_of(text: str, part: str) -> int:
    return text.find(part)


@declare("string:indexOf(string, int) -> int")
def _index_of_from(text: str, part: str, start: int) -> int:
    return text.find(part, _place(text, start))


@declare("string:lastIndexOf(string) -> int", certain=True)
def _last_index_of(text: str, part: str) -> int:
    return text.rfind(part)


@declare("string:lastIndexOf(string, int) -> int")
def _last_index_of_from(text: str, part: str, last: int) -> int:
    return text.rfind(part, 0, _place(text, last) + len(part))


@declare("string:lowerAscii() -> string", certain=True)
def _lower_ascii(text: str) -> str:
    return text.translate(_LOWER)


@declare("string:upperAscii() -> string", certain=True)
def _upper_ascii(text: str) -> str:
    return text.translate(_UPPER)


@declare("string:replace(string, string) -> string")
def _replace(text: str, old: str, new: str) -> str:
    return _replace_some(text, old, new, -1)


@declare("string:replace(string, string, int) -> string")
def _replace_some(text: str, old: str, new: str, limit: int) -> str:
    # The length is known beforehand, so that nothing too long is ever built.
    count = text.count(old) if limit < 0 else min(text.count(old), limit)
    if len(text) + count * (len(new) - len(old)) > TEXT_LENGTH_MAX:
        raise EvaluationError("limit", "the result is too long")
    return text.replace(old, new, count)


@declare("string:split(string) -> list(string)", certain=True)
def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


@declare("string:split(string, int) -> list(string)", certain=True)
def _split_some(text: str, separator: str, limit: int) -> list[str]:
    if limit < 0:
        return _split(text, separator)
    if limit == 0:
        return []
    if separator:
        return text.split(separator, limit - 1)
    return [*text[: limit - 1], *([text[limit - 1 :]] if len(text) >= limit else [])]


@declare("string:substring(int) -> string")
def _substring(text: str, start: int) -> str:
    return text[_place(text, start) :]


@declare("string:substring(int, int) -> string")
def _substring_to(text: str, start: int, end: int) -> str:
    _place(text, start)
    _place(text, end)
    if start > end:
        raise EvaluationError(
            "invalid_argument", f"invalid substring range. start: {start}, end: {end}"
        )
    return text[start:end]


@declare("string:trim() -> string", certain=True)
def _trim(text: str) -> str:
    return text.strip(_SPACES)


@declare("string:reverse() -> string", certain=True)
def _reverse(text: str) -> str:
    return text[::-1]


@declare("list(string):join() -> string", "list(string):join(string) -> string")
def _join(parts: list[Any], separator: str = "") -> str:
    for part in parts:
        if part.__class__ is not str:
            raise no_overload("join", part)
    if sum(map(len, parts)) + len(parts) * len(separator) > TEXT_LENGTH_MAX:
        raise EvaluationError("limit", "the result is too long")
    return separator.join(parts)


@declare("strings.quote(string) -> string", certain=True)
def _quote(text: str) -> str:
    return f'"{text.translate(_QUOTES)}"'


@declare("string:format(list(dyn)) -> string")
def _format(text: str, values: list[Any]) -> str:
    return _fitting(formatted(text, values))


@declare("base64.encode(bytes) -> string", certain=True)
def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


@declare("base64.decode(string) -> bytes")
def _decode(text: str) -> bytes:
    raw = text.encode("ascii", "replace")
    bare = raw.rstrip(b"=")
    if _BASE64.fullmatch(raw) and len(bare) % 4 != 1:
        try:
            return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
        except binascii.Error:
            pass
    raise EvaluationError("invalid_argument", "the string is not base64")
