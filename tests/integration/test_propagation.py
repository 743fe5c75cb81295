"""A change of policies reaches every agent, and whoever made it is told; the kill switch goes the same way."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from enforcement_worker import running, until_ready
from enforcement_world import apply_policies, make_topics

from enforcer import policy
from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.client import Gateway
from enforcer.control import acks, policies, stops
from enforcer.errors import NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from enforcer.stream.worker import Worker

PARTITIONS = 4
CHANGES = int(os.environ.get("PROPAGATION_CHANGES", "20"))
"""docs/decisions/0011 has the figures of 100."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
TENANT = "apiVersion: enforcer/v1\nkind: Tenant\nmetadata: {id: acme}\nspec: {}\n"


@pytest.fixture
async def broker(bootstrap: str, prefix: str) -> AsyncIterator[KafkaBroker]:
    """The real broker, with all topics."""
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as opened:
        await make_topics(opened, prefix, PARTITIONS)
        yield opened


def documents(text: str) -> tuple[policy.Document, ...]:
    loaded = policy.load([("d.yaml", text)])
    assert not loaded.has_errors
    return loaded.documents


def guard(code: str) -> tuple[policy.Document, ...]:
    text = (
        "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: g, tenant: acme}\n"
        f"spec: {{rules: [{{id: a, then: warn, code: {code}}}]}}\n"
    )
    return documents(text)


def asked(number: int) -> dict[str, Any]:
    llm = {"provider": "openai", "model": "gpt-4o", "max_tokens": 5, "prompt": "Hello"}
    return {"id": f"r{number}", "tenant": "acme", "team": {"id": "t"}, "llm": llm}


async def in_force(broker: KafkaBroker, prefix: str, offset: int, timeout_s: float = 10) -> Any:
    return await acks.wait_in_force(broker, prefix, offset, scopes=["acme"], timeout_s=timeout_s)


async def until_shared(workers: list[Worker]) -> None:
    """Each of them owns something, and all of it decides."""
    async with asyncio.timeout(60):
        while True:
            owned = [len(worker.describe()["partitions"]) for worker in workers]  # type: ignore[arg-type]
            if sum(owned) == PARTITIONS and min(owned) and all(w.is_ready for w in workers):
                return
            await asyncio.sleep(0.05)


async def test_a_change_is_known_to_be_in_force_on_every_agent(
    broker: KafkaBroker, prefix: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """N of N agents of three workers, each time; who asks for a change that was there already hears it too; and how long."""
    await policies.apply(broker, prefix, documents(TENANT))
    with pytest.raises(UnavailableError, match="0 of 4 agents"):
        await in_force(broker, prefix, 0, timeout_s=0.3)
    async with AsyncExitStack() as opened:
        workers = [
            await opened.enter_async_context(running(broker, prefix, tmp_path / name, name))
            for name in ("w1", "w2", "w3")
        ]
        await until_shared(workers)
        seconds = []
        for number in range(CHANGES):
            (change,) = await policies.apply(broker, prefix, guard(f"W-{number}"))
            applied_s = asyncio.get_running_loop().time()
            state = await in_force(broker, prefix, change.offset)
            assert (state.agents, state.of, state.invalid) == (PARTITIONS, PARTITIONS, {})
            seconds.append(asyncio.get_running_loop().time() - applied_s)
        offset = await policies.set_offset(broker, prefix, ["acme"])
        assert offset == change.offset
        assert (await in_force(broker, prefix, offset)).agents == PARTITIONS
        async with Gateway(broker, prefix=prefix) as gateway:
            outcome = await gateway.decide(asked(1), deadline_ms=10_000)
        assert outcome.code == f"W-{CHANGES - 1}"
    figures = {
        "propagation_p50_s": round(statistics.median(seconds), 3),
        "propagation_p99_s": round(statistics.quantiles(seconds, n=100)[98], 3),
        "propagation_max_s": round(max(seconds), 3),
        "changes": len(seconds),
    }
    record_property("propagation", json.dumps(figures))


async def test_the_kill_switch_holds_over_a_restart_until_it_is_undone(
    broker: KafkaBroker, prefix: str, tmp_path: Path
) -> None:
    """Stopped on every agent, listed, in force after a restart, in the ledger, and undone by the same names."""
    await policies.apply(broker, prefix, documents(TENANT))
    names = {"provider": "openai", "model": "gpt-4o"}
    async with Gateway(broker, prefix=prefix) as gateway:
        async with running(broker, prefix, tmp_path, "w1") as worker:
            await until_ready(worker, partitions=PARTITIONS)
            assert (await gateway.decide(asked(1), deadline_ms=10_000)).verdict == "allow"
            (change,) = await stops.stop(broker, prefix, names, reason="a leaked key")
            assert change.scope == policy.STOPS
            await in_force(broker, prefix, change.offset)
            outcome = await gateway.decide(asked(2), deadline_ms=10_000)
            assert (outcome.verdict, outcome.code) == ("deny", "stopped")
            assert await stops.stop(broker, prefix, names, reason="a leaked key") == []
        async with running(broker, prefix, tmp_path, "w1") as worker:
            await until_ready(worker, partitions=PARTITIONS)
            assert (await gateway.decide(asked(3), deadline_ms=10_000)).code == "stopped"
            listed = [d for d in await policies.list_documents(broker, prefix) if d.kind == "Stop"]
            assert [d.detail for d in listed] == ["model gpt-4o provider openai: a leaked key"]
            with pytest.raises(NotFoundError):
                await stops.stop(broker, prefix, {"model": "gpt-4o"}, undo=True)
            (change,) = await stops.stop(broker, prefix, names, undo=True)
            await in_force(broker, prefix, change.offset)
            assert (await gateway.decide(asked(4), deadline_ms=10_000)).verdict == "allow"


async def test_stops_are_not_pruned_with_policies(broker: KafkaBroker, prefix: str) -> None:
    """A set that is replaced whole takes no stop with it: they are a scope of their own."""
    await apply_policies(broker, prefix, 1)
    await stops.stop(broker, prefix, {"tenant": "acme"})
    await policies.apply(broker, prefix, documents(TENANT), prune=True)
    assert "Stop" in {d.kind for d in await policies.list_documents(broker, prefix)}
