"""
What the policy topic says, as somebody who changes policies has to see it.

Where policies are signed, what is not believed is not there; what only the history still vouches for is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from enforcer import events
from enforcer.broker.to_end import read_to
from enforcer.errors import AuthError, EnforcerError, NotFoundError
from enforcer.policy.signing import HEADER, Signer, Verifier
from enforcer.policy.trust import Trust
from enforcer.stream.policy_history import Floors, read_floors, read_history

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.broker.ports import Broker, Reader, Record


@dataclass(frozen=True, slots=True)
class Signing:
    """With which key a change is signed, and whose are believed."""

    signer: Signer
    verifier: Verifier

    @classmethod
    def of(cls, private_pem: bytes, public_pems: Iterable[bytes], *, prefix: str) -> Signing:
        """The key of who signs counts among those believed. Raises: ConfigError."""
        signer = Signer(private_pem, prefix=prefix)
        return cls(signer, Verifier([*public_pems, signer.public_pem], prefix=prefix))


class Published:
    """What the policy topic says: documents by digest and the newest set, a scope each."""

    __slots__ = ("documents", "end", "is_signed", "set_offsets", "sets", "trust", "written_ms")

    def __init__(self, trust: Trust | None = None) -> None:
        self.trust = trust
        """What is believed; everything, without."""
        self.is_signed = False
        """Whether any set is signed, by whomever."""
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
            self.written_ms.pop((scope, digest), None)
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

    def refused_scopes(self) -> list[str]:
        """Scopes with records that are not believed, and no set that is."""
        refused = () if self.trust is None else self.trust.refused
        return sorted(scope for scope in refused if scope not in self.sets)

    def in_force(self, scope: str) -> dict[tuple[str, str], events.PolicyDocument]:
        """The documents of a scope's newest set, by kind and id."""
        newest = self.sets.get(scope)
        named = newest.documents if newest is not None else []
        found = [self.documents[scope, d] for d in named if (scope, d) in self.documents]
        return {(document.kind, document.id): document for document in found}


async def read_published(
    broker: Broker, prefix: str, verifier: Verifier | None = None
) -> Published:
    """Everything in the policy topic, as of now; what is believed of it, with *verifier*. Raises NotFoundError where there is none."""
    await check_topics(broker, prefix)
    reader = await broker.open_reader(read_committed=True)
    try:
        return await read(broker, reader, prefix, verifier)
    finally:
        await reader.close()


async def check_topics(broker: Broker, prefix: str) -> None:
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
            help=f"run `enforcer topics apply --prefix {prefix}`, or give the prefix of topics that are there",
        )


async def read(broker: Broker, reader: Reader, prefix: str, verifier: Verifier | None) -> Published:
    published = Published(None if verifier is None else Trust(verifier))
    if published.trust is not None and verifier is not None:
        history = await read_history(broker, prefix, verifier)
        for _, key, value in published.trust.vouched(history):
            published.apply(key, value, 0)
        published.written_ms.clear()  # What stands in the history alone is written to the topic again.
    place = (f"{prefix}.policies", 0)
    published.end = (await reader.offsets_end([place]))[place]
    reader.assign([place])
    await reader.seek_to_beginning(place)
    async for polled in read_to(reader, {place: published.end}):
        for record in polled.get(place, ()):
            _take(published, record)
    return published


async def floors(broker: Broker, prefix: str) -> Floors:
    """What workers have had in force: who changes policies goes above it. Nothing, where nobody may know."""
    try:
        return await read_floors(broker, prefix)
    except (NotFoundError, AuthError):
        return Floors()


def _take(published: Published, record: Record) -> None:
    key, value, trust = record.key or b"", record.value, published.trust
    if trust is not None and trust.look(record.offset, key, value, record.headers):
        return
    if value is not None and key.endswith(b"/set"):
        published.is_signed |= any(name == HEADER for name, _ in record.headers)
    published.apply(key, value, record.timestamp, record.offset)
