"""
Checks chains of audit records, and names the first bad record and what is wrong with it.

It shares no code with the writer: it knows the schemas, reads with fastavro, hashes with hashlib. It
reads any number of partitions at once, each on its own, in constant memory.

What can be wrong with a chain:

==========  ==========================================================================================
modified    the bytes are not those that were hashed (or are no audit record at all)
missing     a sequence number is skipped and never comes
reordered   a sequence number is skipped and comes later
duplicated  the same record stands twice
forked      two records claim one place: one sequence number with two contents, a record that names
            another predecessor than the one before it, or one that an anchor contradicts
truncated   an end that an anchor knows of is not there
==========  ==========================================================================================

A hole alone cannot tell *missing* from *reordered*, nor a record far too early *reordered* from
*duplicated*. So a hole opens a detour: the records after it are followed as a chain of their own
while the one that was due is awaited. Memory for digests already seen is a ring of the newest 4,096;
a repeat from further back is called duplicated without comparing its content.

Whoever may write the whole topic can rewrite a suffix, or cut it off, and no chain shows it. What
shows it is an *anchor*, a sequence number and digest known from elsewhere. A report says for
each end whether one held it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Kind = Literal["modified", "missing", "reordered", "duplicated", "forked", "truncated"]

_DIGEST_BYTES: Final = 32
_ZEROS: Final = bytes(_DIGEST_BYTES)
_RING: Final = 4096


@dataclass(frozen=True, slots=True)
class Anchor:
    """A record known from elsewhere. Sequence -1 with zeros is the very beginning."""

    sequence: int
    digest: bytes


START: Final = Anchor(-1, _ZEROS)
"""Demands that the chain is there from its first record."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The first bad record of a partition. *position* counts the partition's records as read, from 0."""

    partition: int
    kind: Kind
    sequence: int
    position: int
    offset: int | None
    message: str


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """One chain. *start* is genesis, anchored or unanchored, *end* is anchored or unanchored."""

    partition: int
    records: int
    first_sequence: int | None
    last_sequence: int | None
    head: bytes
    kinds: Mapping[str, int]
    start: str
    end: str
    finding: Finding | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found."""

    partitions: tuple[PartitionReport, ...]

    @property
    def records(self) -> int:
        """All records read, bad ones included."""
        return sum(chain.records for chain in self.partitions)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The first bad record of each partition that has one."""
        return tuple(chain.finding for chain in self.partitions if chain.finding is not None)

    @property
    def whole(self) -> bool:
        """Nothing is wrong, as far as the anchors reach."""
        return not self.findings

    @property
    def anchored(self) -> bool:
        """Both ends of every chain are held: the beginning by its zeros or an anchor, the end by an anchor."""
        return all(
            chain.start != "unanchored" and chain.end != "unanchored" for chain in self.partitions
        )


@dataclass(frozen=True, slots=True)
class _Link:
    """What the check needs of one record whose own digest is right."""

    sequence: int
    previous: bytes
    digest: bytes
    kind: str
    position: int
    offset: int | None


@dataclass(slots=True)
class _Chain:
    """One partition while it is read."""

    partition: int
    from_: Anchor | None
    until: Anchor | None
    records: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    first: int | None = None
    # The next sequence number and the digest it must name; None before the first record.
    due: int | None = None
    head: bytes = _ZEROS
    ring: bytearray = field(default_factory=lambda: bytearray(_RING * _DIGEST_BYTES))
    # The first record after a hole, and whether the one that was due has come since.
    early: _Link | None = None
    resumed: bool = False
    start: str = "unanchored"
    end_seen: bool = False
    finding: Finding | None = None


