"""What the benchmarks send: 5,000 users of 16 tenants, and the documents that rule over them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Final

from enforcer import events, policy
from enforcer.bench.prose import Prose
from enforcer.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from enforcer.broker import Outgoing

PARTITIONS: Final = 4
TENANTS_PER_PARTITION: Final = 4
USERS: Final = 5_000
PROMPT_CHARACTERS: Final = 600
GATEWAY: Final = b"bench"
SAMPLED_ONE_IN: Final = 100
"""Of the traces; who makes no spans does not look."""

_TENANT = """
apiVersion: enforcer/v1
kind: Tenant
metadata: {{id: {tenant}}}
spec: {{unknown_model: deny, on_timeout: deny, {settings}}}
"""
_MODELS: Final = (
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4o"),
    ("openai", "gpt-4.1"),
    ("anthropic", "claude-sonnet-4-5"),
)


def tenants(partitions: int = PARTITIONS) -> list[tuple[str, int]]:
    """Names and partitions of the tenants: as many in each partition, in turn."""
    found: list[list[str]] = [[] for _ in range(partitions)]
    number = 0
    while any(len(names) < TENANTS_PER_PARTITION for names in found):
        number += 1
        name = f"bench-{number}"
        names = found[events.partition_of(name.encode(), partitions)]
        if len(names) < TENANTS_PER_PARTITION:
            names.append(name)
    return [(found[p][n], p) for n in range(TENANTS_PER_PARTITION) for p in range(partitions)]


def sources(
    partitions: int = PARTITIONS, *, settings: str = "reservation_ttl: 24 h"
) -> list[tuple[str, str]]:
    """Names and texts of what ``documents`` reads."""
    rules = Path(__file__).with_name("policies.yaml").read_text(encoding="utf-8")
    named = "---".join(
        _TENANT.format(tenant=tenant, settings=settings) for tenant, _ in tenants(partitions)
    )
    return [("policies.yaml", rules), ("tenants.yaml", named)]


def documents(
    partitions: int = PARTITIONS,
    *,
    settings: str = "reservation_ttl: 24 h",
    more: Sequence[tuple[str, str]] = (),
) -> tuple[policy.Document, ...]:
    """The 20 rules in 5 policies with their budget and rate limit, a document for each tenant, with *settings* of its own, and *more*."""
    loaded = policy.load([*sources(partitions, settings=settings), *more])
    faults = [str(finding.message) for finding in loaded.findings if finding.severity == "error"]
    if faults:
        raise IntegrityError(f"the benchmark's policies do not check: {faults[0]}")
    return loaded.documents


class Workload:
    """Requests without end; every id and every prompt occurs once. *tag* begins each id."""

    def __init__(self, seed: int, *, tag: str, partitions: int = PARTITIONS) -> None:
        """Begin; the same seed gives the same requests."""
        self._rng = random.Random(f"workload-{seed}")  # noqa: S311 — traffic, not secrets
        self._prose = Prose(seed)
        self._tenants = tenants(partitions)
        self._tag = tag
        self._serial = 0

    def request(self, characters: int = PROMPT_CHARACTERS) -> tuple[events.Request, int]:
        """The next request and its partition: tenants take turns, their users are drawn."""
        rng = self._rng
        serial = self._serial = self._serial + 1
        tenant, partition = self._tenants[serial % len(self._tenants)]
        per_tenant = USERS // len(self._tenants)
        user = rng.randrange(per_tenant)
        team = user % 12
        provider, model = _MODELS[min(3, int(rng.random() * 5))]
        at = rng.random()
        llm = events.Llm(
            provider,
            "gpt-3.5-turbo" if at < 0.01 and provider == "openai" else model,
            operation="chat",
            max_tokens=8192 if at > 0.96 else 512,
            temperature=1.8 if 0.02 < at < 0.04 else 0.7,
            stream=at < 0.5,
            messages=[events.Message("user", content=self._prose.text(characters))],
        )
        request = events.Request(
            f"{self._tag}-{serial:08d}",
            tenant,
            user=events.User(f"{tenant}-u{user}", roles=["developer"], region="eu"),
            team=events.Team(f"t{team}", tier="free" if team == 0 else "gold"),
            project=events.Project(f"p{team % 5}", environment="production"),
            caller=events.Caller("service"),
            llm=llm,
        )
        return request, partition

    def text(self, characters: int) -> str:
        """A text that occurs once."""
        return self._prose.text(characters)

    def records(self, count: int) -> Iterator[tuple[int, Outgoing]]:
        """The next *count* requests as records, with the headers a gateway gives them."""
        for _ in range(count):
            request, partition = self.request()
            flags = "00" if self._serial % SAMPLED_ONE_IN else "01"
            trace = f"00-{self._rng.getrandbits(128):032x}-{self._rng.getrandbits(64):016x}-{flags}"
            headers = (("gateway", GATEWAY), ("traceparent", trace.encode()))
            value = events.encode_request(request)
            yield partition, (request.tenant.encode(), value, headers, None)
