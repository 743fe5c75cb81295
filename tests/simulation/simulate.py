"""
Many runs of the simulation, as a program: ``make simulate SEEDS=1000 FIRST=1``.

A seed that fails prints what is wrong, the one command that repeats it, and its trace. The run fails as well when a
fault or a place of death never struck in all of it: such a run has not tested what it says.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
for _path in (HERE, HERE.parent):
    if str(_path) not in sys.path:
        sys.path.insert(0, str(_path))

from intruder import KINDS  # noqa: E402 — the path comes first
from sabotage import BUGS, sabotaged  # noqa: E402 — as above
from universe import FAULTS, STRIKES, Outcome, simulate  # noqa: E402 — as above

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SOMETIMES = (
    *(f"fault {name}" for name in FAULTS),
    *(f"killed {when} {site}" for site, when in STRIKES),
    "refused ledger.commit", "refused ledger.send state", "refused fast.send decisions",
    "unanswered ledger.commit", "unanswered ledger.send state", "unanswered fast.send decisions",
    "twice fast.send decisions", "twice ledger.send state", "late fast.send decisions",
    "marker late", "marker lost", "transaction timed out", "policy changed", "disk full",
    "verdict redone", "policy changed between verdict and commit", "poison refused", "damaged table found at opening",
    "standby took over", "handed over, whole",
    "slice granted", "slice recalled", "slice repaid",
    *(f"intruder {kind}" for kind in KINDS),
)  # fmt: skip
"""What must have happened somewhere in a run of SEEDS_FOR_ALL seeds or more."""
SEEDS_FOR_ALL = 50
SEEDS_FOR_THE_RARE = {"transaction timed out": 200}
"""An owner must fall silent in mid-commit and nobody follow it for long: three seeds in a hundred."""
SEEDS_FOR_A_BUG = 60


def main() -> int:
    """Run, and say how it went."""
    _same_hashes()
    given = _arguments()
    if given.bugs:
        return _find_bugs()
    begun_s, seen, failed = time.monotonic(), Counter[str](), 0
    sums: Counter[str] = Counter()
    done = 0
    for outcome in _outcomes(given):
        done += 1
        seen.update(outcome.marks)
        found = outcome.found
        for name in ("requests", "decided", "audit_records", "lost", "doubled", "contradicted"):
            sums[name] += getattr(found, name)
        sums["overspent_usd_nano"] += found.overspent_usd_nano
        if found.problems:
            failed += 1
            _report(outcome, given)
            if failed >= given.failures:
                break
        if done % 20 == 0 and not given.json:
            sys.stderr.write(f"\r{done} of {given.seeds} seeds, {failed} failed")
            sys.stderr.flush()
    missing = [
        mark
        for mark in SOMETIMES
        if not seen[mark] and done >= SEEDS_FOR_THE_RARE.get(mark, SEEDS_FOR_ALL)
    ]
    line = {
        "seeds": done, "first": given.first, "failed": failed, **sums, "never": missing,
        "seconds": round(time.monotonic() - begun_s, 1),
    }  # fmt: skip
    if given.digest:
        line["digest"] = outcome.digest
    sys.stderr.write("\n" if done >= 20 and not given.json else "")
    if missing:
        sys.stderr.write(f"never happened, so never tested: {', '.join(missing)}\n")
    sys.stdout.write(json.dumps(line) + "\n")
    return 1 if failed or missing else 0


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--processes", type=int, default=1, help="how many at a time")
    parser.add_argument("--failures", type=int, default=3, help="stop after so many failed")
    parser.add_argument("--without", default="", choices=["", *BUGS], help="a bug to put in")
    parser.add_argument("--bugs", action="store_true", help="look for every bug there is to put in")
    parser.add_argument("--faults", default="", help="these faults, by name, with commas")
    parser.add_argument("--trace", action="store_true", help="print the whole trace")
    parser.add_argument("--digest", action="store_true", help="print the last run's digest")
    parser.add_argument("--json", action="store_true", help="no progress")
    return parser.parse_args()


def _same_hashes() -> None:
    """Sets of texts are walked in the order of their hashes: these must be the same each time."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"}
        )


def _outcomes(given: Any) -> Iterator[Outcome]:
    jobs = [
        (seed, given.without, tuple(filter(None, given.faults.split(","))))
        for seed in range(given.first, given.first + given.seeds)
    ]
    if given.processes == 1:
        yield from map(_one, jobs)
        return
    with multiprocessing.Pool(given.processes) as pool:
        yield from pool.imap(_one, jobs, chunksize=1)


def _one(job: tuple[int, str, Iterable[str]]) -> Outcome:
    seed, without, faults = job
    with sabotaged(without):
        bug = BUGS.get(without)
        company = bug.company if bug else None
        outcome = simulate(seed, tuple(faults) or (bug.faults if bug else ()), company)
    if not outcome.found.problems:
        outcome.trace = []
    # Workers have garbage collected as good as never; a world that is over is all garbage.
    gc.unfreeze()
    gc.collect()
    return outcome


def _find_bugs() -> int:
    """Which seed finds each bug; one JSON line."""
    found: dict[str, int | None] = {}
    for name, bug in BUGS.items():
        seeds = range(bug.first, bug.first + SEEDS_FOR_A_BUG)
        found[name] = next((s for s in seeds if _one((s, name, ())).found.problems), None)
        sys.stderr.write(f"{name}: seed {found[name]}\n")
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if all(found.values()) else 1


def _report(outcome: Outcome, given: Any) -> None:
    command = f"make simulate SEEDS=1 FIRST={outcome.seed}"
    more = [f"--without {given.without}"] if given.without else []
    more += [f"--faults {given.faults}"] if given.faults else []
    command += f" MORE='{' '.join(more)} --trace'" if more else " MORE=--trace"
    lines = [f"\nseed {outcome.seed}: {dict(outcome.found.problems)}"]
    lines += [f"  {what}: {example}" for what, example in outcome.found.examples.items()]
    lines += outcome.trace if given.trace else outcome.trace[-25:]
    lines += [f"repeat it: {command}", ""]
    sys.stderr.write("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
