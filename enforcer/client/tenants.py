"""
What a gateway must know of tenants: how their accounts are named, and what to do at a deadline.

Fed with the policy topic's records in order. Only Tenant documents are kept, and of them two settings;
the rest of a policy is the agents' business. Documents come before the set that puts them in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from enforcer import events
from enforcer.errors import EnforcerError


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """The two settings, with their defaults."""

    account_by: tuple[str, ...] = ("tenant",)
    on_timeout: str = "deny"


_DEFAULT: Final = TenantSettings()


class Tenants:
    """The Tenant documents in force."""

    __slots__ = ("_documents", "_named", "_settings")

    def __init__(self) -> None:
        # By (scope, digest): the tenant's id and settings.
        self._documents: dict[tuple[str, str], tuple[str, TenantSettings]] = {}
        self._named: dict[str, tuple[str, ...]] = {}
        self._settings: dict[str, TenantSettings] = {}

    def settings(self, tenant: str) -> TenantSettings:
        """The tenant's settings; those of a tenant nobody has described are the defaults."""
        return self._settings.get(tenant, _DEFAULT)

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record of the policy topic in. One that cannot be read changes nothing here."""
        scope, _, rest = (key or b"").decode("utf-8", "replace").partition("/")
        kind, _, digest = rest.partition("/")
        if kind == "set":
            self._apply_set(scope, value)
        elif kind == "doc":
            document = _tenant_document(value)
            if document is None:
                self._documents.pop((scope, digest), None)
            else:
                self._documents[scope, digest] = document
            self._put_in_force()

    def _apply_set(self, scope: str, value: bytes | None) -> None:
        if value is None:
            self._named.pop(scope, None)
        else:
            try:
                self._named[scope] = tuple(events.decode_policy_set(value).documents)
            except EnforcerError:
                return
        self._put_in_force()

    def _put_in_force(self) -> None:
        settings: dict[str, TenantSettings] = {}
        # A tenant's own set comes after the global one, and so before it in rank.
        for scope in sorted(self._named, key=lambda name: (name != "*", name)):
            for digest in self._named[scope]:
                if (document := self._documents.get((scope, digest))) is not None:
                    settings[document[0]] = document[1]
        self._settings = settings


def _tenant_document(value: bytes | None) -> tuple[str, TenantSettings] | None:
    """Id and settings of a Tenant document; None for a tombstone, another kind, or damage."""
    if value is None:
        return None
    try:
        record = events.decode_policy_document(value)
        if record.kind != "Tenant":
            return None
        document: Any = orjson.loads(record.canonical)
        spec = document.get("spec", document)
        account = spec.get("account") or _DEFAULT.account_by
        on_timeout = spec.get("on_timeout") or _DEFAULT.on_timeout
    except (EnforcerError, orjson.JSONDecodeError, AttributeError):
        return None
    # Anything but a clear "allow" is a deny.
    allow = on_timeout == "allow"
    return record.id, TenantSettings(tuple(map(str, account)), "allow" if allow else "deny")
