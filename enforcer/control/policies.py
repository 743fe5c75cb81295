"""
Putting policies in force, and looking at those that are.

A change is one transaction under one transactional id for the whole installation: whoever begins later fences
whoever began before, so the set that was read is the one that is replaced, or nothing happens. In it go, in this
order, the documents to the history and to ``policies``, then one set record a scope, to both. Agents read committed:
they see all of it or nothing.

Where policies are signed, every record of the change is, and what was there before is believed only as far as agents
would: nobody signs what an intruder has put there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from enforcer import events, policy
from enforcer.broker.acls import policies_transactional_id
from enforcer.control.published import (
    Published,
    Signing,
    check_topics,
    floors,
    read,
    read_published,
)
from enforcer.errors import (
    AgentFencedError,
    ConfigError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    PolicyError,
)
from enforcer.policy import documents as models
from enforcer.policy.signing import HISTORY, POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from enforcer.broker.ports import Broker, Outgoing
    from enforcer.policy.signing import Headers, Verifier

DAY_MS: Final = 86_400_000
MARKERS: Final = 100
"""Ends of transactions and forgotten documents move workers' offsets too, and are not told one by one."""
FILLING_MAX: Final = 20_000


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


async def list_documents(
    broker: Broker, prefix: str, verifier: Verifier | None = None
) -> list[Listed]:
    """Every document in force, by scope, kind and id; with *verifier*, what is not believed too, as a problem."""
    published = await read_published(broker, prefix, verifier)
    found: list[Listed] = []
    if published.trust is not None:
        found.extend(
            Listed(scope, "?", "?", "", published.trust.revision(scope), f"refused: {refusal}")
            for scope, refusal in sorted(published.trust.refused.items())
        )
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
    broker: Broker,
    prefix: str,
    document_id: str,
    *,
    scope: str | None = None,
    verifier: Verifier | None = None,
) -> events.PolicyDocument:
    """
    The document in force with this id.

    Raises: NotFoundError; ConflictError, when several have it and *scope* does not say which.
    """
    published = await read_published(broker, prefix, verifier)
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
    signing: Signing | None = None,
) -> list[SetChange]:
    """
    Put *documents* in force: each replaces the one of its scope, kind and id; the others stay.

    Args:
        prune: Make the sets of the scopes that occur exactly these documents.
        author: Who does it, for the record.
        signing: Where policies are signed.

    Returns: One change for each scope that is other now; none where nothing would change.
    Raises: PolicyError, when the documents of a scope do not check together; ConflictError, when somebody else
    changed policies meanwhile; ConfigError, without *signing* where sets are signed; IntegrityError, when a set that
    would be kept is not signed by anybody known.
    """
    by_scope: dict[str, dict[tuple[str, str], events.PolicyDocument]] = {}
    for document in documents:
        record = document.to_record()
        by_scope.setdefault(record.scope, {})[record.kind, record.id] = record

    def wanted(
        scope: str, now: dict[tuple[str, str], events.PolicyDocument]
    ) -> dict[tuple[str, str], events.PolicyDocument]:
        return by_scope[scope] if prune else {**now, **by_scope[scope]}

    return await _change(
        broker, prefix, list(by_scope), wanted, author=author, signing=signing, prune=prune
    )


async def delete(
    broker: Broker,
    prefix: str,
    document_id: str,
    *,
    scope: str | None = None,
    author: str = "",
    signing: Signing | None = None,
) -> list[SetChange]:
    """
    Take the document with this id out of force.

    Raises: NotFoundError, ConflictError as ``show_document``; PolicyError, when another document needs it.
    """
    verifier = None if signing is None else signing.verifier
    gone = await show_document(broker, prefix, document_id, scope=scope, verifier=verifier)

    def wanted(
        _: str, now: dict[tuple[str, str], events.PolicyDocument]
    ) -> dict[tuple[str, str], events.PolicyDocument]:
        return {name: d for name, d in now.items() if name != (gone.kind, gone.id)}

    return await _change(broker, prefix, [gone.scope], wanted, author=author, signing=signing)


async def sign(
    broker: Broker, prefix: str, signing: Signing, *, adopt: bool = False, author: str = ""
) -> list[SetChange]:
    """
    Sign every set in force once more, as it is: after a change of keys, or to begin with signatures.

    Args:
        broker: Started.
        prefix: Of the installation.
        signing: The key from now on, and those believed until now.
        adopt: Sets too that nobody known has signed, or that are older than what workers have had in force.
        author: Who does it, for the record.

    Raises: IntegrityError for such sets without *adopt*; ConflictError as ``apply``.
    """
    known = await read_published(broker, prefix, signing.verifier)
    whole = await read_published(broker, prefix)
    adopted = known.refused_scopes()
    if adopted and not adopt:
        raise _not_signed(adopted)
    scopes = {*known.sets, *adopted}

    def wanted(
        scope: str, now: dict[tuple[str, str], events.PolicyDocument]
    ) -> dict[tuple[str, str], events.PolicyDocument]:
        return whole.in_force(scope) if scope in adopted else now

    revisions = {scope: found.revision for scope, found in whole.sets.items()}
    return await _change(
        broker,
        prefix,
        scopes,
        wanted,
        author=author,
        signing=signing,
        prune=adopt,
        again=revisions,
    )


