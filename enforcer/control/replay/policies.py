"""
The policies that a partition's ledger was written under, and those of a candidate in their place.

The ledger says which sets came into force, each before the first decision under it (``policy_change``), and every
decision names its own; ``policy-history`` holds the documents behind every digest, for ever. So nothing is read from
the compacted topic of policies, which has forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from enforcer import events, policy
from enforcer.errors import EnforcerError, IntegrityError
from enforcer.policy.tracing import TracedPolicy, TracedProgram, traced_policies

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

GLOBAL: Final = "*"
INVALID: Final = "as recorded"
PROGRAMS_MAX: Final = 10_000


class History:
    """Documents and sets by digest. Fed with the records of ``policy-history``."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str], policy.Document] = {}
        self._sets: dict[str, events.PolicySet] = {}
        self._scopes: dict[tuple[str, str], policy.ScopeProgram] = {}

    def add(self, value: bytes | None) -> None:
        """Take a record in; one that cannot be read is missed when something names it."""
        try:
            record = events.decode(value or b"")
        except EnforcerError:
            return
        if isinstance(record, events.PolicySet):
            self._sets[record.digest] = record
        elif isinstance(record, events.PolicyDocument):
            try:
                document = policy.Document.from_record(record)
            except EnforcerError:
                return
            self._documents[document.scope, document.digest] = document

    def all_documents(self) -> Iterable[policy.Document]:
        """Every document that was ever in force."""
        return self._documents.values()

    def documents(self, scope: str, digest: str) -> list[policy.Document]:
        """
        The documents of a set.

        Raises: IntegrityError, where the history does not hold it.
        """
        found = self._sets.get(digest)
        named = found.documents if found is not None else None
        if named is None or any((scope, d) not in self._documents for d in named):
            raise IntegrityError(
                f"policy-history does not hold the set {digest[:12]} of scope {scope}",
                help="what was decided under it cannot be decided again: begin later, with --since",
                code="history_missing",
            )
        return [self._documents[scope, d] for d in named]

    def scope(self, scope: str, digest: str) -> policy.ScopeProgram:
        """The compiled set. Raises: IntegrityError, as ``documents``; PolicyError."""
        found = self._scopes.get((scope, digest))
        if found is None:
            found = policy.compile_scope(self.documents(scope, digest), scope)
            self._scopes[scope, digest] = found
        return found


class Candidate:
    """
    Documents as ``policy apply`` would put them in force: each in the place of the one of its scope, kind and id.

    With *prune* the sets of their scopes are exactly these.
    """

    def __init__(self, documents: Sequence[policy.Document], *, prune: bool = False) -> None:
        self._own: dict[str, list[policy.Document]] = {}
        for document in documents:
            self._own.setdefault(document.scope, []).append(document)
        self._prune = prune
        self._compiled: dict[tuple[str, str], policy.ScopeProgram] = {}

    @property
    def scopes(self) -> Iterable[str]:
        """The scopes it changes."""
        return self._own

    def scope(self, scope: str, recorded: str, history: History) -> policy.ScopeProgram | None:
        """The program of *scope* where *recorded* ("" for none) was the set in force."""
        own = self._own.get(scope)
        if own is None:
            return history.scope(scope, recorded) if recorded else None
        found = self._compiled.get((scope, recorded))
        if found is None:
            named = {(d.kind, d.id) for d in own}
            kept = []
            if recorded and not self._prune:
                kept = [
                    d for d in history.documents(scope, recorded) if (d.kind, d.id) not in named
                ]
            found = policy.compile_scope([*kept, *own], scope)
            self._compiled[scope, recorded] = found
        return found


class Sets:
    """What is in force at a point of a ledger, and the programs of its tenants."""

    def __init__(self, history: History, candidate: Candidate | None = None) -> None:
        self._history = history
        self._candidate = candidate
        self._now: dict[str, str] = {}
        self._invalid: dict[str, str] = {}
        self._programs: dict[str, tuple[tuple[str, ...], policy.TenantProgram]] = {}

    def change(self, payload: bytes) -> None:
        """Take a ``policy_change`` of the ledger."""
        change = orjson.loads(payload)
        self.put(change["scope"], change["digest"], change.get("invalid", ""))

    def put(self, scope: str, digest: str, invalid: str = "") -> None:
        """*digest* is in force for *scope* now; "" takes it out."""
        if digest or invalid:
            self._now[scope] = digest
        else:
            self._now.pop(scope, None)
        if invalid:
            self._invalid[scope] = invalid
        else:
            self._invalid.pop(scope, None)

    def adopt(self, sets: Mapping[str, str]) -> None:
        """What a decision names was in force when it was made, whatever has been read of the ledger so far."""
        for scope, digest in sets.items():
            if self._now.get(scope) != digest or scope in self._invalid:
                self.put(scope, digest)

    def program(self, tenant: str) -> policy.TenantProgram:
        """What *tenant*'s requests run under. Raises: IntegrityError, PolicyError."""
        scopes = (GLOBAL, tenant, policy.STOPS)
        state = tuple(f"{self._now.get(s, '')}{self._invalid.get(s, '')}" for s in scopes)
        known = self._programs.get(tenant)
        if known is not None and known[0] == state:
            return known[1]
        everyone, own, stops = (self._scope(scope) for scope in scopes)
        invalid = " ".join(self._invalid[s] for s in scopes if self._is_invalid(s))
        program = policy.compile_tenant(everyone, own, tenant, invalid=invalid, stops=stops)
        if len(self._programs) >= PROGRAMS_MAX:
            self._programs.clear()
        self._programs[tenant] = (state, program)
        return program

    def traced(self, tenant: str) -> tuple[TracedProgram, tuple[TracedPolicy, ...]] | None:
        """
        Put in the place of *tenant*'s program one that remembers what it was asked, until a set changes.

        Returns: It, and its policies as they are traced; None where a set is invalid, and nothing is evaluated.
        """
        if any(self._is_invalid(scope) for scope in (GLOBAL, tenant, policy.STOPS)):
            return None
        scopes = (GLOBAL, tenant, policy.STOPS)
        everyone, own, stops = (self._scope(scope) for scope in scopes)
        program = TracedProgram(everyone, own, tenant, stops=stops)
        self.program(tenant)
        self._programs[tenant] = (self._programs[tenant][0], program)
        documents = [
            document
            for scope in (GLOBAL, tenant)
            if (digest := self._now.get(scope))
            for document in map(as_written, self._history.documents(scope, digest))
        ]
        return program, traced_policies(documents, tenant)

    def _is_invalid(self, scope: str) -> bool:
        # A candidate that checks mends its scope.
        return scope in self._invalid and not (self._candidate and scope in self._candidate.scopes)

    def _scope(self, scope: str) -> policy.ScopeProgram | None:
        digest = "" if scope in self._invalid else self._now.get(scope, "")
        if self._candidate is not None:
            return self._candidate.scope(scope, digest, self._history)
        return self._history.scope(scope, digest) if digest else None


def as_written(document: policy.Document) -> policy.Document:
    """
    The same document with the places of its author's text, in a file named after it.

    Of a source that does not say what the canonical form says, which alone counts, the document as it is.
    """
    named = f"{document.scope}/{document.id}.yaml"
    found = policy.load([(named, document.source)], default_tenant=document.scope).documents
    return next((each for each in found if each.digest == document.digest), document)