class Verifier:
    """
    Takes records one by one with ``add``; ``report`` tells.

    Args:
        schemas: Every released schema of an audit record, as parsed JSON.
        from_: A known record per partition, at or before which the chain must begin.
        head: A known record per partition that must be there.
    """

    def __init__(
        self,
        schemas: Sequence[Mapping[str, Any]],
        *,
        from_: Mapping[int, Anchor] | None = None,
        head: Mapping[int, Anchor] | None = None,
    ) -> None:
        self._schemas = {_header(schema): fastavro.parse_schema(dict(schema)) for schema in schemas}
        self._from = dict(from_ or {})
        self._until = dict(head or {})
        self._chains: dict[int, _Chain] = {}
        for partition in sorted(self._from.keys() | self._until.keys()):
            self._chain(partition)

    def _chain(self, partition: int) -> _Chain:
        chain = self._chains.get(partition)
        if chain is None:
            chain = _Chain(partition, self._from.get(partition), self._until.get(partition))
            self._chains[partition] = chain
        return chain

    def add(self, partition: int, value: bytes | None, *, offset: int | None = None) -> None:
        """Take the next record of *partition*, as stored."""
        chain = self._chain(partition)
        position = chain.records
        chain.records += 1
        link = self._read(value, position, offset)
        if link is not None:
            chain.kinds[link.kind] = chain.kinds.get(link.kind, 0) + 1
        if chain.finding is not None:
            return
        if link is not None:
            _take(chain, link)
        elif chain.early is None:  # Else a hole was seen before it.
            # The stored number of a modified record is worth nothing; its place tells which it was.
            sequence = chain.due if chain.due is not None else _first_due(chain)
            _find(
                chain,
                "modified",
                sequence,
                position,
                offset,
                "its bytes are not those that were hashed",
            )

    def _read(self, value: bytes | None, position: int, offset: int | None) -> _Link | None:
        """The record, if it is one and its digest is right."""
        if value is None or (schema := self._schemas.get(value[:10])) is None:
            return None
        stream = BytesIO(value)
        stream.seek(10)
        try:
            record: Any = fastavro.schemaless_reader(stream, schema, None)
        except Exception:  # noqa: BLE001 — fastavro has no common error; whatever it is, this is no record.
            return None
        digest = value[-_DIGEST_BYTES:]
        if stream.tell() != len(value) or record["digest"] != digest:
            return None
        previous = record["previous"]
        if sha256(previous + value[:-_DIGEST_BYTES]).digest() != digest:
            return None
        return _Link(record["sequence"], previous, digest, record["kind"], position, offset)

    def report(self) -> Report:
        """What was found, all records being read."""
        return Report(tuple(_finished(self._chains[number]) for number in sorted(self._chains)))


def verify(
    records: Iterable[tuple[int, bytes | None]],
    schemas: Sequence[Mapping[str, Any]],
    *,
    from_: Mapping[int, Anchor] | None = None,
    head: Mapping[int, Anchor] | None = None,
) -> Report:
    """Check (partition, value) pairs, in the order in which each partition stores them."""
    verifier = Verifier(schemas, from_=from_, head=head)
    for partition, value in records:
        verifier.add(partition, value)
    return verifier.report()


def _header(schema: Mapping[str, Any]) -> bytes:
    """How values of *schema* begin: Avro's single-object encoding."""
    name = fingerprint(to_parsing_canonical_form(dict(schema)), "CRC-64-AVRO")
    # fastavro prints the fingerprint as the bytes that stand in the header, in their order.
    return b"\xc3\x01" + bytes.fromhex(name)


def _first_due(chain: _Chain) -> int:
    return chain.from_.sequence + 1 if chain.from_ is not None else 0


def _find(
    chain: _Chain, kind: Kind, sequence: int, position: int, offset: int | None, message: str
) -> None:
    chain.finding = Finding(chain.partition, kind, sequence, position, offset, message)


def _take(chain: _Chain, link: _Link) -> None:
    """Compare a record that is whole in itself with the chain so far."""
    if chain.due is None:
        _begin(chain, link)
    due = chain.due
    assert due is not None
    if chain.early is not None:
        _follow_detour(chain, link)
    elif link.sequence == due:
        if link.previous == chain.head:
            _accept(chain, link)
        else:
            _find(
                chain,
                "forked",
                due,
                link.position,
                link.offset,
                f"it names another predecessor than record {due - 1}, which stands before it",
            )
    elif link.sequence < due:
        _repeat(chain, link)
    else:
        chain.early = link


def _begin(chain: _Chain, link: _Link) -> None:
    """The first record of a partition: may the chain begin here?"""
    chain.first = link.sequence
    anchor = chain.from_
    if anchor is not None and link.sequence > anchor.sequence:
        # It may be out of its place, so this is decided as any other hole is.
        chain.start = "anchored" if anchor.sequence >= 0 else "genesis"
        chain.due, chain.head = anchor.sequence + 1, anchor.digest
    elif link.sequence == 0:
        chain.start, chain.due, chain.head = "genesis", 0, _ZEROS
    else:
        chain.due, chain.head = link.sequence, link.previous


