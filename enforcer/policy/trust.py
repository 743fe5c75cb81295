"""
Which records of the policy topic are to be believed, where policies are signed.

A record that is refused is as good as not there: the table never hears of it, and what was in force stays. A signature
alone does not stop who has write access from writing an *old* signed record once more, so a set's revision, which is in
the signed bytes, may only rise; and a document that a set in force names is not taken away, signed or not, for nobody of
ours ever does. A set is taken out of force by a set without documents, never by a tombstone.

Who starts anew has seen nothing rise. Three places vouch for what was signed last:

* the history, for what the topic has lost by compaction after somebody wrote over it;
* the worker's own directory, which keeps the newest signed set of each scope with its documents, for what the history has
  lost too: what is only there is *held*, and said so;
* the word of other workers (``policy-acks``, which who writes policies cannot write): how high a scope's revision has been.
  Below that nothing is taken. Where nothing as high is found, the set is *lost*: its scope is denied until a newer one is
  signed, for a rule that is missing lets through what it forbade.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from enforcer import events
from enforcer.errors import EnforcerError
from enforcer.policy.signing import HISTORY, POLICIES, Verifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from enforcer.policy.signing import Headers


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that was not believed, or one that is missing, and why: a code of ``CODES``."""

    scope: str
    offset: int
    code: str

    def __str__(self) -> str:
        """For people. Who may write the topic chooses the scope: it gets one line, and a short one."""
        scope = "".join(c if c.isprintable() else "?" for c in self.scope[:SCOPE_SHOWN_MAX])
        return f"{scope}: {CODES[self.code]} (offset {self.offset})"


CODES: Mapping[str, str] = {
    "unsigned": "not signed",
    "unknown_key": "signed by an unknown key",
    "bad_signature": "the signature does not fit",
    "older": "older than what is in force",
    "named": "takes away a document that is in force",
    "tombstone": "takes a set away without a signed set in its place",
    "unreadable": "cannot be read",
    "held": "what is in force stands in no topic any more, this worker holds it: sign it once more",
    "lost": "the newest set that was signed is not to be found: sign a newer one",
    "key_gone": "what is in force was signed by a key that is no longer known: sign it once more",
}
STANDING: Final = frozenset({"held", "lost", "key_gone"})
"""What is wrong with what is in force, not with a record that came."""
SCOPE_SHOWN_MAX: Final = 100
REFUSED_MAX: Final = 100
"""Scopes whose refusal is remembered: who may write the topic can make up as many as he likes."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A record as it was signed, wherever it was found: for the topic and the key it names."""

    topic: str
    """``POLICIES`` or ``HISTORY``."""
    key: bytes
    value: bytes
    headers: Headers


def trust_of(public_pems: Sequence[bytes], *, prefix: str) -> Trust | None:
    """What believes those keys; None without any. Raises: ConfigError."""
    return Trust(Verifier(public_pems, prefix=prefix)) if public_pems else None


