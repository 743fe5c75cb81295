"""
Putting policies in force, and looking at those that are.

A change is one transaction under one transactional id for the whole installation: whoever begins later fences
whoever began before, so the set that was read is the one that is replaced, or nothing happens. In it go, in this
order, the documents to the history and to ``policies``, then one set record a scope, to both. Agents read committed:
they see all of it or nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from enforcer import events, policy
from enforcer.broker.acls import policies_transactional_id
from enforcer.errors import (
    AgentFencedError,
    ConflictError,
    EnforcerError,
    NotFoundError,
    PolicyError,
)
from enforcer.policy import documents as models

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from enforcer.broker.ports import Broker, Outgoing, Reader

DAY_MS: Final = 86_400_000
POLL_MS: Final = 200


@dataclass(frozen=True, slots=True)
class Listed:
    """A document in force, or one whose record cannot be read (*problem*)."""

    scope: str
    kind: str
    id: str
    digest: str
    revision: int
    problem: str = ""
    detail: str = ""
    """Of a stop: what it stops, and why."""


@dataclass(frozen=True, slots=True)
class SetChange:
    """One scope's new set: what it replaces, and what is other in it, as ``kind/id``."""

    scope: str
    revision: int
    digest: str
    replaces: str | None
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    offset: int = -1
    """Of its set record in the policy topic."""


class Published:
    """What the policy topic says: documents by digest and the newest set, a scope each."""

    __slots__ = ("documents", "end", "set_offsets", "sets", "written_ms")

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], events.PolicyDocument] = {}
        self.written_ms: dict[tuple[str, str], int] = {}
        self.sets: dict[str, events.PolicySet] = {}
        self.set_offsets: dict[str, int] = {}
        self.end = 0

    def apply(self, key: bytes, value: bytes | None, timestamp_ms: int, offset: int = -1) -> None:
        """Take one record in; what cannot be read is passed over, for here it can only be replaced."""
        scope, _, rest = key.decode("utf-8", "replace").partition("/")
        digest = rest.removeprefix("doc/")
        if value is None:
            self.documents.pop((scope, digest), None)
            if rest == "set":
                self.sets.pop(scope, None)
            return
        try:
            if rest == "set":
                self.sets[scope] = events.decode_policy_set(value)
                self.set_offsets[scope] = offset
            else:
                self.documents[scope, digest] = events.decode_policy_document(value)
                self.written_ms[scope, digest] = timestamp_ms
        except EnforcerError:
            return

    def in_force(self, scope: str) -> dict[tuple[str, str], events.PolicyDocument]:
        """The documents of a scope's newest set, by kind and id."""
        newest = self.sets.get(scope)
        named = newest.documents if newest is not None else []
        found = [self.documents[scope, d] for d in named if (scope, d) in self.documents]
        return {(document.kind, document.id): document for document in found}


async def read_published(broker: Broker, prefix: str) -> Published:
    """Everything in the policy topic, as of now. Raises NotFoundError where there is none."""
    await _check_topics(broker, prefix)
    reader = await broker.open_reader(read_committed=True)
    try:
        return await _read(reader, f"{prefix}.policies")
    finally:
        await reader.close()


async def _check_topics(broker: Broker, prefix: str) -> None:
    wanted = [f"{prefix}.policies", f"{prefix}.policy-history"]
    missing = []
    for topic in wanted:
        # Not described: that takes the right to read settings, which nobody here needs.
        try:
            await broker.partitions(topic)
        except NotFoundError:
            missing.append(topic)
    if missing:
        raise NotFoundError(
            f"the broker has no topic {' and no '.join(missing)}",
            help="run `enforcer topics apply`",
        )


async def _read(reader: Reader, topic: str) -> Published:
    published = Published()
    place = (topic, 0)
    published.end = (await reader.offsets_end([place]))[place]
    reader.assign([place])
    await reader.seek_to_beginning(place)
    while (reader.position(*place) or 0) < published.end:
        for records in (await reader.poll(POLL_MS)).values():
            for record in records:
                published.apply(record.key or b"", record.value, record.timestamp, record.offset)
    return published


