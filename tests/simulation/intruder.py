"""Somebody who can write the policy topic and has no key, and the author who has one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from enforcer import events, policy
from enforcer.control.published import Signing
from enforcer.policy.signing import POLICIES, Signer

if TYPE_CHECKING:
    import random

    from enforcer.broker.ports import Broker, Outgoing, Record
    from enforcer.testing.simulation import Marks

KINDS = ("unsigned", "another key", "older", "older", "tombstone", "borrowed signature")


def _private(name: str) -> bytes:
    """The same key in each run: what is signed is part of a run."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Intruder:
    """Writes what he can: his own sets, with no signature or another; old ones, as they were signed; tombstones."""

    def __init__(self, broker: Broker, prefix: str, marks: Marks, *, is_signed: bool) -> None:
        self._broker = broker
        self._topic = f"{prefix}.policies"
        self._marks = marks
        self._stranger = Signer(_private("stranger"), prefix=prefix)
        self.author = Signing.of(_private("author"), (), prefix=prefix) if is_signed else None
        """Who signs; None where policies are not signed."""
        self.keys = (self.author.signer.public_pem,) if self.author else ()
        self.authored: frozenset[int] = frozenset()
        """Offsets of the author's sets of everybody."""
        self._seen: dict[int, Record] = {}
        """Those that he has read: what is compacted away later he still has."""

    def saw(self, offset: int) -> None:
        """The author has put a set there."""
        self.authored |= {offset}

    async def write(self, rng: random.Random) -> str:
        """Write something; what it was."""
        for record in await self._read():
            if record.offset in self.authored:
                self._seen[record.offset] = record
        sets = [self._seen[offset] for offset in sorted(self._seen)]
        kind = rng.choice(KINDS)
        records = self._made(kind, sets, rng)
        producer = await self._broker.open_producer()
        await producer.send(self._topic, 0, records)
        await producer.close()
        self._marks.sometimes(f"intruder {kind}")
        return kind

    def _made(self, kind: str, sets: list[Record], rng: random.Random) -> list[Outgoing]:
        newest = sets[-1]
        named = events.decode_policy_set(newest.value or b"")
        # All rules taken out: whoever believes it allows what is forbidden.
        empty = events.PolicySet(
            "*", named.revision + 5, documents=[], digest=policy.set_digest([])
        )
        value = events.encode_policy_set(empty)
        if kind == "unsigned":
            return [(b"*/set", value, (), None)]
        if kind == "another key":
            return [(b"*/set", value, self._stranger.headers(POLICIES, b"*/set", value), None)]
        if kind == "borrowed signature":
            return [(b"*/set", value, newest.headers, None)]
        if kind == "tombstone":
            document = f"*/doc/{rng.choice(named.documents)}" if named.documents else "*/doc/x"
            return [(b"*/set", None, (), None), (document.encode(), None, (), None)]
        old = rng.choice(sets)
        return [(b"*/set", old.value, old.headers, None)]

    async def _read(self) -> list[Record]:
        """What the topic holds."""
        reader = await self._broker.open_reader(read_committed=True)
        try:
            place = (self._topic, 0)
            end = (await reader.offsets_end([place]))[place]
            reader.assign([place])
            await reader.seek_to_beginning(place)
            found: list[Record] = []
            while (reader.position(*place) or 0) < end:
                found.extend((await reader.poll(50)).get(place, ()))
            return found
        finally:
            await reader.close()