class Trust:
    """What is known so far. Fed with every record of the topic, in order, before the table is."""

    __slots__ = (
        "_documents",
        "_floors",
        "_looked",
        "_newest",
        "_shown",
        "refused",
        "refused_by_code",
        "verifier",
    )

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier
        self._newest: dict[str, tuple[events.PolicySet, Signed]] = {}
        self._documents: dict[tuple[str, str], Signed] = {}
        self._floors: dict[str, int] = {}
        self._looked: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        """The newest revision of each scope that a topic showed."""
        self.refused: dict[str, Refusal] = {}
        """The newest refusal of each scope since a record of it was believed."""
        self.refused_by_code: dict[str, int] = {}

    def told(self) -> dict[str, str]:
        """``refused``, for people."""
        return {
            scope[:SCOPE_SHOWN_MAX]: str(refusal) for scope, refusal in sorted(self.refused.items())
        }

    def revision(self, scope: str) -> int:
        """The newest revision of a scope's set that was believed; 0 before the first."""
        return self._newest[scope][0].revision if scope in self._newest else 0

    def revisions(self) -> dict[str, int]:
        """``revision`` of each scope."""
        return {scope: found.revision for scope, (found, _) in self._newest.items()}

    def shown(self) -> set[str]:
        """Scopes whose newest set the policy topic itself has shown."""
        return {scope for scope in self._newest if self._looked.get(scope) == self.revision(scope)}

    def look(
        self, offset: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> Refusal | None:
        """Whether the record is to be believed; if not, why."""
        scope, _, rest = (key or b"").decode("utf-8", "replace").partition("/")
        code = self._code(scope, rest, key or b"", value, headers)
        if code:
            return self.refuse(Refusal(scope, offset, code))
        if rest == "set":
            self.refused.pop(scope, None)
            self._shown[scope] = self._looked[scope] = self.revision(scope)
        else:
            self._remember(scope, rest.removeprefix("doc/"), key or b"", value, headers)
        return None

    def refuse(self, refusal: Refusal) -> Refusal:
        """Note what is not believed, or is missing."""
        if refusal.scope not in self.refused and len(self.refused) >= REFUSED_MAX:
            del self.refused[next(iter(self.refused))]
        self.refused[refusal.scope] = refusal
        self.refused_by_code[refusal.code] = self.refused_by_code.get(refusal.code, 0) + 1
        return refusal

    def _code(
        self, scope: str, rest: str, key: bytes, value: bytes | None, headers: Headers
    ) -> str:
        code = self.verifier.refusal(POLICIES, key, value, headers)
        if code:
            return code
        if value is None:
            named = self._newest[scope][0].documents if scope in self._newest else []
            if rest == "set":
                return "tombstone"
            return "named" if rest.removeprefix("doc/") in named else ""
        return self._rise(scope, Signed(POLICIES, key, value, headers)) if rest == "set" else ""

    def _rise(self, scope: str, signed: Signed) -> str:
        try:
            record = events.decode_policy_set(signed.value)
        except EnforcerError:
            return "unreadable"
        if record.scope != scope:
            return "bad_signature"
        if record.revision < self._floors.get(scope, 0):
            return "older"
        now = self._newest.get(scope)
        if now is not None:
            if record.revision < now[0].revision:
                return "older"
            if record.revision == now[0].revision and record != now[0]:
                return "older"
        self._newest[scope] = (record, signed)
        return ""

    def _remember(
        self, scope: str, digest: str, key: bytes, value: bytes | None, headers: Headers
    ) -> None:
        if value is None:
            self._documents.pop((scope, digest), None)
        else:
            self._documents[scope, digest] = Signed(POLICIES, key, value, headers)

    # -- beginning anew ------------------------------------------------------------------------------------

    def raise_floor(self, scope: str, revision: int) -> None:
        """A set of *scope* was in force under this revision: none below it is taken."""
        self._floors[scope] = max(revision, self._floors.get(scope, 0))

    def vouched(self, history: History) -> Iterator[tuple[str, bytes, bytes]]:
        """
        What a table begins with, or goes on with after a change of keys: the signed sets that are newer than what is known.

        Gives: Scope, and key and value as in the policy topic; documents before their set.
        """
        for scope, (record, signed) in sorted(history.sets.items(), key=lambda item: item[0]):
            if record.revision <= max(self.revision(scope), self._floors.get(scope, 0) - 1):
                continue
            self._newest[scope] = (record, signed)
            self.refused.pop(scope, None)
            if scope in history.shown and history.shown[scope] >= record.revision:
                self._shown[scope] = record.revision
            for digest in record.documents:
                if digest in history.documents:
                    document = self._documents[scope, digest] = history.documents[digest]
                    yield scope, f"{scope}/doc/{digest}".encode(), document.value
            yield scope, f"{scope}/set".encode(), signed.value

    def missing(self, offset: int) -> list[Refusal]:
        """
        Scopes whose newest set stands in no topic any more, as of *offset*: ``held``, or ``lost``.

        To be asked once everything that there is has been looked at.
        """
        wrong = [
            Refusal(scope, offset, "lost")
            for scope, floor in sorted(self._floors.items())
            if self.revision(scope) < floor
        ]
        wrong += [
            Refusal(scope, offset, "held")
            for scope, revision in sorted(self.revisions().items())
            if self._shown.get(scope, 0) < revision
        ]
        return wrong

    def kept(self, scope: str) -> tuple[int, list[Signed]]:
        """The newest set of *scope*: its revision, and its records as they were signed, documents first."""
        record, signed = self._newest[scope]
        documents = [self._documents.get((scope, digest)) for digest in record.documents]
        return record.revision, [*(each for each in documents if each is not None), signed]

    # -- other keys ----------------------------------------------------------------------------------------

    def change_keys(self, verifier: Verifier, offset: int) -> list[Refusal]:
        """
        Believe the keys of *verifier* from now on.

        What is in force stays. Returns: The scopes whose set none of these keys has signed, as of *offset*.
        """
        self.verifier = verifier
        for scope in [s for s, refusal in self.refused.items() if refusal.code == "key_gone"]:
            del self.refused[scope]
        return [
            Refusal(scope, offset, "key_gone")
            for scope, (_, signed) in sorted(self._newest.items(), key=lambda item: item[0])
            if verifier.refusal(signed.topic, signed.key, signed.value, signed.headers)
        ]


class History:
    """What signed records say: the newest set of each scope, and documents by digest. Records none of our keys signed are passed over."""

    __slots__ = ("_verifier", "documents", "sets", "shown")

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.sets: dict[str, tuple[events.PolicySet, Signed]] = {}
        self.documents: dict[str, Signed] = {}
        self.shown: dict[str, int] = {}
        """The newest revision of each scope that stood in a topic."""

    def take(self, signed: Signed, *, is_shown: bool = True) -> None:
        """Take a record in. *is_shown*: it stands in a topic, where everybody finds it."""
        if self._verifier.refusal(signed.topic, signed.key, signed.value, signed.headers):
            return
        key = signed.key.decode("utf-8", "replace")
        try:
            record = events.decode_policy_set(signed.value)
        except EnforcerError:
            self.documents[key.rpartition("/")[2]] = signed
            return
        if signed.topic == POLICIES and key != f"{record.scope}/set":
            return
        newest = self.sets.get(record.scope)
        if newest is None or record.revision > newest[0].revision:
            self.sets[record.scope] = (record, signed)
        if is_shown:
            shown = self.shown.get(record.scope, 0)
            self.shown[record.scope] = max(shown, record.revision)


def from_history(key: bytes | None, value: bytes | None, headers: Headers) -> Signed | None:
    """A record of ``policy-history``; None for a tombstone."""
    return None if value is None else Signed(HISTORY, key or b"", value, headers)


def from_policies(key: bytes | None, value: bytes | None, headers: Headers) -> Signed | None:
    """A record of ``policies``; None for a tombstone."""
    return None if value is None else Signed(POLICIES, key or b"", value, headers)