async def list_documents(broker: Broker, prefix: str) -> list[Listed]:
    """Every document in force, by scope, kind and id."""
    published = await read_published(broker, prefix)
    found: list[Listed] = []
    for scope, newest in sorted(published.sets.items()):
        in_force = published.in_force(scope)
        found.extend(
            Listed(scope, d.kind, d.id, d.digest, newest.revision, detail=_detail(d))
            for _, d in sorted(in_force.items())
        )
        found.extend(
            Listed(scope, "?", "?", digest, newest.revision, "the document is not in the topic")
            for digest in newest.documents
            if (scope, digest) not in published.documents
        )
    return found


def _detail(document: events.PolicyDocument) -> str:
    if document.kind != "Stop":
        return ""
    stop = policy.Document.from_record(document).model
    assert isinstance(stop, models.Stop)
    spec = stop.spec.model_dump(exclude_none=True)
    reason = spec.pop("reason", "")
    what = " ".join(f"{key} {value}" for key, value in spec.items())
    return f"{what}: {reason}" if reason else what


async def set_offset(broker: Broker, prefix: str, scopes: Iterable[str]) -> int:
    """Where the newest set of any of *scopes* stands in the policy topic; -1 where there is none."""
    published = await read_published(broker, prefix)
    return max((published.set_offsets.get(scope, -1) for scope in scopes), default=-1)


async def show_document(
    broker: Broker, prefix: str, document_id: str, *, scope: str | None = None
) -> events.PolicyDocument:
    """
    The document in force with this id.

    Raises: NotFoundError; ConflictError, when several have it and *scope* does not say which.
    """
    published = await read_published(broker, prefix)
    found = [
        document
        for in_scope in published.sets
        if scope in (None, in_scope)
        for document in published.in_force(in_scope).values()
        if document.id == document_id
    ]
    if not found:
        raise NotFoundError(
            f"no document in force has the id `{document_id}`", help="see `enforcer policy list`"
        )
    if len(found) > 1:
        places = ", ".join(f"{d.kind} of {d.scope}" for d in found)
        raise ConflictError(
            f"several documents have the id `{document_id}`: {places}",
            help="say which, with --tenant",
        )
    return found[0]


async def apply(
    broker: Broker,
    prefix: str,
    documents: Sequence[policy.Document],
    *,
    prune: bool = False,
    author: str = "",
) -> list[SetChange]:
    """
    Put *documents* in force: each replaces the one of its scope, kind and id; the others stay.

    Args:
        prune: Make the sets of the scopes that occur exactly these documents.

    Returns: One change for each scope that is other now; none where nothing would change.
    Raises: PolicyError, when the documents of a scope do not check together; ConflictError, when somebody else
    changed policies meanwhile.
    """
    by_scope: dict[str, dict[tuple[str, str], events.PolicyDocument]] = {}
    for document in documents:
        record = document.to_record()
        by_scope.setdefault(record.scope, {})[record.kind, record.id] = record

    def wanted(
        scope: str, now: dict[tuple[str, str], events.PolicyDocument]
    ) -> dict[tuple[str, str], events.PolicyDocument]:
        return by_scope[scope] if prune else {**now, **by_scope[scope]}

    return await _change(broker, prefix, list(by_scope), wanted, author=author)


async def delete(
    broker: Broker, prefix: str, document_id: str, *, scope: str | None = None, author: str = ""
) -> list[SetChange]:
    """
    Take the document with this id out of force.

    Raises: NotFoundError, ConflictError as ``show_document``; PolicyError, when another document needs it.
    """
    gone = await show_document(broker, prefix, document_id, scope=scope)

    def wanted(
        _: str, now: dict[tuple[str, str], events.PolicyDocument]
    ) -> dict[tuple[str, str], events.PolicyDocument]:
        return {name: d for name, d in now.items() if name != (gone.kind, gone.id)}

    return await _change(broker, prefix, [gone.scope], wanted, author=author)


