"""
The canonical form of a document, and digests of documents and sets.

Two documents with the same data have the same canonical form, whatever their layout, key order or notation
of numbers; the digest is over it. Numbers keep their exact decimal digits, so that reading the form
back gives the same amounts of money.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def canonical_json(value: Any) -> str:
    """
    The one JSON text of plain data: keys sorted by code point, no blanks, numbers in full.

    A number written with point or exponent keeps a point: ``500.0`` and ``5e2`` are the same text,
    and stay apart from the integer ``500``.
    """
    if isinstance(value, dict):
        pairs = (f"{_text(key)}:{canonical_json(value[key])}" for key in sorted(value))
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(canonical_json(each) for each in value) + "]"
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, Decimal):
        digits = format(value.normalize() if value else Decimal(0), "f")
        return digits if "." in digits else digits + ".0"
    assert isinstance(value, int), type(value)
    return str(value)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def digest_of(canonical: str) -> str:
    """SHA-256 of a canonical form, hex."""
    return hashlib.sha256(canonical.encode()).hexdigest()


def set_digest(digests: Iterable[str]) -> str:
    """The digest of a set of documents: over the sorted digests, a line each. Order means nothing."""
    joined = "".join(f"{digest}\n" for digest in sorted(set(digests)))
    return hashlib.sha256(joined.encode()).hexdigest()


def policy_digest(sets: Mapping[str, str]) -> str:
    """
    The digest a decision names: over the set digests of ``*`` and of the tenant.

    Where only one of the two exists it is that set's digest; where none does, that of the empty set.
    """
    digests = list(sets.values())
    if not digests:
        return set_digest(())
    if len(digests) == 1:
        return digests[0]
    joined = "".join(f"{scope} {sets[scope]}\n" for scope in sorted(sets))
    return hashlib.sha256(joined.encode()).hexdigest()
