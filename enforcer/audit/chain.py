"""
The writer's end of a partition's chain of audit records.

Theory of operation
-------------------
Every partition of ``audit`` is one chain, written by whichever agent owns the partition now. A link
is the Avro encoding of an Audit record. ``digest`` is the last field of the schema and has a fixed
size, so a stored value ends in its own digest, and

    digest = SHA-256(previous || value[:-32])

over the *exact stored bytes*, header included: whoever checks a link hashes what the broker gave
him and re-encodes nothing, so no property of an encoder (order of a map, width of a number, a
default left out) can make a whole record look broken or a broken one whole.

``previous`` is the digest of the link before, 32 zero bytes for the first. It stands in the hashed
bytes too: the prefix costs nothing and makes the rule read as what it means, *the digest binds this
record to everything before it*. Whoever knows one digest out of band (an *anchor*: a printed head,
an archive's manifest) knows all records up to it. Nothing else protects against somebody who may
write the topic and rewrites a whole suffix, or cuts the end off; ``verifier`` says so by calling such
a chain unanchored.

``sequence`` is dense from 0. It is not the offset: transactions leave control records in the log, so
offsets have holes that mean nothing. A hole in the sequence means a loss.

Two numbers are the chain's whole state: the next sequence and the head. They stand in the agent's
position row, which is written in the same transaction as the links themselves. A commit that fails
takes links and row back together, and the agent that follows starts from the row: it writes the same
sequence numbers again, and a reader of committed records sees each once. Hence the two rules here:

* A ``Chain`` belongs to one agent and one run of it. After a failed commit it is thrown away and
  built anew from the position row; it has no way back by itself.
* It moves only after a link has been encoded. A record that cannot be encoded raises, and leaves
  sequence and head as they were.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from enforcer.events import Audit, Source, encode_audit
from enforcer.events.binary import encode_bytes, encode_long, encode_string
from enforcer.events.pieces import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.events import Effect

DIGEST_BYTES: Final = 32
GENESIS: Final = bytes(DIGEST_BYTES)
"""``previous`` of the first link."""

_NOWHERE: Final = Source("", 0, 0, 0, 0, 0)


class Chain:
    """
    The end of one partition's chain: ``sequence`` is the next link's, ``head`` the last one's digest.

    Both are read by the commit, which stores them in the position row.
    """

    __slots__ = ("_link", "head", "sequence")

    def __init__(self, sequence: int = 0, head: bytes = GENESIS) -> None:
        assert sequence >= 0, sequence
        assert len(head) == DIGEST_BYTES, len(head)
        assert sequence > 0 or head == GENESIS, "a chain starts from zeros"
        self.sequence = sequence
        self.head = head
        # One record for all links: to make a new one each time costs a sixth of the whole.
        self._link = Audit(0, GENESIS, "expiry", "", 0, _NOWHERE, b"", digest=GENESIS)

    def append(
        self,
        kind: str,
        account: str,
        time_us: int,
        source: Source,
        payload: bytes,
        notes: Sequence[str] = (),
        effects: Sequence[Effect] = (),
    ) -> bytes:
        """
        Link one event to the chain.

        Args:
            kind: decision, settlement, expiry, policy_change or exception_use.
            account: Whose event it is.
            time_us: Event time.
            source: The place in both inputs and in the policy topic.
            payload: A decision's bytes as told, or the event's; empty for an expiry.
            notes: Flags, such as ``overrun``.
            effects: What changed in the rows; a decision carries its own and gives none here.

        Returns: The value to write to ``audit``.
        """
        link = self._link
        link.sequence = self.sequence
        link.previous = self.head
        link.kind = kind
        link.account = account
        link.time_us = time_us
        link.source = source
        link.payload = payload
        link.notes = notes if type(notes) is list else list(notes)
        link.effects = effects if type(effects) is list else list(effects)
        return self._bound(encode_audit(link)[:-DIGEST_BYTES])

    def append_decision(self, place: bytes, payload: bytes) -> bytes:
        """
        Link a decision without notes: what ``append`` does, of parts that are encoded already.

        Args:
            place: Account, time and source, as ``encode_audit`` writes them.
            payload: As told.

        Returns: The value to write to ``audit``.
        """
        return self._bound(
            b"".join(
                (
                    _HEAD,
                    encode_long(self.sequence),
                    self.head,
                    _DECISION,
                    place,
                    encode_bytes(payload),
                    _NOTHING,
                )
            )
        )

    def _bound(self, body: bytes) -> bytes:
        """*body* with the digest that binds it to all before it: the chain's new head."""
        self.head = digest = sha256(self.head + body).digest()
        self.sequence += 1
        return body + digest


def _pieces() -> tuple[bytes, bytes, bytes]:
    """A decision's link before its sequence, before its place, and between payload and digest."""
    numbers = range(1 << 40, (1 << 40) + 6)
    source = Source("~sample-1~", *numbers)
    sequence, time_us = 1 << 41, 1 << 42
    sample = Audit(
        sequence, _SAMPLE, "decision", "~sample-2~", time_us, source, b"~sample-3~", digest=GENESIS
    )
    place = b"".join(
        (
            encode_string("~sample-2~"),
            encode_long(time_us),
            encode_string("~sample-1~"),
            *map(encode_long, numbers),
        )
    )
    holes = (encode_long(sequence), _SAMPLE, place, encode_bytes(b"~sample-3~"))
    head, between, kind, behind, end = cut(encode_audit(sample)[:-DIGEST_BYTES], *holes)
    if between or behind:
        raise ValueError("a link of the chain is not as it was")
    return head, kind, end


_SAMPLE: Final = bytes(range(100, 100 + DIGEST_BYTES))
_HEAD, _DECISION, _NOTHING = _pieces()
