"""
Facts of texts and of conversations that came before, by keyed content digest.

Facts are pure, so they may be cached where verdicts may not. What comes again is the beginning of
a conversation: each turn carries all turns before it. So the counts of a whole list of messages
are kept under its digest, and the next request finds them under the digest of all its messages
but the newest one or two; only those are counted. A text that is not part of a known beginning is
looked up alone (a system prompt, a shared document).

The cache holds digests that cannot be matched to a guessed text without its key, and numbers;
never text. SHA-256 rather than BLAKE2 because processors compute it: 2 against 4 ns a byte here.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.events import Message

CACHE_ENTRIES = 16_384
# Texts by themselves that are kept: one for so many conversations.
_TEXTS_SHARE = 4
KEY_BYTES_MIN, KEY_BYTES_MAX = 16, 64
# How many messages may be new behind a known beginning: an answer and the next question.
_NEW_MESSAGES_MAX = 2


class CachedFacts:
    """
    What is known of a text, or of a list of messages.

    Attributes:
        tokens: By (vocabulary, chat template); the template is empty for a text alone.
        pii: Findings by kind, by the kinds that were looked for.
        secrets: Findings by kind, of all kinds; None: not looked for yet.
        injection: Score and signals, by origin; those of a whole conversation under "".
        pii_at: Findings of all kinds, by the confidence from which they count.
    """

    __slots__ = ("injection", "pii", "pii_at", "secrets", "tokens")

    def __init__(self) -> None:
        self.tokens: dict[tuple[str, str], int] = {}
        self.pii: dict[frozenset[str], dict[str, int]] = {}
        self.pii_at: dict[float, dict[str, int]] = {}
        self.secrets: dict[str, int] | None = None
        self.injection: dict[str, tuple[float, tuple[str, ...]]] = {}

    def check(self) -> None:
        """Raise DetectError if nothing can be known of this text; so it is of some that were read elsewhere."""


class Conversation(NamedTuple):
    """How many leading messages are known, their facts, and the place for those of all of them."""

    known: int
    before: CachedFacts | None
    whole: CachedFacts


class FactCache:
    """
    Facts by keyed digest, least recently used out first.

    Conversations and texts have room of their own: a conversation that is not known is looked up text by text, and most of its texts
    never come again alone. In one room they would push the conversations out, which then are not known, and so on.

    Args:
        key: Secret of this process, 16 to 64 bytes.
        entries: How many conversations are kept, and a quarter as many texts; one takes about 700 bytes.

    Attributes:
        hits: Messages and texts that were known.
        misses: Those that were not.
    """

    __slots__ = ("_conversations", "_entries", "_hasher", "_texts", "_texts_max", "hits", "misses")

    def __init__(self, key: bytes, entries: int = CACHE_ENTRIES) -> None:
        assert KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX, "a cache key has 16 to 64 bytes"
        assert entries > 0, entries
        # The key fills the first block, once; every digest starts from a copy of that state.
        self._hasher = sha256(key.ljust(KEY_BYTES_MAX, b"\0"))
        self._entries = entries
        self._texts_max = -(-entries // _TEXTS_SHARE)
        self._conversations: OrderedDict[bytes, CachedFacts] = OrderedDict()
        self._texts: OrderedDict[bytes, CachedFacts] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        """How many texts and conversations are held."""
        return len(self._conversations) + len(self._texts)

    def of_text(self, text: str) -> CachedFacts:
        """The facts of a text: those known, or empty ones that are kept from now on."""
        hasher = self._hasher.copy()
        hasher.update(text.encode("utf-8", "replace"))
        digest = hasher.digest()
        found = _get(self._texts, digest)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        return _put(self._texts, digest, self._texts_max)

    def of_conversation(self, messages: Sequence[Message]) -> Conversation:
        """The longest known beginning of some messages, at most two short of all of them."""
        bodies, shapes = _serialised(messages)
        lengths = array("Q", map(len, bodies))
        total = len(messages)
        hasher = self._hasher.copy()
        rows = self._conversations
        known, before, digest, at = 0, None, b"", 0
        beginning = b""
        for length in range(max(1, total - _NEW_MESSAGES_MAX), total + 1):
            hasher.update("".join(bodies[at:length]).encode("utf-8", "replace"))
            at = length
            ended = hasher.copy()
            ended.update(";".join(shapes[:length]).encode())
            ended.update(lengths[:length].tobytes())
            digest = ended.digest()
            found = _get(rows, digest)
            if found is not None:
                known, before, beginning = length, found, digest
        if known == 0:
            # What is not known as a whole is counted text by text, and found or missed there.
            return Conversation(0, None, _put(rows, digest, self._entries))
        self.hits += known
        self.misses += total - known
        if known == total and before is not None:
            return Conversation(known, before, before)
        # The conversation has gone on: what is known of it now stands under all of it, and its beginning may go first. So there is
        # room for as many conversations as entries, not for as many turns.
        rows.move_to_end(beginning, last=False)
        whole = _put(rows, digest, self._entries)
        return Conversation(known, before, whole)


def _get(rows: OrderedDict[bytes, CachedFacts], digest: bytes) -> CachedFacts | None:
    found = rows.get(digest)
    if found is not None:
        rows.move_to_end(digest)
    return found


def _put(rows: OrderedDict[bytes, CachedFacts], digest: bytes, most: int) -> CachedFacts:
    made = rows[digest] = CachedFacts()
    if len(rows) > most:
        rows.popitem(last=False)
    return made


def _serialised(messages: Sequence[Message]) -> tuple[list[str], list[str]]:
    """
    The text of each message, and its shape: what says where its strings end, beside the text's length.

    Bodies, their lengths and shapes together name the messages one to one, so that no two
    conversations that count differently share a digest. Media count apart and are left out.
    """
    bodies: list[str] = []
    shapes: list[str] = []
    for message in messages:
        content = message.content
        role = message.role
        # The common message, kept free of calls: this runs for every message of every event.
        if (
            content.__class__ is str
            and message.name is None
            and message.origin is None
            and not message.tool_calls
            and role in _PLAIN_ROLES
        ):
            bodies.append(content)
            shapes.append(role)
        else:
            body, shape = _any_message(message)
            bodies.append(body)
            shapes.append(shape)
    return bodies, shapes


# None of these can be read as a shape in numbers.
_PLAIN_ROLES = frozenset({"user", "assistant", "system", "developer", "tool"})


def _any_message(message: Message) -> tuple[str, str]:
    content = message.content
    pieces = [message.role, message.name or "", message.origin or ""]
    pieces += [content] if isinstance(content, str) else [part.text or "" for part in content]
    calls = [piece for call in message.tool_calls for piece in (call.name, call.arguments)]
    lengths = ",".join([str(len(piece)) for piece in pieces])
    shape = f"{lengths}:{','.join([str(len(piece)) for piece in calls])}"
    return "".join(pieces + calls), shape