async def _change(
    broker: Broker, prefix: str, scopes: Iterable[str], wanted: object, *, author: str
) -> list[SetChange]:
    """Read, change and write under one fence."""
    assert callable(wanted)
    await _check_topics(broker, prefix)
    changes: list[SetChange] = []
    ledger = broker.open_ledger(policies_transactional_id(prefix))
    reader = await broker.open_reader(read_committed=True)
    try:
        # Fenced first, read then: nobody can commit a change between the two.
        await ledger.start()
        published = await _read(reader, f"{prefix}.policies")
        records: list[Outgoing] = []
        history: list[Outgoing] = []
        places: list[int] = []
        now_ms = int(time.time() * 1000)
        for scope in sorted(scopes):
            now = published.in_force(scope)
            change = _set_change(published, scope, now, wanted(scope, now))
            if change is None:
                continue
            _check_whole(scope, now, wanted(scope, now))
            record = events.PolicySet(
                scope,
                change.revision,
                replaces=change.replaces,
                documents=sorted(d.digest for d in wanted(scope, now).values()),
                digest=change.digest,
                author=author,
                time_us=now_ms * 1000,
            )
            for document in wanted(scope, now).values():
                value = events.encode_policy_document(document)
                if published.documents.get((scope, document.digest)) is None:
                    records.append((f"{scope}/doc/{document.digest}".encode(), value, (), None))
                history.append((document.digest.encode(), value, (), None))
            value = events.encode_policy_set(record)
            places.append(len(records))
            records.append((f"{scope}/set".encode(), value, (), None))
            history.append((change.digest.encode(), value, (), None))
            records.extend(_forgotten(published, scope, record.documents, now_ms))
            changes.append(change)
        if changes:
            await ledger.begin()
            # History first: no agent decides under a set that is not in it.
            kept = ledger.send(f"{prefix}.policy-history", 0, history)
            told = ledger.send(f"{prefix}.policies", 0, records)
            await kept
            first = await told
            await ledger.commit()
            changes = [replace(c, offset=first + at) for c, at in zip(changes, places, strict=True)]
    except AgentFencedError as error:
        raise ConflictError(
            "somebody else is changing policies at this moment",
            help="look at `enforcer policy list`, then try again",
        ) from error
    finally:
        await reader.close()
        await ledger.close()
    return changes


def _check_whole(
    scope: str,
    now: dict[tuple[str, str], events.PolicyDocument],
    then: dict[tuple[str, str], events.PolicyDocument],
) -> None:
    """
    Refuse a set that would deny its tenant every request: documents that check alone may not together.

    A document may be taken out of a set that does not check as it is.
    """
    try:
        policy.compile_scope([policy.Document.from_record(d) for d in then.values()], scope)
    except PolicyError as error:
        is_less = then.keys() < now.keys() and all(now[name] == then[name] for name in then)
        if is_less and not _checks(scope, now):
            return
        error.help = error.help or f"see `enforcer policy list`: these are all documents of {scope}"
        raise


def _checks(scope: str, documents: dict[tuple[str, str], events.PolicyDocument]) -> bool:
    try:
        policy.compile_scope([policy.Document.from_record(d) for d in documents.values()], scope)
    except PolicyError:
        return False
    return True


def _set_change(
    published: Published,
    scope: str,
    now: dict[tuple[str, str], events.PolicyDocument],
    then: dict[tuple[str, str], events.PolicyDocument],
) -> SetChange | None:
    digest = policy.set_digest(d.digest for d in then.values())
    newest = published.sets.get(scope)
    if newest is not None and newest.digest == digest:
        return None
    if newest is None and not then:
        return None

    def names(keys: Iterable[tuple[str, str]]) -> tuple[str, ...]:
        return tuple(f"{kind}/{document_id}" for kind, document_id in sorted(keys))

    return SetChange(
        scope=scope,
        revision=newest.revision + 1 if newest is not None else 1,
        digest=digest,
        replaces=newest.digest if newest is not None else None,
        added=names(then.keys() - now.keys()),
        changed=names(k for k in then.keys() & now.keys() if then[k].digest != now[k].digest),
        removed=names(now.keys() - then.keys()),
    )


def _forgotten(
    published: Published, scope: str, kept: Sequence[str], now_ms: int
) -> list[Outgoing]:
    """Tombstones for documents that no set has named for a day: an agent may still be reading the old set."""
    named = set(kept)
    return [
        (f"{scope}/doc/{digest}".encode(), None, (), None)
        for (in_scope, digest), written_ms in published.written_ms.items()
        if in_scope == scope and digest not in named and now_ms - written_ms > DAY_MS
    ]
