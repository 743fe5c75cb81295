"""
A thousand policies that arrive while decisions are waited for: how long the longest wait is, and what reading takes.

The worker's own follower reads them off a topic in memory, in its own slices; beside it a task does nothing but ask
for its turn, as an agent would. The longest time between two of its turns is the figure.
"""

from __future__ import annotations

import asyncio
import time
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ruamel.yaml import YAML

from enforcer import events, policy
from enforcer.bench import scale
from enforcer.stream.memory import rare_collections
from enforcer.stream.policy_follower import PolicyFollower

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNT: Final = 1_000
_TOPIC: Final = "bench.policies"


class _Record(NamedTuple):
    """What a follower looks at of one."""

    offset: int
    key: bytes
    value: bytes


class _Log:
    """The policy topic: what a reader of it needs, and nothing of a broker."""

    def __init__(self) -> None:
        self.records: list[_Record] = []
        self._read = 0

    async def open_reader(self, *, read_committed: bool) -> _Log:
        assert read_committed
        return self

    def assign(self, partitions: Sequence[tuple[str, int]]) -> None:
        assert list(partitions) == [(_TOPIC, 0)]

    async def seek_to_beginning(self, _: tuple[str, int]) -> None:
        self._read = 0

    async def offsets_end(self, partitions: Sequence[tuple[str, int]]) -> dict[Any, int]:
        return {each: len(self.records) for each in partitions}

    def position(self, _topic: str, _partition: int) -> int:
        return self._read

    async def poll(self, _timeout_ms: int) -> dict[tuple[str, int], list[_Record]]:
        await asyncio.sleep(0)
        found, self._read = self.records[self._read :], len(self.records)
        return {(_TOPIC, 0): found} if found else {}

    async def close(self) -> None:
        """Nothing is open."""


def measure() -> dict[str, float]:
    """The longest slice of a change, in ms, and what it takes to have 1,000 policies, in s."""
    begun_s = time.process_time()
    documents = policy.load([("scale.yaml", _as_yaml())]).documents
    program = policy.compile_scope(documents, scale.TENANT)
    from_yaml_s = time.process_time() - begun_s
    assert len(program.policies) == COUNT
    begun_s = time.process_time()
    policy.compile_scope(documents, scale.TENANT)
    parsed_s = time.process_time() - begun_s
    with rare_collections():
        longest_s = asyncio.run(_longest_s(documents))
    return {
        "policy_change_slice_max_ms": longest_s * 1e3,
        "policies_1000_from_yaml_s": from_yaml_s,
        "policies_1000_parsed_s": parsed_s,
    }


def _as_yaml() -> str:
    text = StringIO()
    YAML(typ="safe", pure=True).dump_all(scale.bodies(COUNT), text)
    return text.getvalue()


async def _longest_s(documents: Sequence[policy.Document]) -> float:
    log = _Log()
    follower = PolicyFollower(log, _TOPIC)  # type: ignore[arg-type] # of a broker it asks for a reader alone
    await follower.start()
    follows = asyncio.create_task(follower.run())
    log.records = _records(documents)
    longest_s, last_s = 0.0, time.perf_counter()
    while follower.table.offset < len(log.records):
        await asyncio.sleep(0)
        now_s = time.perf_counter()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s
    found = follower.table.program(scale.TENANT)
    longest_s = max(longest_s, time.perf_counter() - last_s)
    assert len(found.policies) == COUNT
    follows.cancel()
    await asyncio.gather(follows, return_exceptions=True)
    return longest_s


def _records(documents: Sequence[policy.Document]) -> list[_Record]:
    digests = [each.digest for each in documents]
    named = events.PolicySet(scale.TENANT, 1, documents=digests, digest=policy.set_digest(digests))
    found = [
        (f"{scale.TENANT}/doc/{each.digest}", events.encode_policy_document(each.to_record()))
        for each in documents
    ]
    found.append((f"{scale.TENANT}/set", events.encode_policy_set(named)))
    return [_Record(at, key.encode(), value) for at, (key, value) in enumerate(found)]
