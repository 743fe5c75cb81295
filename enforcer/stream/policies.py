"""
The policy table: every set in force, whole, and the programs compiled from it.

A set comes into force when its record has been read and every document it names is there: one record, so
there is no half of it. Agents ask for a program between two events and never while deciding one.

Before and after a restart must be alike, and a restart knows only what a compacted topic still holds. Hence:

* A record that does not check denies its scope's requests (``policy_invalid``); what was in force before is not
  kept.
* A set whose documents have not come leaves the one before it in force, as long as that one is known; where
  none is, its scope is denied.
* A set in force that loses a document, by a tombstone or a record that does not check, is invalid at once.

A thousand policies take seconds to read and to compile, and a decision must not wait for them: a record is taken in
by steps (``PolicyTable.steps``), between which ``stream.policy_follower`` lets the agents run. What is in force and the
table's offset change together, at the last step: until then agents decide under the set before, and say so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import orjson
import structlog

from enforcer import events, policy
from enforcer.errors import EnforcerError

GLOBAL: Final = "*"
PROGRAMS_MAX: Final = 10_000
"""Composed programs kept: one a tenant, and tenants nobody knows are made up by callers."""

_log = structlog.get_logger("enforcer.policies")


@dataclass(frozen=True, slots=True)
class SetInForce:
    """What a scope runs under since *offset*: a program, or why there is none."""

    scope: str
    digest: str
    offset: int
    program: policy.ScopeProgram | None
    invalid: str = ""

    def payload(self) -> bytes:
        """The change as the ledger holds it: JSON."""
        change = {"scope": self.scope, "digest": self.digest, "policy_offset": self.offset}
        return orjson.dumps(change | ({"invalid": self.invalid} if self.invalid else {}))


class PolicyTable:
    """Fed with the policy topic's records in order. ``offset`` is the next one's."""

    __slots__ = ("_documents", "_in_force", "_named", "_pending", "_programs", "_removed", "offset")

    def __init__(self) -> None:
        self.offset = 0
        self._documents: dict[tuple[str, str], policy.Document | None] = {}
        self._pending: dict[str, events.PolicySet] = {}
        self._named: dict[str, events.PolicySet] = {}
        """The record of the set in force, or of the invalid one in its place."""
        self._in_force: dict[str, SetInForce] = {}
        self._removed: dict[str, SetInForce] = {}
        self._programs: dict[str, policy.TenantProgram] = {}

    def apply(self, offset: int, key: bytes | None, value: bytes | None) -> list[SetInForce]:
        """
        Take one record in, at once.

        Returns: The sets that came into force by it, usually none or one.
        """
        return policy.finish(self.steps(offset, key, value))

    def steps(
        self, offset: int, key: bytes | None, value: bytes | None
    ) -> policy.Steps[list[SetInForce]]:
        """Take one record in, by steps, to the end and before the next one; its effect is that of the last step."""
        changes = yield from self._changes(offset, key, value)
        self.offset = offset + 1
        for change in changes:
            self._put(change)
        return changes

    def revise(self, key: bytes, value: bytes) -> list[SetInForce]:
        """Take in, at once and at the offset as it is, what is vouched for although the topic did not show it just now."""
        changes = policy.finish(self._changes(self.offset, key, value))
        for change in changes:
            self._put(change)
        return changes

    def stamp(self, scope: str) -> None:
        """
        Date the set of *scope* as of the offset as it is.

        The topic did not show it on the way there, so nobody knows its own: a partition that has all policies entered up
        to here has this one to enter still.
        """
        found = self._in_force.get(scope)
        if found is not None:
            self._in_force[scope] = replace(found, offset=self.offset)

    def deny(self, scope: str, why: str) -> list[SetInForce]:
        """Deny the requests of *scope* from the offset as it is, until a set of it comes."""
        self._pending.pop(scope, None)
        self._named.pop(scope, None)
        change = self._invalid(scope, "", self.offset, why)
        self._put(change)
        return [change]

    def _changes(
        self, offset: int, key: bytes | None, value: bytes | None
    ) -> policy.Steps[list[SetInForce]]:
        scope, _, rest = (key or b"").decode("utf-8", "replace").partition("/")
        if rest == "set":
            return (yield from self._take_set(scope, offset, value))
        kind, _, digest = rest.partition("/")
        if kind != "doc":
            _log.warning("policy_record_unknown", offset=offset)
            return []
        return (yield from self._take_document(scope, digest, offset, value))

    def sets(self) -> list[SetInForce]:
        """All sets in force, by scope."""
        return [self._in_force[scope] for scope in sorted(self._in_force)]

    def changes_since(self, offset: int) -> list[SetInForce]:
        """What came into force, or went out of it, by a record at *offset* or later; the newest of each scope."""
        changes = [*self._in_force.values(), *self._removed.values()]
        return sorted((c for c in changes if c.offset >= offset), key=lambda c: (c.offset, c.scope))

    def program(self, tenant: str) -> policy.TenantProgram:
        """What *tenant*'s requests run under now. Composed once per set, then a dict lookup."""
        program = self._programs.get(tenant)
        if program is None:
            if len(self._programs) >= PROGRAMS_MAX:
                self._retire_programs()
            program = self._programs[tenant] = self._compose(tenant)
        return program

    def _compose(self, tenant: str) -> policy.TenantProgram:
        everyone = self._in_force.get(GLOBAL)
        own, stops = self._in_force.get(tenant), self._in_force.get(policy.STOPS)
        # A set of stops that cannot be read may name anybody: it stops everybody.
        invalid = " ".join(s.invalid for s in (everyone, own, stops) if s and s.invalid)
        return policy.compile_tenant(
            everyone.program if everyone else None,
            own.program if own else None,
            tenant,
            invalid=invalid,
            stops=stops.program if stops else None,
        )

    def _take_document(
        self, scope: str, digest: str, offset: int, value: bytes | None
    ) -> policy.Steps[list[SetInForce]]:
        place = (scope, digest)
        before = self._documents.get(place)
        if value is None:
            self._documents.pop(place, None)
        else:
            self._documents[place] = self._read_document(scope, digest, value)
        pending = self._pending.get(scope)
        if pending is not None and digest in pending.documents:
            changes = yield from self._try_set(scope, pending, offset)
            if changes:
                return changes
        named = self._named.get(scope)
        if named is None or digest not in named.documents:
            return []
        # A document is what its digest says: written again it changes nothing, damaged or mended it does.
        if (before is None) == (self._documents.get(place) is None):
            return []
        return (yield from self._try_set(scope, named, offset))

    def _read_document(self, scope: str, digest: str, value: bytes) -> policy.Document | None:
        """The document, or None for one that does not check: its set will be invalid."""
        try:
            document = policy.Document.from_record(events.decode_policy_document(value))
        except Exception as error:  # noqa: BLE001 — one record must not stop every worker: its tenant is denied
            _log.error("policy_document_invalid", scope=scope, digest=digest, code=_code(error))
            return None
        if document.digest != digest or document.scope != scope:
            _log.error("policy_document_invalid", scope=scope, digest=digest, code="digest")
            return None
        return document

    def _take_set(
        self, scope: str, offset: int, value: bytes | None
    ) -> policy.Steps[list[SetInForce]]:
        if value is None:
            self._pending.pop(scope, None)
            self._named.pop(scope, None)
            return [SetInForce(scope, "", offset, None)] if scope in self._in_force else []
        self._pending.pop(scope, None)
        try:
            record = events.decode_policy_set(value)
        except EnforcerError as error:
            self._named.pop(scope, None)
            return [self._invalid(scope, "", offset, f"the set cannot be read: {error.code}")]
        return (yield from self._try_set(scope, record, offset))

    def _try_set(
        self, scope: str, record: events.PolicySet, offset: int
    ) -> policy.Steps[list[SetInForce]]:
        """What the set of *record* comes to, by the record of the topic at *offset*."""
        known = self._documents
        if any((scope, digest) not in known for digest in record.documents):
            if scope in self._in_force and self._named.get(scope) is not record:
                # Documents are written before their set; a set without them waits, and the old one stays.
                self._pending[scope] = record
                return []
            self._named[scope] = record
            return [self._invalid(scope, record.digest, offset, "a document is not there")]
        if self._pending.get(scope) is record:
            del self._pending[scope]
        self._named[scope] = record
        documents = [known[scope, digest] for digest in record.documents]
        valid = [document for document in documents if document is not None]
        if len(valid) < len(documents):
            return [self._invalid(scope, record.digest, offset, "a document does not check")]
        before = self._in_force.get(scope)
        try:
            program = yield from policy.compile_scope_steps(
                valid, scope, previous=before.program if before is not None else None
            )
        except Exception as error:  # noqa: BLE001 — as above: nobody decides under what does not compile
            why = f"does not compile: {_code(error)}"
            return [self._invalid(scope, record.digest, offset, why)]
        if program.digest != record.digest:
            return [self._invalid(scope, record.digest, offset, "the set's digest is another")]
        return [SetInForce(scope, record.digest, offset, program)]

    def _invalid(self, scope: str, digest: str, offset: int, why: str) -> SetInForce:
        _log.error("policy_set_invalid", scope=scope, digest=digest, reason=why)
        return SetInForce(scope, digest, offset, None, invalid=f"{scope}: {why}")

    def _put(self, change: SetInForce) -> None:
        """Into force, or out of it."""
        if change.program is not None or change.invalid:
            self._in_force[change.scope] = change
            self._removed.pop(change.scope, None)
        else:
            del self._in_force[change.scope]
            self._removed[change.scope] = change
        self._retire_programs()

    def _retire_programs(self) -> None:
        for program in self._programs.values():
            program.retire()
        self._programs.clear()


def _code(error: Exception) -> str:
    return error.code if isinstance(error, EnforcerError) else type(error).__name__