def _not_signed(scopes: Sequence[str]) -> IntegrityError:
    return IntegrityError(
        f"the policies of {', '.join(scopes)} are not signed by a known key",
        help="look at `enforcer policy list`; if all of it is yours: enforcer policy sign --adopt",
        code="not_signed",
    )


async def _change(
    broker: Broker,
    prefix: str,
    scopes: Iterable[str],
    wanted: object,
    *,
    author: str,
    signing: Signing | None,
    prune: bool = False,
    again: Mapping[str, int] | None = None,
) -> list[SetChange]:
    """
    Read, change and write under one fence.

    Args:
        prune: Whatever is found is replaced, or taken as it is, on purpose.
        again: Scope to revision: sets too that stay as they are.
    """
    assert callable(wanted)
    await check_topics(broker, prefix)
    changes: list[SetChange] = []
    ledger = broker.open_ledger(policies_transactional_id(prefix))
    reader = await broker.open_reader(read_committed=True)
    try:
        # Fenced first, read then: nobody can commit a change between the two.
        await ledger.start()
        published = await read(
            broker, reader, prefix, None if signing is None else signing.verifier
        )
        _check_signed(published, scopes, signing, prune=prune)
        below = await floors(broker, prefix)
        above = {} if signing is None else below.revisions
        _check_newest(published, scopes, above, is_meant=prune)
        records: list[Outgoing] = _filling(published.end, below.policy_offset)
        history: list[Outgoing] = []
        places: list[int] = []
        now_ms = int(time.time() * 1000)
        for scope in sorted(scopes):
            now = published.in_force(scope)
            change = _set_change(
                published, scope, now, wanted(scope, now), again=again, floor=above.get(scope, 0)
            )
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
                if again is not None or (scope, document.digest) not in published.written_ms:
                    records.append((f"{scope}/doc/{document.digest}".encode(), value, (), None))
                history.append((document.digest.encode(), value, (), None))
            value = events.encode_policy_set(record)
            places.append(len(records))
            records.append((f"{scope}/set".encode(), value, (), None))
            history.append((change.digest.encode(), value, (), None))
            records.extend(_forgotten(published, scope, record.documents, now_ms))
            changes.append(change)
        if records:
            await ledger.begin()
            # History first: no agent decides under a set that is not in it.
            if history:
                await ledger.send(f"{prefix}.{HISTORY}", 0, _signed(signing, HISTORY, history))
            told = ledger.send(f"{prefix}.{POLICIES}", 0, _signed(signing, POLICIES, records))
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


def _check_signed(
    published: Published, scopes: Iterable[str], signing: Signing | None, *, prune: bool
) -> None:
    """Refuse a change that agents would not believe, or that would take an intruder's documents along."""
    if signing is None:
        if published.is_signed:
            raise ConfigError(
                "policies are signed here, and this change is not: agents would refuse it",
                help="give --sign-key FILE, or ENFORCER_SIGN_KEY",
                code="sign_key",
            )
        return
    lost = [scope for scope in published.refused_scopes() if scope in set(scopes)]
    if lost and not prune:
        raise _not_signed(lost)


def _filling(end: int, workers_offset: int) -> list[Outgoing]:
    """
    Tombstones of nothing, where the topic was deleted and made again: past the offset up to which workers had read it.

    A partition does not decide under an older policy offset than before, and a new topic begins at 0.
    """
    missing = min(workers_offset + MARKERS - end, FILLING_MAX) if end < workers_offset else 0
    return [(b"*/doc/-", None, (), None)] * missing


def _check_newest(
    published: Published, scopes: Iterable[str], above: Mapping[str, int], *, is_meant: bool
) -> None:
    """Refuse to build on a set that is not the newest there was, unless that is what is meant."""
    found = {scope: published.sets[scope].revision for scope in scopes if scope in published.sets}
    lost = [scope for scope in sorted(scopes) if found.get(scope, 0) < above.get(scope, 0)]
    if lost and not is_meant:
        each = ", ".join(
            f"{scope} (revision {above[scope]}; found is "
            + (f"{found[scope]})" if scope in found else "none)")
            for scope in lost
        )
        raise IntegrityError(
            f"the newest policies are neither in the topic nor in the history: {each}",
            help="apply all documents of these scopes with --prune; or take what is found: enforcer policy sign --adopt",
            code="set_lost",
        )


def _signed(signing: Signing | None, topic: str, records: Iterable[Outgoing]) -> list[Outgoing]:
    if signing is None:
        return list(records)

    def headers(key: bytes | None, value: bytes | None) -> Headers:
        return signing.signer.headers(topic, key or b"", value)

    return [(key, value, headers(key, value), at) for key, value, _, at in records]


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
    *,
    again: Mapping[str, int] | None = None,
    floor: int = 0,
) -> SetChange | None:
    """The change of a scope from *now* to *then*; None where there is none. *floor*: the highest revision that workers have had."""
    digest = policy.set_digest(d.digest for d in then.values())
    newest = published.sets.get(scope)
    # What workers have had higher they refuse: it is signed once more, above.
    is_low = newest is not None and newest.revision < floor
    if newest is not None and newest.digest == digest and again is None and not is_low:
        return None
    if newest is None and not then:
        return None

    def names(keys: Iterable[tuple[str, str]]) -> tuple[str, ...]:
        return tuple(f"{kind}/{document_id}" for kind, document_id in sorted(keys))

    return SetChange(
        scope=scope,
        revision=max(newest.revision if newest else 0, (again or {}).get(scope, 0), floor) + 1,
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
