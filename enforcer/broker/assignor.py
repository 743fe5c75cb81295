"""
Who gets which partition number, and who stands by for it. Pure.

Ownership claims travel with the members: each says what it was given last, and in which round, for which partitions its
tables are warm, and whether it is about to leave. A claim of an older round loses, so that a member back from the dead takes
nothing from its successor.

The rules, in this order:

1. Every partition has exactly one owner, which stays while any remains.
2. A partition whose owner is in the group moves to a member that is warm for it, and to no other; whom balance would give it
   to, and who is cold, stands by until it is warm, and says so by joining again. Only one that leaves is not waited for.
3. A partition without an owner goes to a warm member if there is one, however much that has already.
4. As long as all are warm, counts differ by at most one, and no assignment so balanced moves less.
5. Each partition has *standbys* members that tail its changelogs, never its owner; who is warm for it stays one.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

STANDBYS: Final = 1
"""Members that keep a copy of each partition's tables, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What a member tells the leader.

    It owned *owned* after the rebalance *round_number*; *name* breaks ties, the same on every leader.
    """

    name: str = ""
    round_number: int = 0
    owned: tuple[int, ...] = ()
    warm: tuple[int, ...] = ()
    """It stands by for these, and its tables lack no more than moments."""
    leaves: bool = False
    """It wants nothing any more, and goes on with what it has until that is another's."""

    def encode(self) -> bytes:
        """As bytes for the group protocol's user data."""
        return _encode(self.name, self.round_number, self.leaves, (self.owned, self.warm))

    @classmethod
    def decode(cls, data: bytes | None) -> Claim:
        """From user data; what cannot be read (another version's) claims nothing."""
        name, round_number, leaves, (owned, warm) = _decode(data, lists=2)
        return cls(name, round_number, owned, warm, leaves)


@dataclass(frozen=True, slots=True)
class Share:
    """What the leader gives a member."""

    round_number: int = 0
    owned: tuple[int, ...] = ()
    standby: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    """Those of *standby* that are to be its own as soon as it is warm for them and joins again."""
    is_last: bool = False
    """Nobody else stays: there is no one to hand anything over to."""

    def encode(self) -> bytes:
        """As bytes for the group protocol's user data."""
        lists = (self.owned, self.standby, self.pending)
        return _encode("", self.round_number, self.is_last, lists)

    @classmethod
    def decode(cls, data: bytes | None) -> Share:
        """From user data; what cannot be read gives nothing."""
        _, round_number, is_last, (owned, standby, pending) = _decode(data, lists=3)
        return cls(round_number, owned, standby, pending, is_last)


_VERSION = 1
_HEAD = struct.Struct(">BqHI")


def _encode(name: str, round_number: int, flag: object, lists: Sequence[tuple[int, ...]]) -> bytes:
    """The first list stands where the first version had its only one; what follows it, that version skips."""
    text = name.encode()
    parts = [_HEAD.pack(_VERSION, round_number, len(text), len(lists[0])), text]
    parts.append(struct.pack(f">{len(lists[0])}I", *lists[0]))
    parts.append(struct.pack(">?", flag))
    parts += [struct.pack(f">I{len(each)}I", len(each), *each) for each in lists[1:]]
    return b"".join(parts)


def _decode(data: bytes | None, *, lists: int) -> tuple[str, int, bool, list[tuple[int, ...]]]:
    nothing: tuple[str, int, bool, list[tuple[int, ...]]] = ("", 0, False, [()] * lists)
    data = data or b""
    try:
        version, round_number, name_bytes, count = _HEAD.unpack_from(data)
        if version != _VERSION:
            return nothing
        at = _HEAD.size + name_bytes
        name = data[_HEAD.size : at].decode()
        found: list[tuple[int, ...]] = [struct.unpack_from(f">{count}I", data, at)]
    except (struct.error, UnicodeDecodeError):
        return nothing
    at += 4 * count
    flag = data[at : at + 1] == b"\x01"
    at += 1
    try:
        while len(found) < lists:
            (count,) = struct.unpack_from(">I", data, at)
            found.append(struct.unpack_from(f">{count}I", data, at + 4))
            at += 4 + 4 * count
    except struct.error:
        found += [()] * (lists - len(found))
    return name, round_number, flag, found


