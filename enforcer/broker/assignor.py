"""
Who gets which partition number: balanced, and with as few moves as balance allows. Pure.

Ownership claims travel with the members: each says what it was given last, and in which round. A claim of an
older round loses, so that a member back from the dead takes nothing from its successor.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Claim:
    """What a member owned after the rebalance number *round_number*; *name* breaks ties, the same on every leader."""

    name: str = ""
    round_number: int = 0
    owned: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """As bytes for the group protocol's user data."""
        name = self.name.encode()
        head = struct.pack(">BqHI", _VERSION, self.round_number, len(name), len(self.owned))
        return head + name + struct.pack(f">{len(self.owned)}I", *self.owned)

    @classmethod
    def decode(cls, data: bytes | None) -> Claim:
        """From user data; what cannot be read (another version's) claims nothing."""
        try:
            version, round_number, name_bytes, count = _HEAD.unpack_from(data or b"")
            if version != _VERSION:
                return cls()
            name = (data or b"")[_HEAD.size : _HEAD.size + name_bytes].decode()
            owned = struct.unpack_from(f">{count}I", data or b"", _HEAD.size + name_bytes)
        except (struct.error, UnicodeDecodeError):
            return cls()
        return cls(name, round_number, owned)


_VERSION = 1
_HEAD = struct.Struct(">BqHI")


def balance(partitions: int, claims: Mapping[str, Claim]) -> dict[str, tuple[int, ...]]:
    """
    Give every number below *partitions* to one member.

    Counts differ by at most one, and no assignment so balanced moves fewer partitions from valid claims.

    Args:
        partitions: How many there are.
        claims: By member id; never empty.
    """
    owner = _valid_owners(partitions, claims)
    kept: dict[str, list[int]] = {member: [] for member in claims}
    for number, member in owner.items():
        kept[member].append(number)
    least, extra = divmod(partitions, len(claims))
    # Those who hold most keep most: a place above the floor moves nothing if its owner has one to keep.
    order = sorted(claims, key=lambda member: (-len(kept[member]), claims[member].name, member))
    quota = {member: least + (1 if place < extra else 0) for place, member in enumerate(order)}
    given = {member: kept[member][: quota[member]] for member in order}
    taken = {number for numbers in given.values() for number in numbers}
    free = iter([number for number in range(partitions) if number not in taken])
    for member in order:
        while len(given[member]) < quota[member]:
            given[member].append(next(free))
    return {member: tuple(sorted(numbers)) for member, numbers in given.items()}


def _valid_owners(partitions: int, claims: Mapping[str, Claim]) -> dict[int, str]:
    owner: dict[int, str] = {}
    for member in sorted(claims, key=lambda member: (-claims[member].round_number, member)):
        for number in claims[member].owned:
            if number < partitions:
                owner.setdefault(number, member)
    return dict(sorted(owner.items()))