def _accept(chain: _Chain, link: _Link) -> None:
    """The record is the one that was due."""
    for anchor in (chain.from_, chain.until):
        if anchor is not None and anchor.sequence == link.sequence and anchor.digest != link.digest:
            _find(
                chain,
                "forked",
                link.sequence,
                link.position,
                link.offset,
                "it is whole, but another than the anchor knows: it or one before it was replaced",
            )
            return
    if chain.from_ is not None and chain.from_.sequence == link.sequence:
        chain.start = "anchored"
    if chain.until is not None and chain.until.sequence == link.sequence:
        chain.end_seen = True
    at = link.sequence % _RING * _DIGEST_BYTES
    chain.ring[at : at + _DIGEST_BYTES] = link.digest
    chain.head = link.digest
    chain.due = link.sequence + 1


def _repeat(chain: _Chain, link: _Link) -> None:
    """A record whose sequence number was there before."""
    assert chain.due is not None
    at = link.sequence % _RING * _DIGEST_BYTES
    kind: Kind
    if chain.first is None or link.sequence < chain.first:
        kind, message = "reordered", "it stands after records that follow it"
    elif link.sequence >= chain.due - _RING and chain.ring[at : at + _DIGEST_BYTES] != link.digest:
        kind, message = "forked", "another record with this sequence number stands before it"
    else:
        kind, message = "duplicated", "it stands before already"
    _find(chain, kind, link.sequence, link.position, link.offset, message)


def _follow_detour(chain: _Chain, link: _Link) -> None:
    """After a hole: has the record come that was due, and does the early one come again?"""
    early = chain.early
    assert early is not None
    if link.sequence == chain.due and link.previous == chain.head:
        chain.resumed = True
        chain.due = link.sequence + 1
        chain.head = link.digest
        if link.sequence == early.sequence:
            kind: Kind = "duplicated" if link.digest == early.digest else "forked"
            _find_early(chain, kind)
    elif link.sequence == early.sequence and link.digest != early.digest:
        _find_early(chain, "forked")


def _find_early(chain: _Chain, kind: Kind) -> None:
    """Name what a hole was, once it is known: by the early record, which is where it was seen."""
    early, due = chain.early, chain.due
    assert early is not None
    assert due is not None
    if kind == "missing":
        last = early.sequence - 1
        message = "it is not there" if last == due else f"it and all up to {last} are not there"
        _find(chain, kind, due, early.position, early.offset, message)
        return
    message = {
        "reordered": "it stands before records that it follows",
        "duplicated": "it stands here and again in its place",
        "forked": "another record with this sequence number stands in its place",
    }[kind]
    _find(chain, kind, early.sequence, early.position, early.offset, message)


def _check_ends(chain: _Chain) -> None:
    """Did the chain reach every record that an anchor knows of?"""
    if chain.records == 0 and chain.from_ is not None and chain.from_ == chain.until:
        chain.end_seen = True  # Nothing came after the known end.
    due = chain.due if chain.due is not None else _first_due(chain)
    known = [chain.until] if chain.records == 0 else [chain.from_, chain.until]
    last = max((anchor.sequence for anchor in known if anchor is not None), default=-1)
    if last >= due:
        message = f"the chain ends before it; an anchor knows record {last}"
        _find(chain, "truncated", due, chain.records, None, message)


def _finished(chain: _Chain) -> PartitionReport:
    """The end of a partition: what a hole was, and whether the end is the known one."""
    last = chain.due - 1 if chain.due is not None else None
    if chain.finding is None and chain.early is not None:
        _find_early(chain, "reordered" if chain.resumed else "missing")
    if chain.finding is None:
        _check_ends(chain)
    anchored_end = chain.end_seen and chain.finding is None
    return PartitionReport(
        partition=chain.partition,
        records=chain.records,
        first_sequence=chain.first,
        last_sequence=last if chain.records else None,
        head=chain.head,
        kinds=dict(sorted(chain.kinds.items())),
        start=chain.start,
        end="anchored" if anchored_end else "unanchored",
        finding=chain.finding,
    )