def share_out(
    partitions: int, claims: Mapping[str, Claim], *, standbys: int = STANDBYS
) -> dict[str, Share]:
    """
    Give every number below *partitions* to one member, and *standbys* to others, by the rules above.

    Args:
        partitions: How many there are.
        claims: By member id; never empty.
        standbys: Members that stand by for each, as far as there are so many.
    """
    nobody_stays = all(claim.leaves for claim in claims.values())
    staying = {m: claim for m, claim in claims.items() if nobody_stays or not claim.leaves}
    warm = {member: frozenset(claim.warm) for member, claim in staying.items()}
    before = _valid_owners(partitions, claims)
    target = {n: m for m, numbers in balance(partitions, claims).items() for n in numbers}
    owner = _owners(before, target, warm)
    pending = {n: target[n] for n in owner if target[n] != owner[n] and n not in warm[target[n]]}
    copies = _standbys(owner, pending, warm, claims, count=standbys)
    round_number = 1 + max(claim.round_number for claim in claims.values())
    return {
        member: Share(
            round_number,
            tuple(sorted(n for n, m in owner.items() if m == member)),
            tuple(sorted(n for n, members in copies.items() if member in members)),
            tuple(sorted(n for n, m in pending.items() if m == member)),
            is_last=nobody_stays or not staying.keys() - {member},
        )
        for member in claims
    }


def _owners(
    before: Mapping[int, str], target: Mapping[int, str], warm: Mapping[str, Collection[int]]
) -> dict[int, str]:
    """Who owns each from now on."""
    owner: dict[int, str] = {}
    load: Counter[str] = Counter()
    homeless: list[int] = []
    for number, wanted in sorted(target.items()):
        last = before.get(number, "")
        if last not in warm:  # Gone, or going.
            homeless.append(number)
            continue
        owner[number] = wanted if number in warm[wanted] else last
        load[owner[number]] += 1
    for number in homeless:
        ready = [member for member in warm if number in warm[member]]
        if target[number] in ready or not ready:
            owner[number] = target[number]
        else:
            owner[number] = min(ready, key=lambda member: (load[member], member))
        load[owner[number]] += 1
    return owner


def _standbys(
    owner: Mapping[int, str],
    pending: Mapping[int, str],
    warm: Mapping[str, Collection[int]],
    claims: Mapping[str, Claim],
    *,
    count: int,
) -> dict[int, set[str]]:
    """
    Who stands by for each: *count* members, as evenly as may be, and who is to have it.

    Where none of these is warm yet, one that is stays until the next rebalance.
    """
    most = -(-len(owner) * count // max(1, len(warm)))
    load: Counter[str] = Counter()
    chosen: dict[int, set[str]] = {}
    for number in sorted(owner):
        members = chosen[number] = set()
        others = [member for member in warm if member != owner[number]]
        # The last owner's table is as warm as can be.
        fit = {m for m in others if number in warm[m] or number in claims[m].owned}
        for _ in range(min(count, len(others))):
            best = min(
                (member for member in others if member not in members),
                key=lambda m: (m not in fit or load[m] >= most, load[m], claims[m].name, m),
            )
            members.add(best)
            load[best] += 1
        if count and fit and not members & fit:
            members.add(min(fit, key=lambda m: (load[m], claims[m].name, m)))
        if number in pending:
            members.add(pending[number])
    return chosen


def balance(partitions: int, claims: Mapping[str, Claim]) -> dict[str, tuple[int, ...]]:
    """
    The balanced assignment to come to: every number below *partitions* to one member that stays.

    Counts differ by at most one, and no assignment so balanced moves fewer partitions from valid claims. Of those that
    must move, and of those nobody has, a member gets first what it is warm for.
    """
    staying = {m: claim for m, claim in claims.items() if not claim.leaves} or dict(claims)
    kept: dict[str, list[int]] = {member: [] for member in staying}
    for number, member in _valid_owners(partitions, claims).items():
        if member in kept:
            kept[member].append(number)
    least, extra = divmod(partitions, len(staying))
    # Those who hold most keep most: a place above the floor moves nothing if its owner has one to keep.
    order = sorted(staying, key=lambda member: (-len(kept[member]), staying[member].name, member))
    quota = {member: least + (1 if place < extra else 0) for place, member in enumerate(order)}
    short = [member for member in order if len(kept[member]) < quota[member]]
    awaited = {number for member in short for number in staying[member].warm}
    given = {m: sorted(kept[m], key=lambda n: (n in awaited, n))[: quota[m]] for m in order}
    taken = {number for numbers in given.values() for number in numbers}
    free = [number for number in range(partitions) if number not in taken]
    for member in short:
        mine = [n for n in free if n in staying[member].warm][: quota[member] - len(given[member])]
        given[member] += mine
        free = [number for number in free if number not in mine]
    for member in order:
        missing = quota[member] - len(given[member])
        given[member] += free[:missing]
        free = free[missing:]
    return {member: tuple(sorted(given.get(member, ()))) for member in claims}


def _valid_owners(partitions: int, claims: Mapping[str, Claim]) -> dict[int, str]:
    owner: dict[int, str] = {}
    for member in sorted(claims, key=lambda member: (-claims[member].round_number, member)):
        for number in claims[member].owned:
            if number < partitions:
                owner.setdefault(number, member)
    return dict(sorted(owner.items()))
