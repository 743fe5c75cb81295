"""
CPU time of the detectors beside a bare RE2 set, in one run.

    python -m tests.unit.detect.measure_detect

Texts are about 600 characters of random words and never repeat; each figure is the best of rounds
in thread CPU time, so that other processes of the machine count as little as can be.
"""

from __future__ import annotations

import random
import string
import sys
import time
from datetime import date
from typing import TYPE_CHECKING

from enforcer.detect import FactCache, RequestFacts, pii, pricing, redact, tokens, warm
from enforcer.detect.pii import scanner
from enforcer.events import Llm, Message, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DAY = date(2026, 11, 2)
CARD = "4111 " + "1111 " * 2 + "1111"
VALUES = (
    " a.b@example.com ",
    " call 541-714-1388 ",
    " 123-45-6789 ",
    f" {CARD} ",
    " 86.121.97.248 ",
)
WORDS = [
    "".join(random.Random(seed).choices(string.ascii_lowercase, k=1 + seed % 9))
    for seed in range(4000)
]


def fresh(rng: random.Random, length: int = 600) -> str:
    words: list[str] = []
    size = 0
    while size < length:
        word = rng.choice(WORDS)
        words.append(word.capitalize() if rng.random() < 0.1 else word)
        size += len(words[-1]) + 1
    return " ".join(words)


def microseconds(work: Callable[[object], object], rounds: Sequence[Sequence[object]]) -> float:
    """Least CPU time of one piece of work over rounds of different pieces."""
    best = float("inf")
    for pieces in rounds:
        begun = time.thread_time()
        for piece in pieces:
            work(piece)
        best = min(best, (time.thread_time() - begun) / len(pieces))
    return best * 1e6


def request(texts: Sequence[str]) -> Request:
    messages = [Message(role="user", content=text) for text in texts]
    return Request(
        id="r", tenant="t", llm=Llm(provider="openai", model="gpt-4o", messages=messages)
    )


def facts_of(held: Request, cache: FactCache | None = None) -> RequestFacts:
    facts = RequestFacts(held, day=DAY, cache=cache)
    _ = facts.estimated_cost_usd_nano, facts.pii_counts
    return facts


def conversation(rng: random.Random, cache: FactCache | None) -> float:
    """Mean CPU time of the facts of each request of a conversation of 40 turns."""
    best = float("inf")
    for _ in range(5):
        turns = [fresh(rng) for _ in range(40)]
        begun = time.thread_time()
        for length in range(1, 41):
            facts_of(request(turns[:length]), cache)
        best = min(best, (time.thread_time() - begun) / 40)
    return best * 1e6


def main() -> None:
    """Print a table of microseconds a text."""
    rng = random.Random(1)
    warm()
    rounds = [[fresh(rng) for _ in range(300)] for _ in range(12)]
    five = [
        [
            "".join([text[i * 120 : i * 120 + 120] + value for i, value in enumerate(VALUES)])
            for text in texts
        ]
        for texts in rounds
    ]
    match = scanner.REGISTRY.program(pii.DEFAULT).matcher.Match
    everything = frozenset(pii.KINDS)
    cache = FactCache(b"k" * 32)
    mib = ["the quick brown fox jumps over a lazy dog. " * 25_000][0][: 1 << 20]
    rows = [
        ("bare RE2 set, five kinds", microseconds(match, [[t.encode() for t in r] for r in rounds])),
        ("pii.scan, clean, five default kinds", microseconds(pii.scan, rounds)),
        ("pii.scan, clean, all kinds", microseconds(lambda t: pii.scan(t, everything), rounds)),
        ("pii.scan, five findings", microseconds(pii.scan, five)),
        ("redact, five findings, verified", microseconds(lambda t: redact(t, pii.DEFAULT), five)),
        ("pii.scan, clean 1 MiB", microseconds(pii.scan, [[mib]] * 3)),
        ("tokens, gpt-4o, exact", microseconds(lambda t: tokens.count_text(t, "gpt-4o"), rounds)),
        ("tokens, gpt-4, exact", microseconds(lambda t: tokens.count_text(t, "gpt-4"), rounds)),
        ("tokens, claude-sonnet-4, estimated", microseconds(lambda t: tokens.count_text(t, "claude-sonnet-4"), rounds)),
        ("tokens, gemma-3, exact", microseconds(lambda t: tokens.count_text(t, "gemma-3-27b"), rounds[:3])),
        ("pricing.resolve, known", microseconds(lambda _: pricing.resolve("openai", "gpt-4o", None, DAY), rounds)),
        ("facts of one message", microseconds(facts_of, [[request([t]) for t in r] for r in rounds])),
        ("facts of one message, with a cache", microseconds(lambda r: facts_of(r, cache), [[request([t]) for t in r] for r in rounds])),
        ("facts, mean of 40 turns", conversation(rng, None)),
        ("facts, mean of 40 turns, with a cache", conversation(rng, cache)),
    ]  # fmt: skip
    lines = [f"| {name} | {value:.1f} |" for name, value in rows]
    lines.append(f"hit ratio of the cache: {cache.hits / (cache.hits + cache.misses):.2f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
