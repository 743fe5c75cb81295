"""
The detectors, each beside a bare RE2 set over the same texts, and beside Presidio and detect-secrets where installed.

Texts are random words of about 600 characters that never repeat; each figure is the least CPU time of
rounds, so that other processes of the machine count as little as can be.
"""

from __future__ import annotations

import random
import string
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from enforcer.bench import machine
from enforcer.bench.sampling import rss_mb
from enforcer.detect import (
    StreamRedactor,
    combined,
    injection,
    pii,
    redact,
    secrets,
    tokens,
)
from enforcer.detect.pii.scanner import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHARACTERS = 600
_TEXTS = 200
_WORDS = 4_000
_FIVE = (" a.b@example.com ", " call 541-714-1388 ", " 123-45-6789 ", " 4111 1111 1111 1111 ", " 86.121.97.248 ")  # fmt: skip
_MIB = 1 << 20
# What Presidio has patterns for as well: the same work for both.
_SIX = frozenset({"email", "credit_card", "ip_address", "ssn", "iban", "phone"})


def measure(rounds: int = 5) -> list[dict[str, Any]]:
    """
    Rows of {detector, text, us, mb_per_s, times_bare}.

    Args:
        rounds: Of each piece of work; the least counts.
    """
    rng = random.Random(1)  # noqa: S311 — texts, not keys
    words = ["".join(rng.choices(string.ascii_lowercase, k=1 + n % 9)) for n in range(_WORDS)]
    clean = [_text(rng, words) for _ in range(_TEXTS)]
    step = CHARACTERS // len(_FIVE)
    five = [
        "".join([text[at * step : (at + 1) * step] + value for at, value in enumerate(_FIVE)])
        for text in clean
    ]
    match = REGISTRY.program(pii.DEFAULT).matcher.Match

    def bare_set(text: str) -> object:
        return match(text.encode())

    bare = _us(bare_set, clean, rounds)
    everything = frozenset(pii.KINDS)
    tokens.warm(("o200k_base",))
    work: list[tuple[str, str, Callable[[str], object], Sequence[str]]] = [
        ("bare RE2 set of the default kinds", "clean", bare_set, clean),
        ("pii, default kinds", "clean", pii.scan, clean),
        ("pii, all kinds", "clean", lambda text: pii.scan(text, everything), clean),
        ("pii, default kinds", "five findings", pii.scan, five),
        ("pii, six kinds", "clean", lambda text: pii.scan(text, _SIX), clean),
        ("pii, six kinds", "five findings", lambda text: pii.scan(text, _SIX), five),
        ("redact, verified", "five findings", lambda text: redact(text, pii.DEFAULT), five),
        ("redact a stream, by words", "clean", _streamed, clean),
        ("secrets, all kinds", "clean", secrets.scan, clean),
        ("pii and secrets, one scan", "clean", combined.scan, clean),
        ("injection", "clean", injection.judge, clean),
        ("tokens, gpt-4o", "clean", lambda text: tokens.count_text(text, "gpt-4o"), clean),
        *_others(clean, five),
    ]
    rows = [_row(name, text, _us(function, texts, rounds), texts, bare) for name, text, function, texts in work]  # fmt: skip
    mib = [("the quick brown fox jumps over a lazy dog. " * 25_000)[:_MIB]]
    # The set alone over the same long text: its automaton is warm after the first pages.
    bare_mib = _us(bare_set, mib, rounds) / _MIB * CHARACTERS
    for name, scan in (("bare RE2 set of the default kinds", bare_set), ("pii, default kinds", pii.scan), ("secrets, all kinds", secrets.scan), ("injection", injection.judge)):  # fmt: skip
        rows.append(_row(name, "clean, 1 MiB", _us(scan, mib, rounds), mib, bare_mib))
    return rows


def report(rows: list[dict[str, Any]], rounds: int) -> dict[str, Any]:
    """
    The rows as every benchmark is told: microseconds a text by name, beside the bare set's.

    ``multiple`` is what a scan of clean text costs in bare sets; ``rows`` has the MB/s of each detector.
    """
    us = {f"{row['detector']}, {row['text']}": row["us"] for row in rows}
    baseline, *_ = us.items()
    scan = next(us[name] for name in us if name == "pii, default kinds, clean")
    return {
        "figures": us,
        "baseline": dict([baseline]),
        "multiple": round(scan / baseline[1], 2),
        "cpu_us_per_event": scan,
        "rss_mb": round(rss_mb(), 1),
        "rows": rows,
        "machine": {**machine.describe(()), "rounds": rounds},
    }


def _text(rng: random.Random, words: list[str]) -> str:
    found: list[str] = []
    size = 0
    while size < CHARACTERS:
        word = rng.choice(words)
        found.append(word.capitalize() if rng.random() < 0.1 else word)
        size += len(word) + 1
    return " ".join(found)


def _us(function: Callable[[str], object], texts: Sequence[str], rounds: int) -> float:
    """The least CPU time of one text, in microseconds."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.thread_time()
        for text in texts:
            function(text)
        best = min(best, (time.thread_time() - begun) / len(texts))
    return best * 1e6


def _row(name: str, text: str, us: float, texts: Sequence[str], bare: float) -> dict[str, Any]:
    size = sum(len(each.encode()) for each in texts) / len(texts)
    return {
        "detector": name,
        "text": text,
        "us": round(us, 1),
        "mb_per_s": round(size / us, 1),
        "times_bare": round(us / bare * CHARACTERS / size, 1),
    }


def _streamed(text: str) -> str:
    redactor = StreamRedactor()
    return "".join([redactor.feed(word + " ") for word in text.split(" ")]) + redactor.end()


_Work = tuple[str, str, "Callable[[str], object]", "Sequence[str]"]


def _others(clean: list[str], five: list[str]) -> list[_Work]:
    """The same work by others, where they are installed; nothing is installed for it."""
    found: list[_Work] = []
    if find_spec("presidio_analyzer") is not None:
        from presidio_analyzer import (  # type: ignore[import-not-found] # noqa: PLC0415 — may be absent
            predefined_recognizers as known,
        )

        recognisers = [
            *(known.EmailRecognizer(), known.CreditCardRecognizer(), known.IpRecognizer()),
            *(known.UsSsnRecognizer(), known.IbanRecognizer(), known.PhoneRecognizer()),
        ]

        def analyse(text: str) -> object:
            return [each.analyze(text, each.supported_entities, None) for each in recognisers]

        for name, texts in (("clean", clean[:20]), ("five findings", five[:20])):
            found.append(("Presidio's patterns, six kinds", name, analyse, texts))
    if find_spec("detect_secrets") is not None:
        from detect_secrets.core.scan import (  # type: ignore[import-not-found] # noqa: PLC0415 — as above
            scan_line,
        )
        from detect_secrets.settings import (  # type: ignore[import-not-found] # noqa: PLC0415 — as above
            default_settings,
        )

        # Held for the rest of the process: entering it anew for each text takes longer than the scan.
        held = default_settings()
        held.__enter__()

        def scan(text: str, _settings: object = held) -> object:
            return list(scan_line(text))

        found.append(("detect-secrets, its default plugins", "clean", scan, clean[:20]))
    return found
