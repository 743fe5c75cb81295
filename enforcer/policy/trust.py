"""
Which records of the policy topic are to be believed, where policies are signed.

A record that is refused is as good as not there: the table never hears of it, and what was in force stays. A signature
alone does not stop who has write access from writing an *old* signed record once more, so a set's revision, which is in
the signed bytes, may only rise; and a document that a set in force names is not taken away, signed or not, for nobody of
ours ever does. A set is taken out of force by a set without documents, never by a tombstone.

What the topic itself has lost, by compaction after somebody wrote over it, the history still vouches for: it is read
first, and its newest signed set of each scope is where a table begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from enforcer import events
from enforcer.errors import EnforcerError
from enforcer.policy.signing import HISTORY, POLICIES, Verifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from enforcer.policy.signing import Headers


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that was not believed, and why: a code of ``CODES``."""

    scope: str
    offset: int
    code: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.scope}: {CODES[self.code]} (offset {self.offset})"


CODES: Mapping[str, str] = {
    "unsigned": "not signed",
    "unknown_key": "signed by an unknown key",
    "bad_signature": "the signature does not fit",
    "older": "older than what is in force",
    "named": "takes away a document that is in force",
    "tombstone": "takes a set away without a signed set in its place",
    "unreadable": "cannot be read",
}


def trust_of(public_pems: Sequence[bytes], *, prefix: str) -> Trust | None:
    """What believes those keys; None without any. Raises: ConfigError."""
    return Trust(Verifier(public_pems, prefix=prefix)) if public_pems else None


class Trust:
    """What is known so far. Fed with every record of the topic, in order, before the table is."""

    __slots__ = ("_newest", "refused", "refused_by_code", "verifier")

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier
        self._newest: dict[str, tuple[int, events.PolicySet]] = {}
        self.refused: dict[str, Refusal] = {}
        """The newest refusal of each scope since a record of it was believed."""
        self.refused_by_code: dict[str, int] = {}

    def told(self) -> dict[str, str]:
        """``refused``, for people."""
        return {scope: str(self.refused[scope]) for scope in sorted(self.refused)}

    def revision(self, scope: str) -> int:
        """The newest revision of a scope's set that was believed; 0 before the first."""
        return self._newest[scope][0] if scope in self._newest else 0

    def look(
        self, offset: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> Refusal | None:
        """Whether the record is to be believed; if not, why."""
        scope, _, rest = (key or b"").decode("utf-8", "replace").partition("/")
        code = self._code(scope, rest, key or b"", value, headers)
        if not code:
            if rest == "set":
                self.refused.pop(scope, None)
            return None
        refusal = self.refused[scope] = Refusal(scope, offset, code)
        self.refused_by_code[code] = self.refused_by_code.get(code, 0) + 1
        return refusal

    def _code(
        self, scope: str, rest: str, key: bytes, value: bytes | None, headers: Headers
    ) -> str:
        code = self.verifier.refusal(POLICIES, key, value, headers)
        if code:
            return code
        if value is None:
            named = self._newest[scope][1].documents if scope in self._newest else []
            if rest == "set":
                return "tombstone"
            return "named" if rest.removeprefix("doc/") in named else ""
        return self._rise(scope, value) if rest == "set" else ""

    def _rise(self, scope: str, value: bytes) -> str:
        try:
            record = events.decode_policy_set(value)
        except EnforcerError:
            return "unreadable"
        if record.scope != scope:
            return "bad_signature"
        now = self._newest.get(scope)
        if now is not None:
            if record.revision < now[0]:
                return "older"
            if record.revision == now[0] and record != now[1]:
                return "older"
        self._newest[scope] = (record.revision, record)
        return ""

    # -- the history ---------------------------------------------------------------------------------------

    def vouched(self, history: History) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of the records that a table begins with: the newest signed set of each scope, documents first."""
        for scope, record in sorted(history.sets.items()):
            if record.revision < self.revision(scope):
                continue
            self._newest[scope] = (record.revision, record)
            for digest in record.documents:
                if digest in history.documents:
                    yield f"{scope}/doc/{digest}".encode(), history.documents[digest]
            yield f"{scope}/set".encode(), events.encode_policy_set(record)


class History:
    """What the signed records of ``policy-history`` say: the newest set of each scope, and documents by digest."""

    __slots__ = ("_verifier", "documents", "sets")

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.sets: dict[str, events.PolicySet] = {}
        self.documents: dict[str, bytes] = {}

    def take(self, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Take a record in; one that is not signed is passed over."""
        if value is None or self._verifier.refusal(HISTORY, key or b"", value, headers):
            return
        try:
            record = events.decode_policy_set(value)
        except EnforcerError:
            self.documents[(key or b"").decode("utf-8", "replace")] = value
            return
        newest = self.sets.get(record.scope)
        if newest is None or record.revision > newest.revision:
            self.sets[record.scope] = record
