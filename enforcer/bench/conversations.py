"""
Traffic of conversations: each request carries all turns before it, as gateways send them.

How long they are follows a production trace of a chat service (Azure, 16 November 2023: 19,366 requests; context 1,155 tokens on
average, half below 1,020, nine tenths below 2,735; answers 211). A question has the 120 tokens of the other benchmarks' prompts and an
answer the trace's 211. Conversations of 1 to 11 turns, 6 on average, each length as often, make a context of 1,220 tokens on average,
half below 1,110, nine tenths below 2,440.

So many conversations are under way at once, and take turns.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from enforcer import events
from enforcer.bench.workload import PARTITIONS, PROMPT_CHARACTERS, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER_CHARACTERS: Final = 1_050
"""211 tokens of prose."""
UNDER_WAY: Final = 4_096
"""At 1,000 requests a second each goes on every four seconds. A multiple of the number of tenants, who take turns too."""


@dataclass(slots=True)
class _Conversation:
    """One, with its newest request."""

    request: events.Request
    left: int
    """Turns to come."""


class Conversations(Workload):
    """Requests without end; *turns* on average in a conversation. Every id and every newest message occurs once."""

    def __init__(self, seed: int, *, tag: str, turns: int, partitions: int = PARTITIONS) -> None:
        """Begin in the midst of things; the same seed gives the same requests."""
        super().__init__(seed, tag=tag, partitions=partitions)
        self._lengths = range(1, 2 * turns)
        self._draw = random.Random(f"conversations-{seed}")  # noqa: S311 — traffic, not secrets
        self._slots: list[_Conversation | None] = [None] * UNDER_WAY

    def request(self, characters: int = PROMPT_CHARACTERS) -> tuple[events.Request, int]:
        """The next turn of the conversation whose turn it is, or the first of the one that follows it."""
        # Slots take turns as tenants do, so that a slot always has the same one.
        slot = (self._serial + 1) % UNDER_WAY
        found = self._slots[slot]
        if found is not None and found.left:
            return self._next(found, characters)
        request, partition = super().request(characters)
        length = self._draw.choice(self._lengths)
        past = 0
        if found is None:
            # A longer one is more likely to be met, and at any of its turns.
            (length,) = self._draw.choices(self._lengths, weights=self._lengths)
            past = self._draw.randrange(length)
        request.llm.messages = [*self._history(past, characters), *request.llm.messages]
        request.conversation_id = f"c-{request.id}"
        self._slots[slot] = _Conversation(request, length - past - 1)
        return request, partition

    def _next(self, found: _Conversation, characters: int) -> tuple[events.Request, int]:
        before = found.request
        serial = self._serial = self._serial + 1
        answer = events.Message("assistant", content=self.text(ANSWER_CHARACTERS))
        question = events.Message("user", content=self.text(characters))
        llm = replace(before.llm, messages=[*before.llm.messages, answer, question])
        found.request = request = replace(before, id=f"{self._tag}-{serial:08d}", llm=llm)
        found.left -= 1
        return request, self._tenants[serial % len(self._tenants)][1]

    def _history(self, turns: int, characters: int) -> Iterator[events.Message]:
        for _ in range(turns):
            yield events.Message("user", content=self.text(characters))
            yield events.Message("assistant", content=self.text(ANSWER_CHARACTERS))
