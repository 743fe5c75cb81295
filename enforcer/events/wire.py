"""
Values of the input topics, in whichever form they came: the first byte tells.

What the schemas cannot say is checked here for both forms: names are not empty, JSON text is JSON.
"""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from enforcer.events.binary import CodecError, decode_long
from enforcer.events.codecs import AVRO_MARKER, is_json
from enforcer.events.generated import (
    FINGERPRINTS,
    Claim,
    Decision,
    Request,
    Usage,
    decode_claim,
    decode_decision,
    decode_request,
    decode_usage,
)
from enforcer.events.json_codecs import from_json, request_from_json, usage_from_json
from enforcer.events.json_values import bad_string, invalid

_CLAIM_HEAD: Final = b"\xc3\x01" + next(f for f, cls in FINGERPRINTS.items() if cls is Claim)
_ID_NAMES: Final = ("id", "request_id")


def read_request(value: bytes) -> Request:
    """
    A request, Avro or JSON.

    Raises: CodecError (undecodable), RequestError (invalid_request, with the place).
    """
    if value[:1] == AVRO_MARKER:
        request = decode_request(value)
        _check_request(request)
        return request
    if is_json(value):
        return request_from_json(value)
    raise _neither(value)


def read_usage(value: bytes) -> Usage:
    """
    A usage report, Avro or JSON.

    Raises: CodecError (undecodable), RequestError (invalid_request, with the place).
    """
    if value[:1] == AVRO_MARKER:
        usage = decode_usage(value)
        for name in ("request_id", "tenant"):
            if not getattr(usage, name):
                raise bad_string("", name)
        return usage
    if is_json(value):
        return usage_from_json(value)
    raise _neither(value)


def read_decision(value: bytes) -> Decision | Claim:
    """
    What stands on the decisions topic: a decision, Avro or JSON, or an owner's claim.

    Raises: CodecError (undecodable), RequestError (invalid_request, with the place).
    """
    if value[:1] == AVRO_MARKER:
        return decode_claim(value) if value[:10] == _CLAIM_HEAD else decode_decision(value)
    if is_json(value):
        return from_json(Decision, value)
    raise _neither(value)


def peek_identity(value: bytes) -> tuple[str | None, str | None, int | None]:
    """
    Id, tenant and attempt of a request or usage report that could not be read, where they can be.

    Of broken JSON, the members before the damage count. Never raises.
    """
    if value[:1] == AVRO_MARKER:
        return _peek_avro(value)
    if is_json(value):
        return _peek_json(value)
    return None, None, None


def _neither(value: bytes) -> CodecError:
    return CodecError("the value is empty" if not value else "the value is neither Avro nor JSON")


def _check_request(request: Request) -> None:
    if not request.id:
        raise bad_string("", "id")
    if not request.tenant:
        raise bad_string("", "tenant")
    llm = request.llm
    if not llm.provider:
        raise bad_string("", "llm", "provider")
    if not llm.model:
        raise bad_string("", "llm", "model")
    for index, tool in enumerate(llm.tools):
        _check_json(tool, "llm", "tools", str(index))
    llm.tool_choice = _checked_option(llm.tool_choice, "tool_choice")
    llm.response_format = _checked_option(llm.response_format, "response_format")


def _checked_option(text: str | None, name: str) -> str | None:
    """Valid JSON text or None; null is absent, as it is in the JSON form."""
    if text is None or text == "null":
        return None
    _check_json(text, "llm", name)
    return text


def _check_json(text: str, *names: str) -> None:
    try:
        orjson.dumps(orjson.loads(text))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        raise invalid("expected JSON text, found another string", *names) from None


def _peek_avro(value: bytes) -> tuple[str | None, str | None, int | None]:
    # Request and usage both start with id, tenant, attempt; nothing else has an id to answer to.
    if FINGERPRINTS.get(value[2:10]) not in (Request, Usage):
        return None, None, None
    found: list[Any] = []
    index = 10
    try:
        for _ in range(2):
            length, start = decode_long(value, index)
            index = start + length
            if length < 0 or index > len(value):
                break
            found.append(value[start:index].decode() or None)
        else:
            found.append(decode_long(value, index)[0])
    except (IndexError, UnicodeDecodeError, CodecError):
        pass
    found += [None] * (3 - len(found))
    return found[0], found[1], found[2]


def _peek_json(value: bytes) -> tuple[str | None, str | None, int | None]:
    members = _members_before_damage(value)
    id_ = next((members[name] for name in _ID_NAMES if name in members), None)
    return _text(id_), _text(members.get("tenant")), _integer(members.get("attempt"))


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    # The standard library lets lone surrogates pass; a denial could not carry them.
    return value if value.encode(errors="ignore").decode() == value else None


def _integer(value: object) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63
    return value if fits and isinstance(value, int) else None


def _members_before_damage(value: bytes) -> dict[str, Any]:
    """The members of the outermost object up to where it breaks; the first of a name counts."""
    text = value.decode(errors="replace").lstrip(" \t\r\n")
    decoder = json.JSONDecoder()
    members: dict[str, Any] = {}
    index = 1
    try:
        while True:
            index = _skip(text, index, ",")
            name, index = decoder.raw_decode(text, index)
            member, index = decoder.raw_decode(text, _skip(text, index, ":"))
            if not isinstance(name, str):
                break
            members.setdefault(name, member)
    except (ValueError, IndexError, RecursionError):
        pass
    return members


def _skip(text: str, index: int, mark: str) -> int:
    """The index behind blanks and one optional mark."""
    while text[index] in " \t\r\n":
        index += 1
    if text[index] == mark:
        index += 1
        while text[index] in " \t\r\n":
            index += 1
    return index
