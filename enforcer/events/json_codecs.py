"""Any record to JSON and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from enforcer.events.generated_json import READERS, WITH_AMOUNTS, WRITERS, read_request, read_usage
from enforcer.events.json_values import dump, parse, parse_amounts

if TYPE_CHECKING:
    from enforcer.events.generated import Request, Usage

T = TypeVar("T")


def to_json(record: Any) -> dict[str, Any]:
    """
    The JSON view of any record: amounts in USD, bytes as base64, digests as hex, JSON as itself.

    All values can be dumped by orjson but amounts above four million USD that are not whole; those
    are decimals, which `to_json_bytes` writes out.
    """
    return WRITERS[type(record)](record)


def to_json_bytes(record: Any) -> bytes:
    """The JSON view of any record as bytes; `from_json` gives back an equal record."""
    return dump(WRITERS[type(record)](record))


def from_json(cls: type[T], value: bytes | dict[str, Any]) -> T:
    """
    A record of a class from its JSON view, parsed or not.

    Null is absent, and where there is a default, the default; unknown members are passed over.

    Raises: RequestError, with the place, for anything that the schema does not allow.
    """
    if isinstance(value, bytes):
        document = parse_amounts(value) if cls in WITH_AMOUNTS else parse(value)
    else:
        document = value
    record: T = READERS[cls](document)
    return record


def request_from_json(value: bytes) -> Request:
    """
    A request from the JSON that a gateway sent; the whole of it, parsed, stands in `raw`.

    Raises: RequestError, with the place, for anything that the schema does not allow.
    """
    document = parse(value)
    request = read_request(document)
    request.raw = document
    return request


def usage_from_json(value: bytes) -> Usage:
    """
    A usage report from JSON.

    Raises: RequestError, with the place, for anything that the schema does not allow.
    """
    return read_usage(parse_amounts(value))
