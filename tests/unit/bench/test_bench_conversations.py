"""Traffic of conversations."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from enforcer import detect, events
from enforcer.bench.conversations import UNDER_WAY, Conversations

if TYPE_CHECKING:
    from enforcer.events import Message

COUNT = 3 * UNDER_WAY


@pytest.fixture(scope="module")
def requests() -> list[tuple[events.Request, int]]:
    source = Conversations(3, tag="t", turns=6)
    return [source.request() for _ in range(COUNT)]


def test_each_request_carries_its_conversation_so_far_and_a_new_question(
    requests: list[tuple[events.Request, int]],
) -> None:
    """Of one user and one model; what came before stands as it stood."""
    known: dict[str | None, events.Request] = {}
    gone_on = 0
    for request, _ in requests:
        before = known.get(request.conversation_id)
        if before is not None:
            gone_on += 1
            assert request.llm.messages[:-2] == before.llm.messages
            assert [m.role for m in request.llm.messages[-2:]] == ["assistant", "user"]
            assert (request.tenant, request.user, request.llm.model) == (
                before.tenant, before.user, before.llm.model,
            )  # fmt: skip
        known[request.conversation_id] = request
    assert gone_on > COUNT / 3
    assert len({request.id for request, _ in requests}) == COUNT


def test_contexts_are_as_long_as_those_of_a_chat_service(
    requests: list[tuple[events.Request, int]],
) -> None:
    """Azure's trace: 1,155 tokens on average, half below 1,020, nine tenths below 2,735."""
    counted: dict[str, int] = {}

    def tokens(message: Message) -> int:
        assert isinstance(message.content, str)
        if message.content not in counted:
            counted[message.content] = len(message.content) // 5
        return counted[message.content]

    sizes = sorted(sum(map(tokens, r.llm.messages)) for r, _ in requests[-UNDER_WAY:])
    assert 1_050 < sum(sizes) / len(sizes) < 1_400
    assert 900 < sizes[len(sizes) // 2] < 1_250
    assert 2_100 < sizes[len(sizes) * 9 // 10] < 2_900
    (request, _) = requests[-1]
    texts = [str(message.content) for message in request.llm.messages]
    exact = sum(detect.tokens.count_text(text, "gpt-4o", "openai").tokens for text in texts)
    assert exact == pytest.approx(sum(map(tokens, request.llm.messages)), rel=0.1)


def test_partitions_have_as_many_requests_each(
    requests: list[tuple[events.Request, int]],
) -> None:
    """And each stands where its tenant's rows are."""
    assert Counter(partition for _, partition in requests) == dict.fromkeys(range(4), COUNT // 4)
    by_tenant = defaultdict(set)
    for request, partition in requests:
        by_tenant[request.tenant].add(partition)
    assert all(
        partitions == {events.partition_of(tenant.encode(), 4)}
        for tenant, partitions in by_tenant.items()
    )


def test_a_seed_gives_the_same_requests() -> None:
    """Two runs measure the same work."""
    first, second = (Conversations(5, tag="t", turns=3) for _ in range(2))

    assert [first.request() for _ in range(50)] == [second.request() for _ in range(50)]
