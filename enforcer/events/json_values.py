"""
What the generated JSON codecs call: values that need more than a type test, and their errors.

An error names the place (a JSON pointer, grown on the way out) and the types, never the value.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from enforcer.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
NANO: Final = 1_000_000_000

_FOUND: Final[dict[type, str]] = {
    type(None): "nothing",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    Decimal: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}
# A double holds amounts below 2^52 nano-USD to the nano.
_EXACT_USD: Final = 1 << 22
_EXACT_NANO: Final = 1 << 52
# 64 bits hold 19 digits; what is rounded here is below a nano-USD, or refused as too large.
_DECIMAL: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999)
# An amount whose digits a double may lose: seven of them before the point, or an exponent.
_LONG_AMOUNT: Final = re.compile(rb"[0-9]{7}\.[0-9]|[\s:,\[]-?[0-9.]+[eE]")
_PLACE_NAME_MAX: Final = 64


def invalid(message: str, *names: str) -> RequestError:
    """The error of a value; `names` lead to it."""
    return RequestError(message, place="".join(map(_step, names)))


def _step(name: str) -> str:
    escaped = name[:_PLACE_NAME_MAX].replace("~", "~0").replace("/", "~1")
    return "/" + escaped.encode(errors="replace").decode()


def wrong(expected: str, value: object, *names: str) -> RequestError:
    """The error of a value of another type."""
    return invalid(
        f"expected {expected}, found {_FOUND.get(type(value), 'something else')}", *names
    )


def bad_integer(value: object, *names: str) -> RequestError:
    """The error of what is no integer, or one outside 64 bits."""
    if type(value) is int:
        return invalid("expected an integer of 64 bits, found a larger one", *names)
    return wrong("an integer", value, *names)


def bad_string(value: object, *names: str) -> RequestError:
    """The error of what is no string, or an empty one where that says nothing."""
    if value == "":
        return invalid("expected a string that is not empty, found an empty one", *names)
    return wrong("a string", value, *names)


def bad_symbol(symbols: tuple[str, ...], value: object, *names: str) -> RequestError:
    """The error of what is none of a few words."""
    found = "another string" if type(value) is str else _FOUND.get(type(value), "something else")
    return invalid(f"expected one of {', '.join(symbols)}, found {found}", *names)


def inside(name: str, error: RequestError) -> RequestError:
    """The same error, seen from one level further out."""
    error.place = _step(name) + error.place
    return error


# --- reading


def parse(value: bytes) -> Any:
    """
    Parse JSON strictly: no NaN, no lone surrogate, no duplicate key, at most 254 levels.

    Duplicates are found by counting: written again, a document has a colon for each key that was
    kept and those inside its strings, so a colon more in the source is a key that was dropped. Only
    an escaped colon spoils the count; such a document is parsed once more, slowly.

    Raises: RequestError, whose message has the position of the error, never the text.
    """
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise RequestError(f"the value is no JSON at {where}") from None
    try:
        again = orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise RequestError("the value is nested more than 254 levels deep") from None
    if value.count(b":") != again.count(b":") or b"\\u003" in value:
        json.loads(value, object_pairs_hook=_refuse_duplicates)
    return document


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise invalid("the name stands twice in one object", name)
            seen.add(name)
    return members


def parse_amounts(value: bytes) -> Any:
    """As `parse`, with decimals for numbers where a double could lose a nano-USD."""
    document = parse(value)
    if _LONG_AMOUNT.search(value) is None:
        return document
    return json.loads(value, parse_float=Decimal, parse_int=_parse_integer)


def _parse_integer(digits: str) -> int | Decimal:
    # As orjson has it: beyond 64 bits a number is no integer.
    return int(digits) if len(digits) <= 20 else Decimal(digits)


def read_array(name: str, value: Any, read: Callable[[Any], T]) -> list[T]:
    """A list, each item by `read`."""
    if type(value) is not list:
        raise wrong("a list", value, name)
    items: list[T] = []
    try:
        for item in value:
            items.append(read(item))  # noqa: PERF401 — the count of items names the place of an error
    except RequestError as error:
        raise inside(name, inside(str(len(items)), error)) from None
    return items


def read_map(name: str, value: Any, read: Callable[[Any], T]) -> dict[str, T]:
    """An object with any names, each member by `read`."""
    if type(value) is not dict:
        raise wrong("an object", value, name)
    entries: dict[str, T] = {}
    for key, member in value.items():
        try:
            entries[key] = read(member)
        except RequestError as error:
            raise inside(name, inside(key, error)) from None
    return entries


def read_string(value: Any) -> str:
    """A string."""
    if type(value) is not str:
        raise wrong("a string", value)
    return value


def read_long(value: Any) -> int:
    """An integer of 64 bits; a boolean is none."""
    if type(value) is not int or not INT64_MIN <= value <= INT64_MAX:
        raise bad_integer(value)
    return value


def read_boolean(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise wrong("a boolean", value)
    return value


def read_double(value: Any) -> float:
    """A finite number; an integer is one, a boolean is none."""
    if type(value) is not float:
        if type(value) is not int and type(value) is not Decimal:
            raise wrong("a number", value)
        try:
            value = float(value)
        except OverflowError:
            raise invalid("expected a number of 64 bits, found a larger one") from None
    if value - value != 0:
        raise invalid("expected a finite number")
    number: float = value
    return number


def read_bytes(value: Any) -> bytes:
    """Base64."""
    if type(value) is not str:
        raise wrong("a string of base64", value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("expected a string of base64, found another string") from None


def read_fixed(value: Any, size: int) -> bytes:
    """`size` bytes in hex."""
    if type(value) is not str:
        raise wrong(f"a string of {2 * size} hex digits", value)
    try:
        data = bytes.fromhex(value)
    except ValueError:
        data = b""
    if len(data) != size or len(value) != 2 * size:
        raise invalid(f"expected a string of {2 * size} hex digits, found another string")
    return data


def read_json(value: Any) -> str:
    """Any JSON value, as its text."""
    try:
        return orjson.dumps(value, default=_plain_number).decode()
    except (TypeError, ValueError):
        raise invalid("expected a JSON value") from None


def _plain_number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError


def read_usd(value: Any) -> int:
    """Nano-USD of an amount in USD; what is below a nano is rounded half to even."""
    if type(value) is int:
        nano = value * NANO
    elif type(value) is float and -1e6 < value < 1e6:
        # Two roundings, each by less than a quarter of a nano.
        nano = round(value * 1e9)
    elif type(value) in (float, Decimal):
        nano = _usd_of_decimal(Decimal(repr(value)) if type(value) is float else value)
    else:
        raise wrong("a number", value)
    if not INT64_MIN <= nano <= INT64_MAX:
        raise invalid("expected an amount of at most 9,223,372,036 USD")
    return nano


def _usd_of_decimal(value: Decimal) -> int:
    if not value.is_finite():
        raise invalid("expected a finite number")
    if value.adjusted() > 12:
        return INT64_MAX + 1
    try:
        return int(_DECIMAL.to_integral_value(_DECIMAL.scaleb(value, 9)))
    except InvalidOperation:
        return 0


# --- writing


def write_usd(nano: int) -> float | int | Decimal:
    """
    An amount in USD that `read_usd` takes back to the nano.

    A float, if that is exact; above some four million USD an integer or a decimal.
    """
    if -_EXACT_NANO < nano < _EXACT_NANO:
        return nano / NANO
    whole, rest = divmod(nano, NANO)
    return whole if rest == 0 else _DECIMAL.scaleb(Decimal(nano), -9)


def write_bytes(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def write_json(text: str) -> Any:
    """The value of a JSON text."""
    return orjson.loads(text)


def dump(document: Any) -> bytes:
    """JSON of what the generated writers make; decimals keep every digit."""
    return orjson.dumps(document, default=_exact_number)


def _exact_number(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(f"{value:f}")
    raise TypeError
